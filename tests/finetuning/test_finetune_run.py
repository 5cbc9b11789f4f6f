"""The few-shot trainer as its listeners see it: events, stop, resume, verdict, failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from few_shot_fields import discs, settings, shot

from napari_cupre.data.annotation import make_shot
from napari_cupre.data.labels import median_diameter
from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.events import Finished, Notice, Preview, RunState, Saved, StateChanged, StepDone, Validated
from napari_cupre.finetuning.finetune_folder import RunFolder
from napari_cupre.finetuning.finetune_run import FinetuneRun
from napari_cupre.finetuning.judge import Judge, Judgement
from napari_cupre.finetuning.teaching import Teaching
from napari_cupre.model.checkpoint import read_model, save_model
from napari_cupre.model.device import memory_format
from napari_cupre.model.runs import discard_unstarted, nothing_learned


def test_a_run_tells_its_story_in_order(pretrained, tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    run = FinetuneRun(pretrained, [shot(0)], settings(), out)
    events = list(run.events())
    states = [e.state for e in events if isinstance(e, StateChanged)]
    assert states == [RunState.PREPARING, RunState.RUNNING, RunState.STOPPING, RunState.DONE]
    steps = [e for e in events if isinstance(e, StepDone)]
    assert [e.step for e in steps] == [1, 2, 3, 4]
    assert steps[-1].fraction == 1
    assert steps[-1].remaining == 0
    assert set(steps[0].losses) == {"rpn_score", "rpn_box", "score", "box", "mask", "total"}
    assert next(e for e in events if isinstance(e, Validated)).step == 0
    finished = next(e for e in events if isinstance(e, Finished))
    assert "held out to judge" in finished.verdict
    assert "\n" not in finished.verdict
    assert {e.kind for e in events if isinstance(e, Saved)} == {"final", "run"}
    model = read_model(out, "cpu")
    assert model.info.name == "mine"
    assert model.info.training["parent"] == "parent"
    assert model.info.training["seed"] == 0
    assert run.teaching.scaling.typical == pytest.approx(median_diameter(discs(0)[1]))
    assert model.info.diameter in (None, run.teaching.scaling.common)


def test_the_start_is_not_changed(pretrained) -> None:
    before = {k: v.clone() for k, v in pretrained.network.state_dict().items()}
    list(FinetuneRun(pretrained, [shot(0)], settings(steps=2)).events())
    for key, value in pretrained.network.state_dict().items():
        torch.testing.assert_close(value, before[key])


def test_the_start_is_not_overwritten(pretrained, tmp_path: Path) -> None:
    path = save_model(pretrained, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="would overwrite"):
        FinetuneRun(pretrained, [shot(0)], settings(), path, start_path=path)


def test_batchnorm_of_a_start_that_knows_the_cells_is_held_and_that_of_random_weights_learns(
    start, pretrained
) -> None:
    for model, held in ((pretrained, True), (start, False)):
        run = FinetuneRun(model, [shot(0)], settings(steps=2))
        list(run.events())
        old, new = model.network.state_dict(), run.result.network.state_dict()
        same = [torch.equal(old[k], new[k]) for k in old if "running_mean" in k]
        assert all(same) if held else not any(same)


def test_only_random_weights_learn_the_first_layers(start, pretrained) -> None:
    for model, held in ((pretrained, True), (start, False)):
        run = FinetuneRun(model, [shot(0)], settings(steps=2))
        list(run.events())
        early = {id(p) for p in run.network.backbone.early_parameters()}
        old = dict(model.network.named_parameters())
        for name, parameter in run.network.named_parameters():
            if id(parameter) in early:
                assert torch.equal(parameter, old[name]) is held or not parameter.any()
        assert 0 < len(early) < len(old)
        assert all(p.requires_grad for p in run.result.network.parameters())


def test_one_cell_is_enough_to_train_but_not_to_judge(pretrained) -> None:
    image, labels = discs(0)
    run = FinetuneRun(pretrained, [make_shot(image, np.where(labels == 3, 3, 0))], settings(steps=2))
    events = list(run.events())
    assert not [e for e in events if isinstance(e, Validated)]
    assert "by eye" in next(e for e in events if isinstance(e, Finished)).verdict
    assert run.result is not None


def test_nothing_annotated_is_refused_at_once(pretrained) -> None:
    image, labels = discs(0)
    with pytest.raises(InputError):
        FinetuneRun(pretrained, [make_shot(image, np.zeros_like(labels))], settings())


def test_stop_is_obeyed_within_one_step_and_keeps_the_work(pretrained, tmp_path: Path) -> None:
    run = FinetuneRun(pretrained, [shot(0)], settings(steps=50), tmp_path / "m.safetensors")
    steps = 0
    for event in run.events():
        if isinstance(event, StepDone):
            steps += 1
            if steps == 2:
                run.stop()
    assert steps == 2
    assert run.state is RunState.STOPPED
    assert read_model(tmp_path / "m.safetensors", "cpu").info.training["steps"] <= 2


@pytest.mark.parametrize("part", ["folder", "teaching", "skill"])
def test_a_stop_before_the_first_step_ends_soon_and_leaves_nothing(
    pretrained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    out = tmp_path / "m.safetensors"
    run = FinetuneRun(pretrained, [shot(0)], settings(steps=50), out, start_name="tiny")
    done: list[str] = []

    def stopping(name: str, owner: type, method: str) -> None:
        work = getattr(owner, method)

        def wrapped(*args: Any, **named: Any) -> Any:
            done.append(name)
            if name == part:
                run.stop()
            return work(*args, **named)

        monkeypatch.setattr(owner, method, wrapped)

    stopping("folder", RunFolder, "create")
    stopping("teaching", Teaching, "__init__")
    stopping("skill", Teaching, "skill")
    events = list(run.events())
    discard_unstarted(out)
    assert done == ["folder", "teaching", "skill"][: max(2, 1 + done.index(part))]
    assert not [each for each in events if isinstance(each, StepDone | Saved | Finished)]
    assert events[-1] == StateChanged(RunState.STOPPED, nothing_learned(False))
    assert run.result is None
    assert list(tmp_path.iterdir()) == []


def test_the_start_is_judged_after_the_first_step_with_its_own_weights(pretrained) -> None:
    """Nobody waits for this judgement, so the first step comes before it."""
    run = FinetuneRun(pretrained, [shot(0)], settings(steps=3))
    events = list(run.events())
    told = [each for each in events if isinstance(each, StepDone | Validated)]
    assert [(type(each), each.step) for each in told[:3]] == [(StepDone, 1), (Validated, 0), (StepDone, 2)]
    assert [(each["step"], each["which"]) for each in run.history[:2]] == [(0, "start"), (3, "average")]
    network = pretrained.network.to(memory_format=memory_format(torch.device("cpu")))
    expected = run.judge(network, None)
    assert Judgement.of(run.history[0]) == expected


def test_a_training_is_not_shorter_because_its_start_is_judged(pretrained, monkeypatch) -> None:
    now = [0.0]
    real = Judge.__call__

    def slow(self, network, dtype):
        now[0] += 1000.0
        return real(self, network, dtype)

    monkeypatch.setattr(Judge, "__call__", slow)
    run = FinetuneRun(pretrained, [shot(0)], settings(steps=3, minutes=1.0), clock=lambda: now[0])
    assert [e.step for e in run.events() if isinstance(e, StepDone)] == [1, 2, 3]


def test_a_stop_in_the_first_step_still_compares_with_the_start(pretrained) -> None:
    run = FinetuneRun(pretrained, [shot(0)], settings(steps=50))
    for event in run.events():
        if isinstance(event, StepDone):
            run.stop()
    assert run.step == 1
    assert [(each["step"], each["which"]) for each in run.history[:2]] == [(0, "start"), (1, "average")]
    assert run.state is RunState.STOPPED


def test_a_run_killed_before_its_start_was_judged_judges_it_when_resumed(pretrained, tmp_path: Path) -> None:
    whole = FinetuneRun(pretrained, [shot(0)], settings(steps=3))
    list(whole.events())
    out = tmp_path / "m.safetensors"
    stream = FinetuneRun(pretrained, [shot(0)], settings(steps=3), out).events()
    next(event for event in stream if isinstance(event, StepDone))
    stream.close()
    again = FinetuneRun.resume(out, pretrained)
    steps = [e.step for e in again.events() if isinstance(e, StepDone)]
    assert steps == [2, 3]
    assert Judgement.of(again.history[0]) == Judgement.of(whole.history[0])
    assert again.history[0]["which"] == "start"


def test_a_resumed_run_that_is_stopped_at_once_stays_as_it_was(pretrained, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    list(FinetuneRun(pretrained, [shot(0)], settings(steps=2), out, start_name="tiny").events())
    before = {path.name: path.read_bytes() for path in [*(tmp_path / "m.run").glob("*.*"), out]}
    again = FinetuneRun.resume(out, pretrained, settings(steps=9))
    again.stop()
    assert list(again.events())[-1] == StateChanged(RunState.STOPPED, nothing_learned(True))
    after = {path.name: path.read_bytes() for path in [*(tmp_path / "m.run").glob("*.*"), out]}
    assert before.keys() == after.keys()
    assert before["m.safetensors"] == after["m.safetensors"]
    steps = [e.step for e in FinetuneRun.resume(out, pretrained).events() if isinstance(e, StepDone)]
    assert steps[0] == 3


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(pretrained, tmp_path: Path) -> None:
    shots = [shot(0), shot(1)]
    whole = FinetuneRun(pretrained, shots, settings(steps=5))
    expected = [e.losses["total"] for e in whole.events() if isinstance(e, StepDone)]
    first = FinetuneRun(pretrained, shots, settings(steps=5), tmp_path / "m.safetensors")
    losses = []
    for event in first.events():
        if isinstance(event, StepDone):
            losses.append(event.losses["total"])
            if event.step == 2:
                first.stop()
    again = FinetuneRun.resume(tmp_path / "m.safetensors", pretrained)
    events = list(again.events())
    losses += [e.losses["total"] for e in events if isinstance(e, StepDone)]
    assert losses == pytest.approx(expected, rel=1e-5)
    assert any("Continuing from step 2" in e.message for e in events if isinstance(e, Notice))


def test_a_used_up_limit_starts_again_on_resume(pretrained, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    list(FinetuneRun(pretrained, [shot(0)], settings(steps=2), out).events())
    again = FinetuneRun.resume(out, pretrained)
    assert [e.step for e in again.events() if isinstance(e, StepDone)] == [3, 4]


def test_closing_the_iterator_saves(pretrained, tmp_path: Path) -> None:
    run = FinetuneRun(pretrained, [shot(0)], settings(steps=50), tmp_path / "m.safetensors")
    stream = run.events()
    for event in stream:
        if isinstance(event, StepDone) and event.step == 3:
            break
    stream.close()
    again = FinetuneRun.resume(tmp_path / "m.safetensors", pretrained, settings(steps=4))
    assert [e.step for e in again.events() if isinstance(e, StepDone)] == [4]


def test_resume_without_a_run_says_so(pretrained, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training that can be resumed"):
        FinetuneRun.resume(tmp_path / "m.safetensors", pretrained)


def test_out_of_memory_halves_the_batch_then_the_crop_then_gives_up(
    pretrained, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FinetuneRun(pretrained, [shot(0)], settings(batch=2, crop=256))

    def full(fraction: float) -> dict[str, float]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(run, "_learn", full)
    notices = []
    with pytest.raises(EnvironmentFault, match="Memory ran out"):
        for event in run.events():
            if isinstance(event, Notice):
                notices.append(event.message)
    assert notices[1:] == [
        "Memory ran out: continuing with 1 crops per step.",
        "Memory ran out: continuing with crops of 128 px.",
    ]
    assert run.state is RunState.FAILED


def test_random_weights_train_on_no_fewer_than_two_crops(start, pretrained) -> None:
    """A split-attention network cannot take BatchNorm statistics of one crop; held statistics can."""
    for model, batch in ((start, 2), (pretrained, 1)):
        run = FinetuneRun(model, [shot(0)], settings(steps=1, batch=1))
        list(run.events())
        assert run.batch == batch


def test_a_preview_has_the_size_of_the_image_asked_about(pretrained) -> None:
    run = FinetuneRun(pretrained, [shot(0)], settings(steps=2))
    run.preview(np.zeros((50, 70, 3), np.float32))
    previews = [e for e in run.events() if isinstance(e, Preview)]
    assert len(previews) == 1
    assert previews[0].labels.shape == (50, 70)
    assert previews[0].labels.dtype == np.int32


def test_a_start_that_is_better_is_kept(pretrained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever training does: if the held-out part says the start was better, the start is the result."""
    real = Judge.__call__
    scores = iter([0.9] + [0.1] * 50)

    def worse(self, network, dtype):
        verdict = real(self, network, dtype)
        score = next(scores)
        return Judgement(score, score, verdict.loss, verdict.cells, verdict.finds)

    monkeypatch.setattr(Judge, "__call__", worse)
    run = FinetuneRun(pretrained, [shot(0)], settings(steps=3))
    verdict = next(e for e in run.events() if isinstance(e, Finished)).verdict
    assert verdict.endswith("The weights of parent are kept.")
    for key, value in pretrained.network.state_dict().items():
        torch.testing.assert_close(run.result.network.state_dict()[key], value)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"minutes": 0.0}, "minutes is 0.0: it must be above 0"),
        ({"steps": None, "minutes": None}, "give minutes or steps"),
        ({"crop": 100}, "crop is 100: it must be a multiple of 32"),
        ({"batch": 0}, "batch is 0: it must be above 0"),
        ({"batch": True}, "batch cannot be True"),
        ({"held_out": 0.9}, "held_out is 0.9: it must be 0.5 or below"),
    ],
)
def test_settings_that_cannot_be_used_are_named(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        settings(**wrong)


def test_a_start_that_finds_nothing_learns_as_fast_as_random_weights_do(start) -> None:
    """Such as one of momentum contrast alone, whose heads are random, or one that knows other objects."""
    contrastive = start.copy(training={"objective": "moco"})
    run = FinetuneRun(contrastive, [shot(0)], settings(steps=1))
    notices = [e.message for e in run.events() if isinstance(e, Notice)]
    assert run.skill < 0.1
    assert "the start finds them with an AP50 of 0.0" in notices[0]
    assert [group["rate"] for group in run.optimiser.param_groups] == pytest.approx([1e-3, 1e-3], rel=0.3)
    assert all(p.requires_grad for p in run.network.parameters())
