"""Cut an image into overlapping tiles, and decide which tile a cell belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """A rectangle of pixels: rows y0..y1 and columns x0..x1, ends exclusive."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Return the index of the rectangle in an array (Y, X)."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @property
    def shape(self) -> tuple[int, int]:
        """Return the number of rows and columns."""
        return self.y1 - self.y0, self.x1 - self.x0

    def intersect(self, other: Window) -> Window:
        """Return the rectangle that both share (of size zero if they do not meet)."""
        y0, x0 = max(self.y0, other.y0), max(self.x0, other.x0)
        return Window(y0, x0, max(y0, min(self.y1, other.y1)), max(x0, min(self.x1, other.x1)))

    def around(self, other: Window) -> Window:
        """Return the smallest rectangle around both."""
        return Window(
            min(self.y0, other.y0), min(self.x0, other.x0), max(self.y1, other.y1), max(self.x1, other.x1)
        )

    def moved(self, dy: int, dx: int) -> Window:
        """Shift the rectangle."""
        return Window(self.y0 + dy, self.x0 + dx, self.y1 + dy, self.x1 + dx)


@dataclass(frozen=True)
class Tile:
    """A part of the image that goes through the network in one piece.

    Attributes
    ----------
    index : int
        Position in the plan (row by row).
    core : Window
        The pixels that this tile answers for; the cores of all tiles cover the image once.
    read : Window
        The pixels that the network sees: the core and its surroundings.
    """

    index: int
    core: Window
    read: Window


def plan_tiles(shape: tuple[int, int], tile: int, halo: int, step: int = 1) -> list[Tile]:
    """Cut an image into tiles, row by row.

    Parameters
    ----------
    shape : tuple[int, int]
        (Y, X) of the image.
    tile : int
        Side of the area that is read at once, in image px; at least 2 * halo + step.
    halo : int
        Smallest width that is read around each core (where the image continues), in image px.
    step : int, optional
        The areas that are read start at multiples of it, in image px.

    Returns
    -------
    list of Tile. A side of the image that is no longer than `tile` is not cut. The tiles of the last row and
    column read up to `step` px less than the others.
    """
    if tile < 2 * halo + step:
        raise ValueError(
            f"a tile of {tile} px has no room for halos of {halo} px on both sides and a step of {step}"
        )
    rows = _cut_axis(shape[0], tile, halo, step)
    columns = _cut_axis(shape[1], tile, halo, step)
    tiles: list[Tile] = []
    for row in rows:
        for column in columns:
            core = Window(row[0], column[0], row[1], column[1])
            read = Window(row[2], column[2], row[3], column[3])
            tiles.append(Tile(len(tiles), core, read))
    return tiles


def _cut_axis(length: int, tile: int, halo: int, step: int) -> list[tuple[int, int, int, int]]:
    """Return core start, core end, read start and read end of each piece along one axis.

    The windows that are read are evenly spaced and all but the last have the same size, so that they can be
    batched. The border between two cores is in the middle of the area that both windows see.
    """
    if length <= tile:
        return [(0, length, 0, length)]
    last = -(-(length - tile) // step)  # start of the last window, in steps
    count = -(-last // ((tile - 2 * halo) // step)) + 1
    starts = (np.linspace(0, last, count).round().astype(int) * step).tolist()
    ends = [*(start + tile for start in starts[:-1]), length]
    borders = [0, *((end + start) // 2 for end, start in zip(ends, starts[1:])), length]
    return [(borders[i], borders[i + 1], starts[i], ends[i]) for i in range(count)]


def owned(boxes: np.ndarray, tile: Tile, shape: tuple[int, int], margin: float) -> np.ndarray:
    """Whether the centre of each box lies in the tile's core, or at most `margin` px outside it.

    Two tiles see the centre of a cell slightly differently, so without the margin neither might own a cell on
    the seam. Cells that both own are recognised when they are stitched.
    """
    x = (boxes[:, 0] + boxes[:, 2]) / 2
    y = (boxes[:, 1] + boxes[:, 3]) / 2
    core = tile.core
    low_y = core.y0 - margin if core.y0 > 0 else -np.inf
    low_x = core.x0 - margin if core.x0 > 0 else -np.inf
    high_y = core.y1 + margin if core.y1 < shape[0] else np.inf
    high_x = core.x1 + margin if core.x1 < shape[1] else np.inf
    return (y >= low_y) & (y < high_y) & (x >= low_x) & (x < high_x)


def cut(boxes: np.ndarray, tile: Tile, shape: tuple[int, int], tolerance: float) -> np.ndarray:
    """Whether each box touches a border of the pixels read beyond which the image continues."""
    read = tile.read
    touches = np.zeros(len(boxes), dtype=bool)
    if read.y0 > 0:
        touches |= boxes[:, 1] <= read.y0 + tolerance
    if read.x0 > 0:
        touches |= boxes[:, 0] <= read.x0 + tolerance
    if read.y1 < shape[0]:
        touches |= boxes[:, 3] >= read.y1 - tolerance
    if read.x1 < shape[1]:
        touches |= boxes[:, 2] >= read.x1 - tolerance
    return touches
