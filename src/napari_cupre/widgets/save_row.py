"""The button that writes results, with the choice of formats beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtGui import QAction
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QPushButton

from napari_cupre.errors import InputError
from napari_cupre.events import RunState
from napari_cupre.widgets.controls import DockPart, SessionWidget, follow_layers, push_button
from napari_cupre.widgets.layers import source_path
from napari_cupre.widgets.loading import Item
from napari_cupre.widgets.preferences import read_preferences
from napari_cupre.widgets.remembering import remember
from napari_cupre.widgets.saving import FORMAT_CHOICES, SavableStored, has_cells, savable, save_results


class SaveRow(DockPart):
    """A row that writes the results of the chosen images into a folder.

    Parameters
    ----------
    owner : SessionWidget
        The widget on whose message line errors appear.
    chosen : Callable[[], list[Item]]
        Returns the images of the queue whose results to write.
    """

    def __init__(self, owner: SessionWidget, chosen: Callable[[], list[Item]]) -> None:
        super().__init__(owner)
        self._chosen = chosen
        self.button = push_button(
            "Save results …",
            "Write the cells to a folder, in the ticked formats",
            lambda: owner.attempt(self._ask_and_save),
        )
        menu = QMenu(self)
        self.formats = {}
        ticked = read_preferences().ticked
        for name, title in FORMAT_CHOICES:
            action = QAction(title, menu)
            menu.addAction(action)
            action.setCheckable(True)
            action.setChecked(name in ticked)
            self.formats[name] = action
        remember(owner, **self.formats)
        formats = QPushButton("Formats")
        formats.setToolTip("Which files to write")
        formats.setMenu(menu)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.button, 2)
        row.addWidget(formats, 1)
        follow_layers(owner, self._refresh)
        owner.listen(self._session.cells_changed, self._refresh)
        owner.listen(self._session.queue.changed, self._refresh)
        owner.listen(self._session.saving.status.events, self._show_status)
        self._refresh()

    def save(self, folder: Path) -> None:
        """Write into `folder`.

        Raises
        ------
        InputError
            If no format is ticked, or if none of the chosen images has a result.
        """
        formats = [name for name, action in self.formats.items() if action.isChecked()]
        if not formats:
            raise InputError("No format is ticked: choose at least one under Formats.")
        items = self._chosen()
        self._session.keeper.when_saved(
            lambda: self._owner.attempt(lambda: self._write(items, folder, formats))
        )

    def _write(self, items: list[Item], folder: Path, formats: list[str]) -> None:
        """Write the results; images without a layer are read from disk, where they are saved by now."""
        session, project = self._session, self._session.keeper.project
        layers = [item.layer for item in items if item.layer is not None]
        shown = [layer for layer in layers if has_cells(session, layer)]
        unseen = [item.stem for item in items if item.layer is None and item.stem is not None]
        stored = [] if project is None else [SavableStored(stem, project.folder) for stem in unseen]
        if not stored and not shown:
            shown = layers  # `savable` raises for an image without cells
        results = [*(savable(session, layer) for layer in shown), *stored]
        paths = [path for image in session.images() if (path := source_path(image)) is not None]
        session.saving.start(save_results, results, folder, formats, paths, len(layers) - len(shown))

    def _ask_and_save(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if folder:
            self.save(Path(folder))

    def _refresh(self, *args: Any) -> None:
        session = self._session
        is_stored = any(item.layer is None for item in session.queue.items())  # the image may have cells
        self.button.setEnabled(is_stored or any(has_cells(session, image) for image in session.images()))

    def _show_status(self, event: Any = None) -> None:
        status = self._session.saving.status
        self.button.setText("Writing …" if status.is_active else "Save results …")
        if status.error:
            self._owner.message.show_error(status.error, status.details)
        elif status.state is RunState.DONE:
            self._owner.message.show_good(status.message)
