"""The list of annotated images that a training learns from, each with a tick."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_cupre.io.files import natural_key
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.snapshot import teaching_images

LISTED_ROWS = 4
LAYER_ROLE = int(Qt.ItemDataRole.UserRole)
CHECKED = Qt.CheckState.Checked
LEFT_OUT = "Train left out"  # among the choices of the session, which a reopened dock knows


class TeachingList(QListWidget):
    """The layers with something to learn from, and the images of the project without a layer, by stem.

    Parameters
    ----------
    session : Session
        Of the viewer.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._left_out: set[Any] = session.choices.setdefault(LEFT_OUT, set())
        self.setAccessibleName("Images to learn from")
        self.setToolTip("Annotated images to learn from; untick those to leave out")
        self.itemChanged.connect(self._tick)

    def refresh(self) -> None:
        """Read the lists again; an image that was unticked stays so."""
        self.blockSignals(True)
        self.clear()
        found: list[tuple[str, Image | str]] = [(x.name, x) for x in teaching_images(self._session)]
        found += [(x.image.stem, x.image.stem) for x in self._session.queue.taught_elsewhere()]
        for name, value in sorted(found, key=lambda row: natural_key(Path(row[0]))):
            self._list(name, value)
        if not self.count():
            item = QListWidgetItem("no annotated image yet")
            item.setFlags(Qt.ItemFlag.ItemIsEnabled)  # a disabled row would be too pale to read
            self.addItem(item)
        self.setFixedHeight(min(self.count(), LISTED_ROWS) * self.sizeHintForRow(0) + 8)
        self.blockSignals(False)

    def listed(self) -> list[Image | str]:
        """Return all images of the list."""
        return [item.data(LAYER_ROLE) for item in self._rows()]

    def chosen(self) -> list[Image | str]:
        """Return the ticked ones."""
        return [item.data(LAYER_ROLE) for item in self._rows() if item.checkState() == CHECKED]

    def layers(self) -> list[Image]:
        """Return the ticked layers."""
        return [value for value in self.chosen() if not isinstance(value, str)]

    def stems(self) -> tuple[str, ...]:
        """Return the ticked images of the project without a layer."""
        return tuple(value for value in self.chosen() if isinstance(value, str))

    def _rows(self) -> list[QListWidgetItem]:
        items = (self.item(row) for row in range(self.count()))
        return [item for item in items if item is not None and item.data(LAYER_ROLE) is not None]

    def _list(self, name: str, value: Image | str) -> None:
        """Add a row for a layer, or for an image of the project by its stem."""
        item = QListWidgetItem(name)
        item.setData(LAYER_ROLE, value)
        is_left_out = not self._left_out.isdisjoint(names := self._names_of(value))
        self._left_out.update(names if is_left_out else ())  # it may have more names by now
        item.setCheckState(Qt.CheckState.Unchecked if is_left_out else CHECKED)
        self.addItem(item)

    def _tick(self, item: QListWidgetItem) -> None:
        """Keep a choice, also while the image has nothing to learn from or is not on show."""
        names = self._names_of(item.data(LAYER_ROLE))
        if item.checkState() == CHECKED:
            self._left_out.difference_update(names)
        else:
            self._left_out.update(names)

    def _names_of(self, value: Image | str) -> set[Any]:
        """Whatever an image may be listed as later."""
        keeper = self._session.keeper
        stem = value if isinstance(value, str) else keeper.stem_of(value)
        own = set() if isinstance(value, str) else {weakref.ref(value)}
        return own if keeper.project is None or stem is None else {*own, (keeper.project.folder, stem)}
