"""The place of our docks in napari's window: as tabs of each other, and each only once."""

from __future__ import annotations

import time
from typing import Any, TypeVar

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QDockWidget, QMainWindow, QScrollArea, QTabBar, QWidget

from napari_cupre.widgets.model_list import ModelChooser
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.timers import single_timer

FRAMED_MS = 300
"""By then the system has drawn the frame of a new window, so its size is known."""

DIRECT = Qt.FindChildOption.FindDirectChildrenOnly
"""A window has a thousand widgets, but its docks and their tabs are its direct children."""

AnyDocked = TypeVar("AnyDocked", bound="DockedWidget")


class DockedWidget(QScrollArea):
    """A widget that takes its place in napari's window when it is first shown.

    Parameters
    ----------
    session : Session
        The state that the widgets of one viewer share.

    Attributes
    ----------
    title : str
        Its name in `napari.yaml`, and on its tab.
    is_tab : bool
        Whether it becomes a tab of the others.
    is_settled : bool
        Whether it has its place; if the user moves it later, it stays there.
    """

    title = ""
    is_tab = True

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.is_settled = False
        self.opened = time.monotonic()
        # a child dies with the widget; otherwise PySide6 would call a deleted widget
        self._settling = single_timer(self.settle, parent=self)
        self._fitting = single_timer(self._fit, parent=self)

    def showEvent(self, event: Any) -> None:
        """Settle once the dock is in the window."""
        super().showEvent(event)
        # the dock is not in the window yet
        self._settling.start(0)

    def settle(self) -> None:
        """Take the place of an older widget of this kind, or become a tab behind another dock of ours.

        An older one exists if the dock was first opened in another way: napari's menus and scripts give docks
        different names and would show the same dock twice. Three docks in a column would be too low.
        """
        mine = dock_of(self)
        window = None if mine is None else mine.parentWidget()
        if mine is None or not isinstance(window, QMainWindow):
            return
        mine.setWindowTitle(self.title)
        others = [other for other in docks_in(window) if other is not self]
        for older in [x for x in others if type(x) is type(self) and x.opened < self.opened]:
            _replace(older, self, window)
            others.remove(older)
        docks = [dock_of(other) for other in others if other.is_tab and other.is_settled]
        in_window = [dock for dock in docks if dock is not None and not dock.isFloating()]
        if self.is_tab and not self.is_settled and in_window:
            make_tab(window, in_window[0], mine)
            mine.raise_()
        if not self.is_settled:
            self._fitting.start(FRAMED_MS)
        self.is_settled = True
        narrow_tabs(window)

    def _fit(self) -> None:
        mine = dock_of(self)
        window = None if mine is None or mine.isFloating() else mine.parentWidget()
        if isinstance(window, QMainWindow):
            keep_on_screen(window)


def keep_on_screen(window: QMainWindow) -> None:
    """Shrink a window that is larger than the screen.

    At first napari's canvas asks for 800 px, and the docks ask for their width beside it.
    """
    screen, frame = window.screen(), window.frameGeometry()
    if screen is None or window.isMaximized() or window.isFullScreen():
        return
    room = screen.availableGeometry()
    size = frame.size().boundedTo(room.size())
    if size == frame.size() or screen.availableVirtualGeometry().contains(frame):
        return
    window.resize(window.size() - (frame.size() - size))
    window.move(
        max(room.left(), min(frame.left(), room.left() + room.width() - size.width())),
        max(room.top(), min(frame.top(), room.top() + room.height() - size.height())),
    )


def docks_in(window: QMainWindow) -> list[DockedWidget]:
    """Return our widgets that are docked in a window."""
    docks = window.findChildren(QDockWidget, options=DIRECT)
    return [widget for dock in docks if isinstance(widget := dock.widget(), DockedWidget)]


def to_front(widget: QWidget) -> None:
    """Bring the dock that contains a widget to the front."""
    dock = dock_of(widget)
    if dock is not None:
        dock.show()
        dock.raise_()


def dock_of(widget: QWidget) -> QDockWidget | None:
    """Return the dock that contains a widget."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def make_tab(window: QMainWindow, first: QDockWidget, dock: QDockWidget) -> None:
    """Make a dock a tab of another, wherever it is.

    Qt 6.12 does nothing if the dock is already a tab of a third one, so it has to leave that one first.
    """
    window.addDockWidget(window.dockWidgetArea(first), dock)
    window.tabifyDockWidget(first, dock)


def narrow_tabs(window: QMainWindow) -> None:
    """Make the tabs of our docks narrow enough to read all names side by side."""
    titles = {widget.title for widget in docks_in(window)}
    for bar in window.findChildren(QTabBar, options=DIRECT):
        if titles & {bar.tabText(place) for place in range(bar.count())}:
            bar.setStyleSheet("QTabBar::tab { padding: 3px 2px; }")


def docked(session: Session, kind: type[AnyDocked]) -> AnyDocked | None:
    """Return the widget of a kind docked in a session's window, the newest if there are two."""
    found = [
        widget
        for widget in QApplication.allWidgets()
        if isinstance(widget, kind) and widget.session is session and dock_of(widget) is not None
    ]
    return max(found, key=lambda widget: widget.opened, default=None)


def _replace(older: DockedWidget, newer: DockedWidget, window: QMainWindow) -> None:
    """Put a widget in the place of an older one of its kind, with the same choices."""
    _carry_over(older, newer)
    old, new = dock_of(older), dock_of(newer)
    if old is not None and new is not None:
        if old.isVisible() and not old.isFloating():
            make_tab(window, old, new)
            new.raise_()
            newer.is_settled = True
        newer.session.viewer.window.remove_dock_widget(old)
    older.deleteLater()


def _carry_over(older: DockedWidget, newer: DockedWidget) -> None:
    """Copy the settings of the controls from an older widget of the same kind."""
    for name, control in vars(older).items():
        if isinstance(control, ModelChooser):
            getattr(newer, name).value = control.value
        elif isinstance(control, QWidget):
            about = control.metaObject()
            if about is None:
                continue
            value = about.userProperty()  # the property that Qt itself treats as the value of a control
            if value.isValid() and value.isWritable():
                getattr(newer, name).setProperty(value.name(), control.property(value.name()))
