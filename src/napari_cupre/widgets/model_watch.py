"""Notice model files that appear or disappear while a window is open."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
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
        self._known: set[Path] | None = None
        session.models_changed.connect(self._follow)
        self._follow()

    def look(self) -> None:
        """Read the folders again and notify all model lists of a change."""
        session = self._session
        if session.is_open and session.keeper.is_moving:  # its models are deleted at the old place
            self._timer.start()
            return
        found = self._read(self._timer.start) if session.is_open else None
        if found is None or found.files == self._known:
            return
        if found.has_chosen:
            session.models_changed.emit()
            return
        old = session.model
        session.model = session.rounds.start() or BUNDLED  # notifies all listeners
        self.lost.emit(gone_words(old, session.rounds.name_of(session.model)))

    def close(self) -> None:
        """Stop watching."""
        self._timer.stop()
        if watched := [*self._watcher.directories(), *self._watcher.files()]:
            self._watcher.removePaths(watched)

    def _read(self, announce: Callable[[], None]) -> ModelFiles | None:
        """Look at the folders; None if they have not answered yet."""
        model, rounds = self._session.model, self._session.rounds.folder
        folders = tuple({user_folder(), *([] if rounds is None else [rounds])})
        read = partial(ModelFiles.of, folders, model)
        return self._session.known.ask(("files", frozenset(folders), model), read, None, announce)

    def _follow(self) -> None:
        """Update the list of what is watched."""
        found = self._read(self._follow)
        if found is None:
            return
        self._known = found.files
        watched = {*self._watcher.directories(), *self._watcher.files()}
        wanted = {str(each) for each in found.watched}
        for paths, change in (
            (watched - wanted, self._watcher.removePaths),
            (wanted - watched, self._watcher.addPaths),
        ):
            if paths:
                change(sorted(paths))


@dataclass(frozen=True)
class ModelFiles:
    """What the folders of models contain.

    `watched` are the folders that exist, and the chosen file; `has_chosen` is whether its model is there.
    """

    files: set[Path]
    watched: set[Path]
    has_chosen: bool

    @classmethod
    def of(cls, folders: Iterable[Path], model: str) -> ModelFiles:
        """Look at some folders, and at the chosen model; for a thread."""
        chosen = Path(model)
        # its folder, such as that of downloads, may contain thousands of files more
        files = {chosen} if chosen.suffix == SUFFIX and chosen.is_file() else set()
        there = [folder for folder in folders if folder.is_dir()]
        watched = {*files, *there}
        for folder in there:
            with suppress(OSError):  # it disappeared in between
                files.update(folder / name for name in os.listdir(folder) if name.endswith(SUFFIX))
        return cls(files, watched, is_there(model))


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
