"""Which weights a training ends with."""

from __future__ import annotations

import pytest

from napari_cupre.finetuning.judge import Judgement, is_as_good


def history(*scores: float) -> list[dict]:
    return [{"step": step, "ap50": score, "ap": score, "cells": 20} for step, score in enumerate(scores)]


def judgement(score: float, cells: int = 20) -> Judgement:
    return Judgement(score, score, 0.0, cells)


@pytest.mark.parametrize(
    ("earlier", "now", "is_taken"),
    [
        ([0.7], 0.75, True),
        ([0.7], 0.69, True),  # as good
        ([0.7], 0.66, False),  # worse than the start
        ([0.7, 0.8], 0.75, True),  # seen more, and not clearly worse
        ([0.7, 0.9], 0.75, False),  # clearly worse than the best
        ([0.7, 0.9, 0.82], 0.78, False),  # nor by several steps that are small each
    ],
)
def test_later_weights_are_taken_unless_they_are_worse(earlier, now, is_taken) -> None:
    assert is_as_good(judgement(now), history(*earlier), scratch=False) is is_taken


def test_few_held_out_cells_say_little_against_a_training() -> None:
    assert is_as_good(judgement(0.62, cells=2), history(0.7), scratch=False)
    assert not is_as_good(judgement(0.5, cells=2), history(0.7), scratch=False)


def test_random_weights_are_no_start_to_be_kept() -> None:
    assert is_as_good(judgement(0.6), history(0.7), scratch=True)
