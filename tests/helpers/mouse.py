"""Presses, drags and keys on the canvas of a real window, as the window system would send them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from napari_cupre.widgets.looking import camera_of

LEFT = Qt.MouseButton.LeftButton
NO_BUTTON = Qt.MouseButton.NoButton
NO_KEY = Qt.KeyboardModifier.NoModifier
WAIT = 60_000


def canvas(viewer: Any) -> QWidget:
    """What the user points at."""
    return viewer.window._qt_viewer.canvas.native


def open_field(viewer: Any, pixels: np.ndarray, qtbot: Any) -> Image:
    """Open an image and wait until it fills the canvas."""
    image = viewer.add_image(pixels, name="field", rgb=False)
    qtbot.waitUntil(lambda: canvas(viewer).isVisible() and camera_of(viewer).zoom > 1, timeout=WAIT)
    QTest.qWait(100)
    return image


def on_canvas(viewer: Any, row: float, column: float) -> QPoint:
    """Where on the canvas a pixel of the image lies."""
    size, camera = canvas(viewer).size(), camera_of(viewer)
    across = (column - camera.center[-1]) * camera.zoom + size.width() / 2
    down = (row - camera.center[-2]) * camera.zoom + size.height() / 2
    return QPoint(round(across), round(down))


def _send(viewer: Any, kind: QEvent.Type, point: QPoint, button: Any, buttons: Any, keys: Any) -> None:
    target = canvas(viewer)
    place = QPointF(point)
    event = QMouseEvent(kind, place, QPointF(target.mapToGlobal(point)), button, buttons, keys)
    QApplication.sendEvent(target, event)


def drag(viewer: Any, path: Sequence[tuple[float, float]], keys: Any = None, steps: int = 4) -> None:
    """Press at the first place, move through the others with the button down, and let go at the last."""
    keys = NO_KEY if keys is None else keys
    points = [on_canvas(viewer, *place) for place in path]
    _send(viewer, QEvent.Type.MouseMove, points[0], NO_BUTTON, NO_BUTTON, keys)
    _send(viewer, QEvent.Type.MouseButtonPress, points[0], LEFT, LEFT, keys)
    for first, last in itertools.pairwise(points):
        for step in range(1, steps + 1):
            QTest.qWait(12)  # vispy drops moves that follow within 10 ms
            between = first + (last - first) * step / steps
            _send(viewer, QEvent.Type.MouseMove, between, NO_BUTTON, LEFT, keys)
    _send(viewer, QEvent.Type.MouseButtonRelease, points[-1], LEFT, NO_BUTTON, keys)
    QTest.qWait(5)


def click(viewer: Any, place: tuple[float, float], keys: Any = None) -> None:
    """Press and let go at one place."""
    drag(viewer, [place], keys)


def key(viewer: Any, which: Any, keys: Any = None) -> None:
    """Press a key while the canvas has the keyboard."""
    QTest.keyClick(canvas(viewer), which, NO_KEY if keys is None else keys)
    QTest.qWait(5)
