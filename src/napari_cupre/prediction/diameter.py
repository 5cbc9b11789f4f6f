"""The diameter of the cells, and how sure to be of them, from the image.

For models trained for neither, and for images whose cells differ in size from those of the training.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np

from napari_cupre.data.normalise import middle
from napari_cupre.model.paint import THRESHOLD
from napari_cupre.prediction.emptiness import is_noise

if TYPE_CHECKING:
    from napari_cupre.prediction.detecting import CellFinder
    from napari_cupre.prediction.stitch import Found

WORKING_SIDE = 384
"""Side in network px of the views that are looked at."""

GLANCE_BELOW = 0.5
"""A first look at an image that must shrink by more than this is most often followed by a closer one, which
decides: a glance is enough then, see `_glanced`."""

GLANCED = 100
"""Cells that a glance draws; a median needs no more."""

DENSE_SIDE = 272
"""Side in network px of the look after a glance that found `GLANCED` cells: half the area is enough."""

GRID = 8
"""Scales in an octave from which the look after a glance takes the nearest: a glance may be off by a last
digit, on another machine by another one, and must not change what comes after it."""

STEPS = (1.0, 0.5, 2.0, 0.25, 4.0)
"""Scales that are tried one after the other, as multiples of the one that shows the whole image."""

LOW_SCORE = 0.3
"""Cells of the wrong size score low; here they count all the same, by the square of their score: hundreds of
doubtful ones, as noise has, must not outweigh the few that an image really holds."""

ENOUGH = 4.0
"""Sum of the squared scores from which on a scale is trusted without trying others."""

SETTLED = 1.4
"""A second look is taken when the first moved the scale by more than this."""

OFF = 1.5
"""A model's own diameter is questioned when the median cell differs from it by more than this."""

SEEN = 0.1
"""A model's own diameter is left for another one only where so large a share of the cells is sure. In
noise the share is 0.01 at most; in images whose cells were up to four times larger it was 0.13 or more."""

SURE = 0.9
"""Cells that score higher than this are sure."""

SURE_SHARE = (0.2, 0.7)
CERTAINTY = (0.35, 0.6)
"""Share of sure cells at which, and beyond which, the lower and the higher score is asked of a cell.

A doubtful detection raises TP / (TP + FP + FN) if the odds that it is right are above that value, so it is
worth keeping sooner where the network sees little. Chosen on 56 images of BBBC038 outside the test part: AP50
0.786 -> 0.796 for fluorescence, 0.460 -> 0.489 for histology, against 0.5 for all."""

NOTHING = (0.02, 0.7)
"""Where a smaller share than the first is sure, all may be noise (an empty well, stretched until its noise
fills the range of grey values): so high a score is asked there."""

CLUMPS = 6.0
"""Twice as close, cells stay as dense as they were, texture may double or treble them; clumps become
at least this many times denser (16 times in a real field of 10 px nuclei)."""

NO_CLUMPS = 0.3
"""Where at least this share of many cells is sure, they are not clumps, and no search at twice the scale
follows. In ten images in which that search changed the scale (nuclei shrunk to 4 to 10 px) no cell was sure;
in 56 real ones of all kinds it changed nothing."""

AS_SURE = 0.5
"""From so near noise may look like many cells too, but like none that the network is sure of: the share of
sure cells must not fall by more than this."""


@dataclass(frozen=True, eq=False)
class ScaleTrial:
    """What is seen at one scale.

    Attributes
    ----------
    factor : float
        Network px per image px.
    area : float
        Image px that were looked at.
    scores : numpy.ndarray
        Of the cells, float64 (N,).
    diameters : numpy.ndarray
        Of the cells in image px, float64 (N,).
    """

    factor: float
    area: float
    scores: np.ndarray
    diameters: np.ndarray

    @cached_property
    def weight(self) -> float:
        """Sum of the squared scores of the cells."""
        return float((self.scores**2).sum())

    @cached_property
    def diameter(self) -> float:
        """The cells' median diameter, weighted by squared score, in image px; 0 where there is no cell."""
        if len(self.scores) == 0:
            return 0.0
        order = np.argsort(self.diameters)
        summed = np.cumsum(self.scores[order] ** 2)
        middle = np.searchsorted(summed, summed[-1] / 2)
        return float(self.diameters[order][min(middle, len(order) - 1)])

    @property
    def sure(self) -> float:
        """Share of the cells that score higher than `SURE`."""
        return float(np.mean(self.scores > SURE)) if len(self.scores) else 0.0

    def coverage(self, chosen: np.ndarray) -> float:
        """Share of the image under the chosen cells, bool (N,), each counted by its squared score."""
        under = (self.scores[chosen] * self.diameters[chosen]) ** 2
        return float(np.pi / 4 * under.sum() / self.area)

    @property
    def density(self) -> float:
        """Weight of the cells per pixel."""
        return self.weight / self.area

    @property
    def certainty(self) -> float:
        """The score to ask of a cell in such an image, see `CERTAINTY` and `NOTHING`."""
        if self.sure < NOTHING[0]:
            return NOTHING[1]
        return float(np.interp(self.sure, SURE_SHARE, CERTAINTY))


def estimate(detector: CellFinder, pieces: list[np.ndarray]) -> ScaleTrial | None:
    """How large the cells are that the network sees, and how sure it is of them.

    The network finds cells from about half to twice the size that it was trained for. It looks at
    the image at several scales, coarse first, until one shows enough cells; then once more at the
    scale that their median asks for, if that is another one. At last, unless it is sure of many of
    them, it looks twice as close: where it sees many times more cells there, and is as sure of them,
    the former were clumps.

    Parameters
    ----------
    detector : CellFinder
        Its network has a diameter of its own, in network px.
    pieces : list of numpy.ndarray
        float32 (Y, X, 3) each, normalised; one image, or a few crops of a large one.

    Returns
    -------
    The view at the scale that fits the cells, or None where no cell is seen at any scale or all is noise.
    """
    if all(is_noise(piece) for piece in pieces):
        return None
    view = _glanced(detector, pieces)
    if view is None:
        view = _first(detector, pieces)
        if view.weight == 0:
            return None
        view = _settled(detector, pieces, view)
    if view.weight >= ENOUGH and view.sure >= NO_CLUMPS:
        return view
    closer = _look(detector, pieces, 2 * detector.diameter / view.diameter)
    if closer.density > CLUMPS * view.density and closer.sure >= AS_SURE * view.sure:
        view = _settled(detector, pieces, closer)
    return view


def fits(view: ScaleTrial, diameter: float) -> bool:
    """Whether what was seen at a model's own scale confirms that the cells have its `diameter` in image px.

    Cells of another size are found badly or not at all, so few cells confirm nothing (they may be pieces of
    large ones), nor does a median that is `OFF`.
    """
    return view.weight >= ENOUGH and _near(view.diameter, diameter)


def another(
    detector: CellFinder, pieces: list[np.ndarray], diameter: float, own: ScaleTrial
) -> ScaleTrial | None:
    """The view at another scale than that of a model's own `diameter`, where the image clearly asks for it.

    Smaller cells must be many, as dust and grain are everywhere; of larger ones an image may hold one. Cells
    of other sizes must cover as much of the image as those of the model's own: specks do not outweigh the
    few cells beside them.

    Parameters
    ----------
    detector, pieces : CellFinder and list of numpy.ndarray
        See `estimate`.
    diameter : float
        In image px, for which the model was trained.
    own : ScaleTrial
        What is seen at its scale; `fits` has not confirmed it.
    """
    view = estimate(detector, pieces)
    if view is None or view.sure < SEEN or _near(view.diameter, diameter):
        return None
    if view.weight < ENOUGH and view.diameter < diameter:
        return None  # a speck or two
    as_trained = own.coverage(_near(own.diameters, diameter))
    return view if view.coverage(~_near(view.diameters, diameter)) >= as_trained else None


@overload
def _near(found: float, diameter: float) -> bool: ...
@overload
def _near(found: np.ndarray, diameter: float) -> np.ndarray: ...
def _near(found: float | np.ndarray, diameter: float) -> bool | np.ndarray:
    """Whether cells are about as large as those that a model was trained on."""
    return (found >= diameter / OFF) & (found <= diameter * OFF)


def _glanced(detector: CellFinder, pieces: list[np.ndarray]) -> ScaleTrial | None:
    """The view at the scale that a glance at a large image asks for.

    None where the image need not shrink by much, where a glance shows too few cells, where it asks for its
    own scale, at which an exact look has to follow, and where nothing is seen at the scale it asks for.
    """
    start = _start(pieces)
    if start >= GLANCE_BELOW:
        return None
    found = [detector.glance(piece, start, LOW_SCORE, GLANCED) for piece in pieces]
    glance = summary(found, start, _area(pieces))
    if glance.weight < ENOUGH or not _asks_for_another(glance, detector.diameter / glance.diameter):
        return None
    wanted = 2 ** (round(np.log2(detector.diameter / glance.diameter) * GRID) / GRID)
    view = _look(detector, pieces, wanted, DENSE_SIDE if len(glance.scores) >= GLANCED else WORKING_SIDE)
    return view if view.weight > 0 else None


def _first(detector: CellFinder, pieces: list[np.ndarray]) -> ScaleTrial:
    """The first scale that shows enough cells, else the one that shows most."""
    start = _start(pieces)
    best = _look(detector, pieces, start * STEPS[0])
    for step in STEPS[1:]:
        if best.weight >= ENOUGH:
            break
        best = max(best, _look(detector, pieces, start * step), key=lambda view: view.weight)
    return best


def _start(pieces: list[np.ndarray]) -> float:
    """The scale that shows all of the largest piece."""
    return min(1.0, WORKING_SIDE / max(max(piece.shape[:2]) for piece in pieces))


def _area(views: list[np.ndarray]) -> float:
    return float(sum(view.shape[0] * view.shape[1] for view in views))


def _asks_for_another(view: ScaleTrial, wanted: float) -> bool:
    """Whether its cells are worth a look at the scale `wanted`."""
    return max(wanted / view.factor, view.factor / wanted) > SETTLED


def _settled(detector: CellFinder, pieces: list[np.ndarray], view: ScaleTrial) -> ScaleTrial:
    """The view at the scale that a first one asks for, if that is another one and shows cells."""
    wanted = detector.diameter / view.diameter
    if not _asks_for_another(view, wanted):
        return view
    again = _look(detector, pieces, wanted)
    return again if again.weight > 0 else view


def _look(
    detector: CellFinder, pieces: list[np.ndarray], factor: float, side: int = WORKING_SIDE
) -> ScaleTrial:
    """What is seen in the middle of each piece, `side` network px wide, at a scale."""
    views = [middle(piece, max(1, int(side / factor))) for piece in pieces]
    found = [detector.look(view, factor, LOW_SCORE) for view in views]
    return summary(found, factor, _area(views))


def look(detector: CellFinder, pieces: list[np.ndarray], diameter: float) -> ScaleTrial:
    """What is seen in the middle of each piece if its cells are taken to have a `diameter` in image px."""
    return _look(detector, pieces, detector.diameter / diameter)


def summary(found: list[Found], factor: float, area: float) -> ScaleTrial:
    """The cells found in `area` image px at a scale, seen as one."""
    scores = np.concatenate([cells.scores for cells in found]).astype(np.float64)
    diameters = np.concatenate([mask_diameters(cells) for cells in found]).astype(np.float64)
    seen = diameters > 0
    return ScaleTrial(factor, area, scores[seen], diameters[seen])


def mask_diameters(found: Found) -> np.ndarray:
    """Diameter of the circle of each mask's area, float (N,), in the px of its box."""
    share = (found.masks >= THRESHOLD).mean(axis=(1, 2))
    extent = found.boxes[:, 2:] - found.boxes[:, :2]
    return 2 * np.sqrt(share * extent[:, 0] * extent[:, 1] / np.pi)
