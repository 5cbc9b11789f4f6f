"""The row to choose which channels of an image the network sees."""

from __future__ import annotations

from typing import Any

from qtpy.QtGui import QAction
from qtpy.QtWidgets import QMenu, QPushButton

from napari_cupre.data.image import MOST_CHANNELS, CellImage
from napari_cupre.errors import CupreError
from napari_cupre.widgets.controls import DockPart, SessionWidget, labelled

TOOLTIP = (
    "What the network sees of an image with several channels: at most three, the first three by default.\n"
    "They are counted from 0, as by the slider. The choice holds for all images of the project, and for\n"
    "training, Find cells and outlines alike: a model should see what it was trained on"
)


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
        self.refresh()

    def refresh(self, event: Any = None) -> None:
        """Show the channels of the chosen image."""
        image = self._image()
        self.setVisible(image is not None)
        if image is None:
            return
        chosen, count = image.chosen_channels, image.channel_count
        self.button.setText(words_of(chosen, count))
        if self.menu.count != count:
            self.menu.fill(count, self._toggled)
        if chosen is not None or not self._is_emptied:
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

    def _toggled(self) -> None:
        image = self._image()
        if image is None:
            return
        ticked = tuple(number for number, action in enumerate(self.menu.actions()) if action.isChecked())
        first = tuple(range(min(image.channel_count, MOST_CHANNELS)))
        # who unticks all is about to tick others; until then the first three are used
        self._is_emptied = not ticked
        if self._is_emptied:
            self.menu.show_chosen(())
        chosen = None if ticked in ((), first) else ticked
        self._owner.attempt(lambda: self._session.channels.choose(chosen))
        self.refresh()


class _OpenMenu(QMenu):
    """A list of channels to tick; it stays open for the next tick."""

    count = 0

    def fill(self, count: int, toggled: Any) -> None:
        """List the channels."""
        self.clear()
        self.count = count
        for number in range(count):
            action = QAction(f"channel {number}", self)
            action.setCheckable(True)
            action.triggered.connect(lambda on: toggled())
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
        action = self.activeAction()
        if action is not None and action.isEnabled():
            action.trigger()
        else:
            super().mouseReleaseEvent(event)


def words_of(chosen: tuple[int, ...] | None, count: int) -> str:
    """Say which channels are used.

    Parameters
    ----------
    chosen : tuple of int or None
        Channels counted from 0; None for the first three.
    count : int
        Number of channels of the image.

    Examples
    --------
    >>> words_of(None, 2), words_of(None, 5), words_of((3,), 5), words_of((0, 2, 4), 5)
    ('both', '0, 1, 2 of 5 (the first three)', '3 of 5', '0, 2, 4 of 5')
    """
    if chosen is None and count <= MOST_CHANNELS:
        return "both" if count == 2 else "all three"
    if chosen is None:
        return f"0, 1, 2 of {count} (the first three)"
    return f"{', '.join(map(str, chosen))} of {count}"
