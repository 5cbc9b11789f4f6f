"""The row to choose which channels of an image the network sees."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtGui import QAction
from qtpy.QtWidgets import QMenu, QPushButton

from napari_cupre.data.image import MOST_CHANNELS, CellImage
from napari_cupre.errors import CupreError
from napari_cupre.widgets.controls import DockPart, SessionWidget, labelled

TOOLTIP = (
    "What the network sees of an image with several channels: at most three. If you choose none, these are\n"
    "the channels that the model was trained on, or else the first three. They are counted from 0, as by\n"
    "the slider. Your choice holds for all images of the project, and for training, Find cells and outlines"
)

LONGEST = 28
"""Maximum number of letters on the button."""


class ChannelRow(DockPart):
    """A button that names the channels in use and opens a list of all; hidden for images with one channel.

    Parameters
    ----------
    owner : SessionWidget
        The dock.
    """

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__(owner)
        self.button = QPushButton()
        self.button.setToolTip(TOOLTIP)
        self._is_emptied = False
        self.menu = _OpenMenu(self)
        self.menu.aboutToShow.connect(self._opened)
        self.menu.setToolTipsVisible(True)
        self.button.setMenu(self.menu)
        row = labelled("Channels", self.button)
        row.setContentsMargins(0, 0, 0, 0)
        self.setLayout(row)
        owner.listen(self._session.image_changed, self.refresh)
        owner.listen(self._session.keeper.changed, self.refresh)
        owner.listen(self._session.models_changed, self.refresh)
        self.refresh()

    def refresh(self, event: Any = None) -> None:
        """Show the channels of the chosen image."""
        image = self._image()
        self.setVisible(image is not None)
        if image is None:
            return
        chosen = self._session.channels.used_of(image)
        count, names = image.channel_count, image.channel_names
        words = words_of(chosen, count, names)
        self.button.setText(_shortened(words).replace("&", "&&"))
        self.button.setToolTip(f"{words}\n\n{TOOLTIP}" if names else TOOLTIP)
        if (self.menu.count, self.menu.names) != (count, names):
            self.menu.fill(count, names, self._toggled)
        if image.chosen_channels is not None or not self._is_emptied:
            self.menu.show_chosen(chosen or tuple(range(min(count, MOST_CHANNELS))))

    def _opened(self) -> None:
        self._is_emptied = False
        self.refresh()

    def _image(self) -> CellImage | None:
        layer = self._session.image
        try:
            image = None if layer is None else self._session.cell_image(layer)
        except CupreError:  # the axes are unknown
            return None
        return image if image is not None and image.channel_count > 1 else None

    def _toggled(self, number: int, is_on: bool) -> None:
        image = self._image()
        if image is None:
            return
        if is_on:
            self._session.channels.show(number)
        ticked = tuple(number for number, action in enumerate(self.menu.actions()) if action.isChecked())
        # who unticks all is about to tick others; until then it is as if nobody had chosen
        self._is_emptied = not ticked
        if self._is_emptied:
            self.menu.show_chosen(())
        chosen = ticked or None  # also the first three, because a model may be given others
        self._owner.attempt(lambda: self._session.channels.choose(chosen))
        self.refresh()


class _OpenMenu(QMenu):
    """A list of channels to tick; it stays open for the next tick."""

    count = 0
    names: tuple[str, ...] = ()

    def fill(self, count: int, names: tuple[str, ...], toggled: Callable[[int, bool], None]) -> None:
        """List the channels."""
        self.clear()
        self.count, self.names = count, names
        for number in range(count):
            title = f"{number}: {names[number]}" if names else f"channel {number}"
            action = QAction(title.replace("&", "&&"), self)
            action.setCheckable(True)
            action.triggered.connect(partial(toggled, number))
            self.addAction(action)

    def show_chosen(self, chosen: tuple[int, ...]) -> None:
        """Tick the channels in use; with three of them, no other can be ticked."""
        is_full = len(chosen) >= MOST_CHANNELS
        for number, action in enumerate(self.actions()):
            action.setChecked(number in chosen)
            action.setEnabled(number in chosen or not is_full)
            action.setToolTip("Untick one of the others first: three at most" if is_full else "")

    def mouseReleaseEvent(self, event: Any) -> None:
        """Tick a channel without closing the list."""
        action = self.actionAt(event.position().toPoint())
        if action is None:
            super().mouseReleaseEvent(event)
        elif action.isEnabled():
            action.trigger()


def words_of(chosen: tuple[int, ...] | None, count: int, names: tuple[str, ...] = ()) -> str:
    """Say which channels are used.

    Parameters
    ----------
    chosen : tuple of int or None
        Channels counted from 0; None for the first three.
    count : int
        Number of channels of the image.
    names : tuple of str, optional
        Their names, if they have any.

    Examples
    --------
    >>> words_of(None, 2), words_of(None, 5), words_of((3,), 5), words_of((0, 2, 4), 5)
    ('both', 'the first three: 0, 1, 2', 'channel 3', 'channels 0, 2, 4')
    >>> words_of((2, 3), 4, ("CD3", "CD8", "DAPI", "PanCK"))
    'DAPI, PanCK'
    """
    if chosen is None and count <= MOST_CHANNELS:
        return "both" if count == 2 else "all three"
    used = tuple(range(MOST_CHANNELS)) if chosen is None else chosen
    listed = ", ".join(names[each] if names else str(each) for each in used)
    if names:
        return listed
    if chosen is None:
        return f"the first three: {listed}"
    return f"{'channel' if len(chosen) == 1 else 'channels'} {listed}"


def _shortened(words: str) -> str:
    """Return what fits on the button in a dock of its usual width; the tooltip has the rest."""
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1].rstrip(', ')}…"
