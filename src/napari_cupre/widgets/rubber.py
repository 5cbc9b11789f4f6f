"""Draw a box, a line or a circle over the canvas while the mouse moves, without a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QEvent, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QMainWindow, QWidget

Point = Sequence[float]
"""x, y on the canvas."""

LIGHT, DARK = QColor(255, 255, 255), QColor(0, 0, 0, 160)


def canvas_of(viewer: Any) -> QWidget | None:
    """Return the part of a window that shows the layers; None if it cannot be found."""
    window = getattr(getattr(viewer, "window", None), "_qt_window", None)
    middle = window.centralWidget() if isinstance(window, QMainWindow) else None
    return None if middle is None else middle.findChild(QOpenGLWidget)


class Rubber(QWidget):
    """A transparent sheet over the canvas that lets the mouse through.

    Parameters
    ----------
    canvas : QWidget
        The canvas below.
    """

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._box: QRectF | None = None
        self._line = QPolygonF()
        self._is_closed = False
        self._circle: tuple[QPointF, float] | None = None
        canvas.installEventFilter(self)
        self.setGeometry(canvas.rect())
        self.hide()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is drawn."""
        return self._box is None and self._line.isEmpty() and self._circle is None

    def show_box(self, first: Point, second: Point) -> None:
        """Draw a box between two corners."""
        self._box = QRectF(QPointF(*first[:2]), QPointF(*second[:2])).normalized()
        self._changed()

    def show_line(self, points: Sequence[Point], is_closed: bool = False) -> None:
        """Draw a line through points."""
        self._line = QPolygonF([QPointF(*point[:2]) for point in points])
        self._is_closed = is_closed
        self._changed()

    def show_circle(self, middle: Point, diameter: float) -> None:
        """Draw a circle; it stays until `hide_circle`."""
        self._circle = QPointF(*middle[:2]), diameter / 2
        self._changed()

    def hide_circle(self) -> None:
        """Remove the circle."""
        self._circle = None
        self._changed()

    def clear(self) -> None:
        """Remove the box and the line."""
        self._box, self._line = None, QPolygonF()
        self._changed()

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Keep the size of the canvas."""
        if event.type() == QEvent.Type.Resize:
            self.setGeometry(watched.rect())
        return False

    def paintEvent(self, event: Any) -> None:
        """Draw everything twice, dark and light, so that it is visible on any image."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for colour, width in ((DARK, 3.0), (LIGHT, 1.2)):
            painter.setPen(QPen(colour, width))
            if self._box is not None:
                painter.drawRect(self._box)
            if self._line.count() > 1:
                (painter.drawPolygon if self._is_closed else painter.drawPolyline)(self._line)
            if self._circle is not None:
                painter.drawEllipse(self._circle[0], self._circle[1], self._circle[1])
        painter.end()

    def _changed(self) -> None:
        self.setVisible(not self.is_empty)
        if not self.is_empty:
            self.raise_()
            self.update()
