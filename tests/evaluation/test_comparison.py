"""Comparing two models: the interval, the verdict, what cannot be compared."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_cupre.errors import InputError
from napari_cupre.evaluation import Report, Score, compare
from napari_cupre.evaluation.matching import THRESHOLDS


def report(hits: list[int], cells: int = 20) -> Report:
    """A report of images of `cells` cells, of which so many are found exactly."""
    count = len(THRESHOLDS)
    images = [
        Score(f"image {i}", (hit,) * count, (0,) * count, (cells - hit,) * count, float(hit))
        for i, hit in enumerate(hits)
    ]
    return Report(images)


def test_a_clear_gain_is_told():
    result = compare(report([5, 6, 7, 8]), report([9, 11, 11, 13]), names=("scratch", "cupre"))
    assert result.difference == pytest.approx(0.225)
    assert (result.low, result.high) == pytest.approx((0.2, 0.25))
    assert result.better == "cupre"
    assert result.verdict.startswith("cupre is better: AP 0.550")


def test_the_other_way_round_is_the_mirror_image():
    there = compare(report([5, 6, 7, 8]), report([9, 11, 11, 13]))
    back = compare(report([9, 11, 11, 13]), report([5, 6, 7, 8]))
    assert back.better == "A"
    assert there.difference == -back.difference
    assert np.allclose([there.low, there.high], [-back.high, -back.low], atol=0.01)


def test_chance_is_no_gain():
    result = compare(report([5, 9, 5, 9]), report([9, 5, 9, 6]))
    assert result.low < 0 < result.high
    assert result.better is None
    assert result.verdict.startswith("No clear difference")


def test_equal_models_and_one_image_give_no_winner():
    assert compare(report([5, 6]), report([5, 6])).better is None
    alone = compare(report([5]), report([9]))
    assert alone.better is None
    assert "says nothing" in alone.verdict
    assert json.loads(json.dumps(alone.as_dict()))["interval"] == [None, None]


def test_fewer_counting_errors_are_better():
    result = compare(report([5, 6, 7]), report([15, 16, 17]), figure="count_error")
    assert result.difference == -10
    assert result.better == "B"


def test_the_seed_decides():
    first, second = report([5, 6, 9, 12, 4]), report([9, 11, 8, 12, 7])
    assert compare(first, second, seed=3).low == compare(first, second, seed=3).low


def test_other_images_and_unknown_figures_are_refused():
    with pytest.raises(InputError, match="same images"):
        compare(report([1]), report([1, 2]))
    with pytest.raises(InputError, match="ap50"):
        compare(report([1]), report([1]), figure="iou")
