"""Find which outlines of a flat list are regions around others, and which are parts of a cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from skimage.measure import points_in_poly

_CONTAINERS = ("annotation", "tile", "")
_DETECTED = ("cell", "detection")
_MANY = 2
"""An outline with at least this many objects within it is a region, since a cell has one nucleus."""
_LARGE = 16.0
"""An outline with this many times the typical area is a region, even if a single object lies within it."""
_TOLERANCE = 1.0
"""How far an object may extend beyond the box of its region, in px."""


@dataclass(frozen=True)
class OutlinedShape:
    """An object with its QuPath type ("" if it has none) and its rings by pieces."""

    kind: str
    parts: list[list[np.ndarray]]


def regions_and_parts(objects: Sequence[OutlinedShape]) -> tuple[set[int], set[int]]:
    """Find regions that are not cells, and parts of cells, by which outline contains which.

    An annotation, or an outline without a type, is a region if it surrounds a detection or several objects,
    or if it surrounds one object and is far larger than the rest. Objects in a detected cell are parts of it.

    Returns
    -------
    regions, parts : set[int]
        Numbers of the objects.
    """
    if len(objects) < 2:
        return set(), set()
    corners = [np.concatenate([ring for part in one.parts for ring in part]) for one in objects]
    low = np.array([each.min(axis=0) for each in corners])
    high = np.array([each.max(axis=0) for each in corners])
    areas = np.array([_area(one) for one in objects])
    tree = cKDTree((low + high) / 2)
    regions: set[int] = set()
    parts: set[int] = set()
    inner_ones = {
        number: _inside(number, objects, corners, low, high, areas, tree)
        for number, one in enumerate(objects)
        if one.kind in (*_CONTAINERS, "cell")
    }
    leaves = [areas[n] for n in range(len(objects)) if not inner_ones.get(n)]
    typical = float(np.median(leaves)) if leaves else np.inf
    for number, inner in inner_ones.items():
        if objects[number].kind == "cell":
            parts.update(each for each in inner if objects[each].kind != "cell")
        elif inner and _is_region(objects[number], [objects[each] for each in inner], areas[number], typical):
            regions.add(number)
    return regions, parts


def _is_region(outer: OutlinedShape, inner: Sequence[OutlinedShape], area: float, typical: float) -> bool:
    if outer.kind and any(one.kind in _DETECTED for one in inner):
        return True
    return len(inner) >= _MANY or area > _LARGE * typical


def _inside(
    number: int,
    objects: Sequence[OutlinedShape],
    corners: Sequence[np.ndarray],
    low: np.ndarray,
    high: np.ndarray,
    areas: np.ndarray,
    tree: cKDTree,
) -> list[int]:
    """Return the numbers of the smaller objects that have most of their corners in an object."""
    centre, reach = (low[number] + high[number]) / 2, float((high[number] - low[number]).max()) / 2
    near = np.array(tree.query_ball_point(centre, reach + _TOLERANCE, p=np.inf), np.int64)
    boxed = (low[near] >= low[number] - _TOLERANCE).all(1) & (high[near] <= high[number] + _TOLERANCE).all(1)
    near = near[boxed & (areas[near] < areas[number])]
    return [int(each) for each in near if _surrounds(objects[number], corners[each])]


def _surrounds(outer: OutlinedShape, corners: np.ndarray) -> bool:
    """Whether most of an outline lies in an object; corners are moved inwards, off a shared edge."""
    middle = corners.mean(axis=0)
    points = middle + (corners - middle) * 0.99
    inside = np.zeros(len(points), bool)
    for part in outer.parts:
        rings = [points_in_poly(points, ring) for ring in part]
        inside |= np.logical_xor.reduce(rings)
    return bool(inside.mean() > 0.5)


def _area(one: OutlinedShape) -> float:
    """Return the area in px without holes."""
    whole = 0.0
    for part in one.parts:
        sizes = [_ring_area(ring) for ring in part]
        whole += sizes[0] - sum(sizes[1:])
    return whole


def _ring_area(ring: np.ndarray) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return abs(float(x @ np.roll(y, -1) - np.roll(x, -1) @ y)) / 2
