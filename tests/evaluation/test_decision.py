"""The verdict on a new model: counts that people understand, decided only where the cells decide."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from napari_cupre.errors import InputError
from napari_cupre.evaluation.decision import ENOUGH_CELLS, Finds, Outcome, decide, tally
from napari_cupre.evaluation.matching import match_instances


def field(count: int, shift: int = 0, lost: int = 0, invented: int = 0) -> np.ndarray:
    """Squares of 8 px in a row, each moved by `shift`, the first `lost` left out, others added below."""
    labels = np.zeros((40, 12 * max(count, 1)), np.int32)
    for i in range(lost, count):
        labels[2:10, 12 * i + 2 + shift : 12 * i + 10 + shift] = i + 1
    for i in range(invented):
        labels[20:28, 12 * i + 2 : 12 * i + 10] = count + i + 1
    return labels


def finds(truth: np.ndarray, predicted: np.ndarray) -> Finds:
    return Finds.of(match_instances(truth, predicted))


def match(count: int, **how: int) -> Finds:
    return finds(field(count), field(count, **how))


def test_counts_are_those_that_a_person_would_count() -> None:
    counted = tally([match(10, lost=3, invented=2), match(5)])
    assert (counted.cells, counted.found, counted.invented) == (15, 12, 2)
    assert counted.outline == 1
    assert str(counted) == "finds 12 of 15, invents 2, outlines 1.00"


def test_outlines_that_a_network_drew_count_as_found_or_not() -> None:
    truth, found = field(30), field(30, shift=2, lost=3, invented=2)
    match = match_instances(truth, found)
    numbers = range(1, 16)
    lenient = match.counting(numbers)
    assert lenient.counts(0.5) == match.counts(0.5), "what is found stays found"
    assert lenient.counts(0.95)[0] == 12, "and needs no better outline"
    finds = Finds.of(match, numbers)
    assert finds.iou == tuple(lenient.truth_iou)
    assert finds.copied == tuple(range(15))
    assert tally([finds]).outline == pytest.approx(tally([Finds.of(match)]).outline), (
        "of the drawn ones alone"
    )
    assert tally([finds]).found == tally([Finds.of(match)]).found


def test_finds_of_parts_of_an_image_are_those_of_the_image() -> None:
    both = Finds((0.5, 1.0), 2, (1,)) + Finds((0.0, 1.0), 1, (1,))
    assert both == Finds((0.5, 1.0, 0.0, 1.0), 3, (1, 3))
    assert Finds.from_json(json.loads(json.dumps(asdict(both)))) == both
    assert Finds.from_json({"iou": [0.5], "invented": 0}) == Finds((0.5,), 0), "as earlier versions wrote it"


@pytest.mark.parametrize("images", [1, 10])
def test_much_better_much_worse_and_the_same(images: int) -> None:
    poor, good = [match(30, lost=12, invented=5)] * images, [match(30)] * images
    assert decide(poor, good).outcome is Outcome.BETTER
    assert decide(good, poor).outcome is Outcome.WORSE
    same = decide(good, good)
    assert same.outcome is Outcome.UNDECIDED
    assert same.difference == same.low == same.high == 0


def test_one_cell_more_is_no_better() -> None:
    verdict = decide([match(40, lost=1)], [match(40)])
    assert verdict.outcome is Outcome.UNDECIDED
    assert verdict.low <= 0 < verdict.difference <= verdict.high


def test_better_outlines_alone_are_better() -> None:
    verdict = decide([match(30, shift=2)], [match(30)])
    assert verdict.before.found == verdict.after.found == 30
    assert verdict.outcome is Outcome.BETTER


def test_inventing_alone_is_worse() -> None:
    assert decide([match(30)], [match(30, invented=15)]).outcome is Outcome.WORSE


def test_too_few_cells_decide_nothing() -> None:
    few = ENOUGH_CELLS - 1
    verdict = decide([match(few, lost=few)], [match(few)])
    assert verdict.outcome is Outcome.UNDECIDED
    assert np.isnan(verdict.low)
    assert verdict.sentence().startswith(f"Only {few} cells are held out")
    assert verdict.as_dict()["interval"] == [None, None]


def test_the_difference_is_that_of_the_pooled_ap() -> None:
    from napari_cupre.evaluation import evaluate

    truth = [field(30), field(20)]
    first, second = [field(30, lost=9, shift=1), field(20)], [field(30, invented=4), field(20, shift=1)]
    reports = [evaluate(truth, found) for found in (first, second)]
    verdict = decide(*([finds(t, f) for t, f in zip(truth, x)] for x in (first, second)))

    def pooled(found: list[np.ndarray]) -> float:
        counts = [match_instances(t, f) for t, f in zip(truth, found)]
        hits = total = 0
        for threshold in np.arange(50, 100, 5) / 100:
            for each in counts:
                right, false, missed = each.counts(threshold)
                hits, total = hits + right, total + right + false + missed
        return hits / total

    assert verdict.difference == pytest.approx(pooled(second) - pooled(first))
    assert (reports[1].pooled.ap - reports[0].pooled.ap) * verdict.difference > 0


def test_other_cells_are_refused() -> None:
    with pytest.raises(InputError, match="different cells"):
        decide([match(30)], [match(31)])


def test_chance_is_called_a_difference_seldom() -> None:
    rng = np.random.default_rng(0)
    wrong = 0
    for seed in range(200):
        lost = rng.binomial(1, 0.3, (2, 40))
        pair = []
        for row in lost:
            labels = field(40)
            labels[np.isin(labels, 1 + np.flatnonzero(row))] = 0
            pair.append([finds(field(40), labels)])
        wrong += decide(*pair, seed=seed).outcome is not Outcome.UNDECIDED
    assert wrong <= 10
