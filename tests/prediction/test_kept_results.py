"""What a person made or corrected in a folder of results is never replaced unasked."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from predict_oracle import disc_labels, scattered_discs
from predict_runs import drained

from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.events import Notice
from napari_cupre.io.ownership import RECORD
from napari_cupre.prediction import onefile
from napari_cupre.prediction.donelog import DONE_LOG
from napari_cupre.prediction.file_runs import FilesResult, predict_files
from napari_cupre.prediction.onefile import FileJob
from napari_cupre.prediction.predict_options import PredictOptions

ALL = ("tif", "roi", "coco", "geojson", "csv")
MADE = {
    "a.tif": "tif",
    "a_rois.zip": "roi",
    "a.geojson": "geojson",
    "a.csv": "csv",
    "predictions.json": "coco",
}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "images" / "a.png"
    path.parent.mkdir()
    discs = scattered_discs(1, (48, 60), (6, 9), 10, 1.0)
    iio.imwrite(path, (disc_labels(discs, (48, 60)) > 0).astype(np.uint8) * 200)
    return path


@pytest.fixture
def job(model_file: str, tmp_path: Path) -> FileJob:
    options = PredictOptions(diameter=20.0, score=0.0)
    return FileJob(model_file, str(tmp_path / "out"), ("tif",), options, device="cpu")


def with_score(job: FileJob, score: float, **more) -> FileJob:
    """A job whose results are others."""
    return dataclasses.replace(job, options=dataclasses.replace(job.options, score=score), **more)


def run(job: FileJob, *paths: Path) -> tuple[list[str], FilesResult]:
    events, result = drained(predict_files(job, paths))
    return [event.message for event in events if isinstance(event, Notice)], result


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look at an image is a fault."""

    def refuse(*_: object) -> None:
        raise AssertionError("computed before it was refused")

    monkeypatch.setattr(onefile, "ready_detector", refuse)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.usefixtures("no_network")
def test_what_was_made_by_hand_is_refused_at_once(job: FileJob, image: Path, name: str) -> None:
    out = Path(job.out)
    out.mkdir()
    (out / name).write_text('{"images": [], "annotations": []}')
    with pytest.raises(InputError, match=f"{name}.*not written by.*--out.*--overwrite"):
        run(dataclasses.replace(job, formats=(MADE[name],)), image)
    assert (out / name).read_text() == '{"images": [], "annotations": []}'
    assert sorted(path.name for path in out.iterdir()) == [name]


@pytest.mark.parametrize("name", MADE)
def test_a_result_that_was_changed_is_refused(job: FileJob, image: Path, name: str) -> None:
    job = dataclasses.replace(job, formats=ALL)
    run(job, image)
    changed = Path(job.out) / name
    changed.write_bytes(changed.read_bytes() + b" ")
    content = changed.read_bytes()
    with pytest.raises(InputError, match=f"{name}.*changed"):
        run(with_score(job, 0.1), image)
    assert changed.read_bytes() == content


def test_asked_for_it_is_replaced(job: FileJob, image: Path) -> None:
    out = Path(job.out)
    out.mkdir()
    for name in MADE:
        (out / name).write_text("by hand")
    _, result = run(dataclasses.replace(job, formats=ALL, overwrite=True), image)
    assert result.done == 1
    assert tifffile.imread(out / "a.tif").shape == (48, 60)
    assert len(json.loads((out / "predictions.json").read_text())["images"]) == 1
    _, result = run(with_score(job, 0.1, formats=ALL), image)  # what was replaced is ours now
    assert result.done == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_images_are_never_replaced(job: FileJob, image: Path, overwrite: bool) -> None:
    own = image.with_suffix(".tif")
    tifffile.imwrite(own, np.zeros((20, 20), np.uint8))
    here = dataclasses.replace(job, out=str(image.parent / ".." / "images"), overwrite=overwrite)
    with pytest.raises(InputError, match=r"image.*--out"):
        run(here, own)
    assert not tifffile.imread(own).any()


def test_a_corrected_result_is_kept_and_named(job: FileJob, image: Path) -> None:
    run(job, image)
    corrected = Path(job.out) / "a.tif"
    tifffile.imwrite(corrected, np.full((48, 60), 7, np.int32))
    notices, result = run(job, image)
    assert result.skipped == 1
    assert any("a.tif" in text and "kept" in text and "--overwrite" in text for text in notices)
    assert (tifffile.imread(corrected) == 7).all()
    _, result = run(dataclasses.replace(job, overwrite=True), image)
    assert result.done == 1
    assert not (tifffile.imread(corrected) == 7).all()


def test_a_result_that_was_changed_while_it_was_computed_is_kept(
    job: FileJob, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Path(job.out) / "a.tif"
    predict = onefile.predict_image

    def slow(*arguments: object):
        made.write_text("by hand, meanwhile")
        return (yield from predict(*arguments))

    monkeypatch.setattr(onefile, "predict_image", slow)
    _, result = run(job, image)
    assert "a.tif" in result.failed[0][1]
    assert made.read_text() == "by hand, meanwhile"


def test_our_own_results_are_renewed(job: FileJob, image: Path) -> None:
    job = dataclasses.replace(job, formats=ALL)
    run(job, image)
    _, result = run(with_score(job, 0.1), image)
    assert result.done == 1


def test_a_moved_folder_is_the_same_folder(job: FileJob, image: Path, tmp_path: Path) -> None:
    run(job, image)
    shutil.move(job.out, tmp_path / "moved")
    moved = dataclasses.replace(job, out=str(tmp_path / "moved"))
    assert run(moved, image)[1].skipped == 1
    assert run(with_score(moved, 0.1), image)[1].done == 1


@pytest.mark.parametrize("name", ["a.tif", "a.csv", "a_rois.zip", "a.geojson", "predictions.json", DONE_LOG])
def test_any_file_of_a_result_comes_back(job: FileJob, image: Path, name: str) -> None:
    job = dataclasses.replace(job, formats=ALL)
    run(job, image)
    before = {path.name: path.read_bytes() for path in Path(job.out).iterdir()}
    (Path(job.out) / name).unlink()
    assert run(job, image)[1].done == 1
    after = {path.name for path in Path(job.out).iterdir()}
    assert after == set(before)
    assert (Path(job.out) / "predictions.json").read_bytes() == before["predictions.json"]


def test_without_the_record_nothing_is_replaced(job: FileJob, image: Path) -> None:
    run(job, image)
    (Path(job.out) / RECORD).unlink()
    assert run(job, image)[1].skipped == 1
    with pytest.raises(InputError, match="--overwrite"):
        run(with_score(job, 0.1), image)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        '{"path": []}',
        '{"path": "PATH", "key": "KEY", "outputs": 3}',
        "\udcff\x00",
    ],
)
def test_a_done_log_that_was_edited_costs_a_file_only(job: FileJob, image: Path, text: str) -> None:
    run(job, image)
    log = Path(job.out) / DONE_LOG
    entry = json.loads(log.read_text().splitlines()[-1])
    text = text.replace("PATH", entry["path"]).replace("KEY", entry["key"])
    log.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert run(job, image)[1].done == 1


def test_a_truncated_coco_document_is_not_taken_up(job: FileJob, image: Path) -> None:
    job = dataclasses.replace(job, formats=("coco",))
    run(job, image)
    document = Path(job.out) / "predictions.json"
    document.write_bytes(document.read_bytes()[:-20])
    with pytest.raises(InputError, match="--overwrite"):
        run(with_score(job, 0.1), image)
    run(dataclasses.replace(job, overwrite=True), image)
    assert len(json.loads(document.read_text())["images"]) == 1


@pytest.mark.parametrize("journal", ["{}", '{"image": {}}', '{"image": 3, "annotations": []}', "[", '"x"'])
def test_a_journal_that_was_edited_costs_its_lines_only(job: FileJob, image: Path, journal: str) -> None:
    out = Path(job.out)
    out.mkdir()
    (out / ".predictions.json.journal").write_text(journal)
    run(dataclasses.replace(job, formats=("coco",)), image)
    assert len(json.loads((out / "predictions.json").read_text())["images"]) == 1


@pytest.mark.parametrize(
    ("place", "words"),
    [("file", "a file with that name"), ("file/below", "is a file, not a folder"), ("n" * 300, "too long")],
)
@pytest.mark.usefixtures("no_network")
def test_a_place_where_no_folder_can_be_is_named(
    job: FileJob, image: Path, tmp_path: Path, place: str, words: str
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match=words):
        run(dataclasses.replace(job, out=str(tmp_path / place)), image)
