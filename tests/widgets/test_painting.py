"""Cells are marked with the mouse and the keys of a real window, as a user marks them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QWidget

WAIT = 60_000
LEFT = Qt.MouseButton.LeftButton
pytestmark = pytest.mark.usefixtures("no_engine")


def canvas(viewer: Any) -> QWidget:
    """What the user points at."""
    return viewer.window._qt_viewer.canvas.native


def on_canvas(viewer: Any, row: float, column: float) -> QPoint:
    """Where on the canvas a pixel of the image lies."""
    size, camera = canvas(viewer).size(), viewer.camera
    across = (column - camera.center[-1]) * camera.zoom + size.width() / 2
    down = (row - camera.center[-2]) * camera.zoom + size.height() / 2
    return QPoint(round(across), round(down))


def dab(viewer: Any, *places: tuple[float, float]) -> None:
    """Press and release at one place after the other; QTest's moves carry no button, so it drags nothing."""
    target = canvas(viewer)
    for place in places:
        point = on_canvas(viewer, *place)
        QTest.mouseMove(target, point)
        QTest.mousePress(target, LEFT, Qt.KeyboardModifier.NoModifier, point)
        QTest.mouseRelease(target, LEFT, Qt.KeyboardModifier.NoModifier, point)
    QTest.qWait(20)


@pytest.fixture
def cells(workbench: Any, qtbot: Any) -> Labels:
    """An empty layer for the cells of an image that fills the canvas, with the brush in hand."""
    viewer = workbench.viewer
    viewer.add_image(np.zeros((60, 80), np.uint8), name="field")
    workbench.annotate.next_cell.click()
    layer = viewer.layers["field cells"]
    layer.brush_size = 5
    qtbot.waitUntil(lambda: canvas(viewer).isVisible() and viewer.camera.zoom > 1, timeout=WAIT)
    QTest.qWait(200)
    return layer


def test_the_mouse_paints_cells_and_the_key_takes_the_next_number(
    workbench: Any, cells: Labels, qtbot: Any
) -> None:
    viewer, annotate = workbench.viewer, workbench.annotate
    dab(viewer, (20, 20), (20, 25), (20, 30))
    assert {int(cells.data[20, column]) for column in (20, 25, 30)} == {1}
    assert not cells.data[40].any(), "only under the mouse"

    QTest.keyClick(canvas(viewer), Qt.Key.Key_N)
    assert cells.selected_label == 2
    dab(viewer, (40, 50), (40, 52))
    assert cells.data[40, 50] == 2
    assert cells.data[20, 25] == 1
    qtbot.waitUntil(lambda: "<b>2</b> cells" in annotate.status.text(), timeout=WAIT)


def test_the_key_takes_the_brush_up_again_from_another_layer(workbench: Any, cells: Labels) -> None:
    viewer = workbench.viewer
    dab(viewer, (20, 20), (20, 25))
    viewer.layers.selection.active = viewer.layers["field"]
    QTest.keyClick(canvas(viewer), Qt.Key.Key_N)
    assert viewer.layers.selection.active is cells
    assert cells.mode == "paint"
    dab(viewer, (40, 50), (40, 52))
    assert cells.data[40, 50] == 2


def test_the_background_brush_paints_no_cell(workbench: Any, cells: Labels, qtbot: Any) -> None:
    viewer, annotate = workbench.viewer, workbench.annotate
    annotate.background.click()
    viewer.layers["field background"].brush_size = 5
    dab(viewer, (30, 30), (30, 35))
    assert viewer.layers["field background"].data[30, 35] == 1
    assert not cells.data.any()
    annotate.next_cell.click()
    dab(viewer, (10, 10), (10, 14))
    assert cells.data[10, 12] == 1
    qtbot.waitUntil(lambda: "<b>1</b> cell" in annotate.status.text(), timeout=WAIT)
