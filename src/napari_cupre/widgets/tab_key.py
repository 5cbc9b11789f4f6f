"""Tab on the canvas goes to the next guess: Qt would go to the next control, and never ask napari."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QMainWindow, QWidget

STEPS = {Qt.Key.Key_Tab: 1, Qt.Key.Key_Backtab: -1}


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
        return step is not None and keys == Qt.KeyboardModifier.NoModifier and self._step(step)
