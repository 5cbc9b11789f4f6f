"""The prediction engine: find cells in every tile of every plane, and paint them on a canvas."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from napari_cupre.data.image import PlaneIndex
from napari_cupre.errors import InputError
from napari_cupre.events import Event, Notice, Progress, TileDone
from napari_cupre.prediction.canvas import Canvas, LabelArray
from napari_cupre.prediction.choice import Choice, choose_for
from napari_cupre.prediction.detecting import CellFinder
from napari_cupre.prediction.emptiness import sure_in_noise
from napari_cupre.prediction.instances import Instances
from napari_cupre.prediction.ledger import Ledger
from napari_cupre.prediction.plan import Plan, plan_plane
from napari_cupre.prediction.predict_options import PredictOptions
from napari_cupre.prediction.reader import PlaneSource, Reader
from napari_cupre.prediction.stitch import Found, Stitcher, TilePatch
from napari_cupre.prediction.tiles import Tile, Window

MARGIN = 4.0
"""Margin around its core in which a tile keeps a cell, in network px."""

TOLERANCE = 2.0
"""A cell this close to the border of the pixels read counts as cut, in network px."""

Patches = Iterator[tuple[Tile, TilePatch | InputError]]


@dataclass(frozen=True)
class PlaneFound(Event):
    """One plane is done; its labels are not yet linked to other planes.

    Attributes
    ----------
    index : dict of str to int
        Position of the plane along T and Z.
    instances : Instances
        Its cells.
    """

    index: PlaneIndex
    instances: Instances


class Filling:
    """Fills a canvas with the labels of an image.

    Parameters
    ----------
    detector : CellFinder
        The network, made ready.
    source : PlaneSource
        The planes of the image, read one at a time and tile by tile.
    options : PredictOptions
        The user's choices; planes are not linked here.
    canvas : Canvas
        The canvas to paint on.
    ledger : Ledger, optional
        Records tiles and cells, so that an interrupted job can continue; without one, the cells of each plane
        are kept in memory.
    should_stop : callable, optional
        Asked after every tile but the last; returns bool.

    Attributes
    ----------
    diameter : float
        Cell diameter in image px that sets the scale of the image.
    planes : list of (PlaneIndex, Instances)
        The planes of which at least a part could be read; only without a ledger.
    stopped : bool
        Whether it was stopped before the end.
    complete : bool
        Whether everything requested could be read and is done.
    continues : bool
        Whether an earlier run did a part.

    Raises
    ------
    InputError
        If an option is out of its range, or an image of a single piece cannot be read.
    """

    def __init__(
        self,
        detector: CellFinder,
        source: PlaneSource,
        options: PredictOptions,
        canvas: Canvas,
        ledger: Ledger | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        self._detector, self._source, self._options = detector, source, options
        self._canvas, self._ledger, self._should_stop = canvas, ledger, should_stop
        self._indices = list(source.plane_indices())
        self.planes: list[tuple[PlaneIndex, Instances]] = []
        self.stopped = False
        self._has_failed = False
        self._found: Found | None = None
        self._put_back()
        choice = self._look() if ledger is None else ledger.choice(self._look)
        self.diameter, self._score = choice.diameter, choice.score
        self._plan = self._planned()
        self._total = len(self._indices) * len(self._plan.tiles)
        self._seen = self._painted = sum(len(self._done(n)) for n in range(len(self._indices)))
        self.continues = self._painted > 0

    @property
    def complete(self) -> bool:
        """Whether everything requested could be read and is done."""
        return not (self.stopped or self._has_failed)

    def events(self) -> Iterator[Event]:
        """Do the remaining tiles.

        Yields
        ------
        Event
            `Progress` in tiles, `TileDone`, `PlaneFound` without a ledger, and a `Notice` for what cannot be
            read.

        Raises
        ------
        InputError
            If nothing of the image can be read.
        """
        if self.continues:
            yield Notice(f"{self._painted} of {self._total} tiles are already done; continuing from there.")
        for number in range(len(self._indices)):
            yield from self._plane(number)
            if self.stopped:
                return

    def _plane(self, number: int) -> Iterator[Event]:
        """Do the remaining tiles of a plane."""
        index = self._indices[number]
        finished = self._done(number)
        todo = [tile for tile in self._plan.tiles if tile.index not in finished]
        if not todo:
            return
        try:
            read = self._source.reader(index)
        except InputError as error:
            yield from self._failed(number, todo, error)
            return
        labels = self._canvas.plane(index)
        stitcher = stitcher_for(self._plan, labels, keep_masks=self._ledger is None)
        if self._ledger is not None:
            stitcher.restore(self._ledger.records(number))
        painted = 0
        for tile, patch in self._patches(stitcher, read, todo):
            if isinstance(patch, InputError):
                yield from self._failed(number, [tile], patch)
            else:
                yield from self._done_tile(number, tile, patch, stitcher)
                painted += 1
            if self.stopped:
                break
        if self._ledger is None and painted:
            whole = self._canvas.plane(index)[...]
            found = stitcher.instances(whole, self.diameter, complete=painted == len(todo))
            self.planes.append((index, found))
            yield PlaneFound(index, found)

    def _patches(self, stitcher: Stitcher, read: Reader, todo: list[Tile]) -> Patches:
        """Yield what each tile changes, or why it cannot be read."""
        if self._found is not None:
            found, self._found = self._found, None
            return iter([(todo[0], stitcher.add(todo[0], found))])
        is_asked = self._options.score is not None
        return run_tiles(self._detector, self._plan, stitcher, read, self._score, todo, is_asked=is_asked)

    def _done_tile(self, number: int, tile: Tile, patch: TilePatch, stitcher: Stitcher) -> Iterator[Event]:
        """Write what a tile changes; keep what it replaces until the tile is entered as done."""
        if self._ledger is not None:
            self._ledger.keep(number, patch)
        stitcher.commit(patch)
        if self._ledger is not None:
            self._ledger.enter(number, tile.index, patch.rows, stitcher.records)
        self._painted += 1
        yield TileDone(self._indices[number], patch.window.y0, patch.window.x0, patch.after)
        yield from self._after(1)

    def _failed(self, number: int, tiles: list[Tile], error: InputError) -> Iterator[Event]:
        """Report a part that cannot be read; with a ledger, the next run tries it again."""
        self._has_failed = True
        if self._seen + len(tiles) == self._total and not self._painted:
            raise error
        fault = str(error)
        if self._ledger is not None:
            fault += " Then run the same again to fill that part."
            for tile in tiles:
                self._ledger.fail(number, tile.index, fault)
        yield Notice(fault)
        yield from self._after(len(tiles))

    def _after(self, tiles: int) -> Iterator[Progress]:
        """Count more finished tiles; if some are left, ask whether to stop."""
        self._seen += tiles
        yield Progress(self._seen, self._total, self._source.name)
        if self._should_stop is not None and self._seen < self._total:
            self.stopped = self._should_stop()

    def _look(self) -> Choice:
        choice, self._found = choose_for(
            self._detector, self._source, self._options, self._canvas.largest_tile
        )
        return choice

    def _planned(self) -> Plan:
        return plan_plane(
            self._source.plane_shape,
            self._detector.diameter,
            self.diameter,
            self._options.tile,
            self._canvas.largest_tile,
        )

    def _done(self, number: int) -> set[int]:
        """Return the painted tiles of a plane."""
        return set() if self._ledger is None else self._ledger.done(number)

    def _put_back(self) -> None:
        """Undo a tile whose writing was interrupted when the last run ended."""
        undone = None if self._ledger is None else self._ledger.undone()
        if self._ledger is None or undone is None:
            return
        number, window, labels = undone
        self._canvas.plane(self._indices[number])[window.slices] = labels
        self._ledger.forget_undo()


def stitcher_for(plan: Plan, canvas: LabelArray, *, keep_masks: bool = True) -> Stitcher:
    """Return the stitcher that joins the tiles of a plan on a label array."""
    return Stitcher(
        canvas,
        plan.tiles,
        margin=MARGIN / plan.factor,
        tolerance=max(1.0, TOLERANCE / plan.factor),
        keep_masks=keep_masks,
    )


def run_tiles(
    detector: CellFinder,
    plan: Plan,
    stitcher: Stitcher,
    read: Callable[[Window], np.ndarray],
    score: float,
    tiles: list[Tile],
    *,
    is_asked: bool,
) -> Patches:
    """Detect and place tiles of a plan; the caller commits each patch before it asks for the next.

    Parameters
    ----------
    detector : CellFinder
        The network.
    plan : Plan
        The plan, with the scale.
    stitcher : Stitcher
        The stitcher that makes the patches.
    read : callable
        Returns a window of the image, float32 (Y, X, 3), normalised; may raise `InputError`.
    score : float
        Minimum score of a cell.
    tiles : list of Tile
        The tiles to do.
    is_asked : bool
        Whether the user gave that score; if not, noise needs a higher one.

    Yields
    ------
    tile : Tile
        One of `tiles`.
    patch : Patch or InputError
        What it changes, or the reason why it cannot be read.
    """
    if not tiles:
        return
    batch = detector.batch_size(tiles[0].read.shape, plan.factor)
    for alike in _batches(tiles, batch):
        group: list[Tile] = []
        pieces: list[np.ndarray] = []
        for tile in alike:
            try:
                pieces.append(read(tile.read))
                group.append(tile)
            except InputError as error:
                yield tile, error
        found = detector(pieces, plan.factor, score) if pieces else []
        for tile, piece, cells in zip(group, pieces, found):
            kept = cells if is_asked else sure_in_noise(piece, cells)
            yield tile, stitcher.add(tile, _moved(kept, tile.read))


def _batches(tiles: Iterable[Tile], size: int) -> Iterator[list[Tile]]:
    """Yield the tiles in order, up to `size` of one shape at a time."""
    for _, group in itertools.groupby(tiles, key=lambda tile: tile.read.shape):
        alike = list(group)
        yield from (alike[start : start + size] for start in range(0, len(alike), size))


def _moved(found: Found, read: Window) -> Found:
    """Move detections of a tile to the coordinates of the image."""
    corner = np.array([read.x0, read.y0, read.x0, read.y0], dtype=np.float32)
    return replace(found, boxes=found.boxes + corner)
