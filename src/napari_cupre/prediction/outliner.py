"""Outline the cells that a person points at with boxes around them or clicks into them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cupre.model.geometry import array_iou
from napari_cupre.model.paint import THRESHOLD
from napari_cupre.prediction.choice import choose
from napari_cupre.prediction.detecting import CellFinder, as_finder
from napari_cupre.prediction.drawn import Grids, Outline, as_instances, drawn_mask, nothing_at
from napari_cupre.prediction.featuremaps import MEMORY, FeatureMaps, FeatureWindow, Scale
from napari_cupre.prediction.instances import Instances
from napari_cupre.prediction.predict_options import check_diameter
from napari_cupre.prediction.prompt_checks import check_boxes, check_points
from napari_cupre.prediction.prompt_masks import finer_mask
from napari_cupre.prediction.reader import ArrayReader, PlaneReader, Reader
from napari_cupre.prediction.tiles import Window

if TYPE_CHECKING:
    from napari_cupre.model.checkpoint import Model

CLICK_SIZES = 2.0 ** np.arange(-1.5, 1.75, 0.5)
"""Sides of the boxes to try around a click, in cell diameters."""

REFINED = 2
"""Number of times that the box head corrects these boxes."""

AGREED, MOST_GROWN = 0.95, 0.2
"""If the IoU of a drawn box with the box head's correction is below the first value, the sides are lengthened
by the share that is missing, at most by the second value. Measured on nuclei outside the test parts, with
prompts learnt for 80 steps: mean IoU .84 / .82 for exact boxes and boxes 10 % off in fluorescence, .81 / .78
in histology; unchanged boxes give .85 / .77 and .82 / .74, corrected boxes .83 / .80 and .77 / .76.
"""

SURE, UNSURE = 0.7, 0.3
"""A mask is settled if its area is nearly the same with either value as the threshold of its pixels."""

SAME = 0.7
"""Readings of a click are the same if the IoU of their boxes is at least this."""

DOUBTFUL = 0.25
"""Readings with less than this share of the best one's quality are not offered as alternatives."""

CLICKS_AT_ONCE = 64
"""Number of clicks whose candidates are in memory at once."""


@dataclass(frozen=True, eq=False)
class ClickReadings:
    """The possible meanings of a click: outlines from small to large; `best` is the likeliest one's index."""

    outlines: list[Outline]
    best: int


class Outliner:
    """A plane and a model, ready to outline the cells that a person points at.

    The features around a prompt are computed when it arrives, in about 0.1 s, and kept, so that further
    prompts nearby take a few milliseconds. `prepare` computes the features of a window in advance.

    Parameters
    ----------
    model : Model or CellFinder
        A `CellFinder` saves making the model ready again for every plane.
    image : numpy.ndarray or PlaneReader
        float32 (Y, X, 3), normalised. Of a `PlaneReader`, only the surroundings of prompts are read.
    diameter : float, optional
        Cell diameter in image px; None takes the model's, or estimates it from the image when the first click
        needs it.
    memory : int, optional
        Bytes of features to keep.

    Raises
    ------
    InputError
        If the image is not a plane of three channels, or the diameter is not above 0.
    """

    def __init__(
        self,
        model: Model | CellFinder,
        image: np.ndarray | PlaneReader,
        diameter: float | None = None,
        memory: int = MEMORY,
    ) -> None:
        reader: Reader = ArrayReader(image) if isinstance(image, np.ndarray) else image
        if diameter is not None:
            check_diameter(diameter)
        self._detector = as_finder(model)
        self._reader = reader
        self._diameter = diameter
        self.shape = reader.shape
        self._maps = FeatureMaps(self._detector, reader, self.shape, diameter, memory)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the model's classes."""
        return self._detector.info.classes

    @property
    def diameter(self) -> float:
        """Return the cell diameter in image px: as given, the model's, or estimated at first use."""
        if self._diameter is None:
            self._diameter = choose(self._detector, self._reader.views(), None, None).diameter
        return self._diameter

    # -- answering prompts --------------------------------------------------------------------------

    def prepare(self, within: Window | None = None) -> Iterator[tuple[int, int]]:
        """Compute the features for cells of the usual size in a part of the image (None: everywhere).

        Goes window by window from the middle outwards, up to the number that fits into memory. Yields how
        many windows are done and how many there are.
        """
        whole = Window(0, 0, *self.shape)
        within = whole if within is None else within.intersect(whole)
        if not all(within.shape):
            return
        keys = self._maps.keys(self._maps.scale(self.diameter), within)
        middle = np.array([len({row for _, row, _ in keys}), len({column for *_, column in keys})]) / 2
        first = np.array(keys[0][1:])
        keys.sort(key=lambda key: float(np.abs(np.array(key[1:]) - first + 0.5 - middle).max()))
        for done, key in enumerate(keys, start=1):
            self._maps.window(key)
            total = min(len(keys), self._maps.room())
            yield done, total
            if done >= total:
                return

    def aim(self, point: Any) -> Iterator[None]:
        """Compute the features that a click at `point` (y, x) needs, window by window."""
        given = check_points([point], self.shape)
        for size in CLICK_SIZES * self.diameter:
            (box,) = self._around(given, np.array([size]))
            x, y = (box[:2] + box[2:]) / 2
            key = self._maps.key(self._maps.scale(float(size)), y, x)
            if not self._maps.has(key):
                self._maps.window(key)
                yield

    def boxes(self, boxes: Any) -> list[Outline]:
        """Outline the cell in each box, in the order of the boxes.

        Parameters
        ----------
        boxes : Any
            float (N, 4), x0, y0, x1, y1 in image px; pixel (0, 0) extends from 0 to 1.

        Raises
        ------
        InputError
            If a box has no area, lies outside the image or is not four finite numbers.
        """
        given = check_boxes(boxes, self.shape)
        sides = given[:, 2:] - given[:, :2]
        sizes = np.maximum(np.sqrt(sides.prod(axis=1)), sides.max(axis=1, initial=0) / 2)
        outlines: list[Outline | None] = [None] * len(given)
        for window, rows in self._by_window(given, sizes):
            grids = self._in_boxes(window, given[rows])
            for place, row in enumerate(rows):
                outlines[row] = self._drawn(grids, place, drawn_box=given[row])
        return [each for each in outlines if each is not None]

    def points(self, points: Any) -> list[Outline]:
        """Outline the likeliest cell at each point, in the order of the points.

        Parameters
        ----------
        points : Any
            float (N, 2), y, x in image px; pixel (0, 0) extends from 0 to 1.

        Raises
        ------
        InputError
            If a point lies outside the image or is not two finite numbers.
        """
        given = check_points(points, self.shape)
        outlines: list[Outline | None] = [None] * len(given)
        for rows in self._chunks(given):
            for row, (grids, quality) in zip(rows, self._candidates(given[rows])):
                best = int(quality.argmax())
                is_found = bool(quality[best] > 0)
                outlines[row] = self._drawn(grids, best, given[row]) if is_found else nothing_at(given[row])
        return [each for each in outlines if each is not None]

    def readings(self, point: Any) -> ClickReadings:
        """Return the cells that a click at `point` (y, x) may mean, from the smallest to the largest.

        Raises
        ------
        InputError
            As `points`.
        """
        given = check_points([point], self.shape)
        grids, quality = next(self._candidates(given))
        kept: list[int] = []
        if not quality.any():
            return ClickReadings([nothing_at(given[0])], 0)
        for row in np.argsort(-quality, kind="stable").tolist():
            is_likely = not kept or quality[row] > DOUBTFUL * quality[kept[0]]
            if is_likely and (array_iou(grids.boxes[row], grids.boxes[kept]) < SAME).all():
                kept.append(row)
        likely = [self._drawn(grids, row, given[0]) for row in kept]
        order = sorted(range(len(likely)), key=lambda place: likely[place].area)
        return ClickReadings([likely[place] for place in order], order.index(0))

    def instances(self, outlines: Sequence[Outline]) -> Instances:
        """Combine outlines into the cells of the plane, see `as_instances`."""
        return as_instances(outlines, self.shape, float("nan") if self._diameter is None else self._diameter)

    # -- features, boxes and masks -------------------------------------------------------------------------

    def _by_window(self, boxes: np.ndarray, sizes: np.ndarray) -> Iterator[tuple[FeatureWindow, np.ndarray]]:
        """Yield the windows that the boxes belong to, each with the rows of its boxes."""
        groups: dict[tuple[Scale, int, int], list[int]] = defaultdict(list)
        for row, (box, size) in enumerate(zip(boxes, sizes)):
            x, y = (box[:2] + box[2:]) / 2
            groups[self._maps.key(self._maps.scale(float(size)), y, x)].append(row)
        for key in sorted(groups):
            yield self._maps.window(key), np.array(groups[key])

    def _chunks(self, points: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the rows of neighbouring points, a few at a time, so that each window is needed only once."""
        if len(points):
            scale = self._maps.scale(self.diameter)
            keys = [self._maps.key(scale, y, x)[1:] for y, x in points]
            order = np.array(sorted(range(len(points)), key=keys.__getitem__))
            yield from np.split(order, range(CLICKS_AT_ONCE, len(order), CLICKS_AT_ONCE))

    def _in_boxes(self, window: FeatureWindow, boxes: np.ndarray) -> Grids:
        """Compute masks in the given boxes, or in larger ones where the box head disagrees.

        So the outline is whole even if a side of the box cuts through the cell.
        """
        given = window.inside(boxes)
        mended, scores, kinds = self._detector.mended(window.features, given)
        agreed = array_iou(given, mended)
        growth = np.clip(AGREED - agreed, 0, MOST_GROWN)[:, None] / 2
        sides = np.tile(given[:, 2:] - given[:, :2], (1, 2))
        grown = given + growth * sides * np.array([-1, -1, 1, 1])
        masks = self._detector.outlined(window.features, grown)
        return Grids(window.outside(grown), masks, scores, kinds)

    def _candidates(self, points: np.ndarray) -> Iterator[tuple[Grids, np.ndarray]]:
        """Yield the candidates for each point, from boxes of several sizes around it, and their quality.

        Quality is high if the network is sure of the cell and would not correct its box any further, and if
        the mask is settled. It is 0 if the mask does not contain the point.
        """
        count, sizes = len(CLICK_SIZES), np.tile(CLICK_SIZES * self.diameter, len(points))
        centres = np.repeat(points[:, ::-1], count, axis=0)
        boxes = self._around(centres[:, ::-1], sizes)
        grids = Grids(
            boxes, np.zeros((len(boxes), 0, 0)), np.zeros(len(boxes)), np.zeros(len(boxes), np.int64)
        )
        quality = np.zeros(len(boxes))
        for window, rows in self._by_window(boxes, sizes):
            found, settled = self._refined(window, boxes[rows])
            if not grids.probabilities.size:
                grids = grids._replace(probabilities=np.zeros((len(boxes), *found.probabilities.shape[1:])))
            for whole, part in zip(grids, found):
                whole[rows] = part
            quality[rows] = settled * found.scores * _holds(found, centres[rows])
        for start in range(0, len(boxes), count):
            of_point = slice(start, start + count)
            yield Grids(*(part[of_point] for part in grids)), quality[of_point]

    def _drawn(
        self, grids: Grids, row: int, point: np.ndarray | None = None, drawn_box: np.ndarray | None = None
    ) -> Outline:
        """Draw one mask in image px; it is sharpened unless that loses the cell or the point (y, x) in it."""
        probabilities = finer_mask(
            grids.probabilities[row], grids.boxes[row], self._reader, self.shape, drawn_box
        )
        one = Grids(*(part[row : row + 1] for part in grids))
        sharp = drawn_mask(one._replace(probabilities=probabilities[None]), 0, self.shape, point)
        is_kept = bool(sharp.area) if point is None else sharp.holds(point)
        return sharp if is_kept else drawn_mask(one, 0, self.shape, point)

    def _around(self, points: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Make boxes with given sides around points (y, x), clipped to the image."""
        centres, halves = points[:, ::-1], sizes[:, None] / 2
        boxes = np.concatenate([centres - halves, centres + halves], axis=1)
        return np.clip(boxes, 0, [self.shape[1], self.shape[0]] * 2)

    def _refined(self, window: FeatureWindow, boxes: np.ndarray) -> tuple[Grids, np.ndarray]:
        """Correct boxes with the box head; return them with their masks, and how settled each is, 0..1."""
        given = window.inside(boxes)
        for _ in range(REFINED):
            given, _, _ = self._detector.mended(window.features, given)
        again, scores, kinds = self._detector.mended(window.features, given)
        masks = self._detector.outlined(window.features, given)
        stable = (masks >= SURE).sum(axis=(1, 2)) / np.maximum(1, (masks >= UNSURE).sum(axis=(1, 2)))
        agreed = array_iou(given, again)
        return Grids(window.outside(given), masks, scores, kinds), stable * agreed


def _holds(grids: Grids, points: np.ndarray) -> np.ndarray:
    """Whether each mask contains its point (x, y)."""
    side = grids.probabilities.shape[-1]
    extent = np.maximum(grids.boxes[:, 2:] - grids.boxes[:, :2], 1e-6)
    place = (points - grids.boxes[:, :2]) / extent
    inside = ((place >= 0) & (place < 1)).all(axis=1)
    column, row = np.clip(place * side, 0, side - 1).astype(np.int64).T
    return inside & (grids.probabilities[np.arange(len(points)), row, column] >= THRESHOLD)
