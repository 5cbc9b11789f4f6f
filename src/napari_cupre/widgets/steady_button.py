"""A button for people who double-click, and for those who use the keyboard."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QElapsedTimer
from qtpy.QtWidgets import QApplication, QPushButton, QWidget


class SteadyButton(QPushButton):
    """A button that takes clicks in a row as one press and keeps the focus while disabled.

    Parameters
    ----------
    text : str
        Text on the button.
    clicks : QElapsedTimer or None, optional
        Shared by buttons that replace each other, so that the second click of a double click does not press
        the new button.
    """

    def __init__(self, text: str, clicks: QElapsedTimer | None = None) -> None:
        super().__init__(text)
        self._clicks = QElapsedTimer() if clicks is None else clicks
        self._heir: QWidget | None = None

    def setEnabled(self, is_enabled: bool) -> None:
        """Enable or disable the button; take back the focus that Qt moves while it is disabled."""
        window = self.window()
        had_keyboard = window is not None and window.focusWidget() is self
        super().setEnabled(is_enabled)
        if window is None:
            return
        if had_keyboard and not is_enabled:
            self._heir = window.focusWidget()
        elif is_enabled and self._heir is not None:
            if window.focusWidget() is self._heir:
                self.setFocus()
            self._heir = None

    def mousePressEvent(self, event: Any) -> None:
        """Ignore the second press of a double click, and a third that follows as fast."""
        if self._clicks.isValid() and self._clicks.elapsed() < QApplication.doubleClickInterval():
            self._clicks.start()
            event.accept()
            return
        super().mousePressEvent(event)

    def mouseReleaseEvent(self, event: Any) -> None:
        """Note the time of the click."""
        if self.isDown():
            self._clicks.start()
        super().mouseReleaseEvent(event)

    def mouseDoubleClickEvent(self, event: Any) -> None:
        """Ignore double clicks: the first click counted."""
        self._clicks.start()
        event.accept()
