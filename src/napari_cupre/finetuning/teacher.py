"""A mean teacher for images without annotation: the network learns only from what the teacher is sure of.

The averaged weights (Tarvainen and Valpola, "Mean teachers are better role models", 2017) look at windows of
these images, as `napari_cupre.finetuning.pseudo` does for the unknown part of annotated ones. Annotated cells
determine each time how sure is sure enough: the lowest score at which hardly anything is invented there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from napari_cupre.data.annotation import cells_with_rim
from napari_cupre.data.sample import Sample
from napari_cupre.data.shot import Shot
from napari_cupre.evaluation.matching import match_instances
from napari_cupre.finetuning.judge import to_batch
from napari_cupre.finetuning.pseudo import DOUBT, MARGIN, TRUSTED, WINDOW
from napari_cupre.model.device import autocast
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.paint import paint_masks

SURE = (0.5, 0.6, 0.7, 0.8, 0.9)  # candidate minimum scores for an instance to count as a cell
PRECISE = 0.9  # share of the instances above such a score that must be annotated cells
LEAST_RIGHT = 5  # minimum number of annotated cells among them
CHECKED_WINDOWS = 2  # windows of annotation per look
SMALLEST_SURE = 16  # px; a smaller instance is not a cell to learn from


@dataclass(frozen=True)
class Trust:
    """How far to trust a teacher.

    Attributes
    ----------
    score : float or None
        Instances with at least this score count as cells; None trusts none of them.
    background : bool
        Whether places where it finds nothing count as background.
    """

    score: float | None
    background: bool


class MeanTeacher:
    """Confident cells and background in images without annotation, found by averaged weights.

    Parameters
    ----------
    images : sequence of numpy.ndarray
        float32 (Y, X, 3), normalised, at network scale.
    checks : list of Shot
        Annotated windows at network scale that show how far to trust the teacher.
    rng : numpy.random.Generator
        Determines the order of the windows.
    """

    def __init__(self, images: Sequence[np.ndarray], checks: list[Shot], rng: np.random.Generator) -> None:
        windows = [window for image in images for window in _windows_of(image)]
        self._queue = [windows[i] for i in rng.permutation(len(windows))]
        self._checks = [checks[i] for i in rng.permutation(len(checks))]
        self._taught: dict[int, Sample] = {}

    def look(self, network: CellRCNN, dtype: torch.dtype | None, most: int) -> list[Sample]:
        """Look at the windows that were checked longest ago.

        Parameters
        ----------
        dtype : torch.dtype or None
            Data type of autocast.
        most : int
            Windows to look at.

        Returns
        -------
        The samples from every window seen so far; empty while the teacher is not trusted.
        """
        trust = self._trust(network, dtype)
        if trust.score is None and not trust.background:
            return []
        now, self._queue = self._queue[:most], self._queue[most:] + self._queue[:most]
        for image in now:
            sample = taught_by(*_found(network, image, dtype), image, trust)
            if sample.known.any():
                self._taught[id(image)] = sample
            else:
                self._taught.pop(id(image), None)
        return list(self._taught.values())

    def _trust(self, network: CellRCNN, dtype: torch.dtype | None) -> Trust:
        """Check the teacher on some annotated windows, different ones each time."""
        now = self._checks[:CHECKED_WINDOWS]
        self._checks = self._checks[CHECKED_WINDOWS:] + now
        return trusted([(shot, *_found(network, shot.image, dtype)) for shot in now])


def trusted(checks: Sequence[tuple[Shot, np.ndarray, np.ndarray]]) -> Trust:
    """Work out how far to trust a teacher from what it finds where the truth is known.

    Parameters
    ----------
    checks : sequence of tuple of (Shot, numpy.ndarray, numpy.ndarray)
        Annotation, label image of everything that may be a cell, and the score of each label.
    """
    scores: list[float] = []
    is_right: list[bool] = []
    found = pixels = 0
    for shot, labels, sure in checks:
        match = match_instances(shot.labels, labels, shot.known)
        counted = (match.predicted_iou >= 0.5) | ~match.ignorable
        scores += sure[match.predicted_ids - 1][counted].tolist()
        is_right += (match.predicted_iou[counted] >= 0.5).tolist()
        cells = shot.labels > 0
        found += int(np.count_nonzero(labels[cells]))
        pixels += int(np.count_nonzero(cells))
    right, above = np.array(is_right, bool), np.array(scores)
    enough = [
        score
        for score in SURE
        if np.count_nonzero(right[above >= score]) >= LEAST_RIGHT and right[above >= score].mean() >= PRECISE
    ]
    return Trust(min(enough, default=None), pixels > 0 and found / pixels >= TRUSTED)


def taught_by(labels: np.ndarray, scores: np.ndarray, image: np.ndarray, trust: Trust) -> Sample:
    """Make a sample of a window: sure cells, background where nothing was found, the rest unknown.

    Parameters
    ----------
    labels : numpy.ndarray
        int32 (Y, X), everything that may be a cell.
    scores : numpy.ndarray
        float (N,), of label i + 1.
    image : numpy.ndarray
        float32 (Y, X, 3).
    """
    areas = np.bincount(labels.ravel(), minlength=len(scores) + 1)[1:]
    sure = np.zeros(len(scores) + 1, bool)
    if trust.score is not None:
        sure[1:] = (scores >= trust.score) & (areas >= SMALLEST_SURE)
    cells = np.where(sure[labels], labels, 0).astype(np.int32)
    known = cells > 0
    if trust.background:
        doubtful = cells_with_rim((labels > 0) & ~known, MARGIN)
        known = known | ~doubtful & (labels == 0)
    return Sample(image, cells, known)


def _found(network: CellRCNN, image: np.ndarray, dtype: torch.dtype | None) -> tuple[np.ndarray, np.ndarray]:
    """Return everything that may be a cell as a label image, and the score of each label."""
    device = next(network.parameters()).device
    with autocast(device, dtype):
        found = network.detect(to_batch([image], device), score=DOUBT)[0]
    scores = found.scores.numpy()
    return paint_masks(found.boxes.numpy(), found.masks.numpy(), scores, image.shape[:2]), scores


def _windows_of(image: np.ndarray) -> list[np.ndarray]:
    """Divide an image into equal parts of about `WINDOW` px a side, as views."""
    counts = [max(1, round(length / WINDOW)) for length in image.shape[:2]]
    rows, columns = (
        np.linspace(0, length, count + 1).astype(int) for length, count in zip(image.shape, counts)
    )
    return [
        image[top:bottom, left:right] for top, bottom in pairwise(rows) for left, right in pairwise(columns)
    ]
