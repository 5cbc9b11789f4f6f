"""A real mouse and real keys on napari's canvas; drags carry their button, which QTest's do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from napari_cupre.widgets.looking import camera_of

LEFT, NONE = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
PLAIN = Qt.KeyboardModifier.NoModifier

Place = Sequence[float]


class Mouse:
    """Points at pixels of an image that lies in the world as it is."""

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer

    @property
    def canvas(self) -> QWidget:
        return self.viewer.window._qt_viewer.canvas.native

    def on_canvas(self, place: Place) -> QPointF:
        """Where a pixel (row, column) lies on the canvas."""
        size, camera = self.canvas.size(), camera_of(self.viewer)
        across = (place[1] - camera.center[-1]) * camera.zoom + size.width() / 2
        down = (place[0] - camera.center[-2]) * camera.zoom + size.height() / 2
        return QPointF(across, down)

    def _send(self, kind: Any, place: Place, button: Any, buttons: Any, keys: Any) -> None:
        at = self.on_canvas(place)
        event = QMouseEvent(kind, at, self.canvas.mapToGlobal(at), button, buttons, keys)
        QApplication.sendEvent(self.canvas, event)

    def move(self, place: Place) -> None:
        """Move without a button."""
        QTest.qWait(15)
        self._send(QEvent.Type.MouseMove, place, NONE, NONE, PLAIN)

    def press(self, place: Place, keys: Any = PLAIN) -> None:
        self._send(QEvent.Type.MouseButtonPress, place, LEFT, LEFT, keys)

    def pull(self, place: Place, keys: Any = PLAIN) -> None:
        """Move with the left button held, as fast as vispy takes it."""
        for _ in range(2):  # vispy drops moves within 10 ms of another, and Qt makes some of its own
            QTest.qWait(15)
            self.drag_to(place, keys)

    def drag_to(self, place: Place, keys: Any = PLAIN) -> None:
        """Move with the left button held, once and without a pause."""
        self._send(QEvent.Type.MouseMove, place, NONE, LEFT, keys)

    def release(self, place: Place, keys: Any = PLAIN) -> None:
        self._send(QEvent.Type.MouseButtonRelease, place, LEFT, NONE, keys)

    def click(self, place: Place, keys: Any = PLAIN) -> None:
        self.move(place)
        self.press(place, keys)
        self.release(place, keys)

    def double_click(self, place: Place) -> None:
        """The second of two quick clicks, as Qt sends it."""
        self._send(QEvent.Type.MouseButtonDblClick, place, LEFT, LEFT, PLAIN)
        self.release(place)

    def drag(self, *places: Place, keys: Any = PLAIN) -> None:
        self.move(places[0])
        self.press(places[0], keys)
        for place in places[1:]:
            self.pull(place, keys)
        self.release(places[-1], keys)

    def wheel(self, place: Place, turns: int, keys: Any = PLAIN) -> None:
        at = self.on_canvas(place)
        event = QWheelEvent(
            at,
            self.canvas.mapToGlobal(at),
            QPoint(0, 0),
            QPoint(0, 120 * turns),
            NONE,
            keys,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(self.canvas, event)

    def key(self, key: Any, keys: Any = PLAIN) -> None:
        QTest.keyClick(self.canvas, key, keys)
