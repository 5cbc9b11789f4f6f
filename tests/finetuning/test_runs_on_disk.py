"""Runs on disk: one process trains, what is kept, what is resumed, what is deleted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from few_shot_fields import discs, settings, shot

from napari_cupre.errors import CupreError, EnvironmentFault, InputError
from napari_cupre.events import Notice, Preview, StepDone
from napari_cupre.finetuning.finetune_run import FinetuneRun
from napari_cupre.io.shot_store import ShotWriter, digests, load_shots, save_shots
from napari_cupre.model.checkpoint import Model, new_model, save_model
from napari_cupre.model.runs import (
    LOCK,
    SETTINGS,
    SHOTS,
    STATE,
    delete_run,
    discard_unstarted,
    is_training,
    list_runs,
    run_path,
)
from napari_cupre.model.zoo import free_name, remove_model

HOLD = """
import sys, time
from pathlib import Path
from napari_cupre.model.runs import training_in
with training_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def start(pretrained: Model) -> Model:
    """A start that finds some of the cells."""
    return pretrained


def notices(events: list) -> str:
    return " ".join(event.message for event in events if isinstance(event, Notice))


def trained(start: Model, out: Path, steps: int = 1) -> FinetuneRun:
    run = FinetuneRun(start, [shot(0)], settings(steps=steps), out, start_name="tiny")
    list(run.events())
    return run


def stopped(start: Model, out: Path) -> None:
    """Stopped after its first step of many."""
    run = FinetuneRun(start, [shot(0)], settings(steps=9), out)
    for event in run.events():
        if isinstance(event, StepDone):
            run.stop()


def test_a_run_is_trained_by_one_process(start: Model, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    command = [sys.executable, "-c", HOLD, str(run_path(out))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert is_training(run_path(out))
        with pytest.raises(InputError, match=r"m\.run.*being trained"):
            trained(start, out)
        with pytest.raises(InputError, match="being trained"):
            delete_run(out)
        other.kill()
        other.wait()
    assert not is_training(run_path(out))
    assert trained(start, out).step == 1  # what a dead process held is free


def test_two_runs_in_one_process_do_not_share_a_folder(start: Model, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    first = FinetuneRun(start, [shot(0)], settings(), out).events()
    next(first)
    with pytest.raises(InputError, match="being trained"):
        next(FinetuneRun(start, [shot(0)], settings(), out).events())
    first.close()
    assert not is_training(run_path(out))


def test_a_disk_without_room_for_the_model_is_told_before_the_first_step(
    start: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    run = FinetuneRun(start, [shot(0)], settings(), tmp_path / "m.safetensors")
    with pytest.raises(EnvironmentFault, match=r"has 0 MB left.*free some space"):
        list(run.events())
    assert run.step == 0
    assert not run_path(tmp_path / "m.safetensors").joinpath(SETTINGS).exists(), "there is nothing to resume"


def test_a_disk_that_is_full_in_the_end_costs_what_resume_needs_and_not_the_model(
    start: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise EnvironmentFault("The disk is full.")

    monkeypatch.setattr("napari_cupre.finetuning.finetune_folder.write_state", full)
    monkeypatch.setattr("napari_cupre.finetuning.finetune_run.SAVE_EVERY", -1.0)
    run = FinetuneRun(start, [shot(0)], settings(steps=1), tmp_path / "m.safetensors")
    said = notices(list(run.events()))
    assert "The disk is full. Training goes on." in said, "it is told when it happens, not only in the end"
    assert "The disk is full. The model is there, but its training cannot be resumed." in said
    assert (tmp_path / "m.safetensors").is_file()


def test_a_lock_file_left_on_disk_holds_nobody(start: Model, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    run_path(out).mkdir()
    (run_path(out) / LOCK).write_text("4711 elsewhere")
    assert trained(start, out).step == 1


def test_a_finished_run_keeps_little_and_can_go_on(start: Model, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    trained(start, out, steps=2)
    size = out.stat().st_size
    assert (run_path(out) / STATE).stat().st_size < 1.2 * size
    assert not list(run_path(out).glob("*st.safetensors"))
    again = FinetuneRun.resume(out, start)
    assert [event.step for event in again.events() if isinstance(event, StepDone)] == [3, 4]
    assert {entry["step"] for entry in again.history} >= {0, 2, 4}


def test_a_new_run_does_not_take_over_the_weights_of_an_earlier_one(start: Model, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    stopped(start, out)
    new = FinetuneRun(start, [shot(1)], settings(), out).events()
    next(event for event in new if isinstance(event, Notice))
    new.close()
    events = list(FinetuneRun.resume(out, start, settings(steps=1)).events())
    assert "from the beginning" in notices(events)


def test_resume_keeps_the_annotation_and_says_what_differs(start: Model, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    stopped(start, out)
    same = FinetuneRun.resume(out, start, settings(steps=2), digests([shot(0)]))
    assert "annotation" not in notices(list(same.events()))
    other = FinetuneRun.resume(out, start, settings(steps=3), digests([shot(1)]))
    assert "has changed since" in notices(list(other.events()))


def test_what_the_window_wrote_into_the_runs_folder_is_not_written_again(
    start: Model, tmp_path: Path
) -> None:
    out = tmp_path / "m.safetensors"
    stopped(start, out)
    writer = ShotWriter(run_path(out) / SHOTS)
    writer.add(shot(1))
    staged = writer.stage()
    assert [one.name for one in load_shots(run_path(out) / SHOTS)] == [shot(0).name], "the old set is whole"
    (written,) = (run_path(out) / SHOTS).glob(f"{digests([shot(1)])['']}.npz")
    before = written.stat()
    run = FinetuneRun(start, load_shots(staged), settings(steps=1), out)
    list(run.events())
    after = written.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert {path.name for path in (run_path(out) / SHOTS).iterdir()} == {"shots.json", written.name}
    assert digests(load_shots(run_path(out) / SHOTS)) == digests([shot(1)])


def test_a_training_that_never_began_leaves_no_folder(start: Model, tmp_path: Path) -> None:
    out = tmp_path / "new.safetensors"
    writer = ShotWriter(run_path(out) / SHOTS)
    writer.add(shot(0))
    writer.stage()
    discard_unstarted(out)
    assert not run_path(out).exists()
    stopped(start, out)
    (run_path(out) / SETTINGS).unlink()
    discard_unstarted(out)
    assert (run_path(out) / STATE).is_file(), "weights are never discarded"


def test_weights_are_not_taught_with_an_annotation_that_was_exchanged(start: Model, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    stopped(start, out)
    save_shots(run_path(out) / "shots", [shot(1)])
    with pytest.raises(InputError, match="different annotation"):
        list(FinetuneRun.resume(out, start).events())


@pytest.mark.parametrize("damage", ["gone", "empty", "half", "other"])
@pytest.mark.parametrize("name", [SETTINGS, STATE, "shots/shots.json", "shots/*.npz"])
def test_each_file_of_a_run_may_be_damaged(start: Model, tmp_path: Path, name: str, damage: str) -> None:
    out = tmp_path / "m.safetensors"
    stopped(start, out)
    file = next(run_path(out).glob(name))
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes({"empty": b"", "half": content[: len(content) // 2], "other": b"[3]"}[damage])
    try:
        events = list(FinetuneRun.resume(out, start, settings(steps=1)).events())
    except CupreError as error:
        assert "Errno" not in str(error)
        assert str(tmp_path) in str(error)
    else:
        assert "from the beginning" in notices(events)
    assert out.is_file()


def test_a_view_that_cannot_be_looked_at_is_a_notice(start: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_cupre.finetuning import preview

    def fail(*_: object) -> None:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(preview, "preview_labels", fail)
    run = FinetuneRun(start, [shot(0)], settings(steps=2))
    run.preview(discs(0)[0][:20, :30])
    events = list(run.events())
    assert "continues (ZeroDivisionError: odd)" in notices(events)
    assert next(event for event in events if isinstance(event, Preview)).labels.shape == (20, 30)
    assert run.step == 2


def test_the_name_of_a_training_is_taken(own_models: Path) -> None:
    (own_models / "cells.run").mkdir()
    (own_models / "cells-2.run").mkdir()
    assert free_name("cells") == "cells-3"


def test_a_model_goes_with_its_training(own_models: Path) -> None:
    save_model(new_model("tiny"), own_models / "mine.safetensors")
    (own_models / "mine.run" / "shots").mkdir(parents=True)
    (own_models / "mine.run" / STATE).write_bytes(bytes(1000))
    (own_models / "killed.run").mkdir()
    assert [(run.name, run.size) for run in list_runs(own_models)] == [("killed", 0), ("mine", 1000)]
    assert delete_run(own_models / "mine.safetensors") == 1000
    assert (own_models / "mine.safetensors").is_file()
    (own_models / "mine.run").mkdir()
    remove_model("mine")
    remove_model("killed")
    assert not list(own_models.iterdir())
    with pytest.raises(InputError, match="not one of your models"):
        remove_model("killed")


def test_the_start_is_remembered(start: Model, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    trained(start, out)
    assert json.loads((run_path(out) / "request.json").read_text()) == {"start": "tiny"}
