"""Turn cells into outlines along the edges of their pixels, and outlines back into pixels.

A label image that is turned into outlines and back is the same to the pixel. Coordinates are (x, y) of pixel
corners, as ImageJ and QuPath count them: the pixel in row r and column c covers c..c+1 and r..r+1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from skimage.measure import points_in_poly

_STEPS = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
"""Directions of an edge whose pixel is on its right (y points down): east, south, west, north."""


_NUDGE = 1e-8
"""Larger than the rounding error of an edge through pixel centres; ImageJ uses the same value."""

_MOST_CROSSINGS = 2**22


@dataclass
class Part:
    """A connected piece of a cell (pixels that touch by a side).

    Attributes
    ----------
    exterior : numpy.ndarray
        int (n, 2), corners x, y in order, the first not repeated.
    holes : list[numpy.ndarray]
        The same for each hole.
    """

    exterior: np.ndarray
    holes: list[np.ndarray] = field(default_factory=list)

    @property
    def area(self) -> float:
        """Return the area in px, without the holes."""
        return abs(_signed_area(self.exterior)) - sum(abs(_signed_area(hole)) for hole in self.holes)


def trace(labels: np.ndarray) -> dict[int, list[Part]]:
    """Trace the outlines of every cell of a label image.

    Rings are simple: where two pixels of a cell touch only at a corner, the outline is cut, so that polygons
    made of the parts are valid by OGC rules.

    Parameters
    ----------
    labels : numpy.ndarray
        int (Y, X), 0 is background.

    Returns
    -------
    dict of int to list of Part
        The parts of each cell by its label value, the largest part first; values rise.
    """
    rings: dict[int, list[np.ndarray]] = {}
    for value, ring in _rings(np.asarray(labels)):
        rings.setdefault(value, []).extend(_simple(ring))
    return {value: _parts(rings[value]) for value in sorted(rings)}


def fill(rings: Sequence[np.ndarray], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the pixels whose centres lie within an odd number of rings.

    So a ring within another one is a hole, and rings beside each other are parts. A centre on an edge counts
    as in ImageJ's PolygonFiller: on a left or lower edge it is outside, on a right or upper one inside, so
    that neighbours share no pixel.

    Parameters
    ----------
    rings : Sequence[numpy.ndarray]
        float (n, 2) each, corners x, y.
    shape : tuple[int, ...]
        Shape of the image (Y, X); pixels outside are left out.
    """
    corners = [np.asarray(ring, float).reshape(-1, 2) for ring in rings]
    if not any(len(ring) for ring in corners):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    every = np.concatenate(corners)
    limits = np.array(shape[::-1])
    first = np.clip(np.floor(every.min(axis=0)), 0, limits).astype(int)
    last = np.clip(np.ceil(every.max(axis=0)) + 1, 0, limits).astype(int)
    width, height = last - first
    # How many edges are crossed just left of each pixel's centre; an odd sum from the left means inside.
    crossings = np.zeros((height, width + 1), np.int32)
    starts = np.concatenate([ring - first for ring in corners])
    ends = np.concatenate([np.roll(ring, -1, axis=0) - first for ring in corners])
    for chunk in _chunks_of_edges(starts, ends, height):
        rows, columns = _cross(*chunk, width)
        np.add.at(crossings, (rows, columns), 1)
    rows, columns = np.nonzero(np.cumsum(crossings[:, :width], axis=1) & 1)
    return rows + first[1], columns + first[0]


def _chunks_of_edges(
    starts: np.ndarray, ends: np.ndarray, height: int
) -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield edges that cross a row's centre line, downwards, with their first row and the end row."""
    down = starts[:, 1] <= ends[:, 1]
    upper, lower = np.where(down[:, None], starts, ends), np.where(down[:, None], ends, starts)
    first = np.clip(np.ceil(upper[:, 1] - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(lower[:, 1] - 0.5), 0, height).astype(np.int64)
    kept = last > first
    upper, lower, first, last = upper[kept], lower[kept], first[kept], last[kept]
    # A hostile outline may have many edges that all span the image, so its crossings come in chunks.
    numbers = np.cumsum(last - first) // _MOST_CROSSINGS
    for number in np.unique(numbers):
        chosen = numbers == number
        yield upper[chosen], lower[chosen], first[chosen], last[chosen]


def _cross(
    upper: np.ndarray, lower: np.ndarray, first: np.ndarray, last: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the row of every crossing, and the column of the first pixel whose centre lies behind it."""
    counts = last - first
    edge = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    slope = (lower[:, 0] - upper[:, 0]) / (lower[:, 1] - upper[:, 1])
    x = upper[edge, 0] + (rows + 0.5 - upper[edge, 1]) * slope[edge]
    return rows, np.clip(np.floor(x + 0.5 + _NUDGE), 0, width).astype(np.int64)


def _rings(labels: np.ndarray) -> Iterable[tuple[int, np.ndarray]]:
    """Yield closed walks around the cells, corners only, with the cell on the right."""
    edges = _Edges(labels)
    following, turns = edges.following.tolist(), edges.turns.tolist()
    seen = bytearray(len(following))
    for first in np.flatnonzero(edges.turns).tolist():
        if seen[first]:
            continue
        walk, edge = [], first
        while not seen[edge]:
            seen[edge] = 1
            if turns[edge]:
                walk.append(edge)
            edge = following[edge]
        yield int(edges.values[first]), edges.ends[walk]


class _Edges:
    """All pixel edges between a cell and something else, directed so that the cell is on the right.

    Attributes
    ----------
    values : (E,) the cell of each edge
    ends : (E, 2) the corner x, y at which it ends
    following : (E,) the edge after it on the way around the cell
    turns : (E,) bool, whether the way turns at its end
    """

    def __init__(self, labels: np.ndarray) -> None:
        padded = np.pad(labels, 1)
        starts, values, directions = [], [], []
        # The pixel on the right of an edge and the one on its left, as offsets from the edge's start.
        for direction, (right, left) in enumerate(_SIDES):
            inner, outer = _shifted(padded, right), _shifted(padded, left)
            y, x = np.nonzero((inner > 0) & (inner != outer))
            starts.append(np.column_stack([x, y]))
            values.append(inner[y, x])
            directions.append(np.full(len(y), direction))
        self.values = np.concatenate(values)
        self.ends = np.concatenate(starts) + _STEPS[np.concatenate(directions)]
        self.following, self.turns = self._link(padded, np.concatenate(starts), np.concatenate(directions))

    def _link(
        self, padded: np.ndarray, starts: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Turn right if the cell ends ahead, left if it bends around; a corner contact cannot be passed."""
        keys = _edge_keys(directions, starts, padded.shape)  # rising, as the edges were collected
        right, left = (np.array(side)[directions] for side in zip(*_SIDES))
        # Seen from an edge's end, the offsets that were beside it one step further back lie ahead.
        ahead_right = _at(padded, self.ends, right) == self.values
        ahead_left = _at(padded, self.ends, left) == self.values
        turn = np.where(~ahead_right, 1, np.where(ahead_left, -1, 0))
        wanted = _edge_keys((directions + turn) % 4, self.ends, padded.shape)
        return np.searchsorted(keys, wanted), turn != 0


_SIDES = (((0, 0), (-1, 0)), ((0, -1), (0, 0)), ((-1, -1), (0, -1)), ((-1, 0), (-1, -1)))
"""For each direction the offsets (dy, dx), from the edge's start, of the pixels on its right and its left."""


def _edge_keys(directions: np.ndarray, starts: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return one number per directed edge."""
    return (directions * shape[0] + starts[:, 1]) * shape[1] + starts[:, 0]


def _shifted(padded: np.ndarray, offset: tuple[int, int]) -> np.ndarray:
    """Return for each corner (y, x) of the image the pixel at (y, x) + offset."""
    height, width = padded.shape
    return padded[1 + offset[0] : height + offset[0], 1 + offset[1] : width + offset[1]]


def _at(padded: np.ndarray, corners: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    return padded[corners[:, 1] + offsets[:, 0] + 1, corners[:, 0] + offsets[:, 1] + 1]


def _simple(ring: np.ndarray) -> list[np.ndarray]:
    """Cut a ring at corners that it passes twice."""
    corners = list(map(tuple, ring.tolist()))
    if len(set(corners)) == len(corners):
        return [ring]
    rings: list[np.ndarray] = []
    way: list[tuple[int, int]] = []
    position: dict[tuple[int, int], int] = {}
    for corner in corners:
        if corner in position:
            start = position[corner]
            rings.append(np.array(way[start:]))
            for gone in way[start + 1 :]:
                del position[gone]
            del way[start + 1 :]
        else:
            position[corner] = len(way)
            way.append(corner)
    return [*rings, np.array(way)]


def _parts(rings: list[np.ndarray]) -> list[Part]:
    """Join exteriors (clockwise on screen, with positive area) and the holes in them."""
    parts = sorted((Part(ring) for ring in rings if _signed_area(ring) > 0), key=lambda part: part.area)
    for hole in (ring for ring in rings if _signed_area(ring) < 0):
        owner = parts[0] if len(parts) == 1 else _owner(hole, parts)
        owner.holes.append(hole)
    return parts[::-1]


def _owner(hole: np.ndarray, parts: list[Part]) -> Part:
    """Find the smallest part around a hole; `parts` are sorted by rising area."""
    # The pixel on the right of the hole's first edge belongs to the part.
    step = np.sign(hole[1] - hole[0])
    inside = hole[0] + 0.5 * step + 0.5 * np.array([-step[1], step[0]])
    return next(part for part in parts if points_in_poly([inside], part.exterior)[0])


def _signed_area(ring: np.ndarray) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return float(x @ np.roll(y, -1) - np.roll(x, -1) @ y) / 2
