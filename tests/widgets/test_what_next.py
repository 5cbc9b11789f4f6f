"""What to annotate next: rated beside the window, shown with reasons, followed by a press."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from held_script import HeldScript
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_cupre.events import Event, Finished, Progress, RunState
from napari_cupre.project.gestures import draw
from napari_cupre.project.project import Project
from napari_cupre.project.queue import add_files
from napari_cupre.service.beside import Rated, RateRequest
from napari_cupre.service.protocol import FinetuneRequest, Request
from napari_cupre.widgets.looking import camera_of

WAIT = 60_000
SQUARE = np.array([(10, 10), (10, 24), (24, 24), (24, 10)])
REASON = "12 doubtful cells, unlike the images annotated so far"


class Rater(HeldScript):
    """Rates the third image first and then a field of the second."""

    progress = Progress(1, 3, "images searched")

    def answer(self, request: Request) -> Iterator[Event]:
        assert isinstance(request, RateRequest)
        yield Rated(
            ["well_3", "well_2"],
            [None, [100, 0, 192, 64]],
            [REASON, "no cell found"],
            np.full((2, 64, 64, 3), 90, np.uint8),
            "broken.tif cannot be read.",
        )
        yield Finished("")


@pytest.fixture
def rater(training_engine: Any) -> Rater:
    script = Rater()
    script.engine = training_engine(script)
    return script


@pytest.fixture
def session(rater: Rater, workbench: Any, tmp_path: Path, discs: Any, qtbot: Any) -> Any:
    """A project of three images with a cell in the first, which is on show."""
    folder = tmp_path / "plate"
    folder.mkdir()
    for number in (1, 2, 3):
        pixels = np.roll(discs[0], 3 * number, axis=1)[:, : 192 - 4 * number]  # none as wide as another
        tifffile.imwrite(folder / f"well_{number}.tif", pixels)
    with Project.create(tmp_path / "work") as project:
        add_files(project, folder)
        project.cells("well_1").apply(draw(project.cells("well_1"), SQUARE))
        project.save()
    session = workbench.annotate.session
    session.keeper.open(project.folder)
    shown(session, qtbot, "well_1")
    return session


def shown(session: Any, qtbot: Any, name: str) -> None:
    qtbot.waitUntil(
        lambda: session.image is not None and session.image.name == name and not session.queue.is_busy,
        timeout=WAIT,
    )


def names(session: Any) -> list[str]:
    return [item.name for item in session.queue.items()]


def test_images_are_rated_when_asked_and_shown_by_a_press(
    session: Any, rater: Rater, workbench: Any, qtbot: Any
) -> None:
    rows = workbench.annotate.suggestions
    assert rows.button.isVisibleTo(workbench.annotate)
    assert not rows.isVisibleTo(workbench.annotate)
    rows.button.click()
    rows.rate.click()
    qtbot.waitUntil(lambda: rows.list.count() == 2, timeout=WAIT)
    (request,) = rater.engine.requests
    assert request.project == str(session.keeper.project.folder)
    assert request.model == session.model
    assert REASON in rows.list.item(0).text()
    assert not rows.list.item(0).icon().isNull()
    qtbot.waitUntil(lambda: "broken.tif" in rows.line.text(), timeout=WAIT)

    rows.order.setChecked(True)
    assert names(session) == ["well_3", "well_2", "well_1"]
    press(rows.list, 0)
    shown(session, qtbot, "well_3")
    press(rows.list, 1)
    shown(session, qtbot, "well_2")
    qtbot.waitUntil(lambda: np.allclose(camera_of(workbench.viewer).center[-2:], (145.5, 31.5)), timeout=WAIT)
    rows.order.setChecked(False)
    assert names(session) == ["well_1", "well_2", "well_3"]


def test_advice_for_other_channels_or_another_model_says_so_and_is_renewed(
    session: Any, rater: Rater, workbench: Any, own_models: Path, qtbot: Any
) -> None:
    rows = workbench.annotate.suggestions
    rows.button.click()
    rows.rate.click()
    qtbot.waitUntil(lambda: rows.list.count() == 2, timeout=WAIT)
    assert "press Rate" not in rows.line.text()
    assert session.what_next.best().name == "well_3"

    session.channels.choose((1,))
    assert "Other channels are used" in rows.line.text()
    assert "broken.tif" in rows.line.text(), "which still holds"
    assert session.what_next.best() is None
    session.channels.choose(None)
    assert "press Rate" not in rows.line.text()

    first = session.model
    (own_models / "mine.safetensors").write_bytes(b"weights")
    session.model = "mine"
    assert f'rated for the model "{first}"' in rows.line.text()
    assert session.what_next.best().name == "well_3"
    qtbot.waitUntil(lambda: not session.what_next.job.status.is_active, timeout=WAIT)
    rows.rate.click()
    qtbot.waitUntil(
        lambda: "press Rate" not in rows.line.text() and len(rater.engine.requests) == 2, timeout=WAIT
    )
    assert rater.engine.requests[1].model == "mine"


def press(rows: Any, row: int) -> None:
    place = rows.visualItemRect(rows.item(row)).center()
    QTest.mouseClick(rows.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)


def test_after_a_training_images_are_rated_and_next_image_follows(
    session: Any, rater: Rater, workbench: Any, qtbot: Any
) -> None:
    workbench.train.button.click()
    qtbot.waitUntil(lambda: bool(session.what_next.advice), timeout=WAIT)
    assert [type(each) for each in rater.engine.requests] == [FinetuneRequest, RateRequest]
    workbench.train.next_steps.go_on.click()
    shown(session, qtbot, "well_3")
    assert not workbench.annotate.visibleRegion().isEmpty(), "there it is annotated"
    session.make_cells(session.image).do(lambda now: draw(now, SQUARE))
    workbench.train.next_steps.go_on.click()
    shown(session, qtbot, "well_2")


def test_a_training_ends_the_rating(session: Any, rater: Rater, workbench: Any, qtbot: Any) -> None:
    rater.may_end.clear()
    rows = workbench.annotate.suggestions
    rows.rate.click()
    qtbot.waitUntil(lambda: rows.isVisibleTo(workbench.annotate), timeout=WAIT)
    qtbot.waitUntil(lambda: "images searched (33 %)" in rows.line.text(), timeout=WAIT)
    workbench.train.button.click()
    qtbot.waitUntil(lambda: workbench.train.job.status.state is RunState.DONE, timeout=WAIT)
    rater.may_end.set()
    qtbot.waitUntil(lambda: bool(session.what_next.advice), timeout=WAIT)
    assert [type(each) for each in rater.engine.requests] == [RateRequest, FinetuneRequest, RateRequest]


def test_another_project_has_no_advice(session: Any, workbench: Any, tmp_path: Path, qtbot: Any) -> None:
    workbench.annotate.suggestions.rate.click()
    qtbot.waitUntil(lambda: bool(session.what_next.advice), timeout=WAIT)
    Project.create(tmp_path / "other").close()
    session.keeper.open(tmp_path / "other.cupre")
    qtbot.waitUntil(lambda: not session.what_next.advice, timeout=WAIT)
    assert workbench.annotate.suggestions.list.count() == 0
