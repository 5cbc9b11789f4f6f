"""Letting a window live while a script waits, and its mouse."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

PATIENCE = 900.0  # s


def wait_for(condition: Callable[[], bool]) -> None:
    """Run the window until something is so."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("The window did not get there; is the machine very busy?")
        QApplication.processEvents()
        time.sleep(0.001)


def settle(seconds: float) -> None:
    """Run the window for a while."""
    end = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= end)


def on_canvas(viewer: Any, image: Any, place: Sequence[float]) -> Any:
    """Where a pixel of an image is on the canvas."""
    from qtpy.QtCore import QPoint

    world = image.data_to_world(place)
    x, y = viewer.window._qt_viewer.canvas.view.scene.transform.map([world[-1], world[-2]])[:2]
    return QPoint(round(float(x)), round(float(y)))


def drag(viewer: Any, image: Any, places: Sequence[Sequence[float]], pause: float = 0.05) -> None:
    """Press, move and release the mouse at pixels of an image, with a pause after each step, s."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    native = viewer.window._qt_viewer.canvas.native
    points = [on_canvas(viewer, image, place) for place in places]
    QTest.mouseMove(native, points[0])
    QTest.mousePress(native, Qt.MouseButton.LeftButton, pos=points[0])
    for point in points[1:]:
        QTest.mouseMove(native, point)
        settle(pause)
    QTest.mouseRelease(native, Qt.MouseButton.LeftButton, pos=points[-1])
    settle(0.3)
