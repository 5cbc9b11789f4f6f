"""Finding cells in all images of a project, also in those that no layer shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finding_script import FindingScript
from plates import write_plate

from napari_cupre.project.cells import State
from napari_cupre.project.gestures import draw
from napari_cupre.project.project import Project
from napari_cupre.project.queue import add_files
from napari_cupre.widgets.predict_widget import PredictWidget
from napari_cupre.widgets.session import Session

WAIT = 60_000
SQUARE = np.array([(4, 4), (4, 14), (14, 14), (14, 4)])


@pytest.fixture
def project(tmp_path: Path, discs: Any) -> Path:
    """A project of five images; in one a cell is drawn where the network will find one."""
    folder = write_plate(tmp_path / "plate", discs[0], 5)
    with Project.create(tmp_path / "work") as project:
        add_files(project, folder)
        project.cells("well_3").apply(draw(project.cells("well_3"), SQUARE))
        project.save()
        return project.folder


@pytest.fixture
def script() -> FindingScript:
    return FindingScript()


@pytest.fixture
def widget(viewer: Any, scripted_engine: Any, script: FindingScript, own_models: Path) -> PredictWidget:
    (own_models / "mine.safetensors").write_bytes(b"weights")
    Session.of(viewer, scripted_engine(script))
    widget = PredictWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Predict")
    widget.model.value = "mine"
    return widget


def opened(widget: PredictWidget, project: Path, qtbot: Any) -> Session:
    session = widget.session
    session.keeper.open(project)
    qtbot.waitUntil(lambda: session.image is not None and not session.queue.is_busy, timeout=WAIT)
    return session


def find_all(widget: PredictWidget, qtbot: Any) -> None:
    widget.all_images.click()
    widget.button.click()
    qtbot.waitUntil(lambda: widget.job.status.state.is_over, timeout=WAIT)
    assert not widget.job.status.error, widget.job.status.error
    qtbot.waitUntil(lambda: not widget._errands.is_busy, timeout=WAIT)


def test_all_images_of_the_project_get_guesses_shown_or_not(
    widget: PredictWidget, project: Path, script: FindingScript, qtbot: Any
) -> None:
    session = opened(widget, project, qtbot)
    assert widget.all_images.text() == "all 5 images"
    assert len(session.images()) < 5
    find_all(widget, qtbot)
    assert [name for _, name in script.asked] == [f"well_{number}" for number in range(1, 6)]
    assert len(session.images()) < 5, "no layer is made for images that nobody looks at"
    assert widget.result.text == "Found 9 new cells in 5 images. 1 more lies on your own cells.", (
        "what can be seen as guesses, in layers and in the project"
    )
    qtbot.waitUntil(lambda: not session.keeper.is_dirty, timeout=WAIT)
    with Project.open(project, look_only=True) as stored:
        for stem, count in (("well_1", 2), ("well_5", 2)):
            assert stored.cells(stem).count(State.GUESS) == count
            assert stored.cells(stem).rows[1].score == pytest.approx(0.9)
        drawn = stored.cells("well_3")
        assert (drawn.count(State.EDITED), drawn.count(State.GUESS)) == (1, 1), "what was drawn stays"
    qtbot.waitUntil(
        lambda: (
            [session.queue.state(item) for item in session.queue.items()].count("2 cells, 0 checked") == 4
        ),
        timeout=WAIT,
    )


def test_pressed_twice_the_guesses_are_renewed_and_not_doubled(
    widget: PredictWidget, project: Path, script: FindingScript, qtbot: Any
) -> None:
    session = opened(widget, project, qtbot)
    find_all(widget, qtbot)
    script.places["mine"] = [(60, 60)]
    find_all(widget, qtbot)
    qtbot.waitUntil(lambda: not session.keeper.is_dirty, timeout=WAIT)
    with Project.open(project, look_only=True) as stored:
        assert [cells.count(State.GUESS) for _, cells in stored.all_cells()] == [1, 1, 1, 1, 1]


def test_an_image_that_is_opened_meanwhile_shows_what_was_found(
    widget: PredictWidget, project: Path, script: FindingScript, qtbot: Any
) -> None:
    session = opened(widget, project, qtbot)
    widget.all_images.click()
    widget.button.click()
    session.queue.show(session.queue.items()[4])
    qtbot.waitUntil(lambda: widget.job.status.state.is_over, timeout=WAIT)
    qtbot.waitUntil(lambda: not widget._errands.is_busy and not session.queue.is_busy, timeout=WAIT)
    image = session.keeper.image_of("well_5")
    assert image is not None
    cells = session.cells_of(image).cells
    qtbot.waitUntil(lambda: cells.count(State.GUESS) == 2, timeout=WAIT)


def test_a_file_that_is_gone_costs_only_itself(widget: PredictWidget, project: Path, qtbot: Any) -> None:
    session = opened(widget, project, qtbot)
    (project.parent / "plate" / "well_5.tif").unlink()
    find_all(widget, qtbot)
    assert "Found 7 new cells in 4 images. 1 more" in widget.result.text
    assert "well_5" in widget.notice.text
    assert session.keeper.project is not None


def test_the_results_of_all_images_are_saved(
    widget: PredictWidget, project: Path, tmp_path: Path, qtbot: Any
) -> None:
    session = opened(widget, project, qtbot)
    find_all(widget, qtbot)
    widget.saver.save(tmp_path / "out")
    qtbot.waitUntil(lambda: session.saving.status.state.is_over, timeout=WAIT)
    assert not session.saving.status.error, session.saving.status.error
    assert len(list((tmp_path / "out").glob("well_*.tif"))) == 5
    assert len(list((tmp_path / "out").glob("well_*.csv"))) == 5
