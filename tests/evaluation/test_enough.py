"""Whether more cells would help: said only where the points say it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cupre.evaluation.enough import CurvePoint, Enough, fit_curve, is_enough

CELLS = (10, 20, 40, 80)


def measured(cells: float, value: float, judged: int = 400, **more: object) -> CurvePoint:
    """A model that finds a share of the cells and invents none."""
    return CurvePoint(cells, round(value * judged), judged, 0, **more)


def law(floor: float, height: float, exponent: float, judged: int = 400) -> list[CurvePoint]:
    return [measured(n, 1 - floor - height * n**-exponent, judged) for n in CELLS]


def test_a_steep_curve_says_that_more_cells_help() -> None:
    points = law(0.02, 2.6, 0.5, 2000)
    verdict = is_enough(points, 80, like="7")
    assert verdict.outcome is Enough.HELPS
    assert verdict.sentence.startswith("20 more cells of images like 7 would help:")
    truth = 2.6 * (80**-0.5 - 100**-0.5)
    assert verdict.gain.low < truth < verdict.gain.high + 0.005


def test_a_flat_curve_says_that_they_hardly_do() -> None:
    verdict = is_enough([measured(n, 0.9) for n in CELLS], 80)
    assert verdict.outcome is Enough.HARDLY
    assert "hardly help" in verdict.sentence


def test_few_judged_cells_say_nothing() -> None:
    verdict = is_enough(law(0.1, 2.0, 0.5, 25), 80)
    assert verdict.outcome is Enough.UNKNOWN
    assert verdict.gain.high - verdict.gain.low > 0.02
    assert "Annotate 40 more" in verdict.sentence


@pytest.mark.parametrize(
    "points",
    [
        [],
        [measured(40, 0.5), measured(41, 0.6), measured(42, 0.7)],
        [measured(10, 0.5), measured(80, 0.7)],
        [measured(n, 0.5, 19) for n in CELLS],
    ],
    ids=["nothing", "no range", "two points", "too few judged"],
)
def test_too_little_is_no_curve(points: list[CurvePoint]) -> None:
    verdict = is_enough(points, 80)
    assert verdict.outcome is Enough.UNKNOWN
    assert verdict.gain is None
    assert "too little has been measured" in verdict.sentence


def test_with_few_cells_the_number_that_is_lacking_is_said() -> None:
    assert is_enough([], 13).sentence == "Cannot tell yet: annotate 7 more cells."
    assert is_enough([], 19).sentence == "Cannot tell yet: annotate 1 more cell."


def test_rounds_say_less_than_trainings_on_parts() -> None:
    widths = []
    for is_round in (False, True):
        points = [measured(n, 1 - 2 * n**-0.5, is_round=is_round) for n in CELLS]
        gain = fit_curve(points).gain(80)
        widths.append(gain.high - gain.low)
    assert widths[0] < widths[1]


def test_longer_training_is_weighed_against_more_cells() -> None:
    steep, flat = law(0.02, 2.6, 0.5, 2000), [measured(n, 0.6, 2000) for n in CELLS]
    same = measured(80, 0.60, 2000), measured(80, 0.55, 2000)
    better = measured(80, 0.60, 2000), measured(80, 0.75, 2000)
    assert "would help more than longer training" in is_enough(steep, 80, same).sentence
    assert is_enough(flat, 80, better).outcome is Enough.LONGER
    assert is_enough(flat, 80, same).outcome is Enough.HARDLY


def test_the_interval_holds_the_true_gain_as_often_as_it_says() -> None:
    """Of simulated users, whose trainings differ by chance as the noise says."""
    rng = np.random.default_rng(3)
    held, wrong, runs = 0, 0, 60
    for seed in range(runs):
        floor, exponent = rng.uniform(0, 0.3), rng.uniform(0.2, 1.2)
        height = rng.uniform(0.1, 0.9 - floor) * CELLS[0] ** exponent
        points = []
        for n in CELLS:
            value = np.clip(1 - floor - height * n**-exponent + rng.normal(0, 0.03), 0.01, 0.99)
            points.append(CurvePoint(n, int(rng.binomial(120, value)), 120, 0))
        truth = height * (80**-exponent - 100**-exponent)
        verdict = is_enough(points, 80)
        gain = fit_curve(points, seed).gain(80)
        held += gain.low <= truth <= gain.high
        wrong += verdict.outcome is Enough.HELPS and truth < 0.01
        wrong += verdict.outcome is Enough.HARDLY and truth > 0.03
    assert held >= 0.85 * runs
    assert wrong <= 0.05 * runs
