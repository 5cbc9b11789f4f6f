"""Decide from a few cells that neither model learned from whether a new model is better than the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit

from napari_cupre.errors import InputError
from napari_cupre.evaluation.matching import THRESHOLDS, Match
from napari_cupre.model.cards import FEWEST_JUDGED
from napari_cupre.words import counted

ENOUGH_CELLS = FEWEST_JUDGED
"""Minimum number of held-out cells for a decision."""

ENOUGH_IMAGES = 8
"""With at least this many held-out images, images are resampled; with fewer, single cells."""

RESAMPLES = 2000
LEVEL = 0.95

CLUSTERED = 1.5
"""Cells of one image fail together, so an interval from single cells is widened by this factor."""


class Outcome(StrEnum):
    """The possible verdicts on a new model."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Finds:
    """What one model finds in one held-out image.

    `iou` is the IoU of each true cell, in order of number, with its match; 0 below 0.5. `invented` counts
    objects that match no cell and lie where everything is annotated. `copied` lists the rows of cells whose
    outline a network drew: they count only as found (1) or not (0), see `Match.counting`.
    """

    iou: tuple[float, ...]
    invented: int
    copied: tuple[int, ...] = ()

    @classmethod
    def of(cls, match: Match, accepted: Sequence[int] = ()) -> Finds:
        """Return the finds in a match of truth and prediction; `accepted` are cells drawn by a network."""
        copied = np.flatnonzero(np.isin(match.truth_ids, accepted))
        iou = match.counting(accepted).truth_iou
        return cls(tuple(map(float, iou)), match.counts(0.5)[1], tuple(copied.tolist()))

    def __add__(self, other: Finds) -> Finds:
        """Join the finds of two parts of an image; the rows of `other` come last."""
        shifted = tuple(len(self.iou) + row for row in other.copied)
        return Finds(self.iou + other.iou, self.invented + other.invented, self.copied + shifted)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Finds:
        """Rebuild finds that `dataclasses.asdict` wrote to a file."""
        return cls(tuple(entry["iou"]), entry["invented"], tuple(entry.get("copied", ())))


@dataclass(frozen=True)
class Tally:
    """How a model does on the held-out cells.

    It finds `found` of the checked and edited `cells`, at an IoU of 0.5 or more. `invented` counts objects
    that match no cell and lie where everything is annotated. `outline` is the mean IoU of the found cells
    that a person drew; NaN if none was found.
    """

    cells: int
    found: int
    invented: int
    outline: float

    def __str__(self) -> str:
        drawn = "" if np.isnan(self.outline) else f", outlines {self.outline:.2f}"
        return f"finds {self.found} of {self.cells}, invents {self.invented}{drawn}"


@dataclass(frozen=True)
class Decision:
    """The comparison of a new model with the previous one on the same held-out cells.

    Attributes
    ----------
    outcome : Outcome
        "better" or "worse" only if the interval excludes 0.
    before, after : Tally
        The counts of both models.
    difference, low, high : float
        AP over all held-out cells, after minus before, with its 95 % interval; the bounds are NaN if there
        are too few cells.
    images : int
        Number of images that the cells come from.
    """

    outcome: Outcome
    before: Tally
    after: Tally
    difference: float
    low: float
    high: float
    images: int

    def sentence(self, after: str = "The new model", before: str = "the start") -> str:
        """Return the verdict as a sentence with plain counts.

        Parameters
        ----------
        after, before : str, optional
            Names of the two models.

        Examples
        --------
        >>> verdict = Decision(
        ...     Outcome.BETTER, Tally(46, 35, 6, 0.8), Tally(46, 41, 2, 0.84), 0.1, 0.05, 0.2, 3
        ... )
        >>> verdict.sentence("v3", "v2")
        'v3 finds 41 of 46 cells (v2: 35), invents 2 (6), outlines 0.84 (0.80): better.'
        """
        new, old = self.after, self.before
        if new.cells < ENOUGH_CELLS:
            return too_few(new.cells)
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

        def counts(tallied: Tally) -> dict[str, Any]:
            return {
                "cells": tallied.cells,
                "found": tallied.found,
                "invented": tallied.invented,
                "outline": plain(tallied.outline),
            }

        return {
            "outcome": str(self.outcome),
            "before": counts(self.before),
            "after": counts(self.after),
            "difference": plain(self.difference),
            "interval": [plain(self.low), plain(self.high)],
            "images": self.images,
        }


def too_few(cells: int) -> str:
    """Return the message for too few held-out cells."""
    return (
        f"Only {counted(cells, 'cell is', 'cells are')} held out to judge, and {ENOUGH_CELLS} are needed: "
        "look at the result yourself, or annotate more."
    )


def tally(finds: Sequence[Finds]) -> Tally:
    """Add up what a model found over several images."""
    iou = np.array([value for each in finds for value in each.iou], float)
    copied = [np.isin(np.arange(len(each.iou)), each.copied) for each in finds]
    drawn = ~np.concatenate([np.zeros(0, bool), *copied])
    found = iou >= 0.5
    outline = float(iou[found & drawn].mean()) if (found & drawn).any() else np.nan
    return Tally(len(iou), int(found.sum()), sum(each.invented for each in finds), outline)


def decide(before: Sequence[Finds], after: Sequence[Finds], *, seed: int = 0) -> Decision:
    """Decide between two models from what each finds among the same held-out cells.

    The figure is AP as `evaluate` gives it for pooled counts: true positives over true positives, false
    positives and false negatives, averaged over IoU 0.5 to 0.95. The difference is resampled in pairs
    [1]_: by whole images if there are many, else by single cells and invented objects. The latter interval
    is widened, because cells of one image fail together.

    Parameters
    ----------
    before, after : sequence of Finds
        Of the same images in the same order.
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
    if [len(each.iou) for each in before] != [len(each.iou) for each in after]:
        raise InputError("The two models were judged on different cells: judge both on the same ones.")
    old, new = tally(before), tally(after)
    units = [_units(a, b) for a, b in zip(before, after)]
    total = np.sum([unit.sum(axis=0) for unit in units], axis=0) if units else np.zeros(4)
    difference = float(_differences(total[None])[0])
    low = high = np.nan
    outcome = Outcome.UNDECIDED
    if new.cells >= ENOUGH_CELLS:
        low, high = _interval(units, difference, seed)
        outcome = Outcome.BETTER if low > 0 else Outcome.WORSE if high < 0 else Outcome.UNDECIDED
    return Decision(outcome, old, new, difference, low, high, len(units))


def _units(before: Finds, after: Finds) -> np.ndarray:
    """Return int (n, 4) for each cell and invented object: hits and all before, hits and all after.

    All are summed over the thresholds. An object that does not match at a threshold is a false positive
    there, and its cell a false negative. So a found cell adds two to "all" if its outline is not good
    enough.
    """
    sides = []
    steps = np.asarray(THRESHOLDS)
    for finds in (before, after):
        iou = np.asarray(finds.iou, float)
        hits = (iou[:, None] >= steps).sum(axis=1)
        sides += [hits, len(steps) + np.where(iou >= 0.5, len(steps) - hits, 0)]
    cells = np.stack(sides, axis=1)
    extra = np.zeros((before.invented + after.invented, 4), cells.dtype)
    extra[: before.invented, 1] = len(steps)
    extra[before.invented :, 3] = len(steps)
    return np.concatenate([cells, extra])


def _differences(sums: np.ndarray) -> np.ndarray:
    """Return AP after minus AP before from rows of summed units (n, 4)."""
    hits_a, all_a, hits_b, all_b = sums.T
    difference: np.ndarray = hits_b / np.maximum(all_b, 1) - hits_a / np.maximum(all_a, 1)
    return difference


def _interval(units: Sequence[np.ndarray], difference: float, seed: int) -> tuple[float, float]:
    """Return the percentile interval of the difference."""
    rng = np.random.default_rng(seed)
    by_image = len(units) >= ENOUGH_IMAGES
    pool = np.stack([unit.sum(axis=0) for unit in units]) if by_image else np.concatenate(units)
    drawn = rng.multinomial(len(pool), np.full(len(pool), 1 / len(pool)), size=RESAMPLES)
    low, high = np.quantile(_differences(drawn @ pool), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # with few images the bootstrap is too narrow, like a normal interval compared with Student's
    few = float(stdtrit(len(pool) - 1, (1 + LEVEL) / 2) / ndtri((1 + LEVEL) / 2))
    widened = few if by_image else CLUSTERED
    return difference + widened * float(low - difference), difference + widened * float(high - difference)
