"""Changes are noted as they are made, and come back after a kill between two saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from annotating import with_region

from napari_cupre.project.cells import State
from napari_cupre.project.gestures import accept, draw
from napari_cupre.project.history import History
from napari_cupre.project.journal import FOLDER, Journal
from napari_cupre.project.project import Project
from napari_cupre.project.queue import add_files
from napari_cupre.project.recovery import cells_on_disk
from napari_cupre.project.strokes import renew_guesses


def square(top: int, left: int) -> np.ndarray:
    return np.array([(top, left), (top, left + 9), (top + 9, left + 9), (top + 9, left)])


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A project of one image with one saved cell; nobody has it open."""
    tifffile.imwrite(tmp_path / "field.tif", np.zeros((60, 80), np.uint8))
    with Project.create(tmp_path / "work") as project:
        add_files(project, tmp_path / "field.tif")
        project.cells("field").apply(draw(project.cells("field"), square(5, 5)))
        project.save()
        return project.folder


def gestures(project: Project) -> Any:
    """A person draws, accepts, marks a region, and takes something back; everything is noted."""
    cells, history = project.cells("field"), History()
    found = np.zeros(cells.shape, np.int32)
    found[30:40, 30:40] = 1
    for make in (
        lambda: draw(cells, square(20, 60)),
        lambda: renew_guesses(cells, found, [0.7]),
        lambda: accept(cells, [3]),
        lambda: with_region(cells, [(0, 0), (30, 30)]),
        lambda: draw(cells, square(45, 5)),
    ):
        assert project.note("field", history.do(cells, make()))
    assert project.note("field", history.undo(cells))
    return cells


def test_what_was_noted_comes_back(work: Path) -> None:
    with Project.open(work) as project:
        cells = gestures(project).copy()
    assert cells_on_disk(work) == 3
    with Project.open(work) as again:
        assert again.cells("field") == cells
        assert again.cells("field").numbers(State.CHECKED) == [3]
        assert again.unsaved == ["field"]
        assert "6 changes" in again.notices[0]
        again.save()
    assert not (work / FOLDER).exists()
    with Project.open(work) as third:
        assert third.cells("field") == cells
        assert not third.notices


def test_what_was_saved_is_not_made_twice(work: Path) -> None:
    with Project.open(work) as project:
        cells = gestures(project).copy()
        kept = {file: file.read_bytes() for file in (work / FOLDER).iterdir()}
        project.save()
    (work / FOLDER).mkdir()
    for file, content in kept.items():  # killed after the save, before the notes went
        file.write_bytes(content)
    with Project.open(work) as again:
        assert again.cells("field") == cells


def test_what_is_noted_while_a_save_runs_stays(work: Path) -> None:
    with Project.open(work) as project:
        cells = gestures(project)
        snapshot = project.snapshot()
        change = draw(cells, square(45, 60))
        cells.apply(change)
        project.note("field", change)
        project.write(snapshot)
        expected = cells.copy()
    with Project.open(work) as again:
        assert again.cells("field") == expected


def test_a_half_written_note_and_a_changed_file_spoil_nothing(work: Path) -> None:
    with Project.open(work) as project:
        gestures(project)
    file = next((work / FOLDER).iterdir())
    file.write_text(file.read_text()[:-40])
    with Project.open(work) as again:
        assert len(again.cells("field")) == 4, "the last one, an undo, is lost"
    tifffile.imwrite(work / "cells" / "field.tif", np.zeros((60, 80), np.int32))
    with Project.open(work) as third:
        assert set(third.cells("field").numbers()) == set(np.unique(third.cells("field").labels)) - {0}


def test_a_large_change_is_not_noted_nor_is_anything_on_a_read_only_disk(work: Path) -> None:
    with Project.open(work, look_only=True) as project:
        cells = project.cells("field")
        assert not project.note("field", draw(cells, square(20, 60)))
    journal = Journal(work)
    large = np.arange(1 << 21, dtype=np.int32).reshape(1 << 10, -1)
    from napari_cupre.project.boxes import Patch
    from napari_cupre.project.cells import Change

    patch = Patch(((0, 1 << 10), (0, 1 << 11)), large, large)
    assert not journal.note("field", Change("Find", (patch,)))
