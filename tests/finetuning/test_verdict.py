"""What a person is told at the end of a training."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from napari_cupre.evaluation.decision import Finds, Outcome
from napari_cupre.finetuning.judge import Judgement, decision, in_words


def entry(step: int, found: int, cells: int = 46, invented: int = 0) -> dict[str, Any]:
    finds = Finds((0.84,) * found + (0.0,) * (cells - found), invented)
    judgement = Judgement(found / cells, found / cells / 2, 1.0, cells, (finds,))
    return json.loads(json.dumps({"step": step, **asdict(judgement)}))  # as a run folder keeps it


@pytest.mark.parametrize("best", [None, 0])
def test_a_stop_before_the_first_step_is_no_verdict(best: int | None) -> None:
    said = in_words([entry(0, 23)], best, 0, scratch=False)
    assert said.startswith("Stopped before the first step")
    assert "worse" not in said


def test_a_better_model_is_told_in_counts() -> None:
    history = [entry(0, 25, invented=6), entry(10, 41, invented=2)]
    said = in_words(history, 10, 20, scratch=False, start="v2")
    assert said == (
        "The new model finds 41 of 46 cells (v2: 25), invents 2 (6), outlines 0.84 (0.84): better."
    )
    assert decision(history, 10, scratch=False).outcome is Outcome.BETTER


@pytest.mark.parametrize("now", [40, 41, 42])
def test_one_cell_more_or_less_is_no_difference(now: int) -> None:
    said = in_words([entry(0, 41), entry(10, now)], 10, 10, scratch=False)
    assert said.endswith(": no clear difference.")


def test_a_worse_model_is_not_kept_and_that_is_said() -> None:
    said = in_words([entry(0, 40), entry(10, 39), entry(20, 9)], 0, 20, scratch=False, start="cupre")
    assert said.endswith(": worse. The weights of cupre are kept.")


def test_few_held_out_cells_give_no_figure() -> None:
    history = [entry(0, 2, cells=12), entry(10, 12, cells=12)]
    said = in_words(history, 10, 10, scratch=False)
    assert said.startswith("Only 12 cells are held out to judge, and 20 are needed: look")
    assert "Only 12 cells" in in_words(history, 10, 10, scratch=True)


def test_random_weights_are_compared_with_nothing() -> None:
    said = in_words([entry(10, 40)], 10, 10, scratch=True)
    assert said == "Trained 10 steps from random weights: finds 40 of 46, invents 0, outlines 0.84."


def test_a_run_of_an_earlier_version_has_counts_of_neither() -> None:
    old = [{"step": step, "ap50": 0.5, "ap": 0.3, "loss": 1.0, "cells": 30} for step in (0, 10)]
    assert decision(old, 10, scratch=False) is None
    assert in_words(old, 10, 10, scratch=False) == "Trained 10 steps: look at the result yourself."
