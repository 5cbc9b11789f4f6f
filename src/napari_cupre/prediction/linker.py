"""Link the planes of a label image: planes into 3-D cells, frames into tracks.

First, overlaps are counted block by block to find tables from the labels of each plane to lasting ones. Then
the lasting labels are written to a second array. So only one block of two planes is in memory, even if the
labels are on disk, and the labels of the planes are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Sequence

import numpy as np

from napari_cupre.data.image import PlaneIndex
from napari_cupre.events import Progress
from napari_cupre.prediction.canvas import LabelArray
from napari_cupre.prediction.link import Links, Numbering, Overlap
from napari_cupre.prediction.tiles import Window

BLOCK = 2048
"""Side of a block that is counted or written at once, px; a multiple of stored chunks."""


def find_tables(
    planes: Sequence[LabelArray], indices: Sequence[PlaneIndex], links: Links, name: str = ""
) -> Generator[Progress, None, list[np.ndarray]]:
    """Find the lasting label of every label of each plane.

    Parameters
    ----------
    planes : sequence of LabelArray
        The labels of each plane, int32 (Y, X), all of one shape.
    indices : sequence of PlaneIndex
        Position of each plane.
    links : Links
        Along which axes they are linked.
    name : str
        Of the image, for the user.

    Yields
    ------
    Progress
        In planes.

    Returns
    -------
    list of ndarray of int32
        For each plane the table from its labels to lasting ones; 0 for labels without a pixel.
    """
    frames = frames_of(indices)
    total = len(planes) * (1 + links.t)
    tables: dict[int, np.ndarray] = {}
    for number, table in _within_frames(planes, frames, links.z):
        tables[number] = table
        yield Progress(len(tables), total, name)
    if links.t:
        for done, _ in enumerate(_through_frames(planes, frames, tables), start=len(planes) + 1):
            yield Progress(done, total, name)
    return [tables[number] for number in range(len(planes))]


def _within_frames(
    planes: Sequence[LabelArray], frames: list[list[int]], links_z: bool
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each plane's number, with the table to labels that are unique or linked in its frame."""
    for frame in frames:
        numbering = Numbering()
        for before, number in zip([None, *frame], frame, strict=False):
            overlap = Overlap()
            for window in blocks_of(planes[number].shape):
                first = planes[before][window.slices] if links_z and before is not None else None
                overlap.add(first, np.asarray(planes[number][window.slices]))
            yield number, numbering.follow(overlap)


def _through_frames(
    planes: Sequence[LabelArray], frames: list[list[int]], tables: dict[int, np.ndarray]
) -> Iterator[int]:
    """Change the tables in place to labels that last through time; yield the number of each plane."""
    numbering = Numbering()
    within = dict(tables)

    def labels(number: int, window: Window) -> np.ndarray:
        return within[number][planes[number][window.slices]]

    earlier: list[int] | None = None
    for frame in frames:
        overlap = Overlap()
        for place, number in enumerate(frame):
            for window in blocks_of(planes[number].shape):
                first = None if earlier is None else labels(earlier[place], window)
                overlap.add(first, labels(number, window))
            yield number
        through = numbering.follow(overlap)
        for number in frame:
            tables[number] = through[within[number]]
        earlier = frame


def write_linked(
    planes: Sequence[LabelArray], tables: Sequence[np.ndarray], linked: Sequence[LabelArray], name: str = ""
) -> Iterator[Progress]:
    """Write the lasting labels of all planes, block by block.

    Parameters
    ----------
    planes : sequence of LabelArray
        The labels of each plane.
    tables : sequence of ndarray
        As `find_tables` returns them.
    linked : sequence of LabelArray
        Receives the lasting labels; arrays with the shapes of `planes`, 0 everywhere.
    name : str
        Of the image, for the user.

    Yields
    ------
    Progress
        In blocks.
    """
    blocks = blocks_of(planes[0].shape)
    total = len(planes) * len(blocks)
    parts = itertools.product(zip(planes, tables, linked, strict=True), blocks)
    for done, ((plane, table, target), window) in enumerate(parts, start=1):
        lasting = table[plane[window.slices]]
        if lasting.any():
            target[window.slices] = lasting
        yield Progress(done, total, name)


def blocks_of(shape: tuple[int, ...]) -> list[Window]:
    """Yield the blocks of a plane of `shape` (Y, X), row by row."""
    rows, columns = (int(side) for side in shape)
    return [
        Window(y, x, min(y + BLOCK, rows), min(x + BLOCK, columns))
        for y in range(0, rows, BLOCK)
        for x in range(0, columns, BLOCK)
    ]


def frames_of(indices: Sequence[PlaneIndex]) -> list[list[int]]:
    """Return the plane numbers of each time point, in order."""

    def time(number: int) -> int:
        return indices[number].get("T", 0)

    order = sorted(range(len(indices)), key=lambda number: (time(number), indices[number].get("Z", 0)))
    return [list(frame) for _, frame in itertools.groupby(order, time)]


def count_linked(tables: Sequence[np.ndarray], indices: Sequence[PlaneIndex], links: Links) -> int:
    """Return the number of linked cells; without links through time, the sum over the time points."""
    highest = [max(int(tables[number].max(initial=0)) for number in frame) for frame in frames_of(indices)]
    return max(highest, default=0) if links.t else sum(highest)
