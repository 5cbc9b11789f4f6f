"""Bounding boxes and areas of the cells in a label image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

Box = tuple[tuple[int, int], ...]
"""Start and stop along every axis of a label image."""

_FEW = 24
"""Up to this many cells are measured one by one; more are measured in one pass over the pixels."""


@dataclass(frozen=True)
class Patch:
    """Pixels of a bounding box before and after a change, int32."""

    box: Box
    before: np.ndarray
    after: np.ndarray


def slices(box: Box) -> tuple[slice, ...]:
    """Return a box as an array index."""
    return tuple(slice(start, stop) for start, stop in box)


def whole(shape: Sequence[int]) -> Box:
    """Return the box of a whole array."""
    return tuple((0, int(size)) for size in shape)


def box_around(boxes: Sequence[Box]) -> Box:
    """Return the smallest box around several boxes."""
    return tuple((min(start for start, _ in axis), max(stop for _, stop in axis)) for axis in zip(*boxes))


def clipped(box: Sequence[tuple[float, float]], shape: Sequence[int]) -> Box:
    """Return the part of a box inside an array; it may be empty along an axis."""
    inside = []
    for (start, stop), size in zip(box, shape):
        first = min(max(int(np.floor(start)), 0), int(size))
        inside.append((first, min(max(int(np.ceil(stop)), first), int(size))))
    return tuple(inside)


def is_empty(box: Box) -> bool:
    """Whether a box contains no pixel."""
    return any(stop <= start for start, stop in box)


def box_of(mask: np.ndarray, origin: Box) -> Box | None:
    """Return the bounding box of a mask's True pixels, with the mask at `origin`; None without any."""
    found = []
    for axis in range(mask.ndim):
        others = tuple(each for each in range(mask.ndim) if each != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        if hit.size == 0:
            return None
        found.append((int(hit[0]) + origin[axis][0], int(hit[-1]) + 1 + origin[axis][0]))
    return tuple(found)


def measured(labels: np.ndarray, origin: Box | None = None) -> dict[int, tuple[Box, int]]:
    """Return the bounding box and area of every number in an int32 array located at `origin`."""
    if labels.size == 0:
        return {}
    origin = origin or whole(labels.shape)
    largest = int(labels.max())
    if largest < 2 * labels.size + 1000:
        areas = np.bincount(labels.ravel())
        values = np.flatnonzero(areas[1:]) + 1
        found = ndimage.find_objects(labels, largest)
        pairs: Iterable[tuple[int, Any, int]] = ((int(v), found[v - 1], int(areas[v])) for v in values)
    else:  # counting would need memory for every number up to the largest
        values, ranks, counts = np.unique(labels, return_inverse=True, return_counts=True)
        ranks = ranks.reshape(labels.shape).astype(np.int32)
        boxes = ndimage.find_objects(ranks + 1)
        pairs = ((int(v), box, int(n)) for v, box, n in zip(values, boxes, counts) if v)
    return {
        value: (tuple((at.start + first, at.stop + first) for at, (first, _) in zip(box, origin)), area)
        for value, box, area in pairs
    }


def measured_some(
    labels: np.ndarray, patch: Patch, areas: Mapping[int, tuple[Box | None, int]]
) -> dict[int, tuple[Box, int]]:
    """Return the boxes that some numbers would have after a patch, without applying it.

    Parameters
    ----------
    labels : numpy.ndarray
        int32.
    patch : Patch
        The patch to apply.
    areas : mapping of int to tuple[Box or None, int]
        For each number its box before (None if new) and its area afterwards, which is not 0.
    """
    if len(areas) > _FEW:
        box = box_around([patch.box, *(box for box, _ in areas.values() if box is not None)])
        view = _with_patch(labels, box, patch)
        return {number: found for number, found in measured(view, box).items() if number in areas}
    done = {}
    for number, (old, area) in areas.items():
        inside = box_of(patch.after == number, patch.box)
        box = box_around([each for each in (old, inside) if each is not None])
        seen = box_of(_with_patch(labels, box, patch) == number, box)
        if seen is not None:
            done[number] = (seen, area)
    return done


def _with_patch(labels: np.ndarray, box: Box, patch: Patch) -> np.ndarray:
    """Return a copy of the labels in a box, with a patch applied."""
    view = labels[slices(box)].copy()
    shared = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(box, patch.box))
    if not is_empty(shared):
        into = tuple(slice(a - first, b - first) for (a, b), (first, _) in zip(shared, box))
        source = tuple(slice(a - first, b - first) for (a, b), (first, _) in zip(shared, patch.box))
        view[into] = patch.after[source]
    return view
