"""Remember the settings of a dock until napari ends, so that a reopened dock shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtGui import QAction
from qtpy.QtWidgets import QAbstractButton, QComboBox

from napari_cupre.widgets.model_list import ModelChooser

if TYPE_CHECKING:
    from napari_cupre.widgets.controls import SessionWidget


def remember(dock: SessionWidget, **controls: Any) -> None:
    """Restore earlier choices in some controls of a dock, and keep track of new ones.

    Parameters
    ----------
    dock : SessionWidget
        The dock; its session keeps the choices.
    **controls : QAbstractButton, QAction, QComboBox, QDoubleSpinBox, QSlider, QSpinBox or ModelChooser
        By name. A list keeps what its rows stand for, because their texts may change.
    """
    for name, control in controls.items():
        _remember(dock.session.choices, f"{dock.title} {name}", control)


def _remember(choices: dict[str, Any], key: str, control: Any) -> None:
    take: Any
    changed: Any
    if isinstance(control, (QAbstractButton, QAction)):
        take, changed = control.setChecked, control.toggled
    elif isinstance(control, QComboBox):
        _remember_row(choices, key, control)
        return
    elif isinstance(control, ModelChooser):
        take, changed = control.choose, control.changed
    else:
        take, changed = control.setValue, control.valueChanged
    if key in choices:
        take(choices[key])
    changed.connect(lambda value: choices.update({key: value}))


def _remember_row(choices: dict[str, Any], key: str, control: QComboBox) -> None:
    def chosen(row: int) -> None:
        if row >= 0:
            choices[key] = _meaning(control, row)

    rows = [row for row in range(control.count()) if _meaning(control, row) == choices.get(key)]
    if rows:
        control.setCurrentIndex(rows[0])
    control.currentIndexChanged.connect(chosen)


def _meaning(control: QComboBox, row: int) -> Any:
    """Return the value of a row, or its text if it has none."""
    value = control.itemData(row)
    return control.itemText(row) if value is None else value
