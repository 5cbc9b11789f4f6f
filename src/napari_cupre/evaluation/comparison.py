"""Decide whether one model is better than another on the same images, and how certain that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.evaluation.report import FIGURES, Report

RESAMPLES = 5000

_LABELS = {
    "ap": "AP",
    "ap50": "AP@.5",
    "ap75": "AP@.75",
    "f1": "F1@.5",
    "precision": "precision",
    "recall": "recall",
    "panoptic_quality": "panoptic quality",
    "count_error": "count error",
}


@dataclass(frozen=True)
class Comparison:
    """One figure of two models A and B, paired by image; differences are B minus A.

    Attributes
    ----------
    figure : str
        Which of `FIGURES` was compared.
    names : tuple of str
        Names of the two models.
    means : tuple of float
        Mean of the figure over the images, for A and for B.
    differences : numpy.ndarray
        float (I,), the difference on each image.
    low, high : float
        95 % interval of the mean difference, by resampling the images; NaN for one image.
    """

    figure: str
    names: tuple[str, str]
    means: tuple[float, float]
    differences: np.ndarray
    low: float
    high: float

    @property
    def difference(self) -> float:
        """Return the mean difference over the images."""
        return float(self.differences.mean())

    @property
    def better(self) -> str | None:
        """Return the name of the model that is better beyond the interval; None if undecided."""
        if not (self.low > 0 or self.high < 0):
            return None
        larger_is_better = self.figure != "count_error"
        return self.names[int((self.low > 0) == larger_is_better)]

    @property
    def verdict(self) -> str:
        """Return the result in one line."""
        first, second = self.names
        label, count = _LABELS[self.figure], len(self.differences)
        figures = (
            f"{label} {self.means[1]:.3f} ({second}) against {self.means[0]:.3f} ({first}), "
            f"difference {self.difference:+.3f}"
        )
        if count == 1:
            return f"{figures} on one image, which says nothing about others."
        interval = f"{figures}, 95 % interval {self.low:+.3f} to {self.high:+.3f} over {count} images"
        if self.better is None:
            return f"No clear difference: {interval}."
        return f"{self.better} is better: {interval}."

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; None for NaN."""
        low, high = (None if np.isnan(bound) else bound for bound in (self.low, self.high))
        return {
            "figure": self.figure,
            "names": list(self.names),
            "means": list(self.means),
            "difference": self.difference,
            "interval": [low, high],
            "better": self.better,
            "differences": self.differences.tolist(),
            "verdict": self.verdict,
        }


def compare(
    first: Report,
    second: Report,
    *,
    figure: str = "ap",
    names: tuple[str, str] = ("A", "B"),
    seed: int = 0,
) -> Comparison:
    """Compare two models by their reports on the same images.

    The interval is the percentile bootstrap of the mean difference: the images are resampled
    with replacement, and the figures of both models for an image stay together.

    Parameters
    ----------
    first, second : Report
        Reports of the same images in the same order.
    figure : str, optional
        One of `FIGURES`.
    names : tuple of str, optional
        Names of the models.
    seed : int, optional
        Seed of the resampling.

    Raises
    ------
    InputError
        If the reports are of different images or there is no such figure.
    """
    if figure not in FIGURES:
        raise InputError(f'There is no figure "{figure}" to compare; choose one of {", ".join(FIGURES)}.')
    ours = [image.name for image in first.images]
    theirs = [image.name for image in second.images]
    if ours != theirs:
        odd = next((pair for pair in zip(ours, theirs) if pair[0] != pair[1]), (len(ours), len(theirs)))
        raise InputError(
            f"The two reports are not of the same images ({odd[0]} and {odd[1]}); "
            "evaluate both on the same set."
        )
    differences = np.array(
        [getattr(b, figure) - getattr(a, figure) for a, b in zip(first.images, second.images)], float
    )
    low, high = _interval(differences, seed)
    return Comparison(figure, names, (first.mean(figure), second.mean(figure)), differences, low, high)


def _interval(differences: np.ndarray, seed: int) -> tuple[float, float]:
    count = len(differences)
    if count < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = [rng.choice(differences, count).mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
