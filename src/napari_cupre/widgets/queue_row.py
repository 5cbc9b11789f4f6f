"""The row `< 3 / 24 name >` at the top of the Annotate dock."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton

from napari_cupre.errors import CupreError
from napari_cupre.io.files import COMPANION, IMAGE_SUFFIXES
from napari_cupre.project.place import ENDING
from napari_cupre.widgets.arranging import in_column, in_row
from napari_cupre.widgets.captions import caption
from napari_cupre.widgets.controls import DockPart, SessionWidget
from napari_cupre.widgets.loading import Item
from napari_cupre.widgets.shortcuts import with_key

STEP_WIDTH = 28
NAME_WIDTH = 110  # maximum width of the image's name in px, so that the dock fits 320 px
MOST_IN_MENU = 40
PLANES, FIELDS = "Each plane of this stack", "Fields of this slide"


class QueueRow(DockPart):
    """A row to step through the images of the project; a click on the name lists them.

    Parameters
    ----------
    owner : SessionWidget
        The dock.
    others : QPushButton
        Further buttons of the row.
    """

    def __init__(self, owner: SessionWidget, *others: QPushButton) -> None:
        super().__init__(owner)
        self._queue = owner.session.queue
        self.back = self._step("<", "Previous image", -1)
        self.forth = self._step(">", "Next image", 1)
        self.name = QPushButton()
        self.name.setAccessibleName("Image of the queue")
        self.list = QMenu(self.name)
        self.list.aboutToShow.connect(self._fill)
        self.name.setMenu(self.list)
        self.more = QPushButton("+")
        self.more.setToolTip("Add images, or open a project")
        self.more.setAccessibleName("Add images")
        self.more.setFixedWidth(STEP_WIDTH + 12)
        self._entries: dict[str, QAction] = {}
        self.more.setMenu(self._sources())
        self.line = caption()
        row = in_row(self.back, self.name, self.forth, *others, self.more, spacing=4, wide=self.name)
        for button in others:
            button.setFixedWidth(STEP_WIDTH)
        in_column(row, self.line, within=self, spacing=2)
        self._show_keys()
        owner.listen(owner.session.shortcuts.changed, self._show_keys)
        owner.listen(self._queue.changed, self.refresh)
        owner.listen(owner.session.cells_changed, lambda *_: self.refresh())
        for signal in ("inserted", "removed", "renamed"):
            owner.listen(getattr(owner.session.viewer.layers.events, signal), lambda event: self.refresh())
        self.refresh()

    def refresh(self) -> None:
        """Show the position of the current image in the queue."""
        items = self._queue.items()
        at = self._queue.position(items)
        self.back.setEnabled(at > 0)
        self.forth.setEnabled(-1 < at < len(items) - 1)
        self.name.setEnabled(bool(items))
        if at >= 0:
            middle = Qt.TextElideMode.ElideMiddle
            name = self.name.fontMetrics().elidedText(items[at].name, middle, NAME_WIDTH)
            self.name.setText(f"{at + 1} / {len(items)}  {name}")
            self.name.setToolTip(f"{self._title(items[at])}; click to see all images")
        else:
            self.name.setText(f"{len(items)} images" if items else "No image")
            self.name.setToolTip("All images; choose one to show it")
        if self._queue.error:
            self.line.say(self._queue.error, "error")
        else:
            self.line.say(self._queue.status, "plain")

    def _title(self, item: Item) -> str:
        """Return the name of an image, with its state."""
        state = self._queue.state(item)
        return f"{item.name} ({state})" if state else item.name

    def _show_keys(self) -> None:
        """Show the current keys in the tooltips."""
        for button, name in ((self.back, "previous_image"), (self.forth, "next_image")):
            button.setToolTip(with_key(button.accessibleName(), name))

    def _step(self, text: str, name: str, step: int) -> QPushButton:
        button = QPushButton(text)
        button.setAccessibleName(name)
        button.setFixedWidth(STEP_WIDTH)
        button.clicked.connect(lambda: self._owner.attempt(lambda: self._queue.go(step)))
        return button

    def _fill(self) -> None:
        """Fill the list with the images around the current one, each with its state."""
        self.list.clear()
        items = self._queue.items()
        here = self._queue.position(items)
        at = max(0, here)
        first = max(0, min(at - MOST_IN_MENU // 2, len(items) - MOST_IN_MENU))
        for place, item in list(enumerate(items))[first : first + MOST_IN_MENU]:
            action = self.list.addAction(f"{place + 1}  {self._title(item)}".replace("&", "&&"))
            if action is None:
                continue
            action.setCheckable(True)
            action.setChecked(place == here)
            action.triggered.connect(
                lambda _=False, item=item: self._owner.attempt(lambda: self._queue.show(item))
            )

    # --- adding images ---------------------------------------------------------------------------

    def _sources(self) -> QMenu:
        menu = QMenu(self.more)
        menu.setToolTipsVisible(True)
        menu.aboutToShow.connect(self._allow)
        for text, action in (
            ("Image files …", self._ask_for_files),
            ("Folder of images …", self._ask_for_folder),
            (PLANES, self._queue.add_planes),
            (FIELDS, self._queue.add_fields),
            ("Open a project …", self._ask_for_project),
        ):
            entry = menu.addAction(text)
            if entry is not None:
                self._entries[text] = entry
                entry.triggered.connect(lambda _=False, action=action: self._owner.attempt(action))
        return menu

    def _allow(self) -> None:
        """Offer planes and fields only of an image that has them; the others say what is missing."""
        for text, what in ((PLANES, "planes"), (FIELDS, "fields")):
            try:
                self._queue.file_with(what)
                missing = ""
            except CupreError as error:
                missing = str(error)
            self._entries[text].setEnabled(not missing)
            self._entries[text].setToolTip(missing or text)

    def _ask_for_files(self) -> None:
        endings = " ".join(f"*{suffix}" for suffix in sorted((*IMAGE_SUFFIXES, COMPANION)))
        paths, _ = QFileDialog.getOpenFileNames(self, "Images to annotate", "", f"Images ({endings})")
        if paths:
            self._queue.add_files(paths)

    def _ask_for_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of images to annotate")
        if path:
            self._queue.add_files([path])

    def _ask_for_project(self) -> None:
        path = QFileDialog.getExistingDirectory(self, f"Project to open (a folder *{ENDING})")
        if path:
            self._owner.session.keeper.open(Path(path))
