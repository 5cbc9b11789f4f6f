"""Linking planes whose labels lie on disk: the tables first, then the labels, block by block.

The stored labels of a plane are those of its ledger until it is linked. Tables from them to lasting labels
are found by counting overlaps block by block, so that memory holds one block of two planes and not the
stack. Then every block is rewritten by its plane's table. A table is one to one within a plane, so that a
linked block can also be brought back: for a part of the image that can be read after all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence

import numpy as np

from napari_cupre.data.image import PlaneIndex
from napari_cupre.events import Event, Notice, Progress
from napari_cupre.prediction.ledger import Ledger
from napari_cupre.prediction.link import Links, Numbering, Overlap
from napari_cupre.prediction.stack import TilePainted
from napari_cupre.prediction.stitch import LabelArray, Patch
from napari_cupre.prediction.tiles import Region

BLOCK = 2048
"""Side of what is counted and rewritten at once, px; a whole number of stored chunks."""


class StoredLinker:
    """Links the planes of one stored label image.

    Parameters
    ----------
    planes : int32 (Y, X) each, all of one shape.
    indices : where each of them lies.
    ledger : remembers the tables, and which blocks are linked.
    name : of the image, for the user.
    stop : asked after every block.
    """

    def __init__(
        self,
        planes: Sequence[LabelArray],
        indices: Sequence[PlaneIndex],
        ledger: Ledger,
        name: str,
        stop: Callable[[], bool],
    ) -> None:
        self._planes, self._indices, self._ledger = planes, indices, ledger
        self._name, self._stop = name, stop
        rows, columns = (int(side) for side in planes[0].shape)
        self._blocks = [
            Region(y, x, min(y + BLOCK, rows), min(x + BLOCK, columns))
            for y in range(0, rows, BLOCK)
            for x in range(0, columns, BLOCK)
        ]

    def link(self, asked: Links) -> Generator[Event, None, bool]:
        """Link what is not linked; returns False if stopped before the end."""
        if self._ledger.linking() is None:
            yield Notice("Joining the planes.")
            tables = yield from self._tables(asked)
            if tables is None:
                return False
            self._ledger.begin_linking(asked, tables)
        return (yield from self._rewrite(linked=True))

    def unlink(self) -> Generator[Event, None, bool]:
        """Give every plane the labels back that it had before; returns False if stopped before the end."""
        yield Notice("Parting the planes again, to fill in what is missing or to join them in another way.")
        done = yield from self._rewrite(linked=False)
        if done:
            self._ledger.end_linking()
        return done

    def _rewrite(self, *, linked: bool) -> Generator[Event, None, bool]:
        """Bring every block into the one state or the other."""
        total = len(self._planes) * len(self._blocks)
        for number, (plane, index) in enumerate(zip(self._planes, self._indices)):
            table = self._ledger.link_table(number)
            table = table if linked else _inverse(table)
            finished = self._ledger.linked(number)
            for block, region in enumerate(self._blocks):
                if (block in finished) == linked:
                    continue
                before = np.asarray(plane[region.slices])
                after = table[before]
                if not np.array_equal(before, after):
                    self._ledger.keep(number, Patch(region, before, after, np.zeros(0, np.int64)))
                    plane[region.slices] = after
                    yield TilePainted(index, region.y0, region.x0, after)
                self._ledger.enter_linked(number, block, linked)
                done = number * len(self._blocks) + block + 1
                yield Progress(done, total, self._name)
                if done < total and self._stop():
                    return False
        return True

    def _tables(self, asked: Links) -> Generator[Event, None, list[np.ndarray] | None]:
        """The lasting label of every label of each plane; None if stopped."""
        frames = frames_of(self._indices)
        total = len(self._planes) * (2 if asked.t else 1)
        done = 0
        tables: list[np.ndarray] = [np.zeros(1, np.int32)] * len(self._planes)
        for frame in frames:
            numbering = Numbering()
            for before, number in zip([None, *frame], frame, strict=False):
                overlap = Overlap()
                for region in self._blocks:
                    first = self._planes[before][region.slices] if asked.z and before is not None else None
                    overlap.add(first, np.asarray(self._planes[number][region.slices]))
                tables[number] = numbering.follow(overlap)
                done += 1
                yield Progress(done, total, self._name)
                if self._stop():
                    return None
        if not asked.t:
            return tables
        numbering = Numbering()
        lasting = list(tables)
        earlier: list[int] | None = None
        for frame in frames:
            overlap = Overlap()
            for place, number in enumerate(frame):
                for region in self._blocks:
                    first = None if earlier is None else self._numbered(tables, earlier[place], region)
                    overlap.add(first, self._numbered(tables, number, region))
                done += 1
                yield Progress(done, total, self._name)
                if self._stop():
                    return None
            through = numbering.follow(overlap)
            for number in frame:
                lasting[number] = through[tables[number]]
            earlier = frame
        return lasting

    def _numbered(self, tables: Sequence[np.ndarray], number: int, region: Region) -> np.ndarray:
        return tables[number][self._planes[number][region.slices]]


def frames_of(indices: Sequence[PlaneIndex]) -> list[list[int]]:
    """The numbers of the planes of each time point, both in their order."""

    def time(number: int) -> int:
        return indices[number].get("T", 0)

    order = sorted(range(len(indices)), key=lambda number: (time(number), indices[number].get("Z", 0)))
    return [list(frame) for _, frame in itertools.groupby(order, time)]


def lasting_cells(
    ledger: Ledger, planes: int
) -> Iterator[tuple[int, int, float, float, float, float, float, int]]:
    """`Ledger.cells` with the labels that they have now, without those of which overlaps left no px."""
    if ledger.linking() is None:
        yield from ledger.cells()
        return
    tables = [ledger.link_table(number) for number in range(planes)]
    for plane, label, y0, x0, y1, x1, score, category in ledger.cells():
        table = tables[plane]
        if label < len(table) and table[label]:
            yield plane, int(table[label]), y0, x0, y1, x1, score, category


def count_linked(ledger: Ledger, indices: Sequence[PlaneIndex]) -> int:
    """Number of linked cells; without links through time, of each time point's."""
    frames = frames_of(indices)
    highest = [max(int(ledger.link_table(number).max(initial=0)) for number in frame) for frame in frames]
    links = ledger.linking()
    return max(highest) if links is not None and links.t else sum(highest)


def _inverse(table: np.ndarray) -> np.ndarray:
    """The table from lasting labels back to a plane's own."""
    back = np.zeros(int(table.max(initial=0)) + 1, dtype=np.int32)
    own = np.flatnonzero(table)
    back[table[own]] = own
    return back
