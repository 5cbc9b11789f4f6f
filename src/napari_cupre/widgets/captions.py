"""Labels of several lines."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel

from napari_cupre.widgets.theme import set_role


def caption(text: str = "", role: str = "") -> QLabel:
    """A label that breaks its lines where the dock is narrow.

    Parameters
    ----------
    text : str, optional
        What it says.
    role : str, optional
        Its colour, as for `set_role`; "" for that of the window.
    """
    label = QLabel(text)
    label.setWordWrap(True)
    if role:
        set_role(label, role)
    return label
