"""The workbench: one entry that opens the three docks and leads from one to the next."""

from __future__ import annotations

import weakref
from typing import Any

from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QMenu, QPushButton

from napari_cupre.widgets.annotate_widget import AnnotateWidget
from napari_cupre.widgets.arranging import in_row
from napari_cupre.widgets.compare_widget import CompareWidget
from napari_cupre.widgets.controls import SessionWidget
from napari_cupre.widgets.docking import dock_of, docked, make_tab, narrow_tabs
from napari_cupre.widgets.help_widget import HelpWidget
from napari_cupre.widgets.models_widget import ModelsWidget
from napari_cupre.widgets.predict_widget import PredictWidget
from napari_cupre.widgets.preferences import PLUGIN
from napari_cupre.widgets.results_widget import ResultsWidget
from napari_cupre.widgets.train_widget import TrainWidget

STEPS: tuple[tuple[type[SessionWidget], str], ...] = (
    (AnnotateWidget, "Annotate a few cells of your image"),
    (TrainWidget, "Train a model on the annotated cells"),
    (PredictWidget, "Find the cells of one image or many"),
)

MORE: tuple[tuple[type[SessionWidget], str], ...] = (
    (ResultsWidget, "Table and plot of the cells of all images"),
    (CompareWidget, "Compare two models, or judge one by your cells"),
    (ModelsWidget, "Models on this computer: rename, delete, import, export"),
    (HelpWidget, "How to use each dock"),
)
"""Secondary docks, opened only on request."""


class WorkbenchWidget(SessionWidget):
    """The strip that opens Annotate, Train and Predict as tabs and shows a button for each.

    napari opens it if only the plugin's name is given, because it is the first in `napari.yaml`.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer, or napari's proxy of it. napari passes it by this name.
    """

    title = "Workbench"
    is_tab = False

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self._followed: weakref.WeakSet[QDockWidget] = weakref.WeakSet()
        self.buttons = {kind: self._button(kind, tooltip) for kind, tooltip in STEPS}
        self.more = QPushButton("More")
        self.more.setToolTip("Results of all images, comparison of models, list of models, help")
        self.more.setMenu(self._menu())
        self.column.setContentsMargins(8, 4, 8, 4)
        self.column.addLayout(in_row(*self.buttons.values(), self.more, spacing=4))
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        for kind in self.buttons:
            self._open(kind)

    def show_dock(self, kind: type[SessionWidget]) -> None:
        """Bring a dock to the front, and open it again if it was closed."""
        dock = self._open(kind)
        if dock is not None:
            dock.show()
            dock.raise_()
        self._show_front()

    def settle(self) -> None:
        """Put this strip on top and the docks below it as tabs; later only reopen closed docks."""
        was_settled = self.is_settled
        super().settle()
        strip = dock_of(self)
        window = None if strip is None else strip.parentWidget()
        docks = [dock for dock in (self._open(kind) for kind in self.buttons) if dock is not None]
        if strip is None or not isinstance(window, QMainWindow) or not docks:
            return
        self.setFixedHeight(self.column.sizeHint().height())  # known only after the style has been applied
        first, *others = docks
        if not was_settled and not first.isFloating():
            window.addDockWidget(window.dockWidgetArea(first), strip)
            window.splitDockWidget(strip, first, Qt.Orientation.Vertical)
            for dock in others:
                make_tab(window, first, dock)
        for dock in docks:
            dock.show()
        first.raise_()
        narrow_tabs(window)
        self._show_front()

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for kind, tooltip in MORE:
            action = menu.addAction(kind.title)
            if action is not None:
                action.setToolTip(tooltip)
                action.triggered.connect(lambda _=False, kind=kind: self.show_dock(kind))
        return menu

    def _button(self, kind: type[SessionWidget], tooltip: str) -> QPushButton:
        button = QPushButton(kind.title)
        button.setToolTip(tooltip)
        button.setCheckable(True)
        button.clicked.connect(lambda: self.show_dock(kind))
        return button

    def _open(self, kind: type[SessionWidget]) -> QDockWidget | None:
        """Return the dock of a kind of widget; let napari open it if necessary."""
        widget = docked(self.session, kind)
        if widget is None:
            self.session.viewer.window.add_plugin_dock_widget(PLUGIN, kind.title, tabify=True)
            widget = docked(self.session, kind)
        dock = None if widget is None else dock_of(widget)
        if widget is None or dock is None:
            return None
        if self.is_settled and not widget.is_settled:
            self._put_behind(dock)
        widget.is_settled = True
        dock.setWindowTitle(kind.title)
        if dock not in self._followed:
            self._followed.add(dock)
            dock.visibilityChanged.connect(self._show_front)
        return dock

    def _put_behind(self, dock: QDockWidget) -> None:
        """Make a reopened dock a tab of the other docks; napari would make it a tab of this strip."""
        window = dock.parentWidget()
        for kind in self.buttons:
            widget = docked(self.session, kind)
            other = None if widget is None else dock_of(widget)
            if other not in (None, dock) and not other.isFloating() and isinstance(window, QMainWindow):
                make_tab(window, other, dock)
                return

    def _show_front(self, event: Any = None) -> None:
        """Mark the buttons of the visible docks."""
        for kind, button in self.buttons.items():
            widget = docked(self.session, kind)
            button.setChecked(widget is not None and not widget.visibleRegion().isEmpty())
