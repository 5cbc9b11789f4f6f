"""What a person set in a dock, kept until napari ends: a dock that is closed and opened again shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QAbstractButton, QComboBox, QDoubleSpinBox, QSpinBox

if TYPE_CHECKING:
    from napari_cupre.widgets.controls import SessionWidget

Control = QAbstractButton | QComboBox | QDoubleSpinBox | QSpinBox


def remember(dock: SessionWidget, **controls: Control) -> None:
    """Show in some controls of a dock what was chosen in them before, and keep what is chosen from now on.

    Parameters
    ----------
    dock : SessionWidget
        Its session keeps the choices.
    **controls : QAbstractButton, QComboBox, QDoubleSpinBox or QSpinBox
        By name.
    """
    for name, control in controls.items():
        _remember(dock.session.choices, f"{dock.title} {name}", control)


def _remember(choices: dict[str, Any], key: str, control: Control) -> None:
    take: Any
    changed: Any
    if isinstance(control, QAbstractButton):
        take, changed = control.setChecked, control.toggled
    elif isinstance(control, QComboBox):
        take, changed = control.setCurrentText, control.currentTextChanged
    else:
        take, changed = control.setValue, control.valueChanged
    if key in choices:
        take(choices[key])
    changed.connect(lambda value: choices.update({key: value}))
