"""Parts that all docks share: the link to the session, the message line, the choice of image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Image
from napari.viewer import Viewer
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from napari_cupre.errors import CupreError
from napari_cupre.events import RunState
from napari_cupre.widgets.arranging import in_column, in_row
from napari_cupre.widgets.background import STOPPING, Job, RunStatus
from napari_cupre.widgets.captions import caption
from napari_cupre.widgets.docking import DockedWidget
from napari_cupre.widgets.errands import Errands
from napari_cupre.widgets.layer_choice import LayerChoice
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.steady_button import SteadyButton
from napari_cupre.widgets.theme import palette_of, set_role, style_sheet
from napari_cupre.widgets.timers import single_timer
from napari_cupre.words import counted

DOCK_WIDTH, NARROWEST, LOWEST = 326, 290, 80
"""Preferred and minimum width of a dock, px.

The preferred width is what *Annotate* needs in napari's font: a dock that grows after it is shown makes
napari draw its canvas twice.
"""

DRAWN_MS = 300
"""After this time a dock that opened has been drawn, and work that could wait can start."""


class SessionWidget(DockedWidget):
    """Base of the dock widgets. Scrolls when the dock is low; `column` takes the content.

    The content enters the dock when that is first shown: Qt would style it anew at each step of the dock
    into the window, five times in all.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer, or napari's proxy of it. napari passes it by this name, because it does not read
        string annotations.

    Attributes
    ----------
    needs_engine : bool
        Whether to start the engine's process when the widget is shown.
    content : QWidget
        All controls.
    """

    needs_engine = False

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(Session.of(napari_viewer))
        self.content = QWidget()
        self.column = QVBoxLayout(self.content)
        self.column.setContentsMargins(8, 8, 8, 8)
        self.column.setSpacing(8)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the controls have the keyboard, and show it
        self.message = MessageLine()
        self._warming = single_timer(self.session.warm_up, DRAWN_MS, self)
        self._links: list[tuple[Any, Callable[..., Any]]] = []
        # a closure over the list, not a method: when it runs, this widget must not be touched
        links, self._errands = self._links, Errands()
        self.destroyed.connect(lambda: _disconnect(links))
        self.destroyed.connect(self._errands.close)
        self.destroyed.connect(self.content.deleteLater)  # it is nobody's child if the dock was never shown
        self.wear_theme()
        self.listen(self.session.viewer.events.theme, self.wear_theme)

    def listen(self, signal: Any, callback: Callable[..., Any]) -> None:
        """Connect to a signal of napari or psygnal for the lifetime of this widget."""
        signal.connect(callback)
        self._links.append((signal, callback))

    def attempt(self, action: Callable[[], Any]) -> Any:
        """Run the action of a button; show a user's error as a sentence on the widget."""
        self.message.clear()
        try:
            return action()
        except CupreError as err:
            self.message.show_error(str(err))
        return None

    def start_or_stop(self, job: Job, start: Callable[[], Any]) -> Any:
        """Start the job of a button, or stop it if it is running."""
        return self.attempt(job.stop if job.status.is_active else start)

    def wear_theme(self, event: Any = None) -> None:
        """Apply the colours of napari's theme."""
        self.setStyleSheet(style_sheet(palette_of(self.session.viewer.theme)))

    def sizeHint(self) -> QSize:
        """Return the size that the content wants; a scroll area by itself would ask for very little."""
        return QSize(max(DOCK_WIDTH, self._narrowest()), min(self.column.sizeHint().height(), 800))

    def minimumSizeHint(self) -> QSize:
        """Return a width that cuts nothing off, even in a large font; the height scrolls."""
        return QSize(self._narrowest(), min(self.column.sizeHint().height(), LOWEST))

    def _narrowest(self) -> int:
        bar = self.verticalScrollBar()
        reserved = 0 if bar is None else bar.sizeHint().width()  # the scroll bar would cover the controls
        return max(NARROWEST, self.column.minimumSize().width() + reserved)

    def showEvent(self, event: Any) -> None:
        """Show the content, and watch the window that contains the dock."""
        if self.widget() is None:
            self.setWidget(self.content)
        super().showEvent(event)
        self.session.watch_window(self)
        self.updateGeometry()  # widths that depend on the text are known only now
        if self.needs_engine:
            self._warming.start()


def _disconnect(links: list[tuple[Any, Callable[..., Any]]]) -> None:
    for signal, callback in links:
        try:
            signal.disconnect(callback)
        except (ValueError, RuntimeError):  # its owner was deleted first
            continue
    links.clear()


class JobBar(QProgressBar):
    """A progress bar that shows how far a job is and what it is doing."""

    STEPS = 1000

    def __init__(self) -> None:
        super().__init__()
        self.setRange(0, self.STEPS)
        self.setTextVisible(True)

    def follow(self, status: RunStatus, text: str, is_shown: bool) -> None:
        """Show the progress of a job; without a text, in per cent."""
        self.setVisible(is_shown)
        self.setValue(int(status.fraction * self.STEPS))
        self.setFormat(text or "%p %")


def job_words(status: RunStatus, start: str, stop: str = "Cancel") -> str:
    """Return the text of a job's button.

    Parameters
    ----------
    status : RunStatus
        Of the job.
    start, stop : str
        Text while the job is idle, and while it runs.
    """
    if status.state is RunState.STOPPING:
        return STOPPING if status.is_asked_to_stop else "Finishing …"
    return stop if status.is_active else start


class DockPart(QWidget):
    """A part of a dock; its errors appear on the dock's message line.

    Parameters
    ----------
    owner : SessionWidget
        The dock.
    """

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__(owner.content)  # without a parent, it would be a window as soon as it is visible
        self._owner, self._session = owner, owner.session


class MessageLine(QWidget):
    """One sentence in the colour of its kind, with details on request; takes no space when empty."""

    def __init__(self) -> None:
        super().__init__()
        self._text = ""
        self.label = caption()
        self.label.setTextFormat(Qt.TextFormat.PlainText)
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.details: Details | None = None
        """Made when there are some for the first time."""
        self._column = in_column(self.label, within=self)
        self.clear()

    @property
    def text(self) -> str:
        """Return the sentence shown."""
        return self._text

    def clear(self) -> None:
        """Show nothing."""
        self._show("", "plain", "")

    def show_error(self, sentence: str, details: str = "") -> None:
        """Show what went wrong."""
        self._show(sentence, "error", details)

    def show_notice(self, sentence: str) -> None:
        """Show something worth knowing."""
        self._show(sentence, "notice", "")

    def show_plain(self, sentence: str) -> None:
        """Show something that is neither good nor bad."""
        self._show(sentence, "plain", "")

    def show_good(self, sentence: str) -> None:
        """Show a success."""
        self._show(sentence, "good", "")

    def _show(self, sentence: str, kind: str, details: str) -> None:
        self._text = sentence
        self.label.setText(sentence)
        set_role(self.label, kind)
        if details and self.details is None:
            self.details = Details()
            self._column.addWidget(self.details)
        if self.details is not None:
            self.details.show_text(details)
        self.setVisible(bool(sentence))


class Details(QWidget):
    """Technical details of a message, folded until a person asks for them."""

    def __init__(self) -> None:
        super().__init__()
        self.more = QPushButton("Details")
        self.more.setToolTip("Show the technical details")
        self.more.setCheckable(True)
        self.more.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keyboard with the canvas
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setMinimumHeight(140)
        self.text.setAccessibleName("Details of the message")
        self.text.setToolTip("Technical details; copy them into a bug report")
        self.more.toggled.connect(self.text.setVisible)
        column = in_column(self.more, self.text, within=self)
        column.setAlignment(self.more, Qt.AlignmentFlag.AlignLeft)

    def show_text(self, text: str) -> None:
        """Offer a text, folded; offer nothing if it is empty."""
        self.text.setPlainText(text)
        self.text.hide()
        self.more.setChecked(False)
        self.setVisible(bool(text))


def follow_layers(widget: SessionWidget, refresh: Callable[[], None]) -> None:
    """Call `refresh` whenever layers are added, removed, moved or renamed."""
    events = widget.session.viewer.layers.events
    for signal in (events.inserted, events.removed, events.reordered, events.renamed):
        widget.listen(signal, lambda event=None: refresh())


class ImageChooser(DockPart):
    """The choice of the session's image, and of its axes where these are unclear."""

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__(owner)
        self.combo = LayerChoice(
            self._session, Image, "Image to work on; drag a file into the window to open it"
        )
        self.axes = QLineEdit()
        self.axes.setMaximumWidth(70)
        self.axes.setAccessibleName("Axes")
        self.axes.setToolTip(
            "One letter per dimension: T time, Z depth, C channel, Y row, X column, S colours"
        )
        self.reading = caption()
        self._axes_row = QWidget()
        in_row(QLabel("Axes"), self.axes, self.reading, within=self._axes_row, wide=self.reading)
        self._choice = QWidget()
        self._choice.setLayout(labelled("Image", self.combo))
        in_column(self._choice, self._axes_row, within=self)
        self.combo.changed.connect(self._chosen)
        self.axes.editingFinished.connect(self._axes_edited)
        follow_layers(owner, self.refresh)
        owner.listen(self._session.image_changed, self._show_image)
        self.refresh()

    def refresh(self) -> None:
        """Read the viewer's images again, keeping the choice."""
        self.combo.refresh()
        self._show_image(self._session.image)

    def offer_choice(self, is_offered: bool) -> None:
        """Hide the list of images where another control shows the same."""
        self._choice.setVisible(is_offered)
        self._take_room()

    def _take_room(self) -> None:
        """Take no space if there is nothing to choose."""
        self.setVisible(not (self._choice.isHidden() and self._axes_row.isHidden()))

    def _chosen(self, layer: Image | None) -> None:
        """Choose an image, and hide those that lie over it."""
        if layer is None:
            return
        queue, images = self._session.queue, self._session.images()
        above = images[images.index(layer) + 1 :]
        if not layer.visible or any(x.visible and x.blending != "additive" for x in above):
            queue.show(next(item for item in queue.items() if item.layer is layer))
        else:
            self._session.image = layer

    def _show_image(self, layer: Image | None) -> None:
        self.combo.display(layer)
        self._axes_row.setVisible(layer is not None and layer.ndim > 2)
        self._take_room()
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
        self.reading.setText(f"{counted(planes, 'plane')}, {height} × {width} px{channels}")

    def _axes_edited(self) -> None:
        layer = self._session.image
        if layer is not None:
            self._owner.attempt(lambda: self._session.set_axes(layer, self.axes.text()))
            self._show_image(layer)


def labelled(text: str, widget: QWidget) -> QHBoxLayout:
    """Arrange a label and its control in one row; all labels have one width, so that rows align."""
    label = QLabel(text)
    label.setMinimumWidth(LABEL_WIDTH)
    label.setBuddy(widget)
    label.setToolTip(widget.toolTip())
    widget.setAccessibleName(text)
    return in_row(label, widget, wide=widget)


LABEL_WIDTH = 78


def choice_row(*buttons: QRadioButton) -> QHBoxLayout:
    """Arrange radio buttons in one row, with the first one checked."""
    group, row = QButtonGroup(buttons[0]), in_row(*buttons)
    for button in buttons:
        group.addButton(button)
    row.addStretch(1)
    buttons[0].setChecked(True)
    return row


def primary_button(text: str, tooltip: str) -> SteadyButton:
    """Make the button that the user is expected to press next."""
    button = SteadyButton(text)
    button.setToolTip(tooltip)
    button.setMinimumHeight(32)
    set_role(button, "primary")
    return button


def push_button(text: str, tooltip: str, action: Callable[[], object]) -> QPushButton:
    """Make a button for any other action."""
    button = QPushButton(text)
    button.setToolTip(tooltip)
    button.clicked.connect(lambda: action())
    return button


def heading(text: str) -> QLabel:
    """Make a small title for a group of controls."""
    label = QLabel(text.upper())
    set_role(label, "heading")
    return label
