"""What the child does beside a person's work: rating images, and measuring what more cells would bring."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from few_shot_fields import discs

from napari_cupre.events import Finished, Notice, Progress, RunState, StateChanged
from napari_cupre.model.checkpoint import new_model, save_model
from napari_cupre.project.gestures import place
from napari_cupre.project.lessons import FILE, add_lesson, read_lessons
from napari_cupre.project.project import Project
from napari_cupre.service.beside import LessonRequest, Rated, RateRequest, Tried, TryRequest
from napari_cupre.service.jobs import job_for
from napari_cupre.service.protocol import decode, encode


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(new_model("tiny"), tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Three fields of discs; all cells of the first are drawn."""
    with Project.create(tmp_path / "work") as project:
        for seed in range(3):
            image, labels = discs(seed, count=40)
            tifffile.imwrite(tmp_path / f"f{seed}.tif", (200 * image[..., 0].clip(0, 1)).astype(np.uint8))
            project.add(tmp_path / f"f{seed}.tif")
            if seed == 0:
                cells = project.cells("f0")
                for label in np.unique(labels[labels > 0]):
                    cells.apply(place(cells, labels == label, (0, 0)))
        project.save()
        return project.folder


def test_images_of_a_project_and_files_beside_it_are_rated(
    project: Path, model: Path, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "other.tif", np.random.default_rng(1).integers(0, 250, (64, 64), np.uint8))
    request = RateRequest(str(model), str(project), {"loose": str(tmp_path / "other.tif")}, "cpu", most=2)
    events = list(job_for(request).events())
    rated = next(event for event in events if isinstance(event, Rated))
    assert len(rated.names) == 2
    assert set(rated.names) < {"f1", "f2", "loose"}
    assert rated.fields == [None, None]
    assert all(rated.reasons)
    assert rated.pictures.shape == (2, 64, 64, 3)
    assert isinstance(events[-1], Finished)
    (tmp_path / "pipe").mkdir()
    again = decode(encode(rated, tmp_path / "pipe"), tmp_path / "pipe")
    assert again.names == rated.names
    np.testing.assert_array_equal(again.pictures, rated.pictures)


def test_a_rating_that_is_stopped_gives_nothing(project: Path, model: Path) -> None:
    job = job_for(RateRequest(str(model), str(project), {}, "cpu"))
    events = []
    for event in job.events():
        events.append(event)
        if isinstance(event, Progress):
            job.stop()
    assert events[-1] == StateChanged(RunState.STOPPED)
    assert sum(isinstance(event, Progress) for event in events) == 1


def test_parts_are_measured_one_by_one_and_kept(project: Path, model: Path) -> None:
    request = LessonRequest(str(project), str(model), 1, "cpu")
    for left in (11, 10):
        *events, last = job_for(request).events()
        assert last == Finished("", {"left": left})
        assert any(isinstance(event, Progress) for event in events)
        assert not any(isinstance(event, Notice) for event in events)
    first, second = read_lessons(project)
    assert [(each.fold, each.share) for each in (first, second)] == [(0, 1.0), (1, 1.0)]
    assert first.annotated == first.cells + first.judged
    assert first.start == str(model)
    assert first.annotation == second.annotation


def test_what_an_earlier_version_did_not_compare_with_the_start_is_measured_again(
    project: Path, model: Path
) -> None:
    request = LessonRequest(str(project), str(model), 1, "cpu")
    list(job_for(request).events())
    (found,) = read_lessons(project)
    assert found.before is not None
    (project / FILE).unlink()
    for fold in range(2):
        add_lesson(project, replace(found, fold=fold, before=None, after=None))
    add_lesson(project, replace(found, share=0.25, before=None, after=None))
    *_, last = job_for(request).events()
    assert last == Finished("", {"left": 10}), "two whole folds are made again, a quarter is not"
    assert read_lessons(project)[-1].fold == 0
    assert read_lessons(project)[-1].before is not None


def test_a_part_that_is_stopped_is_not_kept(project: Path, model: Path) -> None:
    job = job_for(LessonRequest(str(project), str(model), 5, "cpu"))
    for event in job.events():
        if isinstance(event, Progress):
            job.stop()
    assert read_lessons(project) == []


def test_models_are_tried_on_a_view_and_those_that_cannot_be_read_are_left_out(
    model: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no model")
    view, _ = discs(0, count=40)
    names = [str(model), str(broken), "gone"]
    (tmp_path / "pipe").mkdir()
    request = decode(encode(TryRequest(names, view, 20.0, "cpu"), tmp_path / "pipe"), tmp_path / "pipe")
    events = list(job_for(request).events())
    (tried,) = [event for event in events if isinstance(event, Tried)]
    assert tried.model == str(model)
    assert tried.box == [0, 0, 128, 128]
    assert tried.labels.shape == (128, 128)
    assert isinstance(events[-1], Finished)


def test_a_stopped_trial_gives_nothing(model: Path) -> None:
    view, _ = discs(0, count=40)
    job = job_for(TryRequest([str(model)], view, 20.0, "cpu"))
    job.stop()
    assert list(job.events())[1:] == [StateChanged(RunState.STOPPED)]
