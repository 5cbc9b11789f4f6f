"""The mean of the start's and the trained weights is kept where the held-out cells allow it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from few_shot_fields import settings, shot

from napari_cupre.events import Finished, Notice
from napari_cupre.finetuning.finetune_run import FinetuneRun
from napari_cupre.finetuning.halfway import KEPT, judged_halfway
from napari_cupre.finetuning.judge import Judge, Judgement
from napari_cupre.model.checkpoint import new_model


def trained_with(
    monkeypatch: pytest.MonkeyPatch, start: Any, *scores: float
) -> tuple[FinetuneRun, list[Any]]:
    """A run whose judge gives the start, the trained weights and the mean of both these scores."""
    given = iter(scores)
    monkeypatch.setattr(
        Judge, "__call__", lambda self, network, dtype: Judgement(*(score := next(given),) * 2, 1 - score, 40)
    )
    run = FinetuneRun(start, [shot(seed) for seed in range(3)], settings(steps=1))
    return run, list(run.events())


def distances(run: FinetuneRun, start: Any) -> tuple[float, float]:
    """How far the result is from the start and from the trained weights, over all weights."""
    assert run.result is not None
    ours, first = run.result.network.state_dict(), start.network.state_dict()
    last = run.average.network.state_dict()
    return tuple(  # type: ignore[return-value]
        sum(float((ours[key] - other[key]).abs().sum()) for key in ours if ours[key].is_floating_point())
        for other in (first, last)
    )


@pytest.mark.parametrize("half", [0.595, 0.7])
def test_the_mean_is_kept_where_it_is_as_good(
    pretrained: Any, monkeypatch: pytest.MonkeyPatch, half: float
) -> None:
    run, events = trained_with(monkeypatch, pretrained, 0.5, 0.6, half)
    from_start, from_trained = distances(run, pretrained)
    assert from_start == pytest.approx(from_trained, rel=1e-3)
    assert from_start > 0
    assert KEPT in [event.message for event in events if isinstance(event, Notice)]
    finished = next(event for event in events if isinstance(event, Finished))
    assert [entry["which"] for entry in finished.result["history"]] == ["start", "average", "halfway"]
    assert finished.result["best_step"] == 1
    assert run.result is not None
    (kept,) = run.result.info.metrics["held_out"]
    assert kept["ap50"] == half


def test_the_trained_weights_are_kept_where_they_are_clearly_better(
    pretrained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, events = trained_with(monkeypatch, pretrained, 0.5, 0.6, 0.585)
    assert distances(run, pretrained)[1] == 0
    assert KEPT not in [event.message for event in events if isinstance(event, Notice)]


@pytest.mark.parametrize(("half", "is_start"), [(0.7, True), (0.71, False)])
def test_a_start_that_training_made_worse_gives_way_to_a_better_mean_alone(
    pretrained: Any, monkeypatch: pytest.MonkeyPatch, half: float, is_start: bool
) -> None:
    run, _ = trained_with(monkeypatch, pretrained, 0.7, 0.3, half)
    assert (distances(run, pretrained)[0] == 0) is is_start


def test_random_weights_are_no_start_to_go_back_to(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = trained_with(monkeypatch, start, 0.6)
    assert distances(run, start)[1] == 0


def test_the_mean_is_the_mean(pretrained: Any) -> None:
    other = new_model("tiny", seed=5).network.state_dict()

    class Blind:
        def __call__(self, network: Any, dtype: Any) -> Judgement:
            return Judgement(0.0, 0.0, 0.0, 0)

    before = {key: value.clone() for key, value in pretrained.network.state_dict().items()}
    _, mean = judged_halfway(pretrained.network, other, Blind(), None)  # type: ignore[arg-type]
    for key, value in before.items():
        torch.testing.assert_close(pretrained.network.state_dict()[key], value)
        if value.is_floating_point():
            torch.testing.assert_close(mean[key], (value + other[key]) / 2)
