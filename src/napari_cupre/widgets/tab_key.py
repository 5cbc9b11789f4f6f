"""Tab on the canvas goes to the next guess: Qt would go to the next control, and never ask napari."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_cupre.widgets.shortcuts import has_key

STEPS = {Qt.Key.Key_Tab: 1, Qt.Key.Key_Backtab: -1}
NAMES = {1: ("next_guess", "Tab"), -1: ("previous_guess", "Shift-Tab")}


class TabKey(QObject):
    """Watches the canvas of a window.

    Parameters
    ----------
    window : QMainWindow
        napari's.
    step : Callable[[int], bool]
        Goes forward (1) or back (-1), and says whether it did; if not, Tab does what it always does.
    """

    def __init__(self, window: QMainWindow, step: Callable[[int], bool]) -> None:
        super().__init__(window)
        self._step = step
        for canvas in window.findChildren(QWidget):
            if type(canvas).__name__.startswith("CanvasBackend"):
                canvas.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Take Tab and Shift-Tab."""
        if not isinstance(event, QKeyEvent) or event.type() != QEvent.Type.KeyPress:
            return False
        keys = event.modifiers() & ~Qt.KeyboardModifier.ShiftModifier
        step = STEPS.get(Qt.Key(event.key()))
        if step is None or keys != Qt.KeyboardModifier.NoModifier or not has_key(*NAMES[step]):
            return False
        return self._step(step)


def window_around(widget: QWidget) -> QMainWindow | None:
    """The main window that a widget is in; None as long as it is in none."""
    parent: QWidget | None = widget
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parentWidget()
    return parent
