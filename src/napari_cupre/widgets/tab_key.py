"""Make Tab on the canvas go to the next guess; Qt would move to the next control without asking napari."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_cupre.widgets.shortcuts import has_key

STEPS = {Qt.Key.Key_Tab: 1, Qt.Key.Key_Backtab: -1}
NAMES = {1: ("next_guess", "Tab"), -1: ("previous_guess", "Shift-Tab")}


class TabKey(QObject):
    """Watches the canvas of a window for Tab.

    Parameters
    ----------
    window : QMainWindow
        napari's.
    step : Callable[[int], bool]
        Goes forward (1) or back (-1) and returns whether it did; if not, Tab works as usual.
    """

    def __init__(self, window: QMainWindow, step: Callable[[int], bool]) -> None:
        super().__init__(window)
        self._step = step
        middle = window.centralWidget()
        for canvas in [] if middle is None else middle.findChildren(QOpenGLWidget):
            canvas.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Handle Tab and Shift-Tab."""
        if not isinstance(event, QKeyEvent) or event.type() != QEvent.Type.KeyPress:
            return False
        keys = event.modifiers() & ~Qt.KeyboardModifier.ShiftModifier
        step = STEPS.get(Qt.Key(event.key()))
        if step is None or keys != Qt.KeyboardModifier.NoModifier or not has_key(*NAMES[step]):
            return False
        return self._step(step)


def window_around(widget: QWidget) -> QMainWindow | None:
    """Return the main window that contains a widget; None if there is none yet."""
    parent: QWidget | None = widget
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parentWidget()
    return parent
