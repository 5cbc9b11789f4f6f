"""What the window points at, and what the engine answers: planes, prompts and outlines as plain values."""

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
"""Of planes of more pixels than a square of this side only the visible part is handed over, unless they lie
in a file that the engine reads by itself."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Plane:
    """What the engine is to hold: one plane of an image, as one model sees it.

    Attributes
    ----------
    layer : Image
        Whose image it is.
    image : CellImage
        Its pixels and axes.
    index : dict[str, int]
        Position along T and Z.
    model, stamp : str, int
        The model, and when its file changed.
    diameter : float or None
        Of the cells in image px, where the user said so.
    box : tuple[int, int, int, int] or None
        Top, left, bottom and right of the visible part, where the plane is too large to be handed over whole.
    """

    layer: Image
    image: CellImage
    index: dict[str, int]
    model: str
    stamp: int
    diameter: float | None = None
    box: Box | None = None

    def is_same_place(self, other: Plane | None) -> bool:
        """Whether both are the same pixels, whoever looks at them."""
        if other is None or self.layer is not other.layer or self.index != other.index:
            return False
        return self.image.data is other.image.data and self.image.axes == other.image.axes

    def is_same(self, other: Plane | None) -> bool:
        """Whether a process that is ready for one is ready for the other."""
        return (
            other is not None
            and self.is_same_place(other)
            and (self.model, self.stamp, self.diameter) == (other.model, other.stamp, other.diameter)
        )


@dataclass(frozen=True)
class Prompt:
    """A box (x0, y0, x1, y1) or a point (y, x) on a plane.

    Both in image px, where pixel 0 spans 0 to 1; `number` comes back with the answer.
    """

    number: int
    plane: Plane
    box: tuple[float, float, float, float] | None = None
    point: tuple[float, float] | None = None
    asked: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True)
class Answer:
    """What came of a prompt.

    Attributes
    ----------
    prompt : Prompt
        What was asked.
    masks : tuple[numpy.ndarray, ...]
        bool (Y, X); all readings of a click, from the smallest to the largest.
    corners : tuple[tuple[int, int], ...]
        Row and column of the first pixel of each.
    scores : tuple[float, ...]
        Of each, 0..1.
    best : int
        The likeliest.
    refusal : str
        Why there is no answer, "" if there is one.
    """

    prompt: Prompt
    masks: tuple[np.ndarray, ...] = ()
    corners: tuple[tuple[int, int], ...] = ()
    scores: tuple[float, ...] = ()
    best: int = 0
    refusal: str = ""


@dataclass(frozen=True)
class HandedOver(Event):
    """The engine has the pixels: all of a plane, or those of `box` (top, left, bottom, right)."""

    box: Box | None


def pixels_of(plane: Plane) -> np.ndarray:
    """What is handed over of a plane, (Y, X) or (Y, X, C)."""
    lazy = plane.image.lazy_plane(plane.index)
    if plane.box is not None:
        top, left, bottom, right = plane.box
        lazy = lazy[top:bottom, left:right]
    try:
        return np.asarray(lazy)
    except Exception as error:  # what is behind a lazy array raises anything
        raise InputError(
            f'"{plane.image.name}" cannot be read here ({reason_of(error)}): copy the file again.'
        ) from error


def stamp_of(model: str) -> int:
    """When the file of a model changed; 0 for one without a file, or that is not there."""
    try:
        path: Path | None = find_model(model).path
        return 0 if path is None else path.stat().st_mtime_ns
    except (CupreError, OSError):
        return 0


def span_of(prompt: Prompt) -> Box:
    """Top, left, bottom and right of what a prompt is about."""
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box
        return int(min(y0, y1)), int(min(x0, x1)), int(np.ceil(max(y0, y1))), int(np.ceil(max(x0, x1)))
    y, x = prompt.point or (0.0, 0.0)
    return int(y), int(x), int(y) + 1, int(x) + 1


def holds(outer: Box, inner: Box) -> bool:
    """Whether a box lies in another."""
    return outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]


def grown(box: Box, shape: tuple[int, int]) -> Box:
    """A box with a margin of a quarter, so that small moves need nothing new; at most `LARGE` px a side."""
    sides = []
    for start, stop, size in ((box[0], box[2], shape[0]), (box[1], box[3], shape[1])):
        margin = max(0, min((stop - start) // 4, (LARGE - (stop - start)) // 2))
        sides.append((max(0, start - margin), min(size, stop + margin)))
    (top, bottom), (left, right) = sides
    return top, left, bottom, right


def around(prompt: Prompt, plane: Plane) -> Box:
    """What is handed over for a prompt: the visible part if it is there, else its surroundings."""
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
