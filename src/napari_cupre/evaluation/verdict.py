"""Whether a new model is better than the last one, from a few cells that neither learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.evaluation.matching import THRESHOLDS, Match

ENOUGH_CELLS = 20
"""With fewer held-out cells nothing is decided: one cell more or less is chance."""

ENOUGH_IMAGES = 8
"""From so many held-out images on, images are resampled, else the single cells."""

RESAMPLES = 2000
LEVEL = 0.95

CLUSTERED = 1.5
"""Cells of one image fail together, so an interval from single cells is widened by this factor."""


class Outcome(StrEnum):
    """What can be said about a new model."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Tally:
    """What a model does on the held-out cells, in counts.

    Attributes
    ----------
    cells : int
        Cells that a person vouched for.
    found : int
        Those that the model finds, at an IoU of 0.5 or more.
    invented : int
        Objects that are none of the cells and lie where everything is annotated.
    outline : float
        Mean IoU of the found cells; NaN if none was found.
    """

    cells: int
    found: int
    invented: int
    outline: float

    def __str__(self) -> str:
        drawn = "" if np.isnan(self.outline) else f", outlines {self.outline:.2f}"
        return f"finds {self.found} of {self.cells}, invents {self.invented}{drawn}"


@dataclass(frozen=True)
class ModelVerdict:
    """A new model beside the one before, on the same held-out cells.

    Attributes
    ----------
    outcome : Outcome
        "better" or "worse" only where the interval excludes 0.
    before, after : Tally
        The counts of both.
    difference, low, high : float
        AP over all held-out cells, after minus before, with its 95 % interval; the bounds are NaN where there
        are too few cells.
    images : int
        How many images the cells come from.
    """

    outcome: Outcome
    before: Tally
    after: Tally
    difference: float
    low: float
    high: float
    images: int

    def sentence(self, after: str = "The new model", before: str = "the start") -> str:
        """The verdict in counts that need no explanation.

        Parameters
        ----------
        after, before : str, optional
            What to call both models.

        Examples
        --------
        >>> verdict = ModelVerdict(
        ...     Outcome.BETTER, Tally(46, 35, 6, 0.8), Tally(46, 41, 2, 0.84), 0.1, 0.05, 0.2, 3
        ... )
        >>> verdict.sentence("v3", "v2")
        'v3 finds 41 of 46 cells (v2: 35), invents 2 (6), outlines 0.84 (0.80): better.'
        """
        new, old = self.after, self.before
        if new.cells < ENOUGH_CELLS:
            return (
                f"Only {new.cells} {'cell is' if new.cells == 1 else 'cells are'} held out to judge, "
                f"{ENOUGH_CELLS} are needed: look at the result yourself, or annotate more."
            )
        drawn = ""
        if not np.isnan(new.outline):
            drawn = f", outlines {new.outline:.2f}" + (
                "" if np.isnan(old.outline) else f" ({old.outline:.2f})"
            )
        said = {
            Outcome.BETTER: "better",
            Outcome.WORSE: "worse",
            Outcome.UNDECIDED: "no clear difference",
        }
        return (
            f"{after} finds {new.found} of {new.cells} cells ({before}: {old.found}), "
            f"invents {new.invented} ({old.invented}){drawn}: {said[self.outcome]}."
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; None for NaN."""

        def plain(value: float) -> float | None:
            return None if np.isnan(value) else float(value)

        def tally(counts: Tally) -> dict[str, Any]:
            return {
                "cells": counts.cells,
                "found": counts.found,
                "invented": counts.invented,
                "outline": plain(counts.outline),
            }

        return {
            "outcome": str(self.outcome),
            "before": tally(self.before),
            "after": tally(self.after),
            "difference": plain(self.difference),
            "interval": [plain(self.low), plain(self.high)],
            "images": self.images,
        }


def tally(matches: Sequence[Match]) -> Tally:
    """Count what a model found over several images.

    Parameters
    ----------
    matches : sequence of Match
        One for each held-out image, the truth against the prediction.
    """
    iou = np.concatenate([match.truth_iou for match in matches]) if matches else np.zeros(0)
    found = iou >= 0.5
    invented = sum(match.counts(0.5)[1] for match in matches)
    return Tally(
        len(iou), int(found.sum()), int(invented), float(iou[found].mean()) if found.any() else np.nan
    )


def judge_models(before: Sequence[Match], after: Sequence[Match], *, seed: int = 0) -> ModelVerdict:
    """Decide between two models from what each finds of the same held-out cells.

    The figure is AP as `evaluate` gives it for pooled counts: true positives over true positives, false
    positives and false negatives, averaged over IoU 0.5 to 0.95. Its difference is resampled in pairs
    [1]_: whole images where there are many, else the single cells and invented objects, whose interval is
    widened because cells of one image fail together.

    Parameters
    ----------
    before, after : sequence of Match
        Matches of the same images in the same order.
    seed : int, optional
        Seed of the resampling.

    Raises
    ------
    InputError
        If the two are not about the same cells.

    References
    ----------
    .. [1] Efron, Tibshirani, An Introduction to the Bootstrap, 1993, chapter 8.
    """
    if [list(m.truth_ids) for m in before] != [list(m.truth_ids) for m in after]:
        raise InputError("The two models were judged on different cells: judge both on the same ones.")
    old, new = tally(before), tally(after)
    units = [_units(a, b) for a, b in zip(before, after)]
    total = np.sum([unit.sum(axis=0) for unit in units], axis=0) if units else np.zeros(4)
    difference = float(_difference(total[None])[0])
    low = high = np.nan
    outcome = Outcome.UNDECIDED
    if new.cells >= ENOUGH_CELLS:
        low, high = _interval(units, difference, seed)
        outcome = Outcome.BETTER if low > 0 else Outcome.WORSE if high < 0 else Outcome.UNDECIDED
    return ModelVerdict(outcome, old, new, difference, low, high, len(units))


def _units(before: Match, after: Match) -> np.ndarray:
    """Rows of (hits before, all before, hits after, all after), a row for each cell and invented object.

    Hits and totals are counted over all thresholds; an object that a threshold turns from a hit into a miss
    counts twice in the total, as false positive and as false negative.
    """
    rows = []
    for match in (before, after):
        steps = np.asarray(THRESHOLDS)
        hits = (match.truth_iou[:, None] >= steps).sum(axis=1)
        # a partner below the threshold is a miss and a false positive
        wrong = np.where(match.partner >= 0, len(steps) - hits, 0)
        rows.append((hits, len(steps) + wrong))
    (hits_a, all_a), (hits_b, all_b) = rows
    cells = np.stack([hits_a, all_a, hits_b, all_b], axis=1)
    invented = [
        int(np.count_nonzero((match.predicted_iou < 0.5) & ~match.ignorable)) for match in (before, after)
    ]
    extra = np.zeros((sum(invented), 4), cells.dtype)
    extra[: invented[0], 1] = len(THRESHOLDS)
    extra[invented[0] :, 3] = len(THRESHOLDS)
    return np.concatenate([cells, extra])


def _difference(sums: np.ndarray) -> np.ndarray:
    """AP after minus AP before, of rows of summed units (n, 4)."""
    hits_a, all_a, hits_b, all_b = sums.T
    difference: np.ndarray = hits_b / np.maximum(all_b, 1) - hits_a / np.maximum(all_a, 1)
    return difference


def _interval(units: Sequence[np.ndarray], difference: float, seed: int) -> tuple[float, float]:
    """Percentile interval of the difference."""
    rng = np.random.default_rng(seed)
    by_image = len(units) >= ENOUGH_IMAGES
    pool = np.stack([unit.sum(axis=0) for unit in units]) if by_image else np.concatenate(units)
    drawn = rng.multinomial(len(pool), np.full(len(pool), 1 / len(pool)), size=RESAMPLES)
    values = _difference(drawn @ pool)
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    widened = 1.0 if by_image else CLUSTERED
    return difference + widened * (low - difference), difference + widened * (high - difference)
