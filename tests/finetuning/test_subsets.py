"""Trainings on parts of the annotation: what teaches never judges, and small parts lie in large ones."""

from __future__ import annotations

import numpy as np
import pytest
from few_shot_fields import settings, shot

from napari_cupre.data.shot import Shot
from napari_cupre.errors import InputError
from napari_cupre.evaluation.decision import tally
from napari_cupre.events import Progress, Steps
from napari_cupre.finetuning.judge import segment
from napari_cupre.finetuning.split import count_cells
from napari_cupre.finetuning.subsets import Lesson, divide, parts_to_train, train_part
from napari_cupre.project.lessons import FOLDS


def cells_of(shots: list[Shot]) -> set[tuple[str, int]]:
    return {(each.name, int(label)) for each in shots for label in np.unique(each.labels) if label}


def named(count: int) -> list[Shot]:
    shots = [shot(seed) for seed in range(count)]
    for number, each in enumerate(shots):
        each.name = str(number)
    return shots


@pytest.mark.parametrize("images", [1, 3, 6])
def test_every_cell_judges_once_and_never_where_it_teaches(images: int) -> None:
    shots = named(images)
    judged: list[tuple[str, int]] = []
    for fold in range(FOLDS):
        teaching, judging = divide(shots, Lesson(fold, 1.0, 1))
        assert not cells_of(teaching) & cells_of(judging)
        assert cells_of(teaching) | cells_of(judging) == cells_of(shots)
        judged += cells_of(judging)
    assert sorted(judged) == sorted(cells_of(shots))


def test_whole_images_judge_where_there_are_enough() -> None:
    teaching, judging = divide(named(6), Lesson(0, 1.0, 1))
    assert not {each.name for each in teaching} & {each.name for each in judging}
    assert len(judging) == 2


@pytest.mark.parametrize("images", [2, 6])
def test_what_may_judge_is_dealt_evenly(images: int) -> None:
    shots = named(images)
    for each in shots[: images // 2]:
        each.accepted = tuple(np.unique(each.labels[each.labels > 0]).tolist())
    for fold in range(FOLDS):
        _, judging = divide(shots, Lesson(fold, 1.0, 1))
        share = cells_of([each.for_judging() for each in judging])
        assert len(share) >= len(cells_of(shots[images // 2 :])) // (FOLDS + 1)


def test_accepted_guesses_outside_complete_regions_are_not_compared_with_the_start(pretrained) -> None:
    """The start drew them, so it finds every one: no training could come out better."""
    guesses, drawn = shots = named(2)
    guesses.accepted = tuple(np.unique(guesses.labels[guesses.labels > 0]).tolist())
    steps = Steps(train_part(pretrained, shots, Lesson(0, 1.0, 1), settings()))
    list(steps)
    assert steps.result.before.keys() == steps.result.after.keys() == {drawn.name}
    assert tally(list(steps.result.after.values())).cells < steps.result.point.judged, "the curve counts all"


def test_small_parts_lie_in_large_ones_and_the_rest_is_unknown() -> None:
    shots = named(2)
    small, _ = divide(shots, Lesson(1, 0.25, 1))
    large, judging = divide(shots, Lesson(1, 1.0, 1))
    assert cells_of(small) < cells_of(large)
    assert len(cells_of(small)) == round(0.25 * len(cells_of(large)))
    for each in (*small, *judging):
        whole = shots[int(each.name)]
        dropped = (whole.labels > 0) & (each.labels == 0)
        assert dropped.any()
        assert not each.known[dropped].any()
        assert each.known[each.labels > 0].all()


def test_the_cross_check_comes_first_and_then_the_other_end_of_the_curve() -> None:
    parts = parts_to_train(40)
    assert parts[:FOLDS] == [Lesson(fold, 1.0, 40) for fold in range(FOLDS)]
    assert parts[FOLDS] == Lesson(0, 0.25, 40)
    assert len(set(parts)) == 4 * FOLDS
    assert {part.steps for part in parts} == {40, 80}


def test_a_part_is_trained_and_judged(pretrained) -> None:
    shots = named(2)
    steps = Steps(train_part(pretrained, shots, Lesson(0, 1.0, 2), settings()))
    events = list(steps)
    point = steps.result.point
    assert [event.done for event in events if isinstance(event, Progress)] == [1, 2]
    assert point.steps == 2
    total = sum(count_cells(each.labels) for each in shots)
    assert point.cells + point.judged == total
    assert 0 <= point.found <= point.judged
    after = tally(list(steps.result.after.values()))
    assert after.found == point.found
    assert point.invented == after.invented / FOLDS, "the same background judges in each fold"
    assert steps.result.before.keys() == steps.result.after.keys() == {"0", "1"}


def test_only_a_whole_fold_is_compared_with_its_start(pretrained) -> None:
    steps = Steps(train_part(pretrained, named(2), Lesson(0, 0.5, 1), settings()))
    list(steps)
    assert steps.result.before == steps.result.after == {}


def test_a_part_that_is_stopped_says_nothing(pretrained) -> None:
    steps = Steps(train_part(pretrained, named(2), Lesson(0, 1.0, 50), settings(), lambda: True))
    list(steps)
    assert steps.result is None


def test_it_stops_while_it_judges_too(pretrained, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that somebody waits for begins only then."""
    seen: list[int] = []

    def noted(*inputs: object, **more: object) -> np.ndarray:
        seen.append(1)
        return segment(*inputs, **more)

    monkeypatch.setattr("napari_cupre.finetuning.subsets.segment", noted)
    steps = Steps(train_part(pretrained, named(2), Lesson(0, 1.0, 1), settings(), lambda: bool(seen)))
    list(steps)
    assert steps.result is None
    assert len(seen) == 1


def test_too_few_cells_are_refused(pretrained) -> None:
    one = shot(0)
    one.labels[one.labels > 2] = 0
    with pytest.raises(InputError, match="annotate more"):
        list(train_part(pretrained, [one], Lesson(0, 0.25, 2), settings()))
