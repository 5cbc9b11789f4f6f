"""A mouse press in a dock leaves the keyboard focus on the canvas, where the keys of gestures work."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QListWidget, QPushButton, QSlider, QWidget

from napari_cupre.widgets.controls import SessionWidget
from napari_cupre.widgets.rubber import canvas_of


def leave_keys_to_canvas(dock: SessionWidget) -> None:
    """Keep Tab and letter keys working as the dock says after the mouse has pressed one of its controls.

    Tab reaches the controls as before, and who uses one by the keyboard keeps it there. What is typed into
    keeps the keyboard, and so does a button with a menu while that is open.

    Parameters
    ----------
    dock : SessionWidget
        With all its controls.
    """
    for control in dock.findChildren(QWidget):
        signal = _pressed(control)
        if signal is not None:
            control.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            signal.connect(lambda *_, control=control: _hand_on(dock, control))


def _pressed(control: QWidget) -> Any:
    """The signal that says that a control was used; None for those that keep the keyboard."""
    if isinstance(control, QListWidget):
        return control.itemClicked
    if isinstance(control, QSlider):
        return control.sliderReleased
    has_menu = isinstance(control, QPushButton) and control.menu() is not None
    return control.clicked if isinstance(control, QPushButton | QCheckBox) and not has_menu else None


def _hand_on(dock: SessionWidget, control: QWidget) -> None:
    window, canvas = dock.window(), canvas_of(dock.session.viewer)
    if window is not None and canvas is not None and window.focusWidget() is not control:
        canvas.setFocus()
