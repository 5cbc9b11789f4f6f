"""What is drawn in a real window is on disk soon after, whatever happens to the window or to the disk."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_cupre.project.cells import State
from napari_cupre.project.gestures import delete, draw
from napari_cupre.project.project import Project
from napari_cupre.project.queue import add_files
from napari_cupre.project.recovery import cells_on_disk, new_scratch, recoverable
from napari_cupre.widgets import keeping
from napari_cupre.widgets.tools import Tool

WAIT = 60_000


def square(top: int, left: int, side: int = 12) -> np.ndarray:
    return np.array([(top, left), (top, left + side), (top + side, left + side), (top + side, left)])


@pytest.fixture
def file(tmp_path: Path, discs: Any) -> Path:
    path = tmp_path / "plate" / "field.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, discs[0])
    return path


@pytest.fixture
def session(workbench: Any) -> Any:
    return workbench.annotate.session


def add(session: Any, *places: tuple[int, int]) -> Any:
    cells = session.make_cells(session.image)
    for place in places:
        cells.do(lambda now, place=place: draw(now, square(*place)))
    return cells


def saved(session: Any, qtbot: Any) -> Project:
    keeper = session.keeper
    qtbot.waitUntil(lambda: keeper.saved_at is not None and not keeper.is_dirty, timeout=WAIT)
    return keeper.project


def one_cell_saved(session: Any, file: Path, qtbot: Any) -> Project:
    """The image is opened, a cell is drawn, and the project that comes of it is saved."""
    session.image = session.viewer.open(str(file))[0]
    add(session, (10, 10))
    return saved(session, qtbot)


def on_disk(folder: Path, stem: str) -> np.ndarray:
    return np.asarray(tifffile.imread(folder / "cells" / f"{stem}.tif"))


def test_a_gesture_is_on_disk_soon_after(session: Any, workbench: Any, file: Path, qtbot: Any) -> None:
    session.image = workbench.viewer.open(str(file))[0]
    began = time.monotonic()
    cells = add(session, (10, 10))
    project = saved(session, qtbot)
    assert time.monotonic() - began < 30, "two seconds and what a busy machine adds"
    assert np.array_equal(on_disk(project.folder, "field"), cells.cells.labels)
    entry = json.loads((project.folder / "project.json").read_text())["images"][0]
    assert (project.folder / entry["path"]).resolve() == file.resolve()
    assert workbench.annotate.save_line.line.text().startswith("Saved ")
    assert not (file.parent / "field.cupre").exists(), "nothing lies beside a person's files"
    cells.undo()
    qtbot.waitUntil(lambda: not on_disk(project.folder, "field").any(), timeout=WAIT)


@pytest.mark.parametrize("tool", ["draw", "brush"])
def test_an_image_is_known_before_the_first_stroke_and_leaves_nothing_if_none_comes(
    session: Any, workbench: Any, file: Path, qtbot: Any, tool: str
) -> None:
    """What is not known to a project is not noted, and would be lost with the window."""
    session.image = workbench.viewer.open(str(file))[0]
    workbench.annotate.next_cell.click() if tool == "brush" else session.tools.take(Tool.DRAW)
    project = saved(session, qtbot)
    assert [image.stem for image in project.images] == ["field"]
    assert session.keeper.is_scratch
    assert not recoverable(), "there is nothing to get back"
    add(session, (10, 10))
    assert cells_on_disk(project.folder) == 1, "noted at once"
    session.cells_of(session.image).undo()
    saved(session, qtbot)
    session.close()
    assert not project.folder.exists()


def test_the_end_saves_even_if_a_part_of_qt_is_gone(
    session: Any, workbench: Any, file: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a script ends with the window open: Qt takes its timers away before we hear of the end."""
    project = one_cell_saved(session, file, qtbot)
    folder, cells = project.folder, add(session, (60, 60))

    class Gone:
        def stop(self) -> None:
            raise RuntimeError("wrapped C/C++ object of type QTimer has been deleted")

    monkeypatch.setattr(session.keeper, "_timer", Gone())
    monkeypatch.setattr(session.queue, "_ahead", Gone())
    session.close()
    assert np.array_equal(on_disk(folder, "field"), cells.cells.labels)


def test_each_gesture_is_noted_before_it_is_saved(
    session: Any, workbench: Any, file: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = one_cell_saved(session, file, qtbot)
    cells = session.cells_of(session.image)
    monkeypatch.setattr(keeping, "SAVE_MS", 3_600_000)
    add(session, (40, 40), (80, 80))
    assert cells_on_disk(project.folder) == 3
    cells.undo()
    assert cells_on_disk(project.folder) == 2
    assert len(np.unique(on_disk(project.folder, "field"))) == 2, "the label image comes later"


def test_images_without_a_file_are_copied_and_the_same_image_is_noticed(
    session: Any, workbench: Any, discs: Any, qtbot: Any
) -> None:
    colours = np.stack([discs[0]] * 3, -1)
    session.image = workbench.viewer.add_image(colours, rgb=True, name="in memory")
    add(session, (10, 10))
    project = saved(session, qtbot)
    (entry,) = project.images
    assert np.array_equal(np.asarray(project.pixels(entry).data), colours)
    session.image = workbench.viewer.add_image(colours.copy(), rgb=True, name="again")
    add(session, (50, 50))
    qtbot.waitUntil(lambda: "same image" in workbench.annotate.save_line.question.text, timeout=WAIT)
    assert len(project.images) == 1


def test_a_window_that_is_closed_saves_first(session: Any, workbench: Any, file: Path) -> None:
    session.image = workbench.viewer.open(str(file))[0]
    add(session, (10, 10), (40, 40))
    workbench.viewer.layers.clear()  # as napari does first
    session.close()
    (found,) = recoverable()
    assert found.text.startswith("2 cells from today")


def test_a_window_without_work_leaves_nothing(session: Any, workbench: Any, file: Path, qtbot: Any) -> None:
    folder = one_cell_saved(session, file, qtbot).folder
    session.cells_of(session.image).do(lambda now: delete(now, [1]))
    session.close()
    assert not folder.exists()


def test_lost_work_is_offered_and_restored(
    make_napari_viewer: Any, file: Path, qtbot: Any, discs: Any
) -> None:
    from napari_cupre.widgets.annotate_widget import AnnotateWidget

    with new_scratch() as project:
        add_files(project, file)
        project.cells("field").apply(draw(project.cells("field"), square(10, 10)))
        project.cells("field").apply(draw(project.cells("field"), square(60, 60)))
        project.save()
        kept = project.cells("field").labels.copy()
    viewer = make_napari_viewer()
    dock = AnnotateWidget(viewer)
    qtbot.addWidget(dock)
    question = dock.save_line.question
    qtbot.waitUntil(lambda: "2 cells from today" in question.text, timeout=WAIT)
    for _ in range(2):  # as a double click does, and who drops a folder twice
        question.press("Restore")
    qtbot.waitUntil(lambda: "field" in viewer.layers, timeout=WAIT)
    qtbot.waitUntil(lambda: not dock.session.keeper._errands.is_busy, timeout=WAIT)
    assert (dock.session.keeper.error, dock.session.keeper.locked) == ("", None), "it is open here alone"
    cells = dock.session.cells_of(viewer.layers["field"])
    assert np.array_equal(cells.cells.labels, kept)
    assert np.array_equal(viewer.layers["field"].data, discs[0])
    assert cells.cells.count(State.EDITED) == 2
    assert question.text == ""


def test_lost_work_is_discarded_after_a_second_question(
    make_napari_viewer: Any, file: Path, qtbot: Any
) -> None:
    from napari_cupre.widgets.annotate_widget import AnnotateWidget

    folders = []
    for at in (10, 60):
        with new_scratch() as project:
            add_files(project, file)
            project.cells("field").apply(draw(project.cells("field"), square(at, at)))
            project.save()
            folders.append(project.folder)
    dock = AnnotateWidget(make_napari_viewer())
    qtbot.addWidget(dock)
    question = dock.save_line.question
    qtbot.waitUntil(lambda: "1 cell from today" in question.text, timeout=WAIT)
    place = [button.text() for button in question.buttons].index("Discard …")
    question.buttons[place].click()
    assert question.text.startswith("Delete 1 cell from today")
    question.buttons[place].click()  # pressed twice: nothing is lost
    assert all(folder.is_dir() for folder in folders)
    question.press("Discard …")
    question.press("Delete")
    qtbot.waitUntil(lambda: sum(folder.is_dir() for folder in folders) == 1, timeout=WAIT)
    qtbot.waitUntil(lambda: question.text.startswith("Work not yet saved as a project"), timeout=WAIT)
    (left,) = [folder for folder in folders if folder.is_dir()]
    assert dock.session.keeper.lost.found[0].folder.resolve() == left.resolve()


def test_a_second_window_is_told_and_may_look(
    session: Any, workbench: Any, tmp_path: Path, file: Path, qtbot: Any
) -> None:
    with Project.create(tmp_path / "work") as other:
        add_files(other, file)
        other.save()
        session.keeper.open(other.folder)
        question = workbench.annotate.save_line.question
        qtbot.waitUntil(lambda: "open in another window" in question.text, timeout=WAIT)
        question.press("Look only")
        qtbot.waitUntil(lambda: "field" in workbench.viewer.layers, timeout=WAIT)
        line = workbench.annotate.save_line.line
        assert line.text() == "Open to look only."
        session.image = workbench.viewer.layers["field"]
        add(session, (10, 10))
        session.keeper.save()
        assert "open read-only" in question.text
        assert line.text() == "Not saved."
        assert [button.text() for button in question.buttons] == ["Save elsewhere …"], "no other try helps"
        assert not (other.folder / "cells").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_read_only_disk_is_said(session: Any, workbench: Any, file: Path, qtbot: Any) -> None:
    folder = one_cell_saved(session, file, qtbot).folder
    folder.chmod(0o500)
    try:
        add(session, (40, 40))
        question = workbench.annotate.save_line.question
        qtbot.waitUntil(lambda: question.text != "", timeout=WAIT)
    finally:
        folder.chmod(0o700)


def test_a_full_disk_is_said_and_tried_again(
    session: Any, workbench: Any, file: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = one_cell_saved(session, file, qtbot)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "cells/field.tif")

    with monkeypatch.context() as patch:
        patch.setattr(project, "write", full)
        add(session, (40, 40))
        line = workbench.annotate.save_line
        qtbot.waitUntil(lambda: "could not be written" in line.question.text, timeout=WAIT)
        assert line.line.text() == "Not saved."
    line.question.press("Try again")
    qtbot.waitUntil(lambda: len(np.unique(on_disk(project.folder, "field"))) == 3, timeout=WAIT)
    qtbot.waitUntil(lambda: line.question.text == "", timeout=WAIT)


@pytest.mark.parametrize("answer", ["Keep mine", "Take theirs"])
def test_cells_that_others_changed_are_not_overwritten(
    session: Any, workbench: Any, file: Path, qtbot: Any, answer: str
) -> None:
    project = one_cell_saved(session, file, qtbot)
    cells = session.cells_of(session.image)
    theirs = np.zeros_like(cells.cells.labels)
    theirs[100:120, 100:120] = 7
    tifffile.imwrite(project.folder / "cells" / "field.tif", theirs)
    add(session, (40, 40))
    question = workbench.annotate.save_line.question
    qtbot.waitUntil(lambda: "Somebody else changed" in question.text, timeout=WAIT)
    assert np.array_equal(on_disk(project.folder, "field"), theirs)
    question.press(answer)
    saved(session, qtbot)
    if answer == "Keep mine":
        qtbot.waitUntil(lambda: len(np.unique(on_disk(project.folder, "field"))) == 3, timeout=WAIT)
        assert (project.folder / "cells" / "field.theirs.tif").exists()
    else:
        assert np.array_equal(session.cells_of(session.image).cells.labels, theirs)
        add(session, (40, 40))
        qtbot.waitUntil(lambda: len(np.unique(on_disk(project.folder, "field"))) == 3, timeout=WAIT)


def test_a_project_gets_a_name(session: Any, workbench: Any, file: Path, tmp_path: Path, qtbot: Any) -> None:
    scratch = one_cell_saved(session, file, qtbot).folder
    cells = session.cells_of(session.image)
    session.keeper.save_as(tmp_path / "mine.cupre")
    qtbot.waitUntil(lambda: session.keeper.project.folder.name == "mine.cupre", timeout=WAIT)
    saved(session, qtbot)
    assert not scratch.exists()
    add(session, (60, 60))
    qtbot.waitUntil(lambda: len(np.unique(on_disk(tmp_path / "mine.cupre", "field"))) == 3, timeout=WAIT)
    assert np.array_equal(on_disk(tmp_path / "mine.cupre", "field"), cells.cells.labels)
    line = workbench.annotate.save_line.line
    qtbot.waitUntil(lambda: 'in "mine"' in line.text(), timeout=WAIT)  # the disk has it before the dock knows
