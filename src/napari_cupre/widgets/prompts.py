"""Planes, prompts and outlines as plain values: the window's prompts and the engine's answers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from napari.layers import Image

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError, InputError, reason_of
from napari_cupre.events import Event
from napari_cupre.model.zoo import find_model

LARGE = 4096
"""Planes larger than a square of this side (px) are handed over only in part, unless they are in a file that
the engine reads by itself."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Plane:
    """One plane of an image for the engine to load, as one model sees it.

    Attributes
    ----------
    layer : Image
        The layer of the image.
    image : CellImage
        Its pixels and axes.
    index : dict[str, int]
        Position along T and Z.
    model, stamp : str, int
        The model, and the time of its file's last change.
    diameter : float or None
        Diameter of the cells in image px, if the user set one.
    box : tuple[int, int, int, int] or None
        Top, left, bottom and right of the visible part, if the plane is too large to hand over as a whole.
    """

    layer: Image
    image: CellImage
    index: dict[str, int]
    model: str
    stamp: int
    diameter: float | None = None
    box: Box | None = None

    def is_same_place(self, other: Plane | None) -> bool:
        """Whether both are the same pixels, whatever the model."""
        if other is None or self.layer is not other.layer or self.index != other.index:
            return False
        mine, its = self.image, other.image
        return (mine.axes, mine.chosen_channels) == (its.axes, its.chosen_channels) and mine.data is its.data

    def is_same(self, other: Plane | None) -> bool:
        """Whether a process that is ready for one is also ready for the other."""
        return (
            other is not None
            and self.is_same_place(other)
            and (self.model, self.stamp, self.diameter) == (other.model, other.stamp, other.diameter)
        )


@dataclass(frozen=True)
class Prompt:
    """A box (x0, y0, x1, y1) or a point (y, x) on a plane.

    Both in image px, where pixel 0 spans 0 to 1; the answer contains the same `number`.
    """

    number: int
    plane: Plane
    box: tuple[float, float, float, float] | None = None
    point: tuple[float, float] | None = None
    asked: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True)
class Answer:
    """The answer to a prompt.

    Attributes
    ----------
    prompt : Prompt
        The prompt.
    masks : tuple[numpy.ndarray, ...]
        bool (Y, X) each; all readings of a click, from the smallest to the largest.
    corners : tuple[tuple[int, int], ...]
        Row and column of the first pixel of each.
    scores : tuple[float, ...]
        Score of each, 0..1.
    best : int
        Index of the likeliest reading.
    refusal : str
        Why there is no outline; "" if there is one.
    """

    prompt: Prompt
    masks: tuple[np.ndarray, ...] = ()
    corners: tuple[tuple[int, int], ...] = ()
    scores: tuple[float, ...] = ()
    best: int = 0
    refusal: str = ""


@dataclass(frozen=True)
class HandedOver(Event):
    """The engine has the pixels of a whole plane or of `box` (top, left, bottom, right)."""

    box: Box | None


def pixels_of(plane: Plane) -> np.ndarray:
    """Return the pixels to hand over for a plane, (Y, X) or (Y, X, C)."""
    lazy = plane.image.lazy_plane(plane.index)
    if plane.box is not None:
        top, left, bottom, right = plane.box
        lazy = lazy[top:bottom, left:right]
    try:
        return np.asarray(lazy)
    except Exception as error:  # the reader behind a lazy array raises anything
        raise InputError(
            f'"{plane.image.name}" cannot be read here ({reason_of(error)}): copy the file again.'
        ) from error


def stamp_of(model: str) -> int:
    """Return the time of a model file's last change; 0 if there is no file."""
    try:
        path: Path | None = find_model(model).path
        return 0 if path is None else path.stat().st_mtime_ns
    except (CupreError, OSError):
        return 0


def span_of(prompt: Prompt) -> Box:
    """Return top, left, bottom and right of the place of a prompt."""
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box
        return int(min(y0, y1)), int(min(x0, x1)), int(np.ceil(max(y0, y1))), int(np.ceil(max(x0, x1)))
    y, x = prompt.point or (0.0, 0.0)
    return int(y), int(x), int(y) + 1, int(x) + 1


def holds(outer: Box, inner: Box) -> bool:
    """Whether one box contains another."""
    return outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]


def grown(box: Box, shape: tuple[int, int]) -> Box:
    """Enlarge a box by a quarter, so that small moves need no new pixels; at most `LARGE` px a side."""
    sides = []
    for start, stop, size in ((box[0], box[2], shape[0]), (box[1], box[3], shape[1])):
        margin = max(0, min((stop - start) // 4, (LARGE - (stop - start)) // 2))
        sides.append((max(0, start - margin), min(size, stop + margin)))
    (top, bottom), (left, right) = sides
    return top, left, bottom, right


def around(prompt: Prompt, plane: Plane) -> Box:
    """Return the box to hand over for a prompt: the visible part if it contains it, else its surroundings."""
    assert plane.box is not None
    span = span_of(prompt)
    if holds(plane.box, span):
        return plane.box
    middle = ((span[0] + span[2]) // 2, (span[1] + span[3]) // 2)
    sides = []
    for at, size in zip(middle, plane.image.plane_shape):
        start = min(max(0, at - LARGE // 2), max(0, size - LARGE))
        sides.append((start, min(size, start + LARGE)))
    (top, bottom), (left, right) = sides
    return top, left, bottom, right
