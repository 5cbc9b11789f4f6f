"""How much of a training is kept, by what the start finds and by the held-out cells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from few_shot_fields import settings, shot
from hypothesis import given
from hypothesis import strategies as st

from napari_cupre.events import Finished, Notice
from napari_cupre.finetuning.finetune_run import FinetuneRun
from napari_cupre.finetuning.judge import Judge, Judgement
from napari_cupre.finetuning.mixing import SHARES, best_share, down_to_chance, mixed, usual_share
from napari_cupre.finetuning.teaching import Teaching
from napari_cupre.model.checkpoint import new_model


def trained_with(
    monkeypatch: pytest.MonkeyPatch, start: Any, skill: float, *scores: float, cells: int = 40
) -> tuple[FinetuneRun, list[Any]]:
    """A run whose judge gives the start, the trained weights and each mix these scores."""
    given_scores = iter(scores)
    monkeypatch.setattr(Teaching, "skill", lambda *_: skill)
    monkeypatch.setattr(Teaching, "cells", property(lambda _: 50))
    monkeypatch.setattr(
        Judge,
        "__call__",
        lambda self, network, dtype: Judgement(*(score := next(given_scores),) * 2, 1 - score, cells),
    )
    run = FinetuneRun(start, [shot(seed) for seed in range(3)], settings(steps=1))
    events = list(run.events())
    assert next(given_scores, None) is None, "every score was asked for"
    return run, events


def share_of(run: FinetuneRun, start: Any) -> float:
    """How much of the result is trained."""
    assert run.result is not None
    ours, first = run.result.network.state_dict(), start.network.state_dict()
    last = run.average.network.state_dict()
    from_start, whole = (
        sum(float((one[key] - first[key]).abs().sum()) for key in first if first[key].is_floating_point())
        for one in (ours, last)
    )
    assert whole > 0
    return from_start / whole


@pytest.mark.parametrize(("skill", "share"), [(0.2, 1.0), (0.7, 0.625), (0.95, 0.25)])
def test_of_what_a_start_knows_already_less_is_kept(
    pretrained: Any, monkeypatch: pytest.MonkeyPatch, skill: float, share: float
) -> None:
    run, events = trained_with(monkeypatch, pretrained, skill, 0.5, 0.6, 0.55, cells=10)
    assert share_of(run, pretrained) == pytest.approx(share, rel=1e-3)
    said = [event.message for event in events if isinstance(event, Notice)]
    assert any("% trained" in each for each in said) is (share < 1)
    finished = next(event for event in events if isinstance(event, Finished))
    assert [entry["which"] for entry in finished.result["history"]] == ["start", "average", "mix"]
    assert finished.result["best_step"] == 1
    assert run.result is not None
    (kept,) = run.result.info.metrics["held_out"]
    assert (kept["ap50"], kept["share"]) == (0.55, pytest.approx(share))


def test_without_held_out_cells_the_same_is_kept(pretrained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Teaching, "skill", lambda *_: 0.95)
    run = FinetuneRun(pretrained, [shot(0)], settings(steps=1, held_out=0.0))
    events = list(run.events())
    assert share_of(run, pretrained) == pytest.approx(0.25, rel=1e-3)
    finished = next(event for event in events if isinstance(event, Finished))
    assert finished.result["decision"] is None


@pytest.mark.parametrize(("scores", "share"), [((0.6, 0.61, 0.615), 0.25), ((0.6, 0.7, 0.69), 0.5)])
def test_enough_held_out_cells_choose_another_share_only_if_it_is_clearly_better(
    pretrained: Any, monkeypatch: pytest.MonkeyPatch, scores: tuple[float, ...], share: float
) -> None:
    run, _ = trained_with(monkeypatch, pretrained, 0.95, 0.5, 0.6, *scores)
    assert share_of(run, pretrained) == pytest.approx(share, rel=1e-3)


@pytest.mark.parametrize(("mix", "share"), [(0.7, 0.0), (0.71, 0.25)])
def test_a_start_that_training_made_worse_gives_way_to_a_better_mix_alone(
    pretrained: Any, monkeypatch: pytest.MonkeyPatch, mix: float, share: float
) -> None:
    run, _ = trained_with(monkeypatch, pretrained, 0.95, 0.7, 0.3, mix, cells=10)
    assert share_of(run, pretrained) == pytest.approx(share, rel=1e-3)


@pytest.mark.parametrize(("cells", "share"), [(4, 1.0), (400, 0.0)])
def test_a_few_held_out_cells_do_not_throw_away_what_a_bad_start_learned(
    pretrained: Any, monkeypatch: pytest.MonkeyPatch, cells: int, share: float
) -> None:
    mixes = (0.4,) if cells < 20 else (0.4, 0.4, 0.4)
    run, _ = trained_with(monkeypatch, pretrained, 0.2, 0.5, 0.4, *mixes, cells=cells)
    assert share_of(run, pretrained) == pytest.approx(share, rel=1e-3)


@given(skill=st.floats(0, 1), other=st.floats(0, 1), cells=st.integers(0, 999), more=st.integers(0, 999))
def test_less_is_put_down_to_chance_of_what_the_start_knows_and_of_many_cells(
    skill: float, other: float, cells: int, more: int
) -> None:
    (low, high), (few, many) = sorted((skill, other)), sorted((cells, more))
    bad, good = (
        down_to_chance(knows, Judgement(0.5, 0.5, 0.0, held)) for knows, held in ((low, few), (high, many))
    )
    assert 0 <= good <= bad <= 0.3


def test_random_weights_are_no_start_to_go_back_to(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = trained_with(monkeypatch, start, 0.0, 0.6)
    assert share_of(run, start) == 1


@given(skill=st.floats(0, 1), other=st.floats(0, 1), cells=st.integers(0, 99), more=st.integers(0, 99))
def test_less_is_kept_of_what_the_start_knows_and_of_few_cells(
    skill: float, other: float, cells: int, more: int
) -> None:
    least, most = sorted((skill, other)), sorted((cells, more))
    assert SHARES[0] <= usual_share(least[1], most[0]) <= usual_share(least[0], most[1]) <= SHARES[-1]


def test_of_a_few_cells_at_most_half_is_kept() -> None:
    assert [usual_share(0.1, cells) for cells in (1, 10, 25, 40)] == pytest.approx([0.5, 0.5, 0.75, 1.0])


def test_a_mix_is_a_mix_and_the_start_stays(pretrained: Any) -> None:
    other = new_model("tiny", seed=5).network.state_dict()
    before = {key: value.clone() for key, value in pretrained.network.state_dict().items()}
    found = mixed(pretrained.network, other, 0.25).state_dict()
    for key, value in before.items():
        torch.testing.assert_close(pretrained.network.state_dict()[key], value)
        if value.is_floating_point():
            torch.testing.assert_close(found[key], 0.75 * value + 0.25 * other[key])


def test_too_few_cells_try_nothing_else(pretrained: Any) -> None:
    class Blind:
        asked = 0

        def __call__(self, network: Any, dtype: Any) -> Judgement:
            self.asked += 1
            return Judgement(0.1, 0.1, 0.0, 19)

    judge = Blind()
    share, _ = best_share(
        pretrained.network,
        pretrained.network.state_dict(),
        0.25,
        judge,  # type: ignore[arg-type]
        None,
    )
    assert (share, judge.asked) == (0.25, 1)


def test_a_start_is_not_praised_for_finding_what_it_was_shown(
    pretrained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def named(seed: int) -> Any:
        return replace(shot(seed), name=f"image {seed}")

    monkeypatch.setattr(Teaching, "skill", lambda *_: 0.3)
    first = FinetuneRun(pretrained, [named(0)], settings(steps=1))
    list(first.events())
    assert first.result is not None
    assert first.result.info.training["knew"] == 0.3
    monkeypatch.setattr(Teaching, "skill", lambda *_: 0.95)
    again = FinetuneRun(first.result, [named(0)], settings(steps=1))
    list(again.events())
    assert again.knew == 0.3, "as its own start"
    judged: list[Any] = []

    def skill(judge: Judge, network: Any, dtype: Any) -> float:
        judged.extend(judge.windows)
        return 0.7

    monkeypatch.setattr(Judge, "skill", skill)
    assert again.result is not None
    more = FinetuneRun(again.result, [named(0), named(1), named(2)], settings(steps=1, held_out=0.0))
    list(more.events())
    assert more.knew == 0.7
    assert len(judged) == 2, "the new images"
    assert more.result is not None
    assert len(more.result.info.training["seen"]) == 3
    other = FinetuneRun(more.result, [named(5)], settings(steps=1))
    list(other.events())
    assert other.knew == 0.95, "nothing of this was shown"
