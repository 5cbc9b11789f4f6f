"""Compare two sets of cells on one image: found by both, found by one, and which is closer to the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_cupre.evaluation.decision import Decision, Finds, Tally, decide, tally
from napari_cupre.evaluation.matching import Match, match_instances
from napari_cupre.evaluation.report import Report, Score, score_match


@dataclass(frozen=True)
class Difference:
    """Where two label images agree and differ; each part is int32 of their shape, 0 = nothing.

    Attributes
    ----------
    both : numpy.ndarray
        Cells found by both at an IoU of 0.5 or more, as outlined by the second.
    only_first, only_second : numpy.ndarray
        Cells found by only one of them.
    """

    both: np.ndarray
    only_first: np.ndarray
    only_second: np.ndarray


@dataclass(frozen=True)
class Compared:
    """The comparison of two models, or of one with the truth, on one image.

    The counts are cells found by both or by only one; against the truth: found, invented, missed.
    `scores` and `finds` compare each model with the truth; empty if no cell is checked or edited.
    `is_new` says that no model learned from this image.
    """

    name: str
    both: int
    only_first: int
    only_second: int
    scores: tuple[Score, ...] = ()
    finds: tuple[Finds, ...] = ()
    is_new: bool = False


def each_plane_apart(labels: np.ndarray) -> np.ndarray:
    """Relabel a stack so that no cell is on two planes, to compare stacks plane by plane.

    Examples
    --------
    >>> each_plane_apart(np.array([[[5, 0]], [[5, 2]]])).tolist()
    [[[5, 0]], [[10, 7]]]
    """
    labels = np.asarray(labels)
    if labels.ndim <= 2:
        return labels
    planes = labels.reshape(-1, *labels.shape[-2:])
    steps = np.arange(len(planes), dtype=np.int64)[:, None, None] * int(labels.max(initial=0))
    return np.where(planes > 0, planes + steps, 0).reshape(labels.shape)


def tell_apart(first: np.ndarray, second: np.ndarray, known: np.ndarray | None = None) -> Difference:
    """Separate what both found from what only one found.

    Parameters
    ----------
    first, second : numpy.ndarray
        Integers (Y, X), or with planes in front; 0 is background.
    known : numpy.ndarray or None, optional
        bool, the known area if `second` is the truth. Cells of `first` elsewhere are neither right nor wrong,
        and are left out.

    Raises
    ------
    InputError
        If the shapes differ.

    Examples
    --------
    >>> parts = tell_apart(np.array([[1, 0, 2]]), np.array([[7, 0, 0]]))
    >>> parts.both.tolist(), parts.only_first.tolist(), parts.only_second.tolist()
    ([[7, 0, 0]], [[0, 0, 2]], [[0, 0, 0]])
    """
    first, second = each_plane_apart(first), each_plane_apart(second)
    match = match_instances(second, first, known)
    alone = (match.predicted_iou < 0.5) & ~match.ignorable
    return Difference(
        _only(second, match.truth_ids[match.truth_iou >= 0.5]),
        _only(first, match.predicted_ids[alone]),
        _only(second, match.truth_ids[match.truth_iou < 0.5]),
    )


def _only(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return np.where(np.isin(labels, numbers), labels, 0).astype(np.int32)


def compare_image(
    name: str,
    predicted: Sequence[np.ndarray],
    truth: np.ndarray | None = None,
    known: np.ndarray | None = None,
    *,
    is_new: bool = False,
) -> Compared:
    """Compare two models on an image, or judge one.

    Parameters
    ----------
    predicted : sequence of numpy.ndarray
        Label images of one or two models.
    truth, known : numpy.ndarray or None, optional
        Checked and edited cells, and the known pixels. A single model needs them.
    is_new : bool, optional
        Whether no model learned from this image.

    Raises
    ------
    InputError
        If shapes differ.
    """
    sides = [each_plane_apart(labels) for labels in predicted]
    judged: list[Match] = []
    if truth is not None:
        judged = [match_instances(each_plane_apart(truth), side, known) for side in sides]
    if len(sides) == 2:
        match = match_instances(sides[1], sides[0])
        both, only_first, only_second = match.counts(0.5)
    else:
        both, only_first, only_second = judged[0].counts(0.5)
    scores = tuple(score_match(name, match) for match in judged)
    return Compared(
        name, both, only_first, only_second, scores, tuple(Finds.of(match) for match in judged), is_new
    )


def judged_on(images: Sequence[Compared], enough: int) -> list[Compared]:
    """Return the images to judge on: those new to all models, if they have enough cells; else all."""
    with_truth = [image for image in images if image.scores]
    new = [image for image in with_truth if image.is_new]
    return new if sum(image.scores[0].truth_count for image in new) >= enough else with_truth


def verdict_on(images: Sequence[Compared]) -> Decision | None:
    """Decide between two models, paired by image; return None if nothing can be compared."""
    pairs = [image.finds for image in images if len(image.finds) == 2]
    return decide([pair[0] for pair in pairs], [pair[1] for pair in pairs]) if pairs else None


def tally_of(images: Sequence[Compared]) -> Tally:
    """Count what the first model finds and invents over several images."""
    return tally([image.finds[0] for image in images if image.finds])


def report_of(images: Sequence[Compared], side: int = 0) -> Report | None:
    """Return the figures of one model over several images; None without checked or edited cells."""
    scores = [image.scores[side] for image in images if image.scores]
    return Report(scores) if scores else None
