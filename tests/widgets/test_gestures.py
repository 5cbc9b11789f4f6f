"""One gesture each, with real presses of the mouse and keys on a real window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mouse import PLAIN, Mouse
from napari.layers import Image
from qtpy.QtCore import Qt

from napari_cupre.project.boxes import measured
from napari_cupre.project.cells import State
from napari_cupre.project.strokes import renew_guesses
from napari_cupre.widgets.cells_layer import CellsLayer
from napari_cupre.widgets.looking import camera_of
from napari_cupre.widgets.tools import Tool

CTRL, ALT, SHIFT = (
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.AltModifier,
    Qt.KeyboardModifier.ShiftModifier,
)
SIDE, STEP = 10, 16


@pytest.fixture(autouse=True)
def _no_engine(scripted_engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these needs a process that imports torch."""
    monkeypatch.setattr(
        "napari_cupre.widgets.session.EngineProcess",
        lambda **_: scripted_engine(lambda request: iter(())),
    )


def squares() -> np.ndarray:
    """Twelve squares of 10 px on 48 x 64, numbered by row."""
    labels = np.zeros((48, 64), np.int32)
    for number in range(12):
        row, column = divmod(number, 4)
        labels[STEP * row + 3 : STEP * row + 13, STEP * column + 3 : STEP * column + 13] = number + 1
    return labels


def middle(number: int) -> tuple[float, float]:
    row, column = divmod(number - 1, 4)
    return STEP * row + 7.5, STEP * column + 7.5


@pytest.fixture
def mouse(workbench: Any) -> Mouse:
    return Mouse(workbench.viewer)


def open_field(workbench: Any, pixels: np.ndarray, qtbot: Any) -> Image:
    """Open an image and wait until it fills the canvas."""
    image = workbench.viewer.add_image(pixels, name="field", rgb=False)
    qtbot.waitUntil(lambda: camera_of(workbench.viewer).zoom > 1, timeout=20_000)
    qtbot.wait(100)
    return image


@pytest.fixture
def guesses(workbench: Any, qtbot: Any) -> CellsLayer:
    """Twelve guesses, less and less certain, on an image that fills the canvas."""
    image = open_field(workbench, np.zeros((48, 64), np.uint8), qtbot)
    cells = workbench.annotate.session.make_cells(image)
    cells.do(renew_guesses(cells.cells, squares(), np.linspace(0.95, 0.1, 12)))
    workbench.viewer.layers.selection.active = cells.layer
    cells.layer.mode = "pan_zoom"
    return cells


def check(cells: CellsLayer) -> None:
    assert cells.is_bound
    assert {n: (cell.box, cell.area) for n, cell in cells.cells} == measured(cells.cells.labels)


def test_a_click_accepts_ctrl_deletes_alt_merges_and_each_is_one_undo(
    workbench: Any, mouse: Mouse, guesses: CellsLayer
) -> None:
    cells = guesses.cells
    states = [cells.copy()]
    for number, modifier in ((1, PLAIN), (2, CTRL), (5, PLAIN), (6, ALT)):
        mouse.click(middle(number), modifier)
        check(guesses)
        states.append(cells.copy())
    assert cells.rows[1].state is State.CHECKED
    assert 2 not in cells.rows
    assert 6 not in cells.rows
    assert cells.labels[23, 30] == 0, "a gap of six px closes, no more"
    assert cells.rows[5].state is State.EDITED
    mouse.click((15.5, 15.5))
    assert cells == states[-1], "a click beside the cells does nothing"
    for state in reversed(states[:-1]):
        mouse.key(Qt.Key.Key_Z, CTRL)
        assert cells == state
    for state in states[1:]:
        mouse.key(Qt.Key.Key_Z, CTRL | SHIFT)
        assert cells == state


def rest(mouse: Mouse, place: tuple[float, float]) -> None:
    """Move until napari knows where the mouse is: vispy drops moves that follow others at once."""
    for _ in range(100):
        mouse.move(place)
        if np.allclose(mouse.viewer.cursor.position[-2:], place, atol=0.5):
            return
    raise AssertionError("the mouse does not get there")


def test_a_key_merges_the_cell_under_the_mouse_with_the_last_one(
    workbench: Any, mouse: Mouse, guesses: CellsLayer
) -> None:
    """Some window managers keep Alt-click for themselves."""
    cells = guesses.cells
    mouse.click(middle(5))
    before = cells.copy()
    rest(mouse, middle(6))
    mouse.key(Qt.Key.Key_J)
    check(guesses)
    assert 6 not in cells.rows
    assert cells.rows[5].state is State.EDITED
    merged = cells.copy()
    rest(mouse, middle(6))
    mouse.key(Qt.Key.Key_J)
    assert cells == merged, "it is one cell already"
    mouse.key(Qt.Key.Key_Z, CTRL)
    assert cells == before
    mouse.key(Qt.Key.Key_Z, CTRL | SHIFT)
    assert cells == merged
    rest(mouse, (1.0, 1.0))
    mouse.key(Qt.Key.Key_J)
    assert cells == merged, "beside the cells there is nothing to merge"


def test_the_key_merges_what_came_to_lie_under_a_mouse_that_rests(
    workbench: Any, mouse: Mouse, guesses: CellsLayer
) -> None:
    cells, camera = guesses.cells, camera_of(workbench.viewer)
    mouse.click(middle(5))
    rest(mouse, middle(5))
    center = camera.center
    camera.center = (*center[:-1], center[-1] + STEP)  # cell 6 is where cell 5 was
    mouse.key(Qt.Key.Key_J)
    assert 6 not in cells.rows
    assert {1, 2, 5, 7} <= set(cells.rows)


def test_the_key_merges_a_cell_that_a_tool_made(workbench: Any, mouse: Mouse, guesses: CellsLayer) -> None:
    cells, tools = guesses.cells, workbench.annotate.session.tools
    tools.take(Tool.DRAW)
    mouse.drag((30, 1), (30, 8), (34, 8), (34, 1), (30, 1))
    drawn = workbench.annotate.session.gestures.last
    assert drawn > 12
    rest(mouse, middle(9))
    mouse.key(Qt.Key.Key_J)
    assert 9 not in cells.rows
    assert cells.labels[32, 4] == cells.labels[40, 8] == drawn


def test_a_drag_moves_the_view_and_is_no_click(workbench: Any, mouse: Mouse, guesses: CellsLayer) -> None:
    mouse.drag(middle(1), middle(2))
    assert guesses.cells.count(State.GUESS) == 12


def test_tab_goes_to_the_least_certain_and_a_key_accepts_it(
    workbench: Any, mouse: Mouse, guesses: CellsLayer, qtbot: Any
) -> None:
    viewer, cells = workbench.viewer, guesses.cells
    before = on_canvas_middle(viewer)
    mouse.key(Qt.Key.Key_Tab)
    assert guesses.current == 12
    assert on_canvas_middle(viewer) == before, "it can be seen"
    camera_of(viewer).zoom *= 6
    qtbot.wait(100)
    mouse.key(Qt.Key.Key_Tab)
    assert guesses.current == 11
    assert guesses.at(on_canvas_middle(viewer)) == 11, "it is in the middle of the canvas"
    camera_of(viewer).zoom /= 6
    mouse.key(Qt.Key.Key_Backtab, SHIFT)
    assert guesses.current == 12
    mouse.key(Qt.Key.Key_A)
    assert cells.rows[12].state is State.CHECKED
    assert guesses.current == 11
    mouse.key(Qt.Key.Key_Delete)
    assert 11 not in cells.rows
    assert guesses.current == 10
    guesses.certainty = 0.9
    mouse.key(Qt.Key.Key_Tab)
    assert guesses.current == 1, "only what is on show"
    qtbot.wait(100)
    mouse.key(Qt.Key.Key_A, SHIFT)
    assert cells.count(State.CHECKED) == 2
    check(guesses)


def on_canvas_middle(viewer: Any) -> tuple[float, ...]:
    return tuple(camera_of(viewer).center[-2:])


def test_the_dock_tells_what_a_click_does_with_the_brush_in_hand(workbench: Any, guesses: CellsLayer) -> None:
    annotate = workbench.annotate
    assert annotate.hint.text().startswith("Click a guess to accept it, Ctrl-click")
    annotate.next_cell.click()
    assert annotate.hint.text().startswith("Ctrl-click a cell to delete it, Alt-click or J")
    for mode in ("erase", "fill"):
        guesses.layer.mode = mode
        assert annotate.hint.text().startswith("Ctrl-click a cell to delete it, Alt-click or J")
        assert annotate.tool_row.line.text().startswith("Erase") == (mode == "erase")
    guesses.layer.mode = "pick"
    assert annotate.hint.text().startswith("Tab")
    for button in (annotate.region, annotate.background):
        button.click()
        assert annotate.hint.text().startswith("Ctrl-Z: undo"), "the other keys are napari's there"
        button.click()
        assert "next guess" in annotate.hint.text()
        assert workbench.viewer.layers.selection.active is guesses.layer, "whose keys are told"
    workbench.viewer.layers.selection.active = workbench.viewer.layers["field regions"]
    assert annotate.hint.text().startswith("Click “field cells” in the layer list")


def test_the_dock_tells_how_to_use_the_circle(workbench: Any, guesses: CellsLayer) -> None:
    row = workbench.annotate.tool_row
    row.size_row.circle.click()
    assert row.line.text().startswith("Drag the edge of the circle")
    row.size_row.circle.click()
    assert row.line.text() == ""


def test_all_in_view_are_accepted_by_one_key_and_one_undo(
    workbench: Any, mouse: Mouse, guesses: CellsLayer, qtbot: Any
) -> None:
    viewer, cells = workbench.viewer, guesses.cells
    camera = camera_of(viewer)
    camera.center, camera.zoom = (0, 8.0, 8.0), camera.zoom * 4
    qtbot.wait(100)
    mouse.key(Qt.Key.Key_A, SHIFT)
    accepted = cells.count(State.CHECKED)
    assert 1 <= accepted < 12
    mouse.key(Qt.Key.Key_Z, CTRL)
    assert cells.count(State.GUESS) == 12


def test_a_row_of_the_table_leads_to_its_cell(workbench: Any, mouse: Mouse, guesses: CellsLayer) -> None:
    camera = camera_of(workbench.viewer)
    camera.center, camera.zoom = (0, 8.0, 8.0), camera.zoom * 6
    mouse.move((8, 8))
    before = tuple(camera.center)
    guesses.layer.selected_label = 1  # as napari's table of features does it
    assert tuple(camera.center) == before, "it can be seen"
    guesses.layer.selected_label = 12
    assert guesses.at(tuple(camera.center[-2:])) == 12
    guesses.layer.mode = "paint"
    before = tuple(camera.center)
    guesses.layer.selected_label = 1
    assert tuple(camera.center) == before, "a brush is no look"


def test_the_keys_work_while_the_image_is_selected_too(
    workbench: Any, mouse: Mouse, guesses: CellsLayer
) -> None:
    viewer = workbench.viewer
    viewer.layers.selection.active = guesses.image
    mouse.click(middle(1))
    assert guesses.cells.rows[1].state is State.CHECKED
    mouse.key(Qt.Key.Key_Z, CTRL)
    assert guesses.cells.rows[1].state is State.GUESS


def test_the_brush_mends_starts_and_continues_without_choosing_a_number(
    workbench: Any, mouse: Mouse, guesses: CellsLayer
) -> None:
    cells, layer = guesses.cells, guesses.layer
    layer.mode, layer.brush_size = "paint", 3
    mouse.drag((7, 10), (7, 14))
    assert cells.rows[1].state is State.EDITED
    assert cells.rows[1].area > 100
    assert len(cells) == 12
    mouse.drag((15, 20), (15, 24))
    assert len(cells) == 13
    mouse.drag((15, 26), (15, 29))
    assert len(cells) == 13, "where it touches the last one it goes on"
    mouse.drag((15, 40), (15, 44))
    assert len(cells) == 14
    mouse.click(middle(3), CTRL)
    assert 3 not in cells.rows
    assert layer.mode == "paint", "the brush stays in hand"
    assert not cells.labels[3:13, 35:45].any(), "and leaves no dab"
    check(guesses)
    for count in (14, 13, 13, 12, 12):
        mouse.key(Qt.Key.Key_Z, CTRL)
        assert len(cells) == count
    assert cells.count(State.GUESS) == 12
    check(guesses)


def test_gestures_on_a_stack_are_for_the_plane_on_show(workbench: Any, mouse: Mouse, qtbot: Any) -> None:
    viewer = workbench.viewer
    image = open_field(workbench, np.zeros((3, 48, 64), np.uint8), qtbot)
    session = workbench.annotate.session
    session.set_axes(image, "ZYX")
    cells = session.make_cells(image)
    found = np.zeros((3, 48, 64), np.int32)
    found[0], found[2] = squares(), np.where(squares(), squares() + 12, 0)
    cells.do(renew_guesses(cells.cells, found, np.linspace(0.1, 0.9, 24)))
    viewer.layers.selection.active = cells.layer
    cells.layer.mode = "pan_zoom"
    viewer.dims.set_point(0, 2)
    mouse.click(middle(1))
    assert [n for n, c in cells.cells if c.state is State.CHECKED] == [13]
    mouse.key(Qt.Key.Key_Tab)
    assert cells.current == 14, "the least certain on this plane"
    mouse.key(Qt.Key.Key_A, SHIFT)
    assert cells.cells.count(State.GUESS) == 12 + sum(
        cells.cells.rows[n].state is State.GUESS for n in range(13, 25)
    )
    viewer.dims.set_point(0, 1)
    mouse.key(Qt.Key.Key_Tab)
    assert viewer.dims.current_step[0] in (0, 2), "a plane without a guess leads to one that has some"
    check(cells)
