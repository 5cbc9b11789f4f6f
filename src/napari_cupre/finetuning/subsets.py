"""Trainings on parts of the annotation, each judged on cells it did not see: points of a learning curve."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from napari_cupre.data.annotation import cells_with_rim, default_rim
from napari_cupre.data.shot import Shot
from napari_cupre.errors import InputError
from napari_cupre.evaluation.decision import Finds, tally
from napari_cupre.evaluation.enough import CurvePoint
from napari_cupre.evaluation.matching import match_instances
from napari_cupre.events import Event, Progress, StepDone
from napari_cupre.finetuning.crops import scale_shot
from napari_cupre.finetuning.finetune_run import FinetuneRun
from napari_cupre.finetuning.finetune_settings import FinetuneSettings
from napari_cupre.finetuning.judge import Judge, segment
from napari_cupre.finetuning.split import count_cells
from napari_cupre.model.checkpoint import Model
from napari_cupre.model.network import CellRCNN
from napari_cupre.project.lessons import FOLDS
from napari_cupre.words import counted

IMAGES_AS_FOLDS = 6
"""With at least this many annotated images, whole images judge; with fewer, single cells."""

MOST_WINDOWS = 60
"""Maximum number of windows to judge on."""

LEAST_TAUGHT = 3
"""Minimum number of cells for a training with a measurable effect."""

JUDGED_RIM = 1.0
"""Width of the known rim around a judging cell, see `make_shot`."""


@dataclass(frozen=True)
class Lesson:
    """One training on a part of the annotation.

    Attributes
    ----------
    fold : int
        The fold of cells that judges, 0 to `FOLDS` - 1.
    share : float
        Share of the other cells to learn from, above 0, at most 1.
    steps : int
        Length of the training.
    """

    fold: int
    share: float
    steps: int


@dataclass(frozen=True)
class Learned:
    """The result of a training on a part of the annotation.

    Attributes
    ----------
    point : CurvePoint
        Of the learning curve.
    before, after : dict of str to Finds
        By image, the finds of the start and of the trained model among the cells that may judge (see
        `Shot.for_judging`); empty unless the model learned from all other cells.
    """

    point: CurvePoint
    before: dict[str, Finds]
    after: dict[str, Finds]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values under the names of `LessonResult`."""
        sides = {"before": self.before, "after": self.after}
        return {
            "cells": round(self.point.cells),
            "found": self.point.found,
            "judged": self.point.judged,
            "invented": self.point.invented,
            **{side: {name: asdict(finds) for name, finds in found.items()} for side, found in sides.items()},
        }


def parts_to_train(steps: int) -> list[Lesson]:
    """Return all parts for a learning curve, the most informative first: whole folds, then the start.

    Parameters
    ----------
    steps : int
        Steps of each training; each fold has one more training with twice as many.
    """
    rows = [(1.0, steps), (0.25, steps), (0.5, steps), (1.0, 2 * steps)]
    return [Lesson(fold, share, length) for share, length in rows for fold in range(FOLDS)]


def divide(shots: Sequence[Shot], part: Lesson, seed: int = 0) -> tuple[list[Shot], list[Shot]]:
    """Return what to learn from and what to judge with in one training; the rest is unknown.

    Parameters
    ----------
    shots : sequence of Shot
        All that is annotated.
    seed : int, optional
        With the same seed, smaller shares are parts of larger ones.

    Returns
    -------
    teaching, judging : list of Shot
    """
    cells = [(number, int(label)) for number, shot in enumerate(shots) for label in _labels(shot)]
    folds = _folds(shots, cells, seed)
    others = [cell for cell in cells if folds[cell] != part.fold]
    order = np.random.default_rng([seed, part.fold]).permutation(len(others))
    taught = {others[row] for row in order[: max(1, round(part.share * len(others)))]}
    judging = {cell for cell in cells if folds[cell] == part.fold}
    return _with_only(shots, taught, None), _with_only(shots, judging, JUDGED_RIM)


def _labels(shot: Shot) -> np.ndarray:
    found: np.ndarray = np.unique(shot.labels[shot.labels > 0])
    return found


def _folds(shots: Sequence[Shot], cells: Sequence[tuple[int, int]], seed: int) -> dict[tuple[int, int], int]:
    """Return the fold of each cell; with enough images, all cells of an image share a fold.

    Cells that may judge (see `Shot.for_judging`) are distributed first, so that each fold gets some and none
    is empty.
    """
    rng = np.random.default_rng(seed)
    judges = [set(_labels(shot.for_judging()).tolist()) for shot in shots]
    images = sorted({number for number, _ in cells})
    if _folds_of_background(shots) == 1:
        shuffled = [images[row] for row in rng.permutation(len(images))]
        shuffled.sort(key=lambda image: not judges[image])
        of_image = dict(zip(shuffled, _dealt(len(images))))
        return {cell: of_image[cell[0]] for cell in cells}
    order = [cells[row] for row in rng.permutation(len(cells))]
    order.sort(key=lambda cell: cell[1] not in judges[cell[0]])
    return dict(zip(order, _dealt(len(cells))))


def _folds_of_background(shots: Sequence[Shot]) -> int:
    """Return in how many folds an image's background judges: one if whole images judge, else all."""
    images = sum(bool(shot.labels.any()) for shot in shots)
    return 1 if images >= IMAGES_AS_FOLDS else FOLDS


def _dealt(count: int) -> list[int]:
    return [number % FOLDS for number in range(count)]


def _with_only(shots: Sequence[Shot], kept: set[tuple[int, int]], rim: float | None) -> list[Shot]:
    """Return shots with only some of their cells; the others and a rim around them become unknown."""
    found = []
    for number, shot in enumerate(shots):
        labels = [label for image, label in kept if image == number]
        here = np.where(np.isin(shot.labels, labels), shot.labels, 0).astype(np.int32)
        dropped = (shot.labels > 0) & (here == 0)
        width = default_rim(shot.labels) if rim is None else rim
        known = shot.known & (~cells_with_rim(dropped, width) | (here > 0))
        if here.any() or (not shot.labels.any() and known.any()):
            found.append(replace(shot, labels=here, known=known))
    return found


def train_part(
    start: Model,
    shots: Sequence[Shot],
    part: Lesson,
    settings: FinetuneSettings,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[Event, None, Learned | None]:
    """Train on a part of the annotation and judge on the rest; yields the progress.

    Parameters
    ----------
    start : Model
        A model that has seen none of the cells; it is not changed.
    shots : sequence of Shot
        All that is annotated.
    part : Lesson
        What to learn from, what to judge with, and the length of the training.
    settings : FinetuneSettings
        Seed and device; its limit does not count.
    should_stop : callable, optional
        Asked after each step, and after each window that is judged on.

    Returns
    -------
    Learned or None
        None if it was stopped.

    Raises
    ------
    InputError
        Too few cells for a part.
    """
    teaching, judging = divide(shots, part, settings.seed)
    cells = sum(count_cells(shot.labels) for shot in teaching)
    if cells < LEAST_TAUGHT or not any(shot.labels.any() for shot in judging):
        raise InputError(f"A part of the annotation has only {counted(cells, 'cell')}: annotate more.")
    run = FinetuneRun(start, teaching, replace(settings, minutes=None, steps=part.steps, held_out=0.0))
    for event in run.events():
        if should_stop():
            run.stop()
        if isinstance(event, StepDone):
            yield Progress(event.step, part.steps, f"training on {cells} cells")
    if run.step < part.steps or run.result is None:
        return None
    diameter = start.network.config.diameter
    scaled = [
        scale_shot(shot, diameter / run.teaching.scaling.of(shot)) for shot in judging if shot.labels.any()
    ]
    windows = Judge(scaled, settings.seed, MOST_WINDOWS).windows
    after = _segmented(windows, run.result.network.to(run.device), run, should_stop)
    whole = part.share == 1.0
    untrained = start.copy().to(run.device).network.eval()
    before = _segmented(windows, untrained, run, should_stop) if whole else []
    if should_stop():
        return None
    counts = tally(list(_found(windows, after).values()))
    invented = counts.invented / _folds_of_background(shots)
    point = CurvePoint(cells, counts.found, counts.cells, invented, part.steps)
    fair = [window.for_judging() for window in windows]
    return Learned(point, _found(fair, before), _found(fair, after) if whole else {})


def _segmented(
    windows: Sequence[Shot], network: CellRCNN, run: FinetuneRun, should_stop: Callable[[], bool]
) -> list[np.ndarray]:
    """Return the label image of each window, until stopped."""
    labels: list[np.ndarray] = []
    for window in windows:
        if should_stop():
            break
        labels.append(segment(network, window.image, run.dtype))
    return labels


def _found(windows: Sequence[Shot], segmented: Sequence[np.ndarray]) -> dict[str, Finds]:
    """Return the finds in the windows of each image that has a cell to find."""
    found: dict[str, Finds] = {}
    for window, labels in zip(windows, segmented):
        if window.labels.any():
            finds = Finds.of(match_instances(window.labels, labels, window.known), window.accepted)
            found[window.name] = found[window.name] + finds if window.name in found else finds
    return found
