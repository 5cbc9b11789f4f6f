"""Estimate the diameter of the cells, and the score to ask of them, from the image.

This serves models that are not trained for one diameter, and images whose cells differ in size from those of
the training.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np

from napari_cupre.data.labels import USUAL_SCORE
from napari_cupre.data.normalise import middle
from napari_cupre.model.paint import THRESHOLD
from napari_cupre.prediction.emptiness import is_noise

if TYPE_CHECKING:
    from napari_cupre.prediction.detecting import CellFinder
    from napari_cupre.prediction.stitch import Found

WORKING_SIDE = 384
"""Side of the examined views in network px."""

GLANCE_BELOW = 0.5
"""If an image must be shrunk to less than this for the first look, a closer look usually follows and decides.
So the first look need only be a glance, see `_glanced`.
"""

GLANCED = 100
"""Most cells for which a glance computes masks; that is enough for a median."""

DENSE_SIDE = 272
"""Side of the view in network px after a glance that found `GLANCED` cells: half the area is enough."""

GRID = 8
"""Scales per octave; the look after a glance uses the nearest of them. A glance may be off in the last digit,
differently on each machine, and this must not change the result.
"""

STEPS = (1.0, 0.5, 2.0, 0.25, 4.0)
"""Scales to try one after the other, as multiples of the scale that shows the whole image."""

LOW_SCORE = 0.3
"""Minimum score here, because cells of the wrong size score low. They count by the square of their score, so
that hundreds of doubtful cells, as in noise, do not outweigh the few real cells of an image.
"""

ENOUGH = 4.0
"""Sum of squared scores at which a scale is accepted without trying others."""

SETTLED = 1.4
"""A second look follows if the first one changed the scale by more than this factor."""

OFF = 1.5
"""A model's own diameter is doubted if the median cell differs from it by more than this factor."""

SEEN = 0.1
"""A model's own diameter is replaced only if at least this share of the cells is sure. In noise the share is
0.01 at most; in images whose cells were up to four times larger it was 0.13 or more.
"""

SURE = 0.9
"""Cells that score higher than this are sure."""

SURE_SHARE = (0.5, 0.8)
ASKED = (USUAL_SCORE, 0.55)
"""The lower score is asked of a cell up to the first share of sure cells, the higher from the second on. The
more cells an image loses, the more a doubtful one is worth (see `USUAL_SCORE`). Chosen on 107 images outside
the test part, see docs/accuracy.md."""

NOTHING = (0.02, 0.7)
"""If the share of sure cells is below the first value, everything may be noise (such as an empty well,
stretched until its noise fills the range of grey values). Then the second value is the score asked of a
cell.
"""

CLUMPS = 6.0
"""At twice the scale, the density of real cells stays the same, and texture may double or treble it. Clumps
become at least this many times denser (16 times in a real field of 10 px nuclei).
"""

NO_CLUMPS = 0.3
"""If at least this share of many cells is sure, they are not clumps, and no search at twice the scale
follows. In ten images where that search changed the scale (nuclei shrunk to 4 to 10 px) no cell was sure; in
56 real images of all kinds it changed nothing.
"""

AS_SURE = 0.5
"""At twice the scale noise may look like many cells, too, but the network is not sure of them. So the share
of sure cells must not fall below this multiple of the former one.
"""


@dataclass(frozen=True, eq=False)
class ScaleTrial:
    """The cells seen at one scale.

    Attributes
    ----------
    factor : float
        Network px per image px.
    area : float
        Number of image px examined.
    scores : numpy.ndarray
        Scores of the cells, float64 (N,).
    diameters : numpy.ndarray
        Diameters of the cells in image px, float64 (N,).
    """

    factor: float
    area: float
    scores: np.ndarray
    diameters: np.ndarray

    @cached_property
    def weight(self) -> float:
        """Return the sum of the cells' squared scores."""
        return float((self.scores**2).sum())

    @cached_property
    def diameter(self) -> float:
        """Return the median diameter in image px, weighted by squared score; 0 without cells."""
        if len(self.scores) == 0:
            return 0.0
        order = np.argsort(self.diameters)
        summed = np.cumsum(self.scores[order] ** 2)
        middle = np.searchsorted(summed, summed[-1] / 2)
        return float(self.diameters[order][min(middle, len(order) - 1)])

    @property
    def sure(self) -> float:
        """Return the share of the cells that score higher than `SURE`."""
        return float(np.mean(self.scores > SURE)) if len(self.scores) else 0.0

    def coverage(self, chosen: np.ndarray) -> float:
        """Return the share of the image under the chosen cells, bool (N,), weighted by squared score."""
        under = (self.scores[chosen] * self.diameters[chosen]) ** 2
        return float(np.pi / 4 * under.sum() / self.area)

    @property
    def density(self) -> float:
        """Return the weight of the cells per pixel."""
        return self.weight / self.area

    @property
    def asked(self) -> float:
        """Return the score to ask of a cell in such an image, see `ASKED` and `NOTHING`."""
        if self.sure < NOTHING[0]:
            return NOTHING[1]
        return float(np.interp(self.sure, SURE_SHARE, ASKED))


def estimate(detector: CellFinder, pieces: list[np.ndarray]) -> ScaleTrial | None:
    """Estimate how large the cells are and how sure the network is of them.

    The network finds cells from about half to twice the size that it was trained for. It searches the image
    at several scales, from coarse to fine, until one shows enough cells. Then it searches once more at the
    scale that suits their median size, if that is a different scale. Finally, unless it is sure of many
    cells, it searches at twice the scale. If it finds many times more cells there and is as sure of them, the
    earlier ones were clumps.

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
    """Whether the cells seen at a model's own scale confirm its `diameter` in image px.

    Cells of another size are found badly or not at all. So a few cells confirm nothing, since they may be
    pieces of large ones. Nor does a median that is `OFF`.
    """
    return view.weight >= ENOUGH and _near(view.diameter, diameter)


def another(
    detector: CellFinder, pieces: list[np.ndarray], diameter: float, own: ScaleTrial
) -> ScaleTrial | None:
    """Return the view at another scale than that of a model's own `diameter`, if the image clearly needs it.

    Smaller cells must be numerous, since there are dust and grain everywhere; of larger cells an image may
    contain just one. Cells of other sizes must cover as much of the image as those of the model's size, so
    that specks do not outweigh a few cells beside them.

    Parameters
    ----------
    detector, pieces : CellFinder and list of numpy.ndarray
        See `estimate`.
    diameter : float
        Cell diameter in image px that the model was trained for.
    own : ScaleTrial
        The view at its scale, which `fits` has not confirmed.
    """
    view = estimate(detector, pieces)
    if view is None or view.sure < SEEN or _near(view.diameter, diameter):
        return None
    if view.weight < ENOUGH and view.diameter < diameter:
        return None  # only a speck or two
    as_trained = own.coverage(_near(own.diameters, diameter))
    return view if view.coverage(~_near(view.diameters, diameter)) >= as_trained else None


@overload
def _near(found: float, diameter: float) -> bool: ...
@overload
def _near(found: np.ndarray, diameter: float) -> np.ndarray: ...
def _near(found: float | np.ndarray, diameter: float) -> bool | np.ndarray:
    """Whether cells are about as large as those in the model's training."""
    return (found >= diameter / OFF) & (found <= diameter * OFF)


def _glanced(detector: CellFinder, pieces: list[np.ndarray]) -> ScaleTrial | None:
    """Return the view at the scale that a glance at a large image suggests.

    None if the image need not shrink by much, if a glance shows too few cells, if it suggests its own scale
    (at which an exact look must follow), or if nothing is seen at the scale that it suggests.
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
    """Return the view at the first scale that shows enough cells, else the one that shows most."""
    start = _start(pieces)
    best = _look(detector, pieces, start * STEPS[0])
    for step in STEPS[1:]:
        if best.weight >= ENOUGH:
            break
        best = max(best, _look(detector, pieces, start * step), key=lambda view: view.weight)
    return best


def _start(pieces: list[np.ndarray]) -> float:
    """Return the scale that shows all of the largest piece."""
    return min(1.0, WORKING_SIDE / max(max(piece.shape[:2]) for piece in pieces))


def _area(views: list[np.ndarray]) -> float:
    return float(sum(view.shape[0] * view.shape[1] for view in views))


def _asks_for_another(view: ScaleTrial, wanted: float) -> bool:
    """Whether a view calls for another look at the scale `wanted`."""
    return max(wanted / view.factor, view.factor / wanted) > SETTLED


def _settled(detector: CellFinder, pieces: list[np.ndarray], view: ScaleTrial) -> ScaleTrial:
    """Return the view at the scale that a first view suggests, if it differs and shows cells."""
    wanted = detector.diameter / view.diameter
    if not _asks_for_another(view, wanted):
        return view
    again = _look(detector, pieces, wanted)
    return again if again.weight > 0 else view


def _look(
    detector: CellFinder, pieces: list[np.ndarray], factor: float, side: int = WORKING_SIDE
) -> ScaleTrial:
    """View the middle of each piece, `side` network px wide, at a scale."""
    views = [middle(piece, max(1, int(side / factor))) for piece in pieces]
    found = [detector.look(view, factor, LOW_SCORE) for view in views]
    return summary(found, factor, _area(views))


def look(detector: CellFinder, pieces: list[np.ndarray], diameter: float) -> ScaleTrial:
    """View the middle of each piece at the scale for cells with a `diameter` in image px."""
    return _look(detector, pieces, detector.diameter / diameter)


def summary(found: list[Found], factor: float, area: float) -> ScaleTrial:
    """Combine the cells found in `area` image px at a scale into one view."""
    scores = np.concatenate([cells.scores for cells in found]).astype(np.float64)
    diameters = np.concatenate([mask_diameters(cells) for cells in found]).astype(np.float64)
    seen = diameters > 0
    return ScaleTrial(factor, area, scores[seen], diameters[seen])


def mask_diameters(found: Found) -> np.ndarray:
    """Return the diameter of a circle with each mask's area, float (N,), in the px of its box."""
    share = (found.masks >= THRESHOLD).mean(axis=(1, 2))
    extent = found.boxes[:, 2:] - found.boxes[:, :2]
    return 2 * np.sqrt(share * extent[:, 0] * extent[:, 1] / np.pi)
