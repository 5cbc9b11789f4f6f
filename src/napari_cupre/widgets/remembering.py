"""Remember the settings of a dock until napari ends, so that a reopened dock shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QAbstractButton, QComboBox, QDoubleSpinBox, QSpinBox

if TYPE_CHECKING:
    from napari_cupre.widgets.controls import SessionWidget

Control = QAbstractButton | QComboBox | QDoubleSpinBox | QSpinBox


def remember(dock: SessionWidget, **controls: Control) -> None:
    """Restore earlier choices in some controls of a dock, and keep track of new ones.

    Parameters
    ----------
    dock : SessionWidget
        The dock; its session keeps the choices.
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
