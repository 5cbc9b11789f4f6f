"""What every widget here is made of: its link to the session, the line of messages, the choice of image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import ComboBox
from napari.layers import Image
from napari.viewer import Viewer
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QDockWidget,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMainWindow,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_cupre.errors import CupreError
from napari_cupre.widgets.session import Session

DOCK_WIDTH = 310
COLORS = {"error": "#ff7b72", "notice": "#e3b341", "good": "#56d364", "plain": "#9aa4b2"}


class SessionWidget(QScrollArea):
    """Base of the dock widgets. Scrolls when the dock is low; `column` takes the content.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer, or napari's proxy of it. napari passes it by this name: it reads no string annotations.

    Attributes
    ----------
    needs_engine : whether the engine's process is to be started when the widget is shown.
    """

    needs_engine = False

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.session = Session.of(napari_viewer)
        body = QWidget()
        self.column = QVBoxLayout(body)
        self.column.setContentsMargins(8, 8, 8, 8)
        self.column.setSpacing(8)
        self.setWidget(body)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(DOCK_WIDTH - 20)
        self.message = MessageLine()
        self.is_placed = False
        self._links: list[tuple[Any, Callable[..., Any]]] = []
        # a closure over the list and not a method: at that time nothing of this widget may be touched
        links = self._links
        self.destroyed.connect(lambda: _disconnect(links))

    def listen(self, signal: Any, callback: Callable[..., Any]) -> None:
        """Connect to a signal of napari or psygnal for as long as this widget lives."""
        signal.connect(callback)
        self._links.append((signal, callback))

    def attempt(self, action: Callable[[], Any]) -> Any:
        """Run what a button does; an error of the user's becomes a sentence on the widget."""
        self.message.clear()
        try:
            return action()
        except CupreError as err:
            self.message.show_error(str(err))
        return None

    def sizeHint(self) -> QSize:
        """As the content wants it: a scroll area by itself would ask for very little."""
        body = self.column.sizeHint()
        return QSize(DOCK_WIDTH, min(body.height(), 800))

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        self.session.watch_window(self)
        if self.needs_engine:
            self.session.warm_up()
        if not self.is_placed:
            # the dock is still on its way into the window
            QTimer.singleShot(0, lambda: _join_tabs(self))


def _join_tabs(widget: SessionWidget) -> None:
    """Put a new widget's dock behind the tab of one of ours, since three in a column are all too low.

    Done once; where the user puts it later, it stays.
    """
    widget.is_placed = True
    mine = _dock_of(widget)
    window = None if mine is None else mine.parentWidget()
    if mine is None or not isinstance(window, QMainWindow):
        return
    for other in window.findChildren(SessionWidget):
        dock = _dock_of(other)
        if other is not widget and other.is_placed and dock is not None and not dock.isFloating():
            window.tabifyDockWidget(dock, mine)
            mine.raise_()
            return


def _dock_of(widget: QWidget) -> QDockWidget | None:
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def _disconnect(links: list[tuple[Any, Callable[..., Any]]]) -> None:
    for signal, callback in links:
        try:
            signal.disconnect(callback)
        except (ValueError, RuntimeError):  # its owner went first
            continue
    links.clear()


class MessageLine(QWidget):
    """One sentence in the colour of its kind, with details on request; takes no room when empty."""

    def __init__(self) -> None:
        super().__init__()
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.label.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.LinksAccessibleByMouse
        )
        self.label.linkActivated.connect(self._toggle_details)
        self.details = QPlainTextEdit()
        self.details.setReadOnly(True)
        self.details.setMinimumHeight(140)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.label)
        column.addWidget(self.details)
        self.clear()

    @property
    def text(self) -> str:
        return self._text

    def clear(self) -> None:
        self._show("", "plain", "")

    def show_error(self, sentence: str, details: str = "") -> None:
        self._show(sentence, "error", details)

    def show_notice(self, sentence: str) -> None:
        self._show(sentence, "notice", "")

    def show_good(self, sentence: str) -> None:
        self._show(sentence, "good", "")

    def _show(self, sentence: str, kind: str, details: str) -> None:
        self._text = sentence
        escaped = sentence.replace("&", "&amp;").replace("<", "&lt;")
        link = f' <a href="details" style="color:{COLORS["plain"]}">Details</a>' if details else ""
        self.label.setText(f'<span style="color:{COLORS[kind]}">{escaped}</span>{link}')
        self.details.setPlainText(details)
        self.details.hide()
        self.setVisible(bool(sentence))

    def _toggle_details(self) -> None:
        self.details.setVisible(self.details.isHidden())


def layer_combo(session: Session, kind: type, tooltip: str, nullable: bool = False) -> ComboBox:
    """A choice among the viewer's layers of one kind; `reset_choices` reads them anew."""
    combo = ComboBox(
        choices=lambda _: [layer for layer in session.viewer.layers if isinstance(layer, kind)],
        nullable=nullable,
        tooltip=tooltip,
    )
    # a layer with a long name must not push the dock wider than the window
    combo.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.native.setMinimumContentsLength(8)
    return combo


def follow_layers(widget: SessionWidget, refresh: Callable[[], None]) -> None:
    """Call `refresh` whenever layers come, go, move or get another name."""
    events = widget.session.viewer.layers.events
    for signal in (events.inserted, events.removed, events.reordered, events.renamed):
        widget.listen(signal, lambda event=None: refresh())


class ImageChooser(QWidget):
    """The session's image, and how its axes are read where that is not plain."""

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__()
        self._owner, self._session = owner, owner.session
        self.combo = layer_combo(self._session, Image, "The image to work on; open one by drag and drop")
        self.axes = QLineEdit()
        self.axes.setMaximumWidth(70)
        self.axes.setToolTip(
            "One letter per dimension: T time, Z depth, C channel, Y row, X column, S colours"
        )
        self.reading = QLabel()
        self.reading.setWordWrap(True)
        self._axes_row = QWidget()
        row = QHBoxLayout(self._axes_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("Axes"))
        row.addWidget(self.axes)
        row.addWidget(self.reading, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(labelled("Image", self.combo.native))
        column.addWidget(self._axes_row)
        self.combo.changed.connect(self._chosen)
        self.axes.editingFinished.connect(self._axes_edited)
        follow_layers(owner, self.refresh)
        owner.listen(self._session.image_changed, self._show_image)
        self.refresh()

    def refresh(self) -> None:
        """Read the viewer's images anew, keeping the choice."""
        with self.combo.changed.blocked():
            self.combo.reset_choices()
        self._show_image(self._session.image)

    def _chosen(self, layer: Image | None) -> None:
        if layer is not None:
            self._session.image = layer

    def _show_image(self, layer: Image | None) -> None:
        if layer is not None and layer in self.combo.choices and self.combo.value is not layer:
            with self.combo.changed.blocked():
                self.combo.value = layer
        self._axes_row.setVisible(layer is not None and layer.ndim > 2)
        if layer is None or layer.ndim <= 2:
            return
        try:
            image = self._session.cell_image(layer)
        except CupreError as err:
            self.reading.setText(str(err))
            return
        self.axes.setText(image.axes)
        planes = sum(1 for _ in image.plane_indices())
        height, width = image.plane_shape
        channels = f", {image.channel_count} channels" if image.channel_count > 1 else ""
        self.reading.setText(
            f"{planes} {'plane' if planes == 1 else 'planes'}, {height} × {width} px{channels}"
        )

    def _axes_edited(self) -> None:
        layer = self._session.image
        if layer is not None and self.axes.text().upper() != self._session.cell_image(layer).axes:
            self._owner.attempt(lambda: self._session.set_axes(layer, self.axes.text()))
            self._show_image(layer)


def labelled(text: str, widget: QWidget) -> QHBoxLayout:
    """A label and what it names in one row; labels of one width, so that rows align."""
    label = QLabel(text)
    label.setFixedWidth(LABEL_WIDTH)
    label.setBuddy(widget)
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(label)
    row.addWidget(widget, 1)
    return row


LABEL_WIDTH = 72


def primary_button(text: str, tooltip: str) -> QPushButton:
    """The button that the user looks for next."""
    button = QPushButton(text)
    button.setToolTip(tooltip)
    button.setMinimumHeight(32)
    button.setStyleSheet(
        "QPushButton { background-color: #2f6feb; color: white; font-weight: bold; border-radius: 4px; }"
        "QPushButton:hover { background-color: #4a84f5; }"
        "QPushButton:disabled { background-color: #3a4150; color: #8b949e; }"
    )
    return button


def heading(text: str) -> QLabel:
    """A small title above a group of controls."""
    label = QLabel(text.upper())
    label.setStyleSheet(f"color: {COLORS['plain']}; font-size: 10px; letter-spacing: 1px; margin-top: 4px;")
    return label
