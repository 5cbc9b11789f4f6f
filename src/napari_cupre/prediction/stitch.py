"""Join the detections of all tiles in one label array, so that each cell is there once and whole.

Each tile is painted as soon as it arrives, so that the same code serves a numpy array and a Zarr array larger
than memory. The labels of earlier tiles are read back from the label array: a detection that lies mostly on
an instance of another tile is the same cell (see `meeting`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_cupre.model.paint import falling_order, foreground
from napari_cupre.prediction.canvas import LabelArray
from napari_cupre.prediction.instances import Instances, Masks, union_mask
from napari_cupre.prediction.meeting import DOUBLE, NEW, SharedShare, Verdict, find_meetings, judge
from napari_cupre.prediction.tidy import tidy_labels
from napari_cupre.prediction.tiles import Tile, Window, cut, owned

RECORD = np.dtype(
    [
        ("box", np.float32, 4),
        ("score", np.float32),
        ("kind", np.int32),
        ("tile", np.int32),
        ("cut", np.bool_),
        ("alive", np.bool_),
    ]
)
"""The record of label i is in row i - 1; `kind` is the class."""


@dataclass
class Found:
    """Detections of one tile in image px: boxes (N, 4), scores (N,), kinds (N,), masks (N, S, S)."""

    boxes: np.ndarray
    scores: np.ndarray
    kinds: np.ndarray
    masks: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: np.ndarray) -> Found:
        """Keep the given rows, in their order."""
        return Found(self.boxes[rows], self.scores[rows], self.kinds[rows], self.masks[rows])


@dataclass
class TilePatch:
    """The changes made by one tile.

    Attributes
    ----------
    window : Window
        The pixels to rewrite.
    before, after : numpy.ndarray
        int32, the old and the new labels of these pixels.
    rows : numpy.ndarray
        Rows of the records that may have changed.
    """

    window: Window
    before: np.ndarray
    after: np.ndarray
    rows: np.ndarray


@dataclass
class _Block:
    """A part of the label array with its labels renumbered: `ids[k]` is the label of value k."""

    window: Window
    local: np.ndarray
    ids: np.ndarray
    known: np.ndarray  # the records of ids[1:], with a dummy for the background in front


class Stitcher:
    """Paints tile after tile into one label array.

    Parameters
    ----------
    canvas : LabelArray
        int32 (Y, X), all zeros at the start.
    tiles : list of Tile
        The plan.
    margin : float
        How far outside its core a tile keeps cells, in image px.
    tolerance : float
        A box this near to the border of the pixels read counts as cut, in image px.
    keep_masks : bool, optional
        Whether to keep the small masks for `instances`.
    """

    def __init__(
        self,
        canvas: LabelArray,
        tiles: list[Tile],
        *,
        margin: float,
        tolerance: float,
        keep_masks: bool = True,
    ) -> None:
        self.canvas = canvas
        self.shape = (int(canvas.shape[0]), int(canvas.shape[1]))
        self.tiles = tiles
        self.margin = margin
        self.tolerance = tolerance
        self._masks: list[np.ndarray] | None = [] if keep_masks else None
        self._records = np.zeros(0, dtype=RECORD)
        self._count = 0

    @property
    def records(self) -> np.ndarray:
        """Return one row per label that was ever used (see `RECORD`)."""
        return self._records[: self._count]

    def restore(self, records: np.ndarray) -> None:
        """Restore the records of an interrupted job, which kept no masks."""
        self._records = np.array(records, dtype=RECORD)
        self._count = len(records)

    def add(self, tile: Tile, found: Found) -> TilePatch:
        """Place the detections of one tile; `commit` writes the result."""
        found = found.take(np.flatnonzero(owned(found.boxes, tile, self.shape, self.margin)))
        new_cut = cut(found.boxes, tile, self.shape, self.tolerance)
        window = self._window(tile, found)
        before = np.array(self.canvas[window.slices], dtype=np.int32)
        block = self._block(before, window)
        verdict = self._judge(block, found, new_cut, tile)
        rows = self._remember(block, found, new_cut, verdict, tile)
        after = self._paint(block, found, verdict, rows)
        return TilePatch(window, before, after, np.concatenate([block.ids[1:] - 1, rows]))

    def commit(self, patch: TilePatch) -> None:
        """Write what a tile changed into the label array."""
        self.canvas[patch.window.slices] = patch.after

    def instances(self, labels: np.ndarray, diameter: float, complete: bool = True) -> Instances:
        """Return all cells by falling score; `labels` is renumbered from 1 in place."""
        alive = np.flatnonzero(self.records["alive"])
        rows = alive[falling_order(self.records["score"][alive])]
        renumber = np.zeros(self._count + 1, dtype=np.int32)
        renumber[rows + 1] = np.arange(1, len(rows) + 1)
        if not np.array_equal(renumber, np.arange(len(renumber))):
            labels[...] = renumber[labels]
        kept = self.records[rows]
        small = [self._masks[row] for row in rows] if self._masks is not None else []
        grids = np.stack(small) if small else np.zeros((0, 28, 28), dtype=np.float32)
        boxes = np.ascontiguousarray(kept["box"])
        masks = Masks(grids, boxes, self.shape)
        kinds = kept["kind"].astype(np.int64)
        return Instances(labels, boxes, kept["score"].copy(), masks, kinds, diameter, complete)

    def _window(self, tile: Tile, found: Found) -> Window:
        """Return the window that was read, widened to every cut instance that a detection might complete."""
        window = tile.read
        known = self.records
        for box in known["box"][known["alive"] & known["cut"]]:
            meets = (found.boxes[:, :2] < box[2:]).all(axis=1) & (found.boxes[:, 2:] > box[:2]).all(axis=1)
            if meets.any():
                low, high = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
                whole = Window(low[1], low[0], high[1], high[0]).intersect(Window(0, 0, *self.shape))
                window = window.around(whole)
        return window

    def _block(self, before: np.ndarray, window: Window) -> _Block:
        """Renumber the labels of a window, so that no table grows with the whole image."""
        if not before.any():
            return _Block(window, before, np.zeros(1, dtype=np.int64), np.zeros(1, RECORD))
        ids = np.flatnonzero(np.bincount(before.reshape(-1), minlength=1))
        ids = ids if len(ids) and ids[0] == 0 else np.concatenate([[0], ids])
        to_local = np.zeros(int(ids[-1]) + 1, dtype=np.int32)
        to_local[ids] = np.arange(len(ids))
        known = np.concatenate([np.zeros(1, RECORD), self.records[ids[1:] - 1]])
        return _Block(window, to_local[before], ids, known)

    def _judge(self, block: _Block, found: Found, new_cut: np.ndarray, tile: Tile) -> Verdict:
        if len(block.ids) == 1:
            return Verdict(np.full(len(found), NEW, dtype=np.int64))
        boxes = _shifted(found.boxes, block.window)
        shape = block.window.shape
        meetings = find_meetings(foreground(boxes, found.masks, shape), block.local, len(found))
        old_cut = block.known["cut"]
        pieces = Masks(found.masks, boxes, shape)
        masks = {int(new): pieces.full(int(new)) for new in np.flatnonzero(new_cut)}
        zones = {}
        for old in np.flatnonzero(old_cut).tolist():
            zone = tile.read.intersect(self.tiles[int(block.known["tile"][old])].read)
            zones[old] = zone.moved(-block.window.y0, -block.window.x0).slices
        return judge(meetings, new_cut, old_cut, SharedShare(masks, block.local, zones))

    def _remember(
        self, block: _Block, found: Found, new_cut: np.ndarray, verdict: Verdict, tile: Tile
    ) -> np.ndarray:
        """Add new records and widen those that got a piece; return the rows of the new ones."""
        new = np.flatnonzero(verdict.fate == NEW)
        rows = self._append(found.take(new), new_cut[new], tile)
        table = self._records
        for piece, whole in verdict.merged.items():
            row = int(block.ids[piece]) - 1
            mask = self._masks[row] if self._masks is not None else None
            self._widen(int(block.ids[whole]) - 1, table["box"][row].copy(), float(table["score"][row]), mask)
        for index in np.flatnonzero(verdict.fate > 0):
            row = int(block.ids[verdict.fate[index]]) - 1
            self._widen(row, found.boxes[index], float(found.scores[index]), found.masks[index])
            table["tile"][row] = tile.index
        gone = [*verdict.erased, *verdict.merged]
        table["alive"][block.ids[gone] - 1] = False
        return rows

    def _append(self, new: Found, new_cut: np.ndarray, tile: Tile) -> np.ndarray:
        """Add records for new cells; return their rows."""
        rows = np.arange(self._count, self._count + len(new))
        self._make_room(len(new))
        table = self._records
        table["box"][rows], table["score"][rows] = new.boxes, new.scores
        table["kind"][rows], table["tile"][rows] = new.kinds, tile.index
        table["cut"][rows], table["alive"][rows] = new_cut, True
        if self._masks is not None:
            self._masks.extend(new.masks)
        return rows

    def _make_room(self, count: int) -> None:
        self._count += count
        if self._count > len(self._records):
            larger = np.zeros(max(2 * len(self._records), self._count, 1024), dtype=RECORD)
            larger[: len(self._records)] = self._records
            self._records = larger

    def _widen(self, row: int, box: np.ndarray, score: float, mask: np.ndarray | None) -> None:
        """Widen a record by another piece of its cell."""
        record = self._records[row]
        both = np.concatenate(
            [np.minimum(record["box"][:2], box[:2]), np.maximum(record["box"][2:], box[2:])]
        )
        if self._masks is not None and mask is not None:
            self._masks[row] = union_mask([self._masks[row], mask], [record["box"].copy(), box], both)
        record["box"] = both
        record["score"] = max(float(record["score"]), score)

    def _paint(self, block: _Block, found: Found, verdict: Verdict, rows: np.ndarray) -> np.ndarray:
        """Return the labels of the block with the detections painted in."""
        ids = np.concatenate([block.ids, rows + 1])
        local = _settled(block, verdict)
        value = np.where(verdict.fate > 0, verdict.fate, 0).astype(np.int32)
        value[verdict.fate == NEW] = np.arange(len(block.ids), len(ids))
        score = np.concatenate([[-np.inf], self._records["score"][ids[1:] - 1]])
        _overpaint(local, block, found, verdict, value, score)
        self._tidy(local, ids, block.window)
        is_same = np.array_equal(ids, np.arange(len(ids)))  # as in the first tile
        return local if is_same else ids[local].astype(np.int32)

    def _tidy(self, local: np.ndarray, ids: np.ndarray, window: Window) -> None:
        """Tidy the cells that lie entirely in the block; cells without a pixel left are marked as dead."""
        box = self._records["box"][ids[1:] - 1]
        outside = (box[:, 0] < window.x0) & (window.x0 > 0)
        outside |= (box[:, 1] < window.y0) & (window.y0 > 0)
        outside |= (box[:, 2] > window.x1) & (window.x1 < self.shape[1])
        outside |= (box[:, 3] > window.y1) & (window.y1 < self.shape[0])
        held = np.flatnonzero(outside) + 1
        area = np.zeros(len(ids), dtype=np.int64)
        found = tidy_labels(local, held=held)
        area[: len(found)] = found
        area[held] = 1
        self._records["alive"][ids[1:][area[1:] == 0] - 1] = False


def _settled(block: _Block, verdict: Verdict) -> np.ndarray:
    """Return a copy of a block's labels without erased instances; merged ones get one label."""
    if not verdict.erased and not verdict.merged:
        return block.local.copy()
    lasting = np.arange(len(block.ids), dtype=np.int32)
    lasting[list(verdict.erased)] = 0
    for piece, whole in verdict.merged.items():
        lasting[piece] = whole
    return lasting[block.local]


def _overpaint(
    local: np.ndarray, block: _Block, found: Found, verdict: Verdict, value: np.ndarray, score: np.ndarray
) -> None:
    """Paint each detection as its `value` into `local`, in place; the higher score keeps a pixel.

    `score` has the score of each value in `local`.
    """
    flat = local.reshape(-1)
    order = falling_order(found.scores)[::-1]
    order = order[verdict.fate[order] != DOUBLE]
    boxes = _shifted(found.boxes, block.window)
    for part in foreground(boxes, found.masks, block.window.shape, order):
        if len(block.ids) > 1:
            wins = found.scores[part.instance] >= score[flat[part.pixel]]
            flat[part.pixel[wins]] = value[part.instance[wins]]
        else:
            flat[part.pixel] = value[part.instance]


def _shifted(boxes: np.ndarray, window: Window) -> np.ndarray:
    """Return boxes relative to a window."""
    corner = np.array([window.x0, window.y0, window.x0, window.y0], dtype=np.float64)
    return (boxes - corner).astype(np.float32)
