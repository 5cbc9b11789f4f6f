"""The learning curve of a project: from its rounds, and from trainings on parts of its annotation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.evaluation.decision import ENOUGH_CELLS, Decision, Finds, decide
from napari_cupre.evaluation.enough import MORE, CurvePoint, EnoughVerdict, Gain, fit_curve, is_enough
from napari_cupre.project.document import Round
from napari_cupre.project.lessons import FOLDS, LessonResult, of_latest, read_lessons
from napari_cupre.words import counted

BAND_POINTS = 12


@dataclass(frozen=True)
class ProjectCurve:
    """Whether more cells would help, and the points behind the answer, by the number of cells.

    `band` holds the expected values up to `MORE` cells from now; empty for fewer than two points. `check`
    says whether training is worth it at all; None until measured.
    """

    verdict: EnoughVerdict
    points: list[CurvePoint]
    band: list[tuple[float, Gain]]
    check: CrossCheck | None = None


@dataclass(frozen=True)
class CrossCheck:
    """The comparison of training with its start on all cells that may judge: a cross-validation.

    `decision` compares models, each trained on two thirds of the cells, with their `start` on the remaining
    third. `cells` is the number annotated at that time.
    """

    decision: Decision
    start: str
    cells: int

    def __str__(self) -> str:
        able, every = self.decision.after.cells, counted(self.cells, "cell")
        if able < ENOUGH_CELLS:
            return (
                f"Cross-check: only {able} of your {every} can judge, {ENOUGH_CELLS} are needed. "
                "Accepted guesses judge only inside regions where everything is annotated."
            )
        where = "all your cells" if able >= self.cells else f"{able} of your {every}"
        name = f"Cross-check on {where}: a model that learned from the other two thirds"
        return self.decision.sentence(name, self.start)


def cross_check(measured: Sequence[LessonResult]) -> CrossCheck | None:
    """Pool the results of the folds; return None until all are measured.

    Parameters
    ----------
    measured : sequence of LessonResult
        Results for one annotation and one start, see `of_latest`.
    """
    steps = min((each.steps for each in measured), default=0)
    folds = {
        each.fold: (each.before, each.after)
        for each in measured
        if each.share == 1 and each.steps == steps and each.before is not None and each.after is not None
    }
    if len(folds) < FOLDS:
        return None
    before, after = (_by_image(side) for side in zip(*folds.values()))
    last = measured[-1]
    decision = decide(list(before.values()), [after[name] for name in before])
    return CrossCheck(decision, last.start, last.annotated)


def _by_image(folds: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Finds]:
    """Return the finds in each image over the folds.

    Every cell judges in one fold, but the background around it judges in each fold with cells of the image,
    so the number of invented objects is a mean.
    """
    found: dict[str, list[Finds]] = {}
    for fold in folds:
        for name, entry in fold.items():
            found.setdefault(name, []).append(Finds.from_json(entry))
    return {name: _of_folds(parts) for name, parts in found.items()}


def _of_folds(parts: Sequence[Finds]) -> Finds:
    invented = round(sum(part.invented for part in parts) / len(parts))
    return replace(reduce(add, parts), invented=invented)


def curve_of(folder: Path, rounds: Sequence[Round], cells: int, like: str = "") -> ProjectCurve:
    """Read the measurements of a project and say whether more cells would help.

    Parameters
    ----------
    folder : Path
        The project; only `lessons.FILE` is read.
    rounds : sequence of Round
        Its rounds.
    cells : int
        Annotated so far.
    like : str, optional
        The image that would teach most.
    """
    measured = of_latest(read_lessons(folder))
    points = [*points_of_parts(measured), *points_of_rounds(rounds)]
    points.sort(key=lambda point: point.cells)
    verdict = is_enough(points, cells, longer_of(measured), like)
    band: list[tuple[float, Gain]] = []
    if len(points) > 1:
        curve = fit_curve(points)
        numbers = np.geomspace(max(1.0, points[0].cells), cells + MORE, BAND_POINTS)
        band = [(float(number), curve.at(number)) for number in numbers]
    return ProjectCurve(verdict, points, band, cross_check(measured))


def points_of_parts(measured: Sequence[LessonResult]) -> list[CurvePoint]:
    """Return a point for each share of the annotation, over all folds, after the same number of steps."""
    steps = min((each.steps for each in measured), default=0)
    shares = sorted({each.share for each in measured})
    rows = ([each for each in measured if (each.share, each.steps) == (share, steps)] for share in shares)
    return [_pooled(row) for row in rows if row]


def longer_of(measured: Sequence[LessonResult]) -> tuple[CurvePoint, CurvePoint] | None:
    """Return the results of a short and a long training on the same cells; None if not measured."""
    steps = sorted({each.steps for each in measured})
    if len(steps) < 2:
        return None
    short, long = (
        {each.fold: each for each in measured if each.share == 1 and each.steps == length}
        for length in (steps[0], steps[-1])
    )
    folds = sorted(short.keys() & long.keys())
    if not folds:
        return None
    return _pooled([short[fold] for fold in folds]), _pooled([long[fold] for fold in folds])


def points_of_rounds(rounds: Sequence[Round]) -> list[CurvePoint]:
    """Return a point for each round that was judged on held-out cells."""
    found = []
    for each in rounds:
        after = (each.verdict.get("decision") or {}).get("after") or {}
        judged = int(after.get("cells", 0))
        if judged and each.cells > judged:
            found.append(
                CurvePoint(
                    each.cells - judged, int(after["found"]), judged, int(after["invented"]), is_round=True
                )
            )
    return found


def _pooled(row: Sequence[LessonResult]) -> CurvePoint:
    return CurvePoint(
        sum(each.cells for each in row) / len(row),
        sum(each.found for each in row),
        sum(each.judged for each in row),
        sum(each.invented for each in row),
        row[0].steps,
    )
