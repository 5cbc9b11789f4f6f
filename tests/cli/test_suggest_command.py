"""`napari-cupre suggest`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import write_pictures
from PIL import Image

from napari_cupre.cli.suggest import split_labelled
from napari_cupre.project.gestures import place
from napari_cupre.project.project import Project
from napari_cupre.project.queue import add_files
from napari_cupre.project.rounds import add_round, next_model

Command = Callable[..., Any]


def options(model: Path) -> list[object]:
    """The model, and a diameter: random weights would see cells of any size."""
    return ["--model", model, "--diameter", 24, "--json"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of stripes, one of noise, one of a ramp."""
    y, x = np.mgrid[:64, :64]
    noise = np.random.default_rng(0).integers(0, 255, (64, 64))
    stripes = (y // 8 % 2) * 200
    pictures = {"a": stripes, "b": stripes, "c": noise, "d": x * 3}
    return write_pictures(tmp_path / "images", pictures)


def test_what_is_annotated_is_left_out(
    command: Command, folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    Image.fromarray(np.eye(64, dtype=np.uint8)).save(labels / "a_mask.png")
    ran = command("suggest", folder, *options(tiny_model), "--labelled", labels, "-k", 2)
    assert ran.code == 0, ran.err
    named = [Path(each["image"]).name for each in ran.figures["suggestions"]]
    assert sorted(named) == ["c.png", "d.png"]  # b looks like a
    assert ran.figures["labelled"] == 1
    assert ran.figures["candidates"] == 3
    assert "uncertainty" in ran.out
    assert ran.figures["suggestions"][0]["novelty"] > 0


def test_more_asked_for_than_there_are(command: Command, folder: Path, tiny_model: Path) -> None:
    ran = command("suggest", folder / "c.png", folder / "d.png", *options(tiny_model))
    assert ran.code == 0
    assert len(ran.figures["suggestions"]) == 2


def test_a_project_brings_its_annotation_and_its_model(
    command: Command, folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    with Project.create(tmp_path / "work") as project:
        add_files(project, folder)
        cells = project.cells("a")
        cells.apply(place(cells, np.ones((9, 9), bool), (2, 2)))
        model = next_model(project)
        model.parent.mkdir()
        shutil.copy(tiny_model, model)
        add_round(project, "cupre")
        project.save()
    ran = command("suggest", tmp_path / "work.cupre", "--diameter", 24, "--json", "-k", 2)
    assert ran.code == 0, ran.err
    assert sorted(each["image"] for each in ran.figures["suggestions"]) == ["c", "d"]
    assert ran.figures["labelled"] == 1
    assert all(each["reason"] and each["reason"] in ran.out for each in ran.figures["suggestions"])
    Project.create(tmp_path / "none").close()
    assert "contains no image" in command("suggest", tmp_path / "none.cupre").err


def test_an_unreadable_file_is_named(command: Command, folder: Path, tiny_model: Path) -> None:
    (folder / "d.png").write_bytes(b"\x89PNG broken")
    ran = command("suggest", folder, *options(tiny_model))
    assert ran.code == 2
    assert "d.png" in ran.err
    assert len(ran.figures["skipped"]) == 1


def test_all_annotated(command: Command, folder: Path, tiny_model: Path) -> None:
    ran = command("suggest", folder, "--model", tiny_model, "--labelled", folder)
    assert ran.code == 2
    assert "annotated already" in ran.err
    assert ran.err.count("\n") == 1


def test_annotated_images_elsewhere_count_too(tmp_path: Path) -> None:
    images = [tmp_path / "new" / name for name in ("a.png", "b.png")]
    done = tmp_path / "done"
    done.mkdir()
    for name in ("old.png", "old_mask.png", "b_labels.tif"):
        (done / name).touch()
    assert split_labelled(images, str(done)) == ([images[0]], [images[1], done / "old.png"])
