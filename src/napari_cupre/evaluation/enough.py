"""Whether more annotated cells would help: a learning curve with an interval, and one sentence.

The share of cells that a model gets wrong falls with the number n of cells it learned from like c + a n^-b,
a power law with a floor (Hestness et al., "Deep Learning Scaling is Predictable, Empirically", 2017). A few
noisy points do not determine a single curve, so many curves are drawn and weighted by their agreement with
the points (importance sampling). If the points say little, the curves differ, the interval is wide, and the
answer is "cannot tell".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from napari_cupre.evaluation.decision import CLUSTERED, ENOUGH_CELLS
from napari_cupre.words import counted

MORE = 20
"""Number of additional cells that the question is about."""

WORTH = 0.02
"""More annotation is worth it if at least two more of 100 cells would be right, one of them for certain."""

LEVEL = 0.9
DRAWS = 30_000
EXPONENTS = (0.1, 1.5)

SUBSET_NOISE, ROUND_NOISE = 0.03, 0.08
"""Standard deviation between two trainings on the same number of cells. Rounds start from each other, see
other images and take more steps, so they say less about the number of cells."""

LEAST_POINTS, LEAST_RANGE = 3, 2.5
"""Minimum number of points of a curve, and minimum ratio of cells between its last and first point."""


@dataclass(frozen=True)
class CurvePoint:
    """The result of a model that learned from some cells.

    It was judged on cells that it did not learn from: it `found` some of the `judged` cells, and `invented`
    others. If the same background judges several models, each counts its share of the invented objects.
    `steps` is the length of the training, 0 if that does not matter. `is_round` distinguishes a round of the
    project from a training for the curve.
    """

    cells: float
    found: int
    judged: int
    invented: float
    steps: int = 0
    is_round: bool = False

    @property
    def value(self) -> float:
        """Return the share of correct cells among all cells to find and all invented ones, 0..1."""
        return self.found / max(1, self.judged + self.invented)

    @property
    def spread(self) -> float:
        """Return the standard error of `value` due to the number of cells and the choice of training."""
        count = max(1, self.judged + self.invented)
        share = (self.found + 1) / (count + 2)
        chance = CLUSTERED * (share * (1 - share) / count) ** 0.5
        return float(np.hypot(chance, ROUND_NOISE if self.is_round else SUBSET_NOISE))


@dataclass(frozen=True)
class Gain:
    """The expected gain of a change as a share of cells, with an interval."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True)
class LearningCurve:
    """Many curves, each with its weight; see `fit_curve`.

    Attributes
    ----------
    floor, height, exponent : numpy.ndarray
        float (N,), c, a and b of each curve.
    weights : numpy.ndarray
        float (N,), sum 1.
    """

    floor: np.ndarray
    height: np.ndarray
    exponent: np.ndarray
    weights: np.ndarray

    def gain(self, cells: float) -> Gain:
        """Return the gain from `MORE` cells."""
        return self._summary(self._values(cells + MORE) - self._values(cells))

    def at(self, cells: float) -> Gain:
        """Return the value after learning from a number of cells, with its interval."""
        return self._summary(self._values(cells))

    def _values(self, cells: float) -> np.ndarray:
        values: np.ndarray = 1 - self.floor - self.height * max(cells, 1.0) ** -self.exponent
        return values

    def _summary(self, values: np.ndarray) -> Gain:
        order = np.argsort(values)
        reached = np.cumsum(self.weights[order])
        at = np.searchsorted(reached, [0.5, (1 - LEVEL) / 2, (1 + LEVEL) / 2])
        middle, low, high = values[order][np.minimum(at, len(values) - 1)]
        return Gain(float(middle), float(low), float(high))


class Enough(StrEnum):
    """The possible answers about more cells."""

    HELPS = "helps"
    LONGER = "longer"
    HARDLY = "hardly"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class EnoughVerdict:
    """Whether more cells would help; `gain` is the gain from `MORE` cells, None without a curve."""

    outcome: Enough
    sentence: str
    gain: Gain | None = None


def fit_curve(points: Sequence[CurvePoint], seed: int = 0) -> LearningCurve:
    """Draw learning curves and weight them by their agreement with the measurements.

    Parameters
    ----------
    points : sequence of CurvePoint
        At least one.
    seed : int, optional
        Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    first = max(1.0, min(point.cells for point in points))
    wrong = rng.uniform(0, 1, DRAWS)  # at the first point; without data all are equally likely
    floor = wrong * rng.uniform(0, 1, DRAWS)
    exponent = rng.uniform(*EXPONENTS, DRAWS)
    height = (wrong - floor) * first**exponent
    misfit = np.zeros(DRAWS)
    for point in points:
        expected = 1 - floor - height * max(point.cells, 1.0) ** -exponent
        misfit += ((point.value - expected) / point.spread) ** 2
    weights = np.exp(-(misfit - misfit.min()) / 2)
    return LearningCurve(floor, height, exponent, weights / weights.sum())


def is_enough(
    points: Sequence[CurvePoint],
    cells: int,
    longer: tuple[CurvePoint, CurvePoint] | None = None,
    like: str = "",
) -> EnoughVerdict:
    """Say whether more cells would help, and whether they would help more than longer training.

    Parameters
    ----------
    points : sequence of CurvePoint
        The measurements, all after about the same number of steps.
    cells : int
        Number of cells annotated so far.
    longer : tuple of (CurvePoint, CurvePoint) or None, optional
        Models that learned from the same cells, the second for twice as many steps.
    like : str, optional
        The image that would teach most.
    """
    usable = [point for point in points if point.judged >= ENOUGH_CELLS and point.cells >= 1]
    if cells < ENOUGH_CELLS:
        lacking = ENOUGH_CELLS - cells
        return EnoughVerdict(Enough.UNKNOWN, f"Cannot tell yet: annotate {counted(lacking, 'more cell')}.")
    counts = sorted({round(point.cells) for point in usable})
    if len(usable) < LEAST_POINTS or counts[-1] < LEAST_RANGE * counts[0]:
        return EnoughVerdict(
            Enough.UNKNOWN,
            "Cannot tell yet: too little has been measured. Measuring continues while the computer is idle.",
        )
    gain = fit_curve(usable).gain(cells)
    time = None if longer is None else _longer(*longer)
    where = f" of images like {like}" if like else ""
    if time is not None and time.low > max(gain.high, WORTH):
        sentence = f"Longer training would help more than {MORE} more cells: {_of_100(time)}."
        return EnoughVerdict(Enough.LONGER, sentence, gain)
    if gain.middle >= WORTH and gain.low >= WORTH / 2:
        more = " more than longer training" if time is not None and time.high < gain.middle else ""
        sentence = f"{MORE} more cells{where} would help{more}: {_of_100(gain)}."
        return EnoughVerdict(Enough.HELPS, sentence, gain)
    if gain.high < WORTH:
        sentence = f"More cells will hardly help: {MORE} more would get less than 2 more of 100 right."
        return EnoughVerdict(Enough.HARDLY, sentence, gain)
    sentence = f"Cannot tell yet: {MORE} more cells would get {_of_100(gain)}."
    sentence += f" Annotate {_lacking(cells)} more{where}."
    return EnoughVerdict(Enough.UNKNOWN, sentence, gain)


def _lacking(cells: int) -> int:
    """Return the number of cells that make the curve longer by half, rounded to tens."""
    return max(10, round(cells / 20) * 10)


def _longer(short: CurvePoint, long: CurvePoint) -> Gain:
    middle = long.value - short.value
    # 1.645 standard errors either side contain 90 %; both were judged on the same cells, which fail together
    reach = 1.645 * float(np.hypot(short.spread, long.spread)) / CLUSTERED
    return Gain(middle, middle - reach, middle + reach)


def _of_100(gain: Gain) -> str:
    low, high = max(0, round(100 * gain.low)), max(0, round(100 * gain.high))
    return f"about {high} more of 100 right" if low == high else f"{low} to {high} more of 100 right"
