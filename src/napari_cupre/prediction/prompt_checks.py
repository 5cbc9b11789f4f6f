"""Check the boxes and points that a person gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_cupre.errors import InputError


def check_boxes(boxes: Any, shape: tuple[int, int]) -> np.ndarray:
    """Return boxes as float64 (N, 4), x0, y0, x1, y1 in image px, corners in order, clipped to the image.

    Parameters
    ----------
    boxes : Any
        (N, 4) numbers; the corners may come in either order.
    shape : tuple[int, int]
        (Y, X) of the image.

    Raises
    ------
    InputError
        If they are not four finite numbers each, or a box has no area or lies outside the image.
    """
    given = _rows(boxes, 4, "box", "x0, y0, x1, y1")
    ordered = np.concatenate(
        [np.minimum(given[:, :2], given[:, 2:]), np.maximum(given[:, :2], given[:, 2:])], axis=1
    )
    cut = np.clip(ordered, 0, [shape[1], shape[0]] * 2)
    for number, (whole, inside) in enumerate(zip(ordered, cut), start=1):
        if (whole[2:] <= whole[:2]).any():
            raise InputError(f"Box {number} ({_numbers(given[number - 1])}) has no area: draw it again.")
        if (inside[2:] <= inside[:2]).any():
            raise InputError(
                f"Box {number} ({_numbers(given[number - 1])}) lies outside the image of "
                f"{shape[1]} x {shape[0]} px: give x0, y0, x1, y1 in image px."
            )
    return cut


def check_points(points: Any, shape: tuple[int, int]) -> np.ndarray:
    """Return points as float64 (N, 2), y, x in image px.

    Raises
    ------
    InputError
        If they are not two finite numbers each, or a point lies outside the image.
    """
    given = _rows(points, 2, "point", "y, x")
    # Half a pixel of tolerance: viewers count from pixel centres, and a click on the border is valid.
    outside = (given < -0.5).any(axis=1) | (given > np.array(shape)).any(axis=1)
    for row in np.flatnonzero(outside):
        raise InputError(
            f"Point {row + 1} ({_numbers(given[row])}) lies outside the image of "
            f"{shape[0]} rows and {shape[1]} columns: give y, x in image px."
        )
    return np.clip(given, 0, np.nextafter(np.array(shape, dtype=np.float64), 0))


def _rows(values: Any, length: int, what: str, order: str) -> np.ndarray:
    """Return numbers as float64 (N, length); an empty list is not a row."""
    try:
        given = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"A {what} takes {length} numbers: {order}.") from error
    if given.size == 0:
        return np.zeros((0, length))
    if given.ndim != 2 or given.shape[1] != length:
        raise InputError(
            f"The {_plural(what)} have shape {given.shape}: give one row of {length} numbers each, {order}."
        )
    for row in np.flatnonzero(~np.isfinite(given).all(axis=1)):
        raise InputError(
            f"{what.capitalize()} {row + 1} ({_numbers(given[row])}) is not finite: give {order} in image px."
        )
    return given


def _plural(what: str) -> str:
    return "boxes" if what == "box" else f"{what}s"


def _numbers(row: Sequence[float] | np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in row)
