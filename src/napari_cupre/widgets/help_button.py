"""The `?` button of a dock, which opens the page of that dock in the Help dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_cupre.widgets.arranging import in_row
from napari_cupre.widgets.docking import dock_of, docked
from napari_cupre.widgets.preferences import PLUGIN

if TYPE_CHECKING:
    from napari_cupre.widgets.controls import SessionWidget

WIDTH = 24


def help_button(owner: SessionWidget) -> QPushButton:
    """Make the small `?` button of a dock."""
    button = QPushButton("?")
    button.setObjectName("help")
    button.setFixedWidth(WIDTH)
    button.setToolTip(f"How to use {owner.title}; the page opens in this window")
    button.setAccessibleName(f"Help on {owner.title}")
    button.clicked.connect(lambda: owner.attempt(lambda: show_help(owner)))
    return button


def beside_help(owner: SessionWidget, widget: QWidget) -> QHBoxLayout:
    """Arrange the first row of a dock, with its `?` at the end."""
    return in_row(widget, help_button(owner), spacing=4, wide=widget)


def show_help(owner: SessionWidget) -> None:
    """Open the Help dock at the page of a dock, through napari's own plugin menu.

    Raises
    ------
    EnvironmentFault
        The pages are missing.
    """
    from napari_cupre.widgets.help_widget import HelpWidget

    session = owner.session
    widget = docked(session, HelpWidget)
    if widget is None:
        session.viewer.window.add_plugin_dock_widget(PLUGIN, HelpWidget.title, tabify=True)
        widget = docked(session, HelpWidget)
    if widget is None:
        return
    widget.show_dock_page(owner.title)
    dock = dock_of(widget)
    if dock is not None:
        dock.show()
        dock.raise_()
