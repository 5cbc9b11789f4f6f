"""What a person is told at the end of a training."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from napari_cupre.finetuning.judge import Verdict, in_words


def entry(step: int, ap50: float) -> dict[str, Any]:
    return {"step": step, **asdict(Verdict(ap50, ap50 / 2, 1.0, 12))}


def test_a_stop_before_the_first_step_is_no_verdict() -> None:
    for best in (None, 0):
        said = in_words([entry(0, 0.5)], best, 0, scratch=False)
        assert said.startswith("Stopped before the first step")
        assert "Worse" not in said


@pytest.mark.parametrize(("now", "word"), [(0.5, "No better"), (0.502, "No better"), (0.49, "Worse")])
def test_figures_that_read_alike_are_not_called_worse(now: float, word: str) -> None:
    said = in_words([entry(0, 0.5), entry(10, now)], 0, 10, scratch=False)
    assert said.startswith(f"{word} than the start")
    assert "12 held-out cells" in said
