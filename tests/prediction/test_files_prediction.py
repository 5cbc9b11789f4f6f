"""Folders: done files skipped, failures named, processes, and a real dask cluster."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import zarr
from dying import Unprintable, die_on_bad
from predict_oracle import disc_labels, scattered_discs, seeing_model
from predict_runs import drained

from napari_cupre.errors import EnvironmentFault, InputError, ModelFileError
from napari_cupre.events import Finished, Notice, Progress, Steps
from napari_cupre.io.writers.coco_writer import CocoWriter
from napari_cupre.model.checkpoint import new_model, save_model
from napari_cupre.prediction import onefile
from napari_cupre.prediction.detector import Detector
from napari_cupre.prediction.donelog import DONE_LOG
from napari_cupre.prediction.file_runs import predict_files
from napari_cupre.prediction.onefile import FileJob
from napari_cupre.prediction.predict_options import PredictOptions
from napari_cupre.prediction.runners import SHARED, Processes, way_to_start

# Random weights are sure of nothing; at score 0 they still give cells, the same each time.
OPTIONS = PredictOptions(diameter=20.0, score=0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images and one truncated file."""
    images = tmp_path / "images"
    images.mkdir()
    for number in range(4):
        discs = scattered_discs(number, (48, 60), (6, 9), 10, 1.0)
        plane = (disc_labels(discs, (48, 60)) > 0).astype(np.uint8) * 200
        iio.imwrite(images / f"field{number}.png", plane)
    (images / "broken.png").write_bytes((images / "field0.png").read_bytes()[:60])
    return images


def run(job: FileJob, paths: list[Path], **more):
    return drained(predict_files(job, paths, **more))


def job_of(model_file: str, out: Path, **more) -> FileJob:
    return FileJob(model_file, str(out), options=OPTIONS, device="cpu", **more)


def labels_of(out: Path) -> dict[str, np.ndarray]:
    return {path.stem: tifffile.imread(path) for path in sorted(out.glob("*.tif"))}


def test_a_folder_with_a_broken_file(model_file: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    paths = sorted(folder.iterdir())
    events, result = run(job_of(model_file, out, formats=("tif", "coco")), paths)
    assert sorted(labels_of(out)) == [f"field{number}" for number in range(4)]
    assert result.done == 4
    assert [Path(path).name for path, _ in result.failed] == ["broken.png"]
    assert sum("broken.png" in e.message for e in events if isinstance(e, Notice)) == 1
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert last.done == last.total == 5
    assert isinstance(events[-1], Finished)
    assert "1 failed (broken.png)" in events[-1].verdict
    document = json.loads((out / "predictions.json").read_text())
    assert len(document["images"]) == 4
    assert len(document["annotations"]) == result.cells > 0


def test_done_files_are_skipped_until_something_changes(
    model_file: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    paths = sorted(folder.glob("field*.png"))
    job = job_of(model_file, out, formats=("tif", "coco"))
    answers = iter([False, True])
    _, result = run(job, paths, should_stop=lambda: next(answers))
    assert not result.complete
    assert result.done == 2
    _, result = run(job, paths)
    assert (result.done, result.skipped) == (2, 2)
    assert len(json.loads((out / "predictions.json").read_text())["images"]) == 4
    _, result = run(job, paths)
    assert (result.done, result.skipped) == (0, 4)
    (out / "field1.tif").unlink()
    iio.imwrite(paths[2], np.zeros((20, 30), np.uint8))
    _, result = run(job, paths)
    assert (result.done, result.skipped) == (2, 2)
    other = FileJob(model_file, str(out), job.formats, PredictOptions(diameter=25.0, score=0.0), device="cpu")
    _, result = run(other, paths)
    assert (result.done, result.skipped) == (4, 0)


@pytest.mark.parametrize("count", [1, 3])
def test_coco_records_outlive_a_killed_run(
    model_file: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    paths = sorted(folder.glob("field*.png"))[:count]
    job = job_of(model_file, tmp_path / "out", formats=("coco",))
    with monkeypatch.context() as patch:
        patch.setattr(CocoWriter, "close", lambda writer: writer._stream.close())  # it never came to that
        run(job, paths[:1])
    assert not (tmp_path / "out" / "predictions.json").exists()
    _, result = run(job, paths)
    assert (result.skipped, result.done) == (1, count - 1)
    document = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [image["file_name"] for image in document["images"]] == [path.name for path in paths]
    assert {each["image_id"] for each in document["annotations"]} == {
        each["id"] for each in document["images"]
    }


def test_files_that_would_overwrite_each_other_are_refused(
    model_file: str, folder: Path, tmp_path: Path
) -> None:
    shutil.copy(folder / "field0.png", tmp_path / "field0.png")
    with pytest.raises(InputError, match="same name"):
        run(job_of(model_file, tmp_path / "out"), [folder / "field0.png", tmp_path / "field0.png"])
    tifffile.imwrite(folder / "own.tif", np.zeros((20, 20), np.uint8))
    with pytest.raises(InputError, match="would replace"):
        run(job_of(model_file, folder), [folder / "own.tif"])
    with pytest.raises(InputError, match="workers"):
        run(job_of(model_file, tmp_path / "out"), [folder / "field0.png"], workers=0)
    with pytest.raises(ModelFileError):
        run(job_of(str(tmp_path / "none.safetensors"), tmp_path / "out"), [folder / "field0.png"])


def test_a_full_disk_ends_the_run_with_one_sentence(
    model_file: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise EnvironmentFault('"x.tif" could not be written, the disk is full: free some space.')

    monkeypatch.setattr(onefile, "write", full)
    with pytest.raises(EnvironmentFault, match="disk is full"):
        run(job_of(model_file, tmp_path / "out"), sorted(folder.glob("field*.png")))


def test_large_images_go_to_zarr(
    model_file: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cupre.prediction.limits.BIG_PIXELS", 1000)
    out = tmp_path / "out"
    _, result = run(job_of(model_file, out), [folder / "field0.png"])
    assert result.done == 1
    assert (out / "field0.zarr").is_dir()
    assert (out / "field0_cells.csv").exists()
    _, again = run(job_of(model_file, out), [folder / "field0.png"])
    assert again.skipped == 1
    (out / DONE_LOG).unlink()  # killed between the end of the slide and the line that says so
    _, again = run(job_of(model_file, out), [folder / "field0.png"])
    assert (again.done, again.cells, again.failed) == (1, result.cells, [])


def test_the_tiles_of_a_large_image_are_told(model_file: str, tmp_path: Path) -> None:
    iio.imwrite(tmp_path / "wide.png", np.zeros((400, 700), np.uint8))
    options = PredictOptions(diameter=20.0, tile=256)
    job = FileJob(model_file, str(tmp_path / "out"), options=options, device="cpu")
    events, _ = run(job, [tmp_path / "wide.png"])
    told = [each.message for each in events if isinstance(each, Progress)]
    assert len(told) > 4
    assert told[1].startswith("wide.png: 1 of ")
    assert all(each.done <= each.total == 1 for each in events if isinstance(each, Progress))


@pytest.mark.parametrize("pixels", [10**9, 1000])
def test_an_image_of_another_scale_than_trained_for_is_named(
    model_file: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: int
) -> None:
    monkeypatch.setattr("napari_cupre.prediction.limits.BIG_PIXELS", pixels)
    monkeypatch.setattr(onefile, "ready_detector", lambda *_: Detector(seeing_model(20.0)))
    discs = scattered_discs(3, (400, 400), (28, 32), 30, 4.0)
    iio.imwrite(tmp_path / "large.png", (disc_labels(discs, (400, 400)) > 0).astype(np.uint8) * 200)
    job = FileJob(model_file, str(tmp_path / "out"), device="cpu")
    events, _ = run(job, [tmp_path / "large.png"])
    said = [each.message for each in events if isinstance(each, Notice)]
    assert "large.png: " in said[-1]
    assert "where the model was trained on 20 px" in said[-1]


@pytest.mark.parametrize("lost", [True, False])
def test_partial_results_say_so(model_file: str, tmp_path: Path, lost: bool) -> None:
    path = tmp_path / "field.zarr"
    zarr.create_array(path, data=np.ones((48, 48), np.uint8), chunks=(16, 16), zarr_format=2)
    if lost:
        (path / "1.1").unlink()
    out = tmp_path / "out"
    events, result = run(job_of(model_file, out, formats=("tif", "geojson", "coco")), [path])
    assert result.partial == ([str(path)] if lost else [])
    assert events[-1].result["partial"] == result.partial
    with tifffile.TiffFile(out / "field.tif") as file:
        assert ("partial: parts of the image" in (file.ome_metadata or "")) == lost
    assert ("note" in json.loads((out / "field.geojson").read_text())) == lost
    (image,) = json.loads((out / "predictions.json").read_text())["images"]
    assert ("note" in image) == lost
    assert run(job_of(model_file, out, formats=("tif",)), [path])[1].done == 1


@pytest.mark.timeout(900)  # new processes import torch, which a busy machine takes minutes for
def test_a_model_trained_anew_is_read_anew(tmp_path: Path) -> None:
    path = save_model(new_model("tiny"), tmp_path / "mine.safetensors")
    job = job_of(str(path), tmp_path / "out")
    first = onefile.ready_detector(job)
    assert onefile.ready_detector(job) is first
    save_model(new_model("tiny", seed=3), path)
    assert onefile.ready_detector(job) is not first


def test_threads_of_one_process_take_turns(
    model_file: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dask worker may run several; they share the network."""
    inside = []
    real = onefile.iter_file

    def watched(job: FileJob, path: str):
        inside.append(path)
        assert len(inside) == 1
        time.sleep(0.05)
        outcome = yield from real(job, path)
        inside.remove(path)
        return outcome

    monkeypatch.setattr(onefile, "iter_file", watched)
    job = job_of(model_file, tmp_path / "out")
    with ThreadPoolExecutor(4) as pool:
        paths = sorted(map(str, folder.glob("field*.png")))
        outcomes = list(pool.map(onefile.predict_file, [job] * 4, paths))
    assert [outcome.fault for outcome in outcomes] == [""] * 4


@pytest.mark.slow
@pytest.mark.timeout(900)  # new processes import torch, which a busy machine takes minutes for
def test_a_process_that_dies_costs_one_file_only(
    model_file: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other files are predicted by processes as this one would predict them."""
    good = sorted(folder.iterdir())
    _, alone = run(job_of(model_file, tmp_path / "one"), good)
    assert len(alone.failed) == 1, "the truncated file"
    for name in ("killed", "left", "odd"):
        shutil.copy(good[-1], folder / f"{name}.png")
    monkeypatch.setattr("napari_cupre.prediction.runners.predict_file", die_on_bad)
    _, result = run(job_of(model_file, tmp_path / "two"), sorted(folder.iterdir()), workers=2)
    faults = {Path(path).stem: fault for path, fault in result.failed}
    assert faults.keys() == {"broken", "killed", "left", "odd"}
    assert "died 2 times" in faults["killed"]
    one, two = labels_of(tmp_path / "one"), labels_of(tmp_path / "two")
    assert list(one) == list(two) == [f"field{number}" for number in range(4)]
    for name, labels in one.items():
        np.testing.assert_array_equal(labels, two[name])


def test_only_processes_with_torch_share_what_they_import(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SHARED:
        assert find_spec(name), name
    ways = {"linux": "forkserver", "darwin": "spawn", "win32": "spawn"}
    for platform, way in ways.items():
        if way == "spawn" or platform == sys.platform:
            monkeypatch.setattr("napari_cupre.prediction.runners.sys.platform", platform)
            assert way_to_start("torch").get_start_method() == way
            assert way_to_start("onnx").get_start_method() == "spawn"


@pytest.mark.timeout(900)
def test_processes_that_cannot_be_started_are_not_the_files_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_cupre.prediction.runners.predict_file", die_on_bad)
    monkeypatch.setattr("napari_cupre.prediction.runners._start_worker", os._exit)
    with pytest.raises(EnvironmentFault, match="use one worker"):
        list(Processes(2)(FileJob("m", "o"), ["a", "b"]))


@pytest.mark.parametrize(
    ("error", "cause", "fatal"),
    [
        (EnvironmentFault("full."), OSError(errno.ENOSPC, "full"), True),
        (EnvironmentFault("long."), OSError(errno.ENAMETOOLONG, "long"), False),
        (EnvironmentFault("torch does not fit."), None, True),
        (SystemExit(3), None, False),
        (OSError(errno.EIO, "input/output error"), None, False),
        (MemoryError(), None, False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), None, False),
        (Unprintable(), None, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_one_file_meets(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, cause: OSError | None, fatal: bool
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error from cause

    monkeypatch.setattr(onefile, "ready_detector", lambda *_: None)
    monkeypatch.setattr(onefile, "read_image", fail)
    outcome = onefile.predict_file(FileJob("m", "o"), "a.png")
    assert outcome.fault
    assert "Errno" not in outcome.fault
    assert outcome.fatal is fatal


def test_a_scheduler_that_does_not_answer(
    model_file: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("napari_cupre.prediction.runners.SECONDS_TO_ANSWER", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense"):
        with pytest.raises(EnvironmentFault, match="No dask scheduler answers"):
            run(job_of(model_file, tmp_path / "out"), [folder / "field0.png"], scheduler=address)


@pytest.mark.slow
@pytest.mark.timeout(900)  # new processes import torch, which a busy machine takes minutes for
def test_a_cluster_that_loses_a_worker(model_file: str, folder: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    paths = sorted(folder.glob("field*.png"))
    for number in range(4, 12):
        path = folder / f"field{number}.png"
        shutil.copy(paths[number % 4], path)
        paths.append(path)
    run(job_of(model_file, tmp_path / "one"), paths)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as cluster:
        steps = Steps(
            predict_files(
                job_of(model_file, tmp_path / "cluster"), paths, scheduler=cluster.scheduler_address
            )
        )
        killed = False
        for event in steps:
            if not killed and isinstance(event, Progress) and event.done >= 2:
                cluster.workers[0].process.process._process.kill()
                killed = True
        result = steps.result
    assert killed
    assert result.done == len(paths)
    assert not result.failed
    one, two = labels_of(tmp_path / "one"), labels_of(tmp_path / "cluster")
    assert list(one) == list(two)
    for name, labels in one.items():
        np.testing.assert_array_equal(labels, two[name])
