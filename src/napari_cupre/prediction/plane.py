"""Predicting one plane of any size: scaled to the network's cells, tile by tile, painted once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.events import Notice
from napari_cupre.model.backbone import STRIDES
from napari_cupre.model.checkpoint import Model
from napari_cupre.prediction.detector import Detector
from napari_cupre.prediction.diameter import View, another, estimate, fits, look, summary
from napari_cupre.prediction.instances import Instances
from napari_cupre.prediction.stitch import Found, LabelArray, Patch, Stitcher
from napari_cupre.prediction.tiles import Region, Tile, plan_tiles

DEFAULT_SCORE = 0.5
"""What is asked of a cell where nothing is estimated from the image."""

DEFAULT_TILE = 1024
"""Side of a tile in network px."""

LARGEST_TILE = 4096
"""Side of a tile in image px, for images whose cells are much larger than the network's."""

MAX_FACTOR = 8.0
"""Images are never stretched or shrunk more than this."""

HALO_DIAMETERS = 2.0
MIN_HALO = 64.0
"""What a tile reads around its core: so many network px at least."""

MAX_RESCALED = 0.005
"""Share by which the scale may be off so that tiles fit the network's grid."""

MARGIN = 4.0
"""How far beside its core a tile keeps a cell, in network px."""

TOLERANCE = 2.0
"""A cell that comes this near to the end of what was read counts as cut, in network px."""


@dataclass(frozen=True)
class Plan:
    """How a plane is scaled and cut.

    Attributes
    ----------
    diameter : cell diameter in image px.
    factor : network px per image px.
    tiles : the tiles, row by row.
    """

    diameter: float
    factor: float
    tiles: list[Tile]

    def stitcher(self, canvas: LabelArray, keep_masks: bool = True) -> Stitcher:
        """What puts these tiles together on a label array."""
        return Stitcher(
            canvas,
            self.tiles,
            margin=MARGIN / self.factor,
            tolerance=max(1.0, TOLERANCE / self.factor),
            keep_masks=keep_masks,
        )


@dataclass(frozen=True)
class TileDone:
    """One more tile is painted: `labels` (int32) are those of `region` as they are now."""

    done: int
    total: int
    region: Region
    labels: np.ndarray


def plan_plane(
    shape: tuple[int, int],
    network_diameter: float,
    diameter: float,
    tile: int | None = None,
    largest: int = LARGEST_TILE,
) -> Plan:
    """Choose scale and tiles for a plane.

    Parameters
    ----------
    shape : (Y, X) in image px.
    network_diameter : cell diameter in network px.
    diameter : cell diameter in image px.
    tile : side of a tile in network px; None = `DEFAULT_TILE`. Tiles that would hold little but
        halo are made larger.
    largest : longest side of a tile in image px.

    Raises
    ------
    InputError
        If the diameter or the tile is not positive.
    """
    if not (math.isfinite(diameter) and diameter > 0):
        raise InputError(f"A cell diameter of {diameter} px cannot be used: give one above 0.")
    if tile is not None and tile < 1:
        raise InputError(f"A tile of {tile} px cannot be used: give 256 or more.")
    factor, step = aligned(min(max(network_diameter / diameter, 1 / MAX_FACTOR), MAX_FACTOR))
    halo = max(HALO_DIAMETERS * network_diameter, MIN_HALO)
    side = max(DEFAULT_TILE if tile is None else tile, 3 * halo)
    halo_px = math.ceil(halo / factor)
    side_px = max(min(math.floor(side / factor), largest), 3 * halo_px, 2 * halo_px + step)
    return Plan(diameter, factor, plan_tiles(shape, side_px, halo_px, step))


def aligned(factor: float) -> tuple[float, int]:
    """A scale near `factor` and a step in image px that is then a whole number of the network's coarsest
    grid cells.

    Tiles that start at multiples of the step see exactly the pixels and grid that the whole image in one
    piece would have; else a cell that is barely found or not depends on where its tile begins.
    """
    coarsest = STRIDES[-1]
    cells = 1
    while True:
        step = max(1, round(coarsest * cells / factor))
        near = coarsest * cells / step
        if abs(near / factor - 1) <= MAX_RESCALED:
            return near, step
        cells += 1


def check_score(score: float | None) -> None:
    """Raise `InputError` if a score is not between 0 and 1."""
    if score is not None and not 0 <= score <= 1:
        raise InputError(f"A score of {score} cannot be used: give one between 0 and 1.")


class Choice(NamedTuple):
    """By what an image is predicted.

    Attributes
    ----------
    diameter : of the cells in image px.
    score : the least of a cell.
    doubt : whether `diameter` is what the model was trained for and the image has not been asked.
    """

    diameter: float
    score: float
    doubt: bool = False


def must_look(
    detector: Detector, shape: tuple[int, int], planes: int, diameter: float | None, tile: int | None
) -> bool:
    """Whether `choose` has to see parts of an image of `planes` planes of `shape` (Y, X) px.

    Not if the diameter is asked for. Nor if the model was trained for one and the image is a single
    piece: that is predicted first, and what is found says whether the diameter fits (`iter_plane`).
    """
    known = detector.model.info.diameter
    if diameter is not None:
        return False
    return known is None or planes > 1 or len(plan_plane(shape, detector.diameter, known, tile).tiles) > 1


def choose(
    detector: Detector, pieces: list[np.ndarray] | None, diameter: float | None, score: float | None
) -> Choice:
    """The diameter as asked for, else as trained for unless another is seen in `pieces`, else as seen.

    Where the diameter is seen in the image, the score, if it is None, is what is seen too; else it is
    `DEFAULT_SCORE`. Where no cell is seen, the diameter is the model's or the network's own. Where the image
    need not be seen (None, see `must_look`) a diameter that the model was trained for is in doubt; where it
    cannot be (an empty list) it stands.

    Raises
    ------
    InputError
        If the score is not between 0 and 1.
    """
    check_score(score)
    asked = DEFAULT_SCORE if score is None else score
    if diameter is not None:
        return Choice(float(diameter), asked)
    known = detector.model.info.diameter
    if known is None:
        seen = estimate(detector, pieces) if pieces else None
        return Choice(detector.diameter, asked) if seen is None else _as_seen(seen, score)
    if pieces is None:
        return Choice(known, asked, doubt=True)
    if not pieces or fits(own := look(detector, pieces, known), known):
        return Choice(known, asked)
    seen = another(detector, pieces, known, own)
    return Choice(known, asked) if seen is None else _as_seen(seen, score)


def _as_seen(seen: View, score: float | None) -> Choice:
    return Choice(seen.diameter, seen.certainty if score is None else score)


def run_tiles(
    detector: Detector,
    plan: Plan,
    stitcher: Stitcher,
    read: Callable[[Region], np.ndarray],
    score: float,
    tiles: list[Tile] | None = None,
) -> Iterator[tuple[Tile, Patch | InputError]]:
    """Detect and place tiles of a plan; the caller commits each patch before it asks for the next.

    Parameters
    ----------
    read : gives a region of the image, float32 (Y, X, 3), normalised; may raise `InputError`.
    tiles : those that are still to do; None = all.

    Yields
    ------
    Each tile with what it changes, or with the reason why it cannot be read.
    """
    tiles = plan.tiles if tiles is None else tiles
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
        for tile, cells in zip(group, found):
            yield tile, stitcher.add(tile, _moved(cells, tile.read))


def _batches(tiles: list[Tile], size: int) -> Iterator[list[Tile]]:
    """The tiles in their order, up to `size` of one shape at a time."""
    for _, group in itertools.groupby(tiles, key=lambda tile: tile.read.shape):
        alike = list(group)
        yield from (alike[start : start + size] for start in range(0, len(alike), size))


def _moved(found: Found, read: Region) -> Found:
    """Detections of a tile in the coordinates of the image."""
    corner = np.array([read.x0, read.y0, read.x0, read.y0], dtype=np.float32)
    return replace(found, boxes=found.boxes + corner)


def predict_plane(
    model: Model | Detector,
    image: np.ndarray,
    *,
    diameter: float | None = None,
    score: float | None = None,
    tile: int | None = None,
    on_tile: Callable[[TileDone], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Instances:
    """Find every cell of one plane.

    Parameters
    ----------
    model : or a `Detector`, which saves making it ready again for every plane.
    image : float32 (Y, X, 3), normalised (see `napari_cupre.data.image.normalise`).
    diameter : of the cells in image px; None takes the model's, or estimates it from the image where the
        model has none or the image clearly shows cells of another size.
    score : cells that the network is less sure of are left out, 0..1; None asks for 0.5, or, where the
        diameter is estimated, for 0.35 to 0.7 by how sure the network is of the image.
    tile : side of a tile in network px; images that fit in one go in one piece.
    on_tile : told after every tile.
    should_stop : asked after every tile; what is done by then is returned, `complete` is False.

    Raises
    ------
    InputError
        If the image is not a plane of three channels, or an option is out of its range.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(
            f"A plane of shape (Y, X, 3) is needed, this one has {image.shape}: normalise it first."
        )
    detector = model if isinstance(model, Detector) else Detector(model)
    shape = (image.shape[0], image.shape[1])
    pieces = [image] if must_look(detector, shape, 1, diameter, tile) else None
    steps = iter_plane(
        detector,
        lambda region: image[region.slices],
        shape,
        choice=choose(detector, pieces, diameter, score),
        score=score,
        tile=tile,
        should_stop=should_stop or (lambda: False),
    )
    while True:
        try:
            done = next(steps)
        except StopIteration as end:
            return end.value
        if on_tile is not None and isinstance(done, TileDone):
            on_tile(done)


def iter_plane(
    detector: Detector,
    read: Callable[[Region], np.ndarray],
    shape: tuple[int, int],
    *,
    choice: Choice,
    score: float | None,
    tile: int | None,
    should_stop: Callable[[], bool],
) -> Generator[TileDone | Notice, None, Instances]:
    """`predict_plane` as a generator for a plane that is read by region.

    A choice that is in doubt needs a plane of one tile: what is found in it confirms the diameter, or
    the plane is predicted anew by the one that is seen.

    Yields `TileDone` after every tile, or a `Notice` for one that cannot be read, and returns the
    instances. Raises `InputError` if none can be read.
    """
    plan = plan_plane(shape, detector.diameter, choice.diameter, tile)
    found: Found | None = None
    if choice.doubt:
        piece = read(plan.tiles[0].read)
        found = detector([piece], plan.factor, choice.score)[0]
        own = summary([found], plan.factor, float(shape[0] * shape[1]))
        if not fits(own, choice.diameter):
            seen = another(detector, [piece], choice.diameter, own)
            if seen is not None:
                choice, found = _as_seen(seen, score), None
                plan = plan_plane(shape, detector.diameter, choice.diameter, tile)
    labels = np.zeros(shape, dtype=np.int32)
    stitcher = plan.stitcher(labels)
    total, failed = len(plan.tiles), 0
    patches: Iterator[tuple[Tile, Patch | InputError]]
    if found is None:
        patches = run_tiles(detector, plan, stitcher, read, choice.score)
    else:
        patches = iter([(plan.tiles[0], stitcher.add(plan.tiles[0], found))])
    for done, (_, patch) in enumerate(patches, start=1):
        if isinstance(patch, InputError):
            failed += 1
            if failed == total:
                raise patch
            yield Notice(str(patch))
        else:
            stitcher.commit(patch)
            yield TileDone(done, total, patch.region, patch.after)
        if done < total and should_stop():
            return stitcher.instances(labels, plan.diameter, complete=False)
    return stitcher.instances(labels, plan.diameter, complete=failed == 0)
