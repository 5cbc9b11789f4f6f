"""Return the keyboard to the canvas after a mouse press in a dock, so that the gesture keys work."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QListWidget, QPushButton, QSlider, QWidget

from napari_cupre.widgets.controls import SessionWidget
from napari_cupre.widgets.rubber import canvas_of


def leave_keys_to_canvas(dock: SessionWidget) -> None:
    """Keep Tab and the letter keys working on the canvas after a control of the dock was clicked.

    Tab still reaches the controls, and a control used by keyboard keeps the focus. Text fields keep the
    focus too, and so does a button while its menu is open.

    Parameters
    ----------
    dock : SessionWidget
        The dock, with all its controls.
    """
    for control in dock.content.findChildren(QWidget):
        signal = _pressed(control)
        if signal is not None:
            control.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            signal.connect(lambda *_, control=control: _hand_on(dock, control))


def _pressed(control: QWidget) -> Any:
    """Return the signal that a control emits when used; None for controls that keep the keyboard."""
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
