"""Label images: whole numbers, 0 = background, one value per instance."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from napari_cupre.errors import InputError

USUAL_SCORE = 0.45
"""Minimum score of a cell if nobody chooses another.

A detection that is right with probability p raises J = TP / (TP + FP + FN) if p > J / (1 + J): 0.33 where J
is 0.5, and 0.47 where it is 0.9. Measured in docs/accuracy.md."""

CRUMBS = 0.1
"""Parts with less than this share of their label's area are slips of the brush."""

MANY_VALUES = 10
LISTED_VALUES = 100_000
SMOOTH = 0.5  # with a smaller share of equal neighbours, the numbers are grey values


def as_labels(labels: Any, name: str = "") -> np.ndarray:
    """Check a label image of any integer type and return it as int32.

    Floats are accepted if they are whole numbers. Values beyond int32 are renumbered. Pixels of one value are
    one instance, even if they do not touch.

    Raises
    ------
    InputError
        Negative or non-integer values, or values that are not numbers.
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "buif":
        raise InputError(f"The labels{of_name(name)} have values of type {array.dtype}: give whole numbers.")
    if array.size == 0:
        return array.astype(np.int32)
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.trunc(array)).all()):
        raise InputError(
            f"The labels{of_name(name)} contain non-integer values: save them as whole numbers, "
            f"one label per cell."
        )
    if array.dtype.kind != "b" and array.min() < 0:
        raise InputError(
            f"The labels{of_name(name)} contain negative values: use 0 for background and 1, 2, 3 for cells."
        )
    if int(array.max()) > np.iinfo(np.int32).max:  # in float16 the limit itself would overflow
        values, inverse = np.unique(array, return_inverse=True)
        # 0 stays 0: if the image has no background, the lowest cell must not become background.
        array = inverse.reshape(array.shape) + (values[0] != 0)
    return array.astype(np.int32)


def label_areas(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values and areas in px of the instances of a label image, without background."""
    if labels.size == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    if labels.max() < 4 * labels.size:
        counts = np.bincount(labels.ravel())
        values = np.flatnonzero(counts)
        areas = counts[values]
    else:  # counting would need memory for every number up to the largest
        values, areas = np.unique(labels, return_counts=True)
    kept = values != 0
    return values[kept], areas[kept]


def median_diameter(labels: np.ndarray) -> float:
    """Return the median diameter in px of disks with the instances' areas; NaN without instances."""
    _, areas = label_areas(labels)
    return float(np.median(2 * np.sqrt(areas / np.pi))) if areas.size else float("nan")


def scattered_labels(labels: np.ndarray) -> list[int]:
    """Find values whose parts do not touch, most often two cells painted with one number.

    Parameters
    ----------
    labels : numpy.ndarray
        int32 (Y, X).
    """
    return list(scattered_parts(labels))


def scattered_parts(labels: np.ndarray) -> dict[int, int]:
    """Count the parts of each value that `scattered_labels` finds, even the smallest ones.

    Parts below `CRUMBS` of their label's area do not make a value scattered. A value with many parts counts
    however small they are.

    Parameters
    ----------
    labels : numpy.ndarray
        int32 (Y, X).

    Returns
    -------
    dict of int to int
        By value; empty if every cell has a number of its own.

    Examples
    --------
    >>> scattered_parts(np.array([[1, 0, 1, 0, 1], [2, 2, 0, 0, 0]]))
    {1: 3}
    """
    values, areas = label_areas(labels)
    scattered = {}
    for value, area, box in zip(values, areas, _boxes(labels, values)):
        _, part_areas = label_areas(ndimage.label(labels[box] == value, np.ones((3, 3)))[0])
        whole = part_areas >= CRUMBS * min(area, 2 * part_areas.max())
        if whole.sum() > 1:
            scattered[int(value)] = len(part_areas)
    return scattered


def _boxes(labels: np.ndarray, values: np.ndarray) -> list[tuple[slice, slice]]:
    """Return the bounding box of every value."""
    if values.size and values[-1] < LISTED_VALUES:
        found = ndimage.find_objects(labels)
    else:  # a list as long as the largest value would be too long
        found = ndimage.find_objects(np.searchsorted(np.concatenate([[0], values]), labels))
    return [box for box in found if box is not None]


def check_same_shape(image: tuple[int, ...], labels: tuple[int, ...], name: str = "") -> None:
    """Raise InputError, naming both shapes, if an image and its labels differ in size."""
    if tuple(image) != tuple(labels):
        raise InputError(
            f"The image {tuple(image)} and the labels {tuple(labels)}{of_name(name)} differ in size: "
            f"choose the labels of this image."
        )


def of_name(name: str) -> str:
    """Return the part of a message that names an image, "" if it has no name."""
    return f' of "{name}"' if name else ""


def are_grey_values(labels: np.ndarray) -> bool:
    """Whether a plane of whole numbers, int32 (Y, X), looks like a picture instead of cells."""
    values, _ = label_areas(labels)
    if len(values) < MANY_VALUES:
        return False
    pairs = labels[:, :-1] > 0
    same = (labels[:, 1:] == labels[:, :-1]) & pairs
    if same.sum() < SMOOTH * pairs.sum():
        return True
    return len(scattered_labels(labels)) > len(values) / 2


def refuse_grey_values(labels: np.ndarray, name: str) -> None:
    """Refuse labels, int32 (Y, X), that look like a picture.

    Raises
    ------
    InputError
        If they do.
    """
    if are_grey_values(labels):
        raise InputError(
            f'The labels of "{name}" look like grey values of a picture, not like cells: '
            "choose a label image, in which every cell has its own label."
        )
