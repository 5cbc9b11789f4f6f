"""The lock of a project, so that only one window writes to it at a time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from datetime import datetime
from pathlib import Path

from napari_cupre.errors import CupreError
from napari_cupre.project.cells import By

_LOCK, _HOLDER = ".lock", ".holder.json"


class ProjectLocked(CupreError):
    """Another window or command has the project open."""


PATIENCE_S = 0.5
"""A search for work that was never saved takes the lock of each project for milliseconds
(`is_open_elsewhere`); a project that is being made or opened waits for it."""


class Lock:
    """The lock of a project folder, held until `release` or the end of the process.

    The system releases it when its holder is killed, so a lock is never stale.

    Raises
    ------
    ProjectLocked
        Somebody else holds it.
    OSError
        The folder is not writable.
    """

    def __init__(self, folder: Path) -> None:
        from filelock import FileLock, Timeout  # 30 modules, for which the first dock should not wait

        self._holder = folder / _HOLDER
        # Any thread may release the project, whichever thread opened it.
        self._lock = FileLock(folder / _LOCK, timeout=PATIENCE_S, thread_local=False)
        try:
            self._lock.acquire(poll_interval=0.02)
        except Timeout:
            raise ProjectLocked(
                f'The project "{folder.name}" is open in another window{self._who()}: '
                f"close it there, or open it here as read-only."
            ) from None
        by = By.now()
        document = {
            "user": by.author,
            "computer": socket.gethostname(),
            "process": os.getpid(),
            "since": by.time,
        }
        with contextlib.suppress(OSError):
            self._holder.write_text(json.dumps(document), encoding="utf-8")

    def release(self) -> None:
        """Let others open the project."""
        with contextlib.suppress(OSError):
            self._holder.unlink(missing_ok=True)
        self._lock.release()

    def _who(self) -> str:
        try:
            holder = json.loads(self._holder.read_text(encoding="utf-8"))
            since = datetime.fromisoformat(holder["since"]).astimezone()
            return f" (of {holder['user']} on {holder['computer']}, since {since:%Y-%m-%d %H:%M})"
        except (OSError, ValueError, TypeError, KeyError):
            return ""


def is_open_elsewhere(folder: Path) -> bool:
    """Whether a window or command holds the lock of a project now."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / _LOCK, timeout=0, thread_local=False):
            return False
    except Timeout:
        return True
    except OSError:
        return False
