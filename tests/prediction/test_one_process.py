"""Files in one process: reading, network and writing overlap, and nobody sees it but by the clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from napari_cupre.events import Progress
from napari_cupre.prediction import one_process, onefile
from napari_cupre.prediction.one_process import in_this_process
from napari_cupre.prediction.onefile import FileJob, FileOutcome, iter_file
from napari_cupre.prediction.predict_options import PredictOptions

LONG = 60.0
"""Nobody waits for it, s: only a failing test does."""


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Four small images, of which the third is damaged."""
    found = []
    for number in range(4):
        path = tmp_path / f"field{number}.png"
        iio.imwrite(path, np.random.default_rng(number).integers(0, 255, (32, 40), np.uint8))
        found.append(str(path))
    Path(found[2]).write_bytes(Path(found[2]).read_bytes()[:60])
    return found


@pytest.fixture
def job(model_file: str, tmp_path: Path) -> FileJob:
    (tmp_path / "out").mkdir()
    options = PredictOptions(diameter=20.0, score=0.0)
    return FileJob(model_file, str(tmp_path / "out"), ("tif", "coco"), options, device="cpu")


def one_after_the_other(job: FileJob, paths: list[str]) -> Iterator[FileOutcome | Progress]:
    for path in paths:
        outcome = yield from iter_file(job, path)
        yield outcome


def told(events: Iterator[FileOutcome | Progress]) -> list[Any]:
    """What is told of each file, without the time that it took."""
    return [
        event if isinstance(event, Progress) else (event.path, event.cells, event.fault, event.records)
        for event in events
    ]


def test_it_is_told_as_if_nothing_overlapped(job: FileJob, paths: list[str], tmp_path: Path) -> None:
    expected = told(one_after_the_other(job, paths))
    labels = {path.name: tifffile.imread(path) for path in (tmp_path / "out").glob("*.tif")}
    assert len(labels) == 3
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    assert told(in_this_process(job, paths)) == expected
    for name, before in labels.items():
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / name), before)


def test_the_next_is_read_and_the_last_written_while_the_network_works(
    job: FileJob, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = ({Path(path).name: Event() for path in paths} for _ in range(2))
    read, find, write = onefile.read_image, onefile.predict_image, onefile.write

    def noted_read(path: str, *more: Any, **options: Any) -> Any:
        reading[Path(path).name].set()
        return read(path, *more, **options)

    def waiting(finder: Any, image: Any, *more: Any, **options: Any) -> Any:
        assert current_thread() is main_thread()
        if image.name == "field0.png":
            assert reading["field1.png"].wait(LONG)
            assert not reading["field2.png"].is_set(), "one file ahead, not all of them"
        else:
            assert writing["field0.png"].wait(LONG)
        return (yield from find(finder, image, *more, **options))

    def noted_write(*results: Any, image: Any, **options: Any) -> Any:
        writing[image.name].set()
        return write(*results, image=image, **options)

    monkeypatch.setattr(onefile, "read_image", noted_read)
    monkeypatch.setattr(onefile, "predict_image", waiting)
    monkeypatch.setattr(onefile, "write", noted_write)
    outcomes = [each for each in in_this_process(job, paths) if isinstance(each, FileOutcome)]
    assert ["damaged" in each.fault for each in outcomes] == [False, False, True, False]
    assert [each.fault for each in outcomes if "damaged" not in each.fault] == [""] * 3


@pytest.mark.parametrize("limit", ["FILE_BYTES", "LIGHT_BYTES"])
def test_large_files_wait_for_their_turn(
    job: FileJob, paths: list[str], monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """Else there are two of them in memory."""
    monkeypatch.setattr(one_process if limit == "FILE_BYTES" else onefile, limit, 10)
    order: list[str] = []

    def noted(name: str) -> Any:
        step = getattr(onefile.FileWork, name)

        def note(work: Any) -> Any:
            order.append(name)
            return step(work)

        return note

    for name in ("read", "find", "finish"):
        monkeypatch.setattr(onefile.FileWork, name, noted(name))
    assert len(told(in_this_process(job, paths[:2]))) == 4
    before, after = ("find", "read") if limit == "FILE_BYTES" else ("finish", "find")
    assert order.index(before) < len(order) - 1 - order[::-1].index(after)


def test_a_large_image_is_not_begun_before_the_last_file_is_told(
    job: FileJob, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stops the run after a file finds nothing begun of a slide."""
    iio.imwrite(paths[1], np.zeros((64, 64), np.uint8))
    monkeypatch.setattr(onefile, "LIGHT_BYTES", 2000)
    begun: list[str] = []
    find = onefile.predict_image

    def noted(finder: Any, image: Any, *more: Any, **options: Any) -> Any:
        begun.append(image.name)
        return find(finder, image, *more, **options)

    monkeypatch.setattr(onefile, "predict_image", noted)
    events = in_this_process(job, paths)
    assert any(isinstance(each, FileOutcome) for each in events)
    assert begun == ["field0.png"]
    assert len([each for each in events if isinstance(each, FileOutcome)]) == 3


def test_a_run_that_is_closed_leaves_whole_files(job: FileJob, paths: list[str], tmp_path: Path) -> None:
    events = in_this_process(job, paths)
    assert isinstance(next(events), Progress)
    first = next(events)
    assert isinstance(first, FileOutcome)
    events.close()
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tif")) == ["field0.tif"]
    assert not [path for path in (tmp_path / "out").iterdir() if path.is_dir()], "no file half written"
