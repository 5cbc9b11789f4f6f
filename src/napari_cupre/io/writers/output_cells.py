"""The cells of an image's planes in one form for all writers, from label images or predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.data.labels import as_labels
from napari_cupre.data.rle import RLE, bounding_box, encode_labels
from napari_cupre.errors import InputError


@runtime_checkable
class PredictedInstances(Protocol):
    """The parts of a prediction to write (see `prediction.instances.Instances`); label i is row i - 1."""

    labels: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    masks: Any
    classes: np.ndarray


Result: TypeAlias = "np.ndarray | PredictedInstances | Sequence[tuple[PlaneIndex, PredictedInstances]]"
"""A label image of one or several planes, one plane's prediction, or the predictions of several planes."""


@dataclass(frozen=True)
class MaskedCell:
    """One cell in the form that COCO needs.

    Attributes
    ----------
    label : int
        Its value in the label image, 0 if other cells hide it there.
    rle : RLE
        Its mask, which may overlap others.
    box : tuple[float, float, float, float]
        x1, y1, x2, y2 in px.
    score, category : float or None, int
        Score is None if there is none; category is 1-based.
    """

    label: int
    rle: RLE
    box: tuple[float, float, float, float]
    score: float | None
    category: int


@dataclass(frozen=True)
class PlaneCells:
    """The cells of one plane.

    Attributes
    ----------
    index : PlaneIndex
        Position along T and Z, empty for an image of one plane.
    labels : numpy.ndarray
        int32 (Y, X).
    instances : PredictedInstances or None
        The prediction, None if there is only the label image.
    """

    index: PlaneIndex
    labels: np.ndarray
    instances: PredictedInstances | None

    @cached_property
    def _cells(self) -> tuple[np.ndarray, np.ndarray]:
        """See `_cells_of`; found when a format asks for cells, since a label TIFF needs none."""
        return _cells_of(self.labels)

    @property
    def ids(self) -> np.ndarray:
        """Return the label values, int64 (N,), rising."""
        return self._cells[0]

    @cached_property
    def rows(self) -> np.ndarray:
        """Return the row of each id in `instances`, int64 (N,); -1 for cells that the prediction lacks."""
        ids, first = self._cells
        if self.instances is None:
            return np.full(len(ids), -1, np.int64)
        # Taken from the pixels, since linked planes have other values than the prediction's own.
        return np.asarray(self.instances.labels).ravel()[first].astype(np.int64) - 1

    @property
    def scores(self) -> list[float | None]:
        """Return the score of each id."""
        scores = self.instances.scores if self.instances is not None else np.zeros(0)
        return [None if row < 0 else float(scores[row]) for row in self.rows]

    @property
    def classes(self) -> list[int]:
        """Return the class of each id, 1-based."""
        classes = self.instances.classes if self.instances is not None else np.zeros(0)
        return [1 if row < 0 else int(classes[row]) for row in self.rows]

    def masked(self) -> list[MaskedCell]:
        """Return all cells with their overlapping masks, even those that others hide in the label image."""
        if self.instances is None:
            ids, rles = encode_labels(self.labels)
            return [MaskedCell(int(i), rle, _box(rle), None, 1) for i, rle in zip(ids, rles)]
        label_of = dict(zip(self.rows.tolist(), self.ids.tolist()))
        predicted = self.instances
        columns = zip(predicted.masks.rle(), predicted.boxes, predicted.scores, predicted.classes)
        return [
            MaskedCell(label_of.get(row, 0), rle, _four(box), float(score), int(category))
            for row, (rle, box, score, category) in enumerate(columns)
        ]


PARTIAL = "partial: parts of the image could not be read or predicted"
"""Note in the file of a partial result."""


@dataclass(frozen=True)
class OutputCells:
    """The cells of one image.

    Attributes
    ----------
    name : str
        Stem of the image's name.
    axes : str
        Axes of the label image of the whole image: "YX", "TYX", "ZYX" or both.
    shape : tuple[int, ...]
        Shape of the label image of the whole.
    planes : list[PlaneCells]
        Planes in the order of the image; planes that were not predicted are missing.
    class_names : tuple[str, ...]
        Name of class 1, 2, ...
    image : CellImage or None
        Where intensities, scale and units come from, if known.
    is_partial : bool
        Whether parts of the image could not be read or predicted.
    has_pixels : bool
        Whether `image` contains the pixels that were segmented, and not only their scale.
    """

    name: str
    axes: str
    shape: tuple[int, ...]
    planes: list[PlaneCells]
    class_names: tuple[str, ...]
    image: CellImage | None
    is_partial: bool = False
    has_pixels: bool = True

    def volume(self) -> np.ndarray:
        """Return the int32 label image of the whole image, 0 in planes that are missing."""
        labels = np.zeros(self.shape, np.int32)
        for plane in self.planes:
            labels[tuple(plane.index[axis] for axis in self.axes[:-2])] = plane.labels
        return labels

    def class_name(self, category: int) -> str:
        """Return the name of a class, or its number if it has no name."""
        known = 1 <= category <= len(self.class_names)
        return self.class_names[category - 1] if known else str(category)


def collect(
    result: Result,
    *,
    image: CellImage | None = None,
    name: str = "",
    labels: np.ndarray | None = None,
    class_names: Sequence[str] = ("cell",),
    is_partial: bool = False,
) -> OutputCells:
    """Bring a result of any form into the form for writers.

    Parameters
    ----------
    result : Result
        A label image over the image's axes without channels; or one plane's prediction; or predictions by
        plane.
    image : CellImage or None, optional
        The image that the result belongs to.
    name : str, optional
        Its stem.
    labels : numpy.ndarray or None, optional
        Label image of the whole that renames the cells of predictions, as linking of planes does.
    is_partial : bool, optional
        Whether parts of the image could not be read or predicted; formats that can record this do so.

    Raises
    ------
    InputError
        If shapes of image and result do not fit.
    """
    by_index: list[tuple[PlaneIndex, PredictedInstances]] = []
    if isinstance(result, np.ndarray):
        labels = result
    elif isinstance(result, PredictedInstances):
        by_index = [({}, result)]
    else:
        by_index = list(result)
    if labels is not None:
        labels = as_labels(labels, name)
    axes, shape = _axes_and_shape(image, labels, by_index, name)
    whole = labels.reshape(shape) if labels is not None else None
    predicted = {tuple(index.get(axis, 0) for axis in axes[:-2]): each for index, each in by_index}
    planes = []
    for position in np.ndindex(*shape[:-2]):
        instances = predicted.get(position)
        if whole is not None:
            plane = whole[position]
        elif instances is not None:
            plane = as_labels(instances.labels, name)
        else:
            continue
        planes.append(PlaneCells(dict(zip(axes, position)), plane, instances))
    return OutputCells(name, axes, shape, planes, tuple(class_names), image, is_partial)


def _cells_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels above 0, int64 and rising, and the flat index of the first pixel of each."""
    flat = labels.ravel()
    if not flat.size or flat.dtype.kind not in "iu" or not 0 <= flat.max() <= 4 * flat.size:
        ids, first = np.unique(labels, return_index=True)
        return ids[ids > 0].astype(np.int64), first[ids > 0]
    places = np.flatnonzero(flat > 0)[::-1]  # the last value written stays, which is the first position
    firsts = np.full(int(flat.max()) + 1, -1, np.int64)
    firsts[flat[places]] = places
    ids = np.flatnonzero(firsts >= 0)
    return ids, firsts[ids]


def _axes_and_shape(
    image: CellImage | None,
    labels: np.ndarray | None,
    by_index: Sequence[tuple[PlaneIndex, PredictedInstances]],
    name: str,
) -> tuple[str, tuple[int, ...]]:
    """Return axes and shape of the label image of the whole image."""
    if labels is None and not by_index:
        raise InputError(f'there is no predicted plane of "{name}" to write.')
    given = labels.shape if labels is not None else by_index[0][1].labels.shape
    if image is not None:
        size = np.prod(image.result_shape) if labels is not None else np.prod(image.plane_shape)
        if given[-2:] != image.plane_shape or np.prod(given) != size:
            raise InputError(
                f'the labels of "{name}" have shape {given} and the image {image.result_shape} '
                f"({image.result_axes}); give the labels of that image."
            )
        return image.result_axes, image.result_shape
    if labels is not None:
        if not 2 <= len(given) <= 4:
            raise InputError(f'the labels of "{name}" have shape {given}; give (Y, X) or a stack of planes.')
        return "TZYX"[-len(given) :], given
    stacked = "".join(axis for axis in "TZ" if axis in by_index[0][0])
    counts = [max(index[axis] for index, _ in by_index) + 1 for axis in stacked]
    return stacked + "YX", (*counts, *given)


def _box(rle: RLE) -> tuple[float, float, float, float]:
    x, y, width, height = bounding_box(rle)
    return _four((x, y, x + width, y + height))


def _four(box: Any) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(side) for side in box)
    return x1, y1, x2, y2
