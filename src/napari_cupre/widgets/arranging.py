"""Rows and columns of controls."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QLayout, QVBoxLayout, QWidget


def in_row(
    *parts: QWidget, within: QWidget | None = None, spacing: int = -1, wide: QWidget | None = None
) -> QHBoxLayout:
    """Arrange widgets in a row without margins.

    Parameters
    ----------
    parts : QWidget
        The widgets from left to right.
    within : QWidget or None, optional
        The widget that the row fills; None for a row inside another layout.
    spacing : int, optional
        Gap between the parts in px; -1 for the default of the style.
    wide : QWidget or None, optional
        The part that takes the remaining space.
    """
    row = QHBoxLayout(within) if within is not None else QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(spacing)
    for part in parts:
        row.addWidget(part, int(part is wide))
    return row


def in_column(*parts: QWidget | QLayout, within: QWidget, spacing: int = -1) -> QVBoxLayout:
    """Arrange widgets in a column without margins that fills a widget; see `in_row`."""
    column = QVBoxLayout(within)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(spacing)
    for part in parts:
        if isinstance(part, QWidget):
            column.addWidget(part)
        else:
            column.addLayout(part)
    return column
