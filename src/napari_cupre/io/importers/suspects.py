"""Detect files that are no proper label images: pictures, shared labels, a background with a label."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_cupre.data.labels import label_areas
from napari_cupre.errors import InputError

_FEW_VALUES = 16
"""Fewer grey values than this may be classes of pixels."""
_LOWEST_SHARE = 0.5
"""In a label image most pixels have the value of the pixel beside them; in a picture few have."""
_MOST_PARTS = 5.0
"""In a picture a grey value is in many places; a label is in one, or in a few if cells are cut."""
_GROUND_SHARE = 0.5
"""In an image without 0, a label with more than this share that reaches all edges is the background."""
_LARGEST_SAMPLE = 1024
_CRUMB = 0.1


def check_label_image(labels: np.ndarray, name: str) -> None:
    """Refuse an image that is a picture, or in which the background has a label.

    Parameters
    ----------
    labels : numpy.ndarray
        int32 (..., Y, X).
    name : str
        Name of the file.

    Raises
    ------
    InputError
        If the labelled pixels have many values that change from pixel to pixel, or are all over the image; or
        if a plane has no 0 and one of its labels covers most of it, up to all four edges.
    """
    _check_not_a_picture(labels, name)
    _check_background(labels, name)


def _check_not_a_picture(labels: np.ndarray, name: str) -> None:
    """Refuse grey values that would be read as labels."""
    plane = labels.reshape(-1, *labels.shape[-2:])
    plane = plane[int(np.argmax((plane > 0).sum(axis=(1, 2))))][:_LARGEST_SAMPLE, :_LARGEST_SAMPLE]
    values, _ = label_areas(plane)
    pairs = [(plane[:, :-1], plane[:, 1:]), (plane[:-1], plane[1:])]
    marked = sum(int(((one > 0) & (other > 0)).sum()) for one, other in pairs)
    alike = sum(int(((one > 0) & (one == other)).sum()) for one, other in pairs)
    if len(values) < _FEW_VALUES or not marked:
        return
    if alike < _LOWEST_SHARE * marked or _parts(plane) > _MOST_PARTS * len(values):
        raise InputError(
            f'"{name}" is a picture, not a label image: its {len(values)} grey values change from pixel to '
            f"pixel; give an image with one label per cell."
        )


def _check_background(labels: np.ndarray, name: str) -> None:
    """Refuse a background with a label: it would be learned as a cell."""
    for plane in labels.reshape(-1, *labels.shape[-2:]):
        if plane.size == 0 or not plane.all():
            continue
        values, areas = label_areas(plane)
        value, share = values[areas.argmax()], areas.max() / plane.size
        edges = (plane[0], plane[-1], plane[:, 0], plane[:, -1])
        if len(values) > 1 and share > _GROUND_SHARE and all((edge == value).any() for edge in edges):
            raise InputError(
                f'"{name}" has no background: its label {value} covers {share:.0%} of the image; use 0 for '
                f"background and one label for each cell."
            )


def _parts(plane: np.ndarray) -> int:
    """Count the parts of a plane (Y, X), that is, connected areas of one value."""
    from skimage.measure import label

    return int(label(plane, background=0, connectivity=2, return_num=True)[1])


def scattered_note(labels: np.ndarray) -> str | None:
    """Return one sentence about labels of several separate parts of an image (Y, X); None if there are none.

    Parts far smaller than the largest one are slips of the brush.
    """
    values, _ = label_areas(labels)
    ranks = np.searchsorted(np.concatenate([[0], values]), labels)
    shared = []
    for value, box in zip(values, ndimage.find_objects(ranks)):
        _, areas = label_areas(ndimage.label(labels[box] == value, np.ones((3, 3)))[0])
        parts = int((areas >= _CRUMB * areas.max()).sum())
        if parts > 1:
            shared.append((int(value), parts))
    if not shared:
        return None
    value, parts = shared[0]
    others = f", and {len(shared) - 1} other labels are shared as well" if len(shared) > 1 else ""
    return f"the label {value} is shared by {parts} separate parts{others}: give each cell its own label."
