"""Label images that are none: a raw picture, or cells that share a number."""

from __future__ import annotations

import numpy as np

from napari_cupre.data.labels import label_areas, scattered_labels
from napari_cupre.errors import InputError

_FEW_VALUES = 16
"""Fewer grey values than these may be classes of pixels."""
_LOWEST_SHARE = 0.5
"""In a label image most pixels have the value of the pixel beside them; in a picture few have."""
_LARGEST_SAMPLE = 1024


def check_not_a_picture(labels: np.ndarray, name: str) -> None:
    """Refuse the grey values of a picture as labels.

    Parameters
    ----------
    labels : int32 (..., Y, X)
    name : of the file

    Raises
    ------
    InputError
        If the marked pixels have many values that change from pixel to pixel.
    """
    plane = labels.reshape(-1, *labels.shape[-2:])
    plane = plane[int(np.argmax((plane > 0).sum(axis=(1, 2))))][:_LARGEST_SAMPLE, :_LARGEST_SAMPLE]
    values, _ = label_areas(plane)
    pairs = [(plane[:, :-1], plane[:, 1:]), (plane[:-1], plane[1:])]
    marked = sum(int(((one > 0) & (other > 0)).sum()) for one, other in pairs)
    alike = sum(int(((one > 0) & (one == other)).sum()) for one, other in pairs)
    if len(values) >= _FEW_VALUES and marked and alike < _LOWEST_SHARE * marked:
        raise InputError(
            f'"{name}" is a picture, no label image: its {len(values)} grey values change from pixel to '
            f"pixel; give an image with one number per cell."
        )


def scattered_note(labels: np.ndarray) -> str | None:
    """One sentence about numbers that several separate parts carry; None if each is one cell."""
    from scipy import ndimage

    for plane in labels.reshape(-1, *labels.shape[-2:]):
        values = scattered_labels(plane)
        if values:
            parts = ndimage.label(plane == values[0], np.ones((3, 3)))[1]
            others = f" (and {len(values) - 1} other numbers are shared)" if len(values) > 1 else ""
            return (
                f"the number {values[0]} is carried by {parts} parts that do not touch{others}: "
                f"give each cell its own number."
            )
    return None
