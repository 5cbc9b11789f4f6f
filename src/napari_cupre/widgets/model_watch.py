"""Notice model files that appear or disappear while a window is open."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QFileSystemWatcher

from napari_cupre.errors import CupreError
from napari_cupre.model.zoo import BUNDLED, SUFFIX, find_model, user_folder
from napari_cupre.project.place import ENDING
from napari_cupre.widgets.session_part import SessionPart
from napari_cupre.widgets.timers import single_timer

if TYPE_CHECKING:
    from napari_cupre.widgets.session import Session

SETTLED_MS = 300
"""A folder is read again once it has not changed for this long."""


class ModelWatch(SessionPart):
    """Watches the folders that contain models."""

    lost = Signal(str)
    """Emits a sentence when the chosen model is gone, naming it and the model chosen instead."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._watcher = QFileSystemWatcher()
        self._timer = single_timer(self.look, SETTLED_MS)
        for changed in (self._watcher.directoryChanged, self._watcher.fileChanged):
            changed.connect(lambda _: self._timer.start())
        self._known = self._files()
        session.models_changed.connect(self._follow)
        self._follow()

    def look(self) -> None:
        """Read the folders again and notify all model lists of a change."""
        session = self._session
        if session.is_open and session.keeper.is_moving:  # its models are deleted at the old place
            self._timer.start()
            return
        if not session.is_open or self._files() == self._known:
            return
        old = session.model
        if is_there(old):
            session.models_changed.emit()
            return
        session.model = session.rounds.start() or BUNDLED  # notifies all listeners
        self.lost.emit(gone_words(old, session.rounds.name_of(session.model)))

    def close(self) -> None:
        """Stop watching."""
        self._timer.stop()
        if watched := [*self._watcher.directories(), *self._watcher.files()]:
            self._watcher.removePaths(watched)

    def _folders(self) -> list[Path]:
        """Return the folders of models: the user's, and the project's."""
        rounds = self._session.rounds.folder
        folders = {user_folder(), *([] if rounds is None else [rounds])}
        return sorted(folder for folder in folders if folder.is_dir())

    def _chosen(self) -> list[Path]:
        """Return the chosen file; its folder, such as that of downloads, may contain thousands more."""
        chosen = Path(self._session.model)
        return [chosen] if chosen.suffix == SUFFIX and chosen.is_file() else []

    def _files(self) -> set[Path]:
        found: set[Path] = set(self._chosen())
        for folder in self._folders():
            with suppress(OSError):  # it disappeared in between
                found.update(folder / name for name in os.listdir(folder) if name.endswith(SUFFIX))
        return found

    def _follow(self) -> None:
        """Update the list of what is watched."""
        self._known = self._files()
        watched = {*self._watcher.directories(), *self._watcher.files()}
        wanted = {str(each) for each in [*self._folders(), *self._chosen()]}
        for paths, change in (
            (watched - wanted, self._watcher.removePaths),
            (wanted - watched, self._watcher.addPaths),
        ):
            if paths:
                change(sorted(paths))


def is_there(model: str) -> bool:
    """Whether a model chosen by name or path still exists."""
    try:
        find_model(model)
    except CupreError:
        return False
    return True


def gone_words(model: str, instead: str) -> str:
    """Say which chosen model has no file any more, where that was, what is chosen instead, and what to do.

    Parameters
    ----------
    model, instead : str
        Name, path or title of the chosen model, and of the one chosen now.
    """
    folder = Path(model).parent if Path(model).suffix == SUFFIX else user_folder()
    return (
        f'The file of {_quoted(model)} was deleted or moved from "{folder}", so {_quoted(instead)} is chosen '
        "instead; to use it again, put the file back and choose it."
    )


def _quoted(model: str) -> str:
    """Return the name of a model, and of its project, because all projects name their rounds alike."""
    path = Path(model)
    if path.suffix != SUFFIX:
        return f"“{model}”"
    project = path.parent.parent
    return f"“{path.stem}”" + (f" of “{project.stem}”" if project.suffix == ENDING else "")
