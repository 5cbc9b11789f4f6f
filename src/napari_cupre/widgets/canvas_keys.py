"""A press of the mouse in a dock leaves the keyboard to the canvas, where the keys of gestures are meant."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from napari_cupre.widgets.controls import SessionWidget
from napari_cupre.widgets.rubber import canvas_of


def leave_keys_to_canvas(dock: SessionWidget) -> None:
    """Have Tab and the letters do what the dock says once the mouse has pressed one of its buttons.

    Tab reaches the buttons as before, and who presses one by the keyboard keeps it there.

    Parameters
    ----------
    dock : SessionWidget
        With all its buttons.
    """
    for button in dock.findChildren(QPushButton):
        if button.menu() is None:  # a menu takes the keys while it is open
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.clicked.connect(partial(_hand_on, dock, button))


def _hand_on(dock: SessionWidget, button: QPushButton, is_on: bool = False) -> None:
    window, canvas = dock.window(), canvas_of(dock.session.viewer)
    if window is not None and canvas is not None and window.focusWidget() is not button:
        canvas.setFocus()
