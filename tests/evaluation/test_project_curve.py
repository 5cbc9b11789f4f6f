"""The learning curve of a project, from files and rounds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from napari_cupre.evaluation.decision import Outcome
from napari_cupre.evaluation.enough import Enough
from napari_cupre.evaluation.project_curve import (
    cross_check,
    curve_of,
    longer_of,
    points_of_parts,
    points_of_rounds,
)
from napari_cupre.project.document import Round
from napari_cupre.project.lessons import FILE, FOLDS, LessonResult, add_lesson, of_latest, read_lessons

ONE = LessonResult("a", "cupre", 90, 0, 1.0, 40, cells=60, found=24, judged=30, invented=0)
QUARTER = replace(ONE, share=0.25, cells=15, found=12)
LONG = replace(ONE, steps=80, found=27)


def test_measurements_are_kept_and_damage_costs_nothing_else(tmp_path: Path) -> None:
    assert read_lessons(tmp_path) == []
    add_lesson(tmp_path, ONE)
    add_lesson(tmp_path, QUARTER)
    assert read_lessons(tmp_path) == [ONE, QUARTER]
    add_lesson(tmp_path, LONG, most=2)
    assert read_lessons(tmp_path) == [QUARTER, LONG]
    (tmp_path / FILE).write_text('{"measurements": [{"fold": 1}]}')
    assert read_lessons(tmp_path) == []


def test_only_the_latest_annotation_counts() -> None:
    newer = replace(ONE, annotation="b")
    assert of_latest([ONE, QUARTER, newer]) == [newer]
    assert of_latest([ONE, replace(ONE, start="mine")]) == [replace(ONE, start="mine")]


def test_folds_are_pooled_and_longer_trainings_stand_beside() -> None:
    second = replace(ONE, fold=1, cells=62, found=26, judged=28)
    measured = [ONE, QUARTER, LONG, second]
    first, last = points_of_parts(measured)
    assert (first.cells, first.found) == (15, 12)
    assert (last.cells, last.found, last.judged, last.steps) == (61, 50, 58, 40)
    short, long = longer_of(measured)
    assert (short.found, long.found) == (24, 27), "only the fold that both have"
    assert longer_of([ONE, QUARTER]) is None


def folds(before: float, after: float, cells: int = 12) -> list[LessonResult]:
    """Three folds on two images, of whose cells the start and the models find a share."""

    def side(share: float) -> dict[str, dict[str, object]]:
        iou = [0.9] * round(share * cells) + [0.0] * (cells - round(share * cells))
        return {name: {"iou": iou, "invented": 0} for name in ("a", "b")}

    return [replace(ONE, fold=fold, before=side(before), after=side(after)) for fold in range(FOLDS)]


def test_every_cell_judges_once_in_the_cross_check() -> None:
    check = cross_check([QUARTER, *folds(0.5, 1.0), LONG])
    assert check.decision.outcome is Outcome.BETTER
    assert (check.decision.before.found, check.decision.after.found) == (36, 72)
    assert check.decision.images == 2, "cells of one image fail together, whichever fold they judge in"
    assert str(replace(check, cells=72)) == (
        "Cross-check on all your cells: a model that learned from the other two thirds finds 72 of 72 cells "
        "(cupre: 36), invents 0 (0), outlines 0.90 (0.90): better."
    )
    assert str(check).startswith("Cross-check on 72 of your 90 cells: a model that learned from")
    assert cross_check(folds(1.0, 0.5)).decision.outcome is Outcome.WORSE
    assert cross_check(folds(0.75, 0.75)).decision.outcome is Outcome.UNDECIDED


def test_what_is_invented_is_counted_once_though_each_fold_sees_the_same_background() -> None:
    each_invents_two = [
        replace(fold, **{side: {n: entry | {"invented": 2} for n, entry in getattr(fold, side).items()}})
        for fold in folds(0.5, 1.0)
        for side in ["before"]
    ]
    check = cross_check(each_invents_two)
    assert (check.decision.before.invented, check.decision.after.invented) == (4, 0), "two in each image"
    assert check.decision.before.cells == 72


def test_a_cross_check_on_too_few_cells_says_what_is_missing() -> None:
    check = cross_check(folds(0.5, 1.0, cells=2))
    assert check.decision.outcome is Outcome.UNDECIDED
    assert str(check).startswith("Cross-check: only 12 of your 90 cells can judge, 20 are needed.")


def test_a_training_that_was_repeated_counts_once() -> None:
    assert of_latest([ONE, QUARTER, replace(ONE, found=27)]) == [replace(ONE, found=27), QUARTER]


def test_two_folds_are_no_cross_check() -> None:
    assert cross_check(folds(0.5, 1.0)[:2]) is None
    assert cross_check([ONE, replace(ONE, fold=1), replace(ONE, fold=2)]) is None, "of an earlier version"
    assert cross_check([]) is None


def test_rounds_count_where_they_were_judged() -> None:
    after = {"cells": 22, "found": 18, "invented": 3, "outline": 0.8}
    judged = Round(1, "m", "cupre", "a", 100, 3, 0, "", {"decision": {"after": after}})
    (point,) = points_of_rounds(
        [judged, replace(judged, verdict={}), replace(judged, verdict={"decision": None})]
    )
    assert (point.cells, point.found, point.judged, point.invented, point.is_round) == (78, 18, 22, 3, True)


def test_a_project_without_measurements_cannot_tell(tmp_path: Path) -> None:
    found = curve_of(tmp_path, [], 60)
    assert found.verdict.outcome is Enough.UNKNOWN
    assert found.band == []
    for fold in range(3):
        for share, cells, hits in ((0.25, 15, 180), (0.5, 30, 181), (1.0, 60, 182)):
            add_lesson(
                tmp_path,
                replace(ONE, fold=fold, share=share, cells=cells, found=hits, judged=200),
            )
    found = curve_of(tmp_path, [], 90)
    assert found.verdict.outcome is Enough.HARDLY
    assert [point.cells for point in found.points] == [15, 30, 60]
    assert (found.band[0][0], round(found.band[-1][0])) == (15, 110)
    assert all(each.low <= each.middle <= each.high for _, each in found.band)
