"""Cells are outlined with the mouse and the keys of a real window; the engine knows the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotating import in_state
from mouse import Mouse
from outline_fakes import OutliningEngine
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_cupre.project.cells import State
from napari_cupre.project.strokes import renew_guesses
from napari_cupre.service.protocol import AimRequest, PromptRequest, WindowRequest
from napari_cupre.widgets.tools import Tool

WAIT = 60_000
CONTROL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def engines(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> list[OutliningEngine]:
    """All engines that the window makes; the one that outlines is the last."""
    made: list[OutliningEngine] = []

    def make(*_: Any, **__: Any) -> OutliningEngine:
        folder = tmp_path / f"exchange{len(made)}"
        folder.mkdir()
        made.append(OutliningEngine(folder))
        return made[-1]

    monkeypatch.setattr("napari_cupre.widgets.session.EngineProcess", make)
    return made


@pytest.fixture
def field(engines: Any, workbench: Any, discs: Any, qtbot: Any) -> Any:
    """The noisy discs in a window, ready to be pointed at."""
    viewer = workbench.viewer
    layer = viewer.add_image(discs[0], name="field")
    qtbot.waitUntil(lambda: viewer.camera.zoom > 1, timeout=WAIT)
    QTest.qWait(200)
    session = workbench.annotate.session
    session.image = layer
    return session


@pytest.fixture
def mouse(field: Any) -> Mouse:
    return Mouse(field.viewer)


def settle(session: Any, qtbot: Any) -> Any:
    """Until the engine has answered everything."""
    prompter = session.tools.prompter
    qtbot.waitUntil(lambda: prompter.is_ready and not prompter.is_waiting, timeout=WAIT)
    return session.cells_of(session.image)


def middle(number: int) -> tuple[int, int]:
    """A place in disc `number`, in the order of `discs`."""
    row, column = divmod(number - 1, 6)
    return 16 + 32 * row, 16 + 32 * column


def iou(cells: Any, number: int, truth: np.ndarray, disc: int) -> float:
    mine, theirs = cells.cells.labels == number, truth == disc
    return float((mine & theirs).sum() / (mine | theirs).sum())


def test_a_click_outlines_a_checked_cell(field: Any, mouse: Mouse, discs: Any, qtbot: Any) -> None:
    mouse.key(Qt.Key.Key_K)
    assert field.tools.tool is Tool.CLICK
    mouse.click(middle(9))
    cells = settle(field, qtbot)
    assert cells.cells.numbers(State.CHECKED) == [1]
    assert iou(cells, 1, discs[1], 9) > 0.9
    assert cells.cells.rows[1].score == pytest.approx(0.9)
    cells.undo()
    assert not len(cells.cells)


def test_a_second_click_takes_the_next_reading_and_undo_brings_the_first_back(
    field: Any, mouse: Mouse, qtbot: Any
) -> None:
    field.tools.take(Tool.CLICK)
    mouse.click(middle(9))
    cells = settle(field, qtbot)
    first = cells.cells.rows[1].area
    mouse.double_click(middle(9))  # two quick clicks come so
    larger = cells.cells.rows[1].area
    assert larger > first
    assert len(cells.cells) == 1
    mouse.click(middle(9))
    assert cells.cells.rows[1].area < first, "after the largest comes the smallest"
    cells.undo()
    assert cells.cells.rows[1].area == larger
    mouse.click(middle(9))
    assert cells.cells.rows[1].area < first, "undo is no end of it"
    zoom = field.viewer.camera.zoom
    mouse.wheel(middle(9), 1, Qt.KeyboardModifier.ShiftModifier)
    assert cells.cells.rows[1].area == first
    mouse.wheel(middle(9), -1, Qt.KeyboardModifier.ShiftModifier)
    assert cells.cells.rows[1].area < first
    assert field.viewer.camera.zoom == zoom


def test_a_box_outlines_the_cell_in_it(field: Any, mouse: Mouse, discs: Any, qtbot: Any) -> None:
    mouse.key(Qt.Key.Key_R)
    (y, x), centre = middle(15), field.viewer.camera.center
    mouse.drag((y + 10, x - 10), (y, x), (y - 10, x + 10))
    cells = settle(field, qtbot)
    assert iou(cells, 1, discs[1], 15) > 0.9
    assert tuple(field.viewer.camera.center) == tuple(centre), "the view stays"
    request = next(r for r in field.tools.prompter.engine.sent if isinstance(r, PromptRequest))
    assert request.boxes[0] == pytest.approx([x - 9.5, y - 9.5, x + 10.5, y + 10.5], abs=0.6)


def test_what_is_clicked_before_the_engine_is_ready_is_answered_then(
    field: Any, mouse: Mouse, engines: Any, workbench: Any, qtbot: Any
) -> None:
    engines[-1].go.clear()
    field.tools.take(Tool.CLICK)
    line = workbench.annotate.tool_row.line
    assert "Loading the model (about" in line.text()
    for disc in (3, 4, 5):
        mouse.click(middle(disc))
    assert "answered then" in line.text()
    engines[-1].go.set()
    cells = settle(field, qtbot)
    assert len(cells.cells) == 3


def test_a_click_accepts_a_guess_and_the_next_one_outlines_it_anew(
    field: Any, mouse: Mouse, discs: Any, qtbot: Any
) -> None:
    cells = field.make_cells(field.image)
    cells.do(renew_guesses(cells.cells, np.roll(discs[1], 2, 0)))
    number = cells.cells.at(middle(9))
    guess = cells.cells.rows[number].area
    field.tools.take(Tool.CLICK)
    settle(field, qtbot)
    mouse.click(middle(9))
    assert cells.cells.numbers(State.CHECKED) == [number]
    assert cells.cells.rows[number].area == guess
    assert not any(isinstance(r, PromptRequest) for r in field.tools.prompter.engine.sent)
    mouse.click(middle(9))
    settle(field, qtbot)
    assert cells.cells.numbers(State.CHECKED) == [number]
    assert cells.cells.at(middle(9)) == number
    assert iou(cells, number, discs[1], 9) > 0.9
    mouse.click(middle(9))
    assert cells.cells.rows[number].area > guess, "and the next one takes the next reading"


def test_a_box_replaces_a_guess_but_no_cell_that_was_drawn(
    field: Any, mouse: Mouse, discs: Any, qtbot: Any
) -> None:
    cells = field.make_cells(field.image)
    cells.do(renew_guesses(cells.cells, np.roll(discs[1], 2, 0)))
    count = len(cells.cells)
    field.tools.take(Tool.BOX)
    (y, x) = middle(9)
    mouse.drag((y - 10, x - 10), (y, x), (y + 10, x + 10))
    settle(field, qtbot)
    assert len(cells.cells) == count
    (made,) = cells.cells.numbers(State.CHECKED)
    assert iou(cells, made, discs[1], 9) > 0.9
    cells.do(in_state(cells.cells, [made], State.EDITED))
    before = cells.cells.copy()
    mouse.click((y, x))
    settle(field, qtbot)
    assert cells.cells == before
    assert "There is already a cell" in workbench_line(field)


def workbench_line(session: Any) -> str:
    from napari_cupre.widgets.annotate_widget import AnnotateWidget
    from napari_cupre.widgets.docking import docked

    return docked(session, AnnotateWidget).tool_row.line.text()


def test_nothing_there_is_said(field: Any, mouse: Mouse, qtbot: Any) -> None:
    field.tools.take(Tool.CLICK)
    mouse.click((32, 32))
    cells = settle(field, qtbot)
    assert not len(cells.cells)
    assert "No cell was recognised here" in workbench_line(field)
    mouse.click((-8, 40))
    assert "outside the image" in workbench_line(field)


def test_the_click_tool_leaves_drags_to_the_view(field: Any, mouse: Mouse, qtbot: Any) -> None:
    field.tools.take(Tool.CLICK)
    settle(field, qtbot)
    before, zoom = field.viewer.camera.center, field.viewer.camera.zoom
    mouse.drag((96, 96), (90, 96), (80, 96))
    assert field.viewer.camera.center[-2] > before[-2] + 5
    assert not any(isinstance(r, PromptRequest) for r in field.tools.prompter.engine.sent)
    mouse.double_click(middle(9))
    assert field.viewer.camera.zoom == zoom


def test_an_outline_is_drawn_and_filled(field: Any, mouse: Mouse) -> None:
    mouse.key(Qt.Key.Key_D)
    # between pixels, so that the size of the canvas decides nothing
    square = [(39.7, 39.7), (39.7, 60.3), (60.3, 60.3), (60.3, 40.3)]
    mouse.drag(*square)
    cells = field.cells_of(field.image)
    assert cells.cells.numbers(State.EDITED) == [1]
    assert cells.cells.rows[1].area == pytest.approx(420, abs=40)
    mouse.drag((100, 100), (100, 120), (120, 120))
    assert cells.cells.numbers() == [1, 2], "the next number by itself"
    mouse.click((150, 150))
    assert len(cells.cells) == 2
    cells.undo()
    assert cells.cells.numbers() == [1]


def test_a_line_splits_a_cell(field: Any, mouse: Mouse) -> None:
    field.tools.take(Tool.DRAW)
    mouse.drag((40, 40), (40, 60), (60, 60), (60, 41))
    mouse.key(Qt.Key.Key_S)
    mouse.drag((35, 50), (50, 50), (65, 50))
    cells = field.cells_of(field.image)
    assert len(cells.cells) == 2
    mouse.drag((100, 50), (120, 50))
    assert len(cells.cells) == 2
    assert "does not divide a cell" in workbench_line(field)


def test_escape_leaves_what_is_drawn_and_then_puts_the_tool_down(field: Any, mouse: Mouse) -> None:
    field.tools.take(Tool.DRAW)
    mouse.press((40, 40))
    mouse.pull((40, 60))
    mouse.pull((60, 60))
    mouse.key(Qt.Key.Key_Escape)
    mouse.pull((60, 40))
    mouse.release((60, 40))
    assert not len(field.cells_of(field.image).cells)
    assert field.tools.tool is Tool.DRAW
    mouse.key(Qt.Key.Key_Escape)
    assert field.tools.tool is None


def test_tools_go_when_another_is_taken(field: Any, mouse: Mouse, workbench: Any) -> None:
    buttons = workbench.annotate.tool_row.buttons
    zoomers = list(field.viewer.mouse_double_click_callbacks)
    buttons[Tool.BOX].click()
    layer = field.cells_of(field.image).layer
    assert buttons[Tool.BOX].isChecked()
    assert not layer.mouse_pan
    assert field.viewer.layers.selection.active is layer
    mouse.key(Qt.Key.Key_P)
    assert layer.mode == "paint"
    assert field.tools.tool is None
    assert not buttons[Tool.BOX].isChecked()
    buttons[Tool.CLICK].click()
    assert layer.mode == "pan_zoom"
    assert buttons[Tool.CLICK].isChecked()
    buttons[Tool.CLICK].click()
    assert field.tools.tool is None
    assert layer.mouse_pan
    field.tools.take(Tool.DRAW)
    field.viewer.layers.selection.active = field.image
    assert field.tools.tool is None
    assert field.tools._pressed not in layer.mouse_drag_callbacks
    assert list(field.viewer.mouse_double_click_callbacks) == zoomers


def test_other_keys_with_the_mouse_are_left_to_others(field: Any, mouse: Mouse, qtbot: Any) -> None:
    field.tools.take(Tool.CLICK)
    settle(field, qtbot)
    mouse.click(middle(9), CONTROL)
    QTest.qWait(100)
    assert not any(isinstance(r, PromptRequest) for r in field.tools.prompter.engine.sent)


def test_the_view_is_looked_at_ahead_and_the_place_of_the_mouse(field: Any, mouse: Mouse, qtbot: Any) -> None:
    field.tools.take(Tool.CLICK)
    settle(field, qtbot)
    sent = field.tools.prompter.engine.sent
    qtbot.waitUntil(lambda: any(isinstance(r, WindowRequest) for r in sent), timeout=WAIT)
    mouse.move(middle(9))
    qtbot.waitUntil(lambda: any(isinstance(r, AimRequest) for r in sent), timeout=WAIT)
    views = len([r for r in sent if isinstance(r, WindowRequest)])
    field.viewer.camera.zoom *= 3
    qtbot.waitUntil(lambda: len([r for r in sent if isinstance(r, WindowRequest)]) > views, timeout=WAIT)


def test_an_engine_that_died_is_said_and_the_next_click_starts_another(
    field: Any, mouse: Mouse, engines: Any, qtbot: Any
) -> None:
    engines[-1].dies = True
    field.tools.take(Tool.CLICK)
    qtbot.waitUntil(lambda: bool(field.tools.prompter.error), timeout=WAIT)
    assert "killed by the system" in workbench_line(field)
    engines[-1].dies = False
    mouse.click(middle(9))
    cells = settle(field, qtbot)
    assert len(cells.cells) == 1


@pytest.mark.parametrize("kind", ["stack", "colour", "channels"])
def test_planes_and_colours(engines: Any, workbench: Any, discs: Any, qtbot: Any, kind: str) -> None:
    viewer, session = workbench.viewer, workbench.annotate.session
    image = discs[0]
    if kind == "stack":
        layer = viewer.add_image(np.stack([np.zeros_like(image), image, image]), name="stack")
        session.image = layer
        session.set_axes(layer, "ZYX")
        viewer.dims.set_point(0, 1)
    elif kind == "colour":
        layer = viewer.add_image(np.stack([image] * 3, -1), rgb=True, name="colour")
    else:
        layer = viewer.add_image(np.stack([image, image]), name="channels")
        session.set_axes(layer, "CYX")
    session.image = layer
    QTest.qWait(200)
    mouse = Mouse(viewer)
    session.tools.take(Tool.CLICK)
    mouse.click(middle(9))
    cells = settle(session, qtbot)
    assert len(cells.cells) == 1
    assert cells.cells.labels.shape == ((3, 192, 192) if kind == "stack" else (192, 192))
    if kind != "stack":
        return
    assert cells.cells.labels[1].any()
    assert not cells.cells.labels[2].any()
    viewer.dims.set_point(0, 2)
    mouse.click(middle(11))
    qtbot.waitUntil(lambda: cells.cells.labels[2].any(), timeout=WAIT)
    viewer.dims.set_point(0, 0)
    mouse.click(middle(11))
    qtbot.waitUntil(lambda: "No cell was recognised" in workbench_line(session), timeout=WAIT)


def test_an_image_of_dask_without_a_file_gives_what_is_on_show(
    engines: Any, workbench: Any, discs: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dask.array as da

    for module in ("prompting", "prompts"):
        monkeypatch.setattr(f"napari_cupre.widgets.{module}.LARGE", 128)
    viewer, session = workbench.viewer, workbench.annotate.session
    session.image = viewer.add_image(da.from_array(np.tile(discs[0], (4, 4)), chunks=100), name="lazy")
    QTest.qWait(200)
    viewer.camera.center, viewer.camera.zoom = (600, 600), 6
    session.tools.take(Tool.CLICK)
    mouse = Mouse(viewer)
    place = (576 + 16, 576 + 16)
    mouse.click(place)
    cells = settle(session, qtbot)
    assert len(cells.cells) == 1
    assert cells.cells.labels[place]
    assert engines[-1].requests[-1].index == {}
    viewer.camera.center = (100, 100)
    mouse.click((112, 112))
    qtbot.waitUntil(lambda: bool(cells.cells.labels[112, 112]), timeout=WAIT)


def test_a_model_that_was_just_trained_is_asked(
    field: Any, mouse: Mouse, engines: Any, own_models: Path, qtbot: Any
) -> None:
    (own_models / "mine.safetensors").write_bytes(b"weights")
    field.tools.take(Tool.CLICK)
    mouse.click(middle(9))
    settle(field, qtbot)
    field.model_added("mine")
    qtbot.waitUntil(lambda: engines[-1].requests[-1].model == "mine", timeout=WAIT)
    mouse.click(middle(10))
    assert len(settle(field, qtbot).cells) == 2


def test_the_circle_says_the_diameter_and_the_brush_fits(field: Any, mouse: Mouse, qtbot: Any) -> None:
    field.tools.take(Tool.CLICK)
    settle(field, qtbot)
    row = _size_row(field)
    assert row.number.text() == "auto (16 px)"
    row.circle.click()
    y, x = field.viewer.camera.center[-2:]
    mouse.drag((y, x + 8), (y, x + 12), (y, x + 15))
    assert field.sizes.said(field.image) == pytest.approx(30, abs=1)
    assert row.number.value() == pytest.approx(30, abs=1)
    qtbot.waitUntil(lambda: (field.tools.prompter.engine.requests[-1].diameter or 0) > 25, timeout=WAIT)
    mouse.drag((y, x), (y + 20, x + 20))
    assert field.sizes.said(field.image) == pytest.approx(30, abs=1), "dragged inside, it moves"
    row.circle.click()
    layer = field.cells_of(field.image).layer
    layer.mode = "paint"
    assert layer.brush_size == 12
    layer.brush_size = 20
    layer.mode = "pan_zoom"
    layer.mode = "paint"
    assert layer.brush_size == 20, "as the user chose"


def _size_row(session: Any) -> Any:
    from napari_cupre.widgets.annotate_widget import AnnotateWidget
    from napari_cupre.widgets.docking import docked

    return docked(session, AnnotateWidget).tool_row.size_row
