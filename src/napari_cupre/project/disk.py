"""Write the files of a project all or not at all, and never over somebody else's changes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from napari_cupre.errors import EnvironmentFault, unwritable, writing
from napari_cupre.io.files import atomic_write

PENDING = ".pending"
"""Folder in a project that collects the files of a save before they are moved into place."""

_COMMIT = "commit.json"

Write = Callable[[Path], None]


@dataclass(frozen=True)
class Stamp:
    """The state of a file when we read or wrote it: size in bytes, time of change in ns, content."""

    size: int
    changed: int
    digest: str

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        """Return the stamp of a file; None if there is no file."""
        try:
            before = path.stat()
            return cls(before.st_size, before.st_mtime_ns, file_digest(path))
        except OSError:
            return None

    def fits(self, path: Path) -> bool:
        """Whether the content of a file is unchanged."""
        try:
            now = path.stat()
        except OSError:
            return False
        if (now.st_size, now.st_mtime_ns) == (self.size, self.changed):
            return True
        return now.st_size == self.size and file_digest(path) == self.digest


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_together(folder: Path, files: Mapping[str, Write]) -> None:
    """Write several files so that all of them change, or none.

    They are written into `.pending`, a commit record is added, and each is moved into place. If the process
    is killed before the record exists, nothing has changed; after that, `settle` completes the save.

    Parameters
    ----------
    folder : Path
        Folder of the project; it must exist.
    files : Mapping[str, Write]
        By path relative to the folder, with "/": a function that writes the path it is given.

    Raises
    ------
    EnvironmentFault
        Full or read-only disk, no permission, or the folder is gone; nothing has changed.
    """
    if not folder.is_dir():
        raise EnvironmentFault(
            f'The project folder "{folder}" is missing: put it back, or save the project elsewhere.'
        )
    settle(folder)
    pending = folder / PENDING
    entries = []
    try:
        for number, (target, write) in enumerate(files.items()):
            name = f"{number}{PurePosixPath(target).suffix}"
            with atomic_write(pending / name) as temporary:
                write(temporary)
                _to_disk(temporary)
            entries.append({"file": name, "target": target})
        with atomic_write(pending / _COMMIT) as temporary:
            temporary.write_text(json.dumps(entries), encoding="utf-8")
            _to_disk(temporary)
    except BaseException as error:
        with contextlib.suppress(OSError):
            shutil.rmtree(pending)
        if isinstance(error, EnvironmentFault) and isinstance(error.__cause__, OSError):
            raise unwritable(folder, error.__cause__) from error  # files in `.pending` without a record
        raise
    settle(folder)


def settle(folder: Path) -> None:
    """Complete a save that was committed, or discard one that was not.

    Only the holder of the project's lock may call this.

    Raises
    ------
    EnvironmentFault
        A file cannot be moved into place, e.g. because another program holds it open.
    """
    pending = folder / PENDING
    if not pending.is_dir():
        return
    for target, file in committed(folder).items():
        if file.is_file():
            place = folder / target
            with writing(place):
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, place)
    with contextlib.suppress(OSError):
        (pending / _COMMIT).unlink(missing_ok=True)
        shutil.rmtree(pending)


def committed(folder: Path) -> dict[str, Path]:
    """Return the files of a committed but incomplete save, by their target path."""
    try:
        entries = json.loads((folder / PENDING / _COMMIT).read_text(encoding="utf-8"))
        return {entry["target"]: folder / PENDING / Path(entry["file"]).name for entry in entries}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def current(folder: Path, target: str) -> Path:
    """Return the path of the newest state of a project's file, also while a save is completing."""
    waiting = committed(folder).get(target)
    return waiting if waiting is not None and waiting.is_file() else folder / target


def _to_disk(path: Path) -> None:
    """Make the system write a file to the disk, so that it survives a power cut."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
