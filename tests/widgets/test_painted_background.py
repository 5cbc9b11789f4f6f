"""Background that was painted is work like any other: saved, shown again, and never painted over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_cupre.project.gestures import draw
from napari_cupre.project.project import Project
from napari_cupre.project.recovery import recoverable

WAIT = 60_000
pytestmark = pytest.mark.usefixtures("no_engine")


@pytest.fixture
def file(tmp_path: Path, discs: Any) -> Path:
    path = tmp_path / "field.tif"
    tifffile.imwrite(path, discs[0])
    return path


@pytest.fixture
def session(workbench: Any) -> Any:
    return workbench.annotate.session


def painted(workbench: Any, file: Path, qtbot: Any, places: Any = ((30, 30), (30, 60))) -> Any:
    """The image is opened and background is painted in it and saved; return its layer."""
    session = workbench.annotate.session
    if session.image is None or session.image.name != file.stem:
        session.image = session.viewer.open(str(file))[0]
    workbench.annotate.background.click()
    layer = session.annotation(session.image).background
    layer.brush_size = 9
    for place in places:
        layer.paint(place, 1)
        assert session.viewer.layers.selection.active is layer, "the stroke goes on"
        assert layer.mode == "paint"
    saved(session, qtbot)
    return layer


def saved(session: Any, qtbot: Any) -> Project:
    keeper = session.keeper
    qtbot.waitUntil(lambda: keeper.saved_at is not None and not keeper.is_dirty, timeout=WAIT)
    return keeper.project


def on_disk(session: Any) -> np.ndarray:
    return np.asarray(tifffile.imread(session.keeper.project.folder / "background" / "field.tif"))


def test_it_is_saved_although_there_is_no_cell_and_offered_again(
    workbench: Any, session: Any, file: Path, qtbot: Any
) -> None:
    layer = painted(workbench, file, qtbot)
    np.testing.assert_array_equal(on_disk(session), layer.data)
    assert layer.data[30, 30]
    layer.undo()
    saved(session, qtbot)
    np.testing.assert_array_equal(on_disk(session), layer.data)
    assert layer.data[30, 30]
    assert not layer.data[30, 60]
    session.close()
    (found,) = recoverable()
    assert found.text.startswith("regions or background from")


def test_it_is_back_when_the_project_is_opened_again(
    workbench: Any, session: Any, file: Path, qtbot: Any, tmp_path: Path
) -> None:
    before = painted(workbench, file, qtbot).data.copy()
    session.keeper.save_as(tmp_path / "mine.cupre")
    qtbot.waitUntil(lambda: session.keeper.project.folder.name == "mine.cupre", timeout=WAIT)
    saved(session, qtbot)
    with Project.create(tmp_path / "other.cupre") as other:
        pass
    for folder in (other.folder, tmp_path / "mine.cupre"):
        session.keeper.open(folder)
        qtbot.waitUntil(lambda folder=folder: session.keeper.project.folder == folder, timeout=WAIT)
        if folder == other.folder:
            session.viewer.layers.clear()
    qtbot.waitUntil(
        lambda: session.image is not None and session.annotation(session.image).background is not None,
        timeout=WAIT,
    )
    layer = session.annotation(session.image).background
    np.testing.assert_array_equal(layer.data, before)
    layer.paint((60, 60), 1)
    saved(session, qtbot)
    np.testing.assert_array_equal(on_disk(session) > 0, layer.data > 0)
    assert on_disk(session)[30, 30], "what was painted before is still there"


def test_a_layer_that_was_deleted_comes_back_with_the_brush(
    workbench: Any, session: Any, file: Path, qtbot: Any
) -> None:
    layer = painted(workbench, file, qtbot)
    session.viewer.layers.remove(layer)
    again = painted(workbench, file, qtbot, places=[(60, 60)])
    assert again is not layer
    assert again.data[30, 30]
    assert again.data[60, 60]


def test_what_is_painted_anew_joins_what_the_project_has(
    workbench: Any, session: Any, file: Path, qtbot: Any, tmp_path: Path
) -> None:
    painted(workbench, file, qtbot)
    session.viewer.layers.clear()
    again = painted(workbench, file, qtbot, places=[(60, 60)])
    assert again.data[30, 30]
    assert again.data[60, 60]
    assert on_disk(session)[30, 30]
    assert on_disk(session)[60, 60]


def test_what_was_painted_just_before_the_image_left_is_saved(
    workbench: Any, session: Any, file: Path, qtbot: Any
) -> None:
    layer = painted(workbench, file, qtbot)
    layer.paint((60, 60), 1)
    session.viewer.layers.clear()
    saved(session, qtbot)
    assert on_disk(session)[60, 60]


def test_a_stroke_goes_on_where_the_layer_of_cells_was_deleted(
    workbench: Any, session: Any, file: Path, qtbot: Any
) -> None:
    layer = painted(workbench, file, qtbot)
    session.viewer.layers.remove(session.cells_of(session.image).layer)
    session.viewer.layers.selection.active = layer
    layer.mode = "paint"
    layer.paint((60, 60), 1)
    assert session.viewer.layers.selection.active is layer
    assert layer.mode == "paint"
    saved(session, qtbot)
    assert on_disk(session)[60, 60]


def test_a_damaged_file_is_told_and_the_cells_are_shown(
    workbench: Any, session: Any, file: Path, qtbot: Any, tmp_path: Path
) -> None:
    with Project.create(tmp_path / "mine.cupre") as project:
        project.add(file)
        cells = project.cells("field")
        cells.apply(draw(cells, np.array([(5, 5), (5, 20), (20, 20), (20, 5)], float)))
        project.save()
    (project.folder / "background").mkdir()
    tifffile.imwrite(project.folder / "background" / "field.tif", np.ones((3, 4), np.int32))
    session.keeper.open(project.folder)
    qtbot.waitUntil(
        lambda: session.image is not None and session.cells_of(session.image) is not None, timeout=WAIT
    )
    assert len(session.cells_of(session.image).cells) == 1
    assert "put the old file back" in session.keeper.notice
