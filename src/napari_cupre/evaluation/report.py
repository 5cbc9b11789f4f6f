"""Figures of merit of predicted label images: AP, F1, panoptic quality, count error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.evaluation.matching import THRESHOLDS, Match, match_instances

FIGURES = ("ap", "ap50", "ap75", "f1", "precision", "recall", "panoptic_quality", "count_error")
"""The figures of every score, in the order of printing."""


@dataclass(frozen=True)
class Score:
    """The counts of one image, or of several summed, and the figures derived from them.

    A figure whose denominator is zero is 1: there was nothing to find and nothing was found. An
    image without cells and without predictions enters the mean over images in the same way.

    Attributes
    ----------
    name : str
        The image's name.
    true, false, missed : tuple of int
        True positives, false positives and false negatives at each threshold of `THRESHOLDS`.
    iou_sum : float
        Sum of the IoU of the pairs matched at 0.5.
    ignored : int
        Predictions in unknown area that match nothing at IoU 0.5; not counted in `false`.
    """

    name: str
    true: tuple[int, ...]
    false: tuple[int, ...]
    missed: tuple[int, ...]
    iou_sum: float
    ignored: int = 0

    @property
    def ap_per_threshold(self) -> tuple[float, ...]:
        """TP / (TP + FP + FN) at each threshold, as StarDist and Cellpose define AP."""
        return tuple(_ratio(t, t + f + m) for t, f, m in zip(self.true, self.false, self.missed))

    @property
    def ap(self) -> float:
        """AP averaged over the thresholds .5:.05:.95."""
        return float(np.mean(self.ap_per_threshold))

    @property
    def ap50(self) -> float:
        """Average precision at IoU 0.5."""
        return self.ap_per_threshold[THRESHOLDS.index(0.5)]

    @property
    def ap75(self) -> float:
        """Average precision at IoU 0.75."""
        return self.ap_per_threshold[THRESHOLDS.index(0.75)]

    @property
    def truth_count(self) -> int:
        """Number of annotated cells."""
        return self.true[0] + self.missed[0]

    @property
    def predicted_count(self) -> int:
        """Number of predictions without the ignored ones."""
        return self.true[0] + self.false[0]

    @property
    def precision(self) -> float:
        """TP / (TP + FP) at IoU 0.5; 0 if there are cells but no predictions."""
        return _ratio(self.true[0], self.predicted_count or self.truth_count)

    @property
    def recall(self) -> float:
        """TP / (TP + FN) at IoU 0.5; 0 if there are predictions but no cells."""
        return _ratio(self.true[0], self.truth_count or self.predicted_count)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall at IoU 0.5."""
        return _ratio(2 * self.true[0], self.truth_count + self.predicted_count)

    @property
    def panoptic_quality(self) -> float:
        """Sum of matched IoU / (TP + FP/2 + FN/2) at IoU 0.5 (Kirillov et al. 2019)."""
        return _ratio(2 * self.iou_sum, self.truth_count + self.predicted_count)

    @property
    def count_error(self) -> float:
        """Absolute difference between the predicted and true numbers of cells."""
        return float(abs(self.predicted_count - self.truth_count))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        figures = {figure: getattr(self, figure) for figure in FIGURES}
        return {
            "name": self.name,
            "truth": self.truth_count,
            "predicted": self.predicted_count,
            "ignored": self.ignored,
            **figures,
            "ap_per_threshold": dict(zip(map(str, THRESHOLDS), self.ap_per_threshold)),
        }


class Report:
    """The scores of a set of images.

    `report.ap`, `.ap50`, `.ap75`, `.f1`, `.precision`, `.recall`, `.panoptic_quality` and
    `.count_error` are means over the images, each image with the same weight; `report.pooled` has the
    same figures from the counts summed over all images, each cell with the same weight; and
    `report.images` has them image by image.
    """

    def __init__(self, images: Sequence[Score]):
        if not images:
            raise InputError("There is no image to evaluate; give at least one truth and prediction.")
        self.images: list[Score] = list(images)
        self.pooled: Score = _pool(self.images)
        self.ap, self.ap50, self.ap75 = map(self.mean, ("ap", "ap50", "ap75"))
        self.f1, self.precision, self.recall = map(self.mean, ("f1", "precision", "recall"))
        self.panoptic_quality, self.count_error = map(self.mean, ("panoptic_quality", "count_error"))

    def mean(self, figure: str) -> float:
        """Mean over the images of one of `FIGURES`."""
        return float(np.mean([getattr(image, figure) for image in self.images]))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: keys "mean", "pooled" and "images"."""
        return {
            "mean": {figure: self.mean(figure) for figure in FIGURES},
            "pooled": self.pooled.as_dict(),
            "images": [image.as_dict() for image in self.images],
        }

    def table(self) -> str:
        """A text table: a row per image, then the mean over images and the pooled row."""
        header = ["image", "cells", "found", *FIGURES]
        rows = [score_row(image) for image in self.images]
        cells = np.mean([image.truth_count for image in self.images])
        found = np.mean([image.predicted_count for image in self.images])
        means = [figure_text(figure, self.mean(figure)) for figure in FIGURES]
        rows.append(["mean over images", f"{cells:.1f}", f"{found:.1f}", *means])
        rows.append(score_row(self.pooled))
        return _align([header, *rows])


def evaluate(
    labels: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray],
    *,
    known: Sequence[np.ndarray | None] | None = None,
    names: Sequence[str] | None = None,
) -> Report:
    """Compare predicted label images with the true ones.

    Parameters
    ----------
    labels, predictions : sequence of numpy.ndarray
        Equally many whole-number arrays, (Y, X) or (Z, Y, X); 0 is background.
    known : sequence of numpy.ndarray or None, optional
        bool arrays of the same shapes, or None if everything is annotated: a prediction that lies mostly in
        unknown pixels and matches no annotated cell counts as neither right nor wrong.
    names : sequence of str, optional
        The images' names, for messages and tables.

    Returns
    -------
    Report
        `.ap` (IoU .5:.05:.95), `.ap50`, `.ap75`, `.f1` and more as means over the images, `.pooled` over all
        cells, `.images` one by one.

    Raises
    ------
    InputError
        If numbers of images or shapes do not match, or there is no image.
    """
    names = list(names) if names is not None else [f"image {i}" for i in range(1, len(labels) + 1)]
    areas = list(known) if known is not None else [None] * len(labels)
    for what, given in (("predicted images", predictions), ("known areas", areas), ("names", names)):
        if len(given) != len(labels):
            raise InputError(f"{len(labels)} true images but {len(given)} {what}; give one for each image.")
    return Report([_score_named(*each) for each in zip(names, labels, predictions, areas)])


def score_match(name: str, match: Match) -> Score:
    """Return the score of one matched image."""
    true, false, missed = zip(*(match.counts(threshold) for threshold in THRESHOLDS))
    ignored = int(np.count_nonzero(match.ignorable & (match.predicted_iou == 0)))
    return Score(name, true, false, missed, float(match.truth_iou.sum()), ignored)


def _score_named(name: str, truth: np.ndarray, predicted: np.ndarray, known: np.ndarray | None) -> Score:
    try:
        return score_match(name, match_instances(truth, predicted, known))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _pool(images: Sequence[Score]) -> Score:
    def total(which: str) -> tuple[int, ...]:
        return tuple(int(n) for n in np.sum([getattr(image, which) for image in images], axis=0))

    iou_sum = sum(image.iou_sum for image in images)
    ignored = sum(image.ignored for image in images)
    return Score("pooled", total("true"), total("false"), total("missed"), iou_sum, ignored)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 1.0


def figure_text(figure: str, value: float) -> str:
    """Format one of `FIGURES`."""
    return f"{value:.1f}" if figure == "count_error" else f"{value:.3f}"


def score_row(score: Score) -> list[str]:
    """Return the line of a table: name, cells, found, and `FIGURES`."""
    figures = [figure_text(figure, getattr(score, figure)) for figure in FIGURES]
    return [score.name, str(score.truth_count), str(score.predicted_count), *figures]


def _align(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in rows
    ]
    return "\n".join(lines)
