"""A run can be repeated, stopped, killed and continued, and never overwrites another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_cupre.errors import InputError, ModelFileError
from napari_cupre.events import Event, Finished, Notice, RunState, Saved, StepDone, Validated
from napari_cupre.model.checkpoint import read_model
from napari_cupre.pretraining.pretrain_folder import PretrainFolder
from napari_cupre.pretraining.pretrain_run import PretrainRun
from napari_cupre.pretraining.pretrain_settings import PretrainSettings, SourceSpec
from napari_cupre.pretraining.tasks import SupervisedTask

Make = Callable[..., PretrainSettings]


def losses_of(events: list[Event]) -> list[dict[str, float]]:
    return [event.losses for event in events if isinstance(event, StepDone)]


def stop_after(run: PretrainRun, steps: int) -> list[Event]:
    seen = []
    for event in run.events():
        seen.append(event)
        if isinstance(event, StepDone) and event.step == steps:
            run.stop()
    return seen


def test_a_run_writes_all_it_promises(small: Make, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = PretrainRun(small(), out)
    events = list(run.events())
    assert run.state is RunState.DONE
    assert isinstance(events[-1], Finished)
    assert [e.kind for e in events if isinstance(e, Saved)] == ["run", "final"]
    rows = PretrainFolder(out).read_metrics()
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert {"contrast", "mask", "contrast_accuracy", "supervised_lr"} <= set(rows[0])
    assert "gradient_cosine" in rows[0]
    assert "gradient_cosine" not in rows[1]
    assert -1.0 <= rows[0]["gradient_cosine"] <= 1.0
    model = read_model(out / "model.safetensors", "cpu")
    assert model.info.classes == ("cell",)
    assert model.info.training["steps"] == 4
    assert model.info.training["objective"] == "amt2"
    assert any((out / "tensorboard").iterdir())


def test_two_runs_do_not_share_a_folder(small: Make, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = PretrainRun(small(), out).events()
    next(event for event in first if isinstance(event, StepDone))
    second = PretrainRun(small(), out, resume=True)
    with pytest.raises(InputError, match=r"run.*being trained by another"):
        list(second.events())
    assert len(PretrainFolder(out).read_metrics()) <= 1
    first.close()
    list(PretrainRun(small(), out, resume=True).events())
    assert [row["step"] for row in PretrainFolder(out).read_metrics()] == [1, 2, 3, 4]


def test_same_seed_same_losses_other_seed_others(small: Make, tmp_path: Path) -> None:
    first, second, other = (
        losses_of(list(PretrainRun(small(seed=seed), tmp_path / name).events()))
        for seed, name in ((3, "a"), (3, "b"), (4, "c"))
    )
    assert first == second
    assert first != other


@pytest.mark.parametrize("contrast", ["mocov2", "densecl"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_equals_an_uninterrupted_one(
    small: Make, tmp_path: Path, contrast: str, workers: int
) -> None:
    settings = small(contrast=contrast, iterations=5)
    whole = list(PretrainRun(settings, tmp_path / "whole").events())
    parts = stop_after(PretrainRun(replace(settings, workers=workers), tmp_path / "parts"), 2)
    resumed = PretrainRun(settings, tmp_path / "parts", resume=True)
    parts += list(resumed.events())
    assert losses_of(parts) == losses_of(whole)
    for name in ("state", "model"):
        ours, theirs = (load_file(tmp_path / run / f"{name}.safetensors") for run in ("parts", "whole"))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    steps = [row["step"] for row in PretrainFolder(tmp_path / "parts").read_metrics()]
    assert steps == [1, 2, 3, 4, 5]


def test_a_killed_run_goes_on_from_its_last_checkpoint(small: Make, tmp_path: Path) -> None:
    settings = small(checkpoint_minutes=1e-6, iterations=4)
    killed = PretrainRun(settings, tmp_path / "run")
    events = killed.events()
    saved = 0
    for event in events:
        saved += isinstance(event, Saved) and event.kind == "run"
        if saved == 2:
            break
    killed._held.close()  # as the system does when a process ends
    rows_before = PretrainFolder(tmp_path / "run").read_metrics()
    resumed = PretrainRun(settings, tmp_path / "run", resume=True)
    steps = [e.step for e in resumed.events() if isinstance(e, StepDone)]
    assert steps == [3, 4]
    assert PretrainFolder(tmp_path / "run").read_metrics()[:2] == rows_before[:2]


@pytest.mark.parametrize(("objective", "kept"), [("moco", "source"), ("supervised", "cells")])
def test_the_baselines_are_the_same_loop_with_one_step_left_out(
    small: Make, tmp_path: Path, objective: str, kept: str
) -> None:
    events = list(
        PretrainRun(small(objective=objective, iterations=2, norm_kept=kept), tmp_path / "run").events()
    )
    names = set(losses_of(events)[0])
    assert ("contrast" in names) == (objective == "moco")
    assert ("mask" in names) == (objective == "supervised")
    model = read_model(tmp_path / "run" / "model.safetensors", "cpu")
    assert model.info.training["objective"] == objective
    # Whatever the settings ask for, the statistics are those of the one domain that was seen.
    norms = [m for m in model.network.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(norm.num_batches_tracked > 0 for norm in norms)


def test_resuming_with_other_settings_names_them(small: Make, tmp_path: Path) -> None:
    list(PretrainRun(small(iterations=1), tmp_path / "run").events())
    with pytest.raises(InputError, match=r"seed: 0 -> 5.*temperature|temperature.*seed: 0 -> 5") as error:
        PretrainRun(small(iterations=1, seed=5, temperature=0.5), tmp_path / "run", resume=True)
    assert "batch" not in str(error.value)


def test_a_larger_budget_may_be_given_on_resume(small: Make, tmp_path: Path) -> None:
    list(PretrainRun(small(iterations=1), tmp_path / "run").events())
    more = PretrainRun(small(iterations=2), tmp_path / "run", resume=True)
    assert [e.step for e in more.events() if isinstance(e, StepDone)] == [2]


def test_another_runs_folder_is_left_alone(small: Make, tmp_path: Path) -> None:
    list(PretrainRun(small(iterations=1), tmp_path / "run").events())
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    with pytest.raises(InputError, match="already contains a run"):
        PretrainRun(small(iterations=1), tmp_path / "run")
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()} == before
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        PretrainRun(small(), tmp_path / "thesis")
    with pytest.raises(InputError, match="no run to resume"):
        PretrainRun(small(), tmp_path / "nothing", resume=True)


@pytest.mark.parametrize("text", ["colour: blue\n", "", "a: [", "seed: 0\n", "only text"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_foreign_settings_file_is_left_alone(small: Make, tmp_path: Path, text: str, resume: bool) -> None:
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(InputError, match="not written by a pretraining run"):
        PretrainRun(small(), tmp_path, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == ["settings.yaml"]
    assert (tmp_path / "settings.yaml").read_text() == text


@pytest.mark.parametrize("end", ["3,", "3,1.5", "3,1.5,x\n", "\0\0\0"])
def test_a_line_that_was_cut_off_is_dropped(small: Make, tmp_path: Path, end: str) -> None:
    list(PretrainRun(small(iterations=2), tmp_path / "run").events())
    metrics = tmp_path / "run" / "metrics.csv"
    metrics.write_text(metrics.read_text() + end)
    list(PretrainRun(small(iterations=3), tmp_path / "run", resume=True).events())
    assert [row["step"] for row in PretrainFolder(tmp_path / "run").read_metrics()] == [1, 2, 3]


def test_a_damaged_line_among_others_is_named(small: Make, tmp_path: Path) -> None:
    list(PretrainRun(small(iterations=2), tmp_path / "run").events())
    metrics = tmp_path / "run" / "metrics.csv"
    header, first, second = metrics.read_text().splitlines()
    metrics.write_text("\n".join([header, first[: len(first) // 2], second, ""]))
    with pytest.raises(InputError, match=r"Line 2 of .*metrics\.csv is damaged"):
        PretrainRun(small(iterations=3), tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"iterations": 0}, "iterations is 0"),
        ({"minutes": float("nan")}, "minutes is nan"),
        ({"workers": -1}, "workers is -1"),
        ({"synthetic": -0.5}, "synthetic is -0.5"),
        ({"lr": float("inf")}, "lr is inf"),
        ({"warmup": -3}, "warmup is -3"),
        ({"view": 200, "context": 100}, "view is 200 and context 100"),
        ({"source": (SourceSpec("a.json", "images", -1.0),)}, "weight of source 1 is -1.0"),
    ],
)
def test_settings_out_of_range_are_refused(small: Make, changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        small(**changes).check()


def test_an_update_that_is_not_finite_is_left_out_and_said_once(
    small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(task: SupervisedTask, *args: object) -> None:
        real(task, *args)
        args[-1].metrics["supervised_gradient"] = float("nan")  # type: ignore[attr-defined]

    real = SupervisedTask.step
    monkeypatch.setattr(SupervisedTask, "step", broken)
    events = list(PretrainRun(small(iterations=3), tmp_path / "run").events())
    told = [event.message for event in events if isinstance(event, Notice) and "not finite" in event.message]
    assert len(told) == 1
    assert "iteration 1" in told[0]


def test_a_refused_start_is_no_run(small: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        list(PretrainRun(small(unlabelled=("nowhere",)), tmp_path / "run").events())
    with pytest.raises(InputError, match="distinct crops"):
        list(PretrainRun(small(contrastive_batch=64, bn_splits=2), tmp_path / "run").events())
    list(PretrainRun(small(iterations=1, objective="moco"), tmp_path / "run").events())
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_a_damaged_checkpoint_is_refused(small: Make, tmp_path: Path) -> None:
    list(PretrainRun(small(iterations=1), tmp_path / "run").events())
    state = tmp_path / "run" / "state.safetensors"
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    with pytest.raises(ModelFileError, match="damaged"):
        list(PretrainRun(small(iterations=2), tmp_path / "run", resume=True).events())


def test_corrupt_files_are_named_once_and_skipped(small: Make, tmp_path: Path, unlabelled: Path) -> None:
    folder = tmp_path / "with_corrupt"
    folder.mkdir()
    for path in unlabelled.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.png").write_bytes(b"no image at all")
    run = PretrainRun(small(unlabelled=(str(folder),), iterations=8), tmp_path / "run")
    notices = [event.message for event in run.events() if isinstance(event, Notice)]
    told = [message for message in notices if "broken.png" in message]
    assert len(told) == 1
    assert told[0].startswith("Skipped")
    assert run.figures()["skipped"] == 1


def test_forgetting_is_watched_on_held_out_fields(small: Make, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = PretrainRun(small(iterations=2, validate_every=2, validation_fields=2), out)
    judged = [event for event in run.events() if isinstance(event, Validated)]
    assert [event.step for event in judged] == [2]
    assert 0.0 <= judged[0].ap50 <= 1.0
    assert judged[0].cells > 0
    rows = PretrainFolder(out).read_metrics()
    assert rows[1]["held_out_ap50"] == pytest.approx(judged[0].ap50)
    assert "held_out_ap50" not in rows[0]
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2  # pairs of views, predictions
    assert "<polyline" in page
    assert "contrastive_batch" in page
    assert 'src="http' not in page


def test_a_short_run_is_judged_at_its_end(small: Make, tmp_path: Path) -> None:
    run = PretrainRun(small(iterations=3, validate_every=500, validation_fields=1), tmp_path / "run")
    assert [event.step for event in run.events() if isinstance(event, Validated)] == [3]
    assert "held_out_ap50" in read_model(tmp_path / "run" / "model.safetensors", "cpu").info.metrics


def test_the_last_judgement_outlives_a_stop(small: Make, tmp_path: Path) -> None:
    settings = small(iterations=9, validate_every=1, validation_fields=1)
    stop_after(PretrainRun(settings, tmp_path / "run"), 2)
    before = read_model(tmp_path / "run" / "model.safetensors", "cpu").info.metrics
    # Nothing is left to do but to save again.
    again = PretrainRun(replace(settings, iterations=2), tmp_path / "run", resume=True)
    assert not [event for event in again.events() if isinstance(event, Validated)]
    assert again.counters.best_ap50 >= before["held_out_ap50"]
    assert read_model(tmp_path / "run" / "model.safetensors", "cpu").info.metrics == before
    assert "Held-out fields" in (tmp_path / "run" / "report.html").read_text()


def test_the_finished_model_has_the_statistics_asked_for(small: Make, tmp_path: Path) -> None:
    settings = small(iterations=2)
    list(PretrainRun(settings, tmp_path / "run").events())
    cells = load_file(tmp_path / "run" / "model.safetensors")
    # A finished run can be saved again with the other set: that changes nothing that was learned.
    list(PretrainRun(replace(settings, norm_kept="source"), tmp_path / "run", resume=True).events())
    source = load_file(tmp_path / "run" / "model.safetensors")
    different = {key for key in cells if not torch.equal(cells[key], source[key])}
    assert different
    assert all("running" in key for key in different)


def test_balancing_weighs_every_file(small: Make, tmp_path: Path, unlabelled: Path) -> None:
    run = PretrainRun(small(iterations=1, balance=True, objective="moco"), tmp_path / "run")
    list(run.events())
    weights = np.load(tmp_path / "run" / "weights.npy")
    assert len(weights) == len(list(unlabelled.iterdir()))
    assert (weights > 0).all()
