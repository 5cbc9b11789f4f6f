"""The lock of a project, and those who only ask whether it is held."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from filelock import FileLock

from napari_cupre.project.lock import Lock, ProjectLocked, is_open_elsewhere


def test_to_ask_whether_a_project_is_open_changes_nothing(tmp_path: Path) -> None:
    assert not is_open_elsewhere(tmp_path)
    lock = Lock(tmp_path)
    assert is_open_elsewhere(tmp_path)
    with pytest.raises(ProjectLocked, match="since"):  # the note of its holder is still there
        Lock(tmp_path)
    lock.release()
    assert not is_open_elsewhere(tmp_path)


def test_a_project_waits_for_somebody_who_only_asks(tmp_path: Path) -> None:
    """A dock looks for unsaved work just when its first images are added."""
    asking = FileLock(tmp_path / ".lock", thread_local=False)
    asking.acquire()
    timer = threading.Timer(0.1, asking.release)
    timer.start()
    lock = Lock(tmp_path)
    timer.join()
    assert is_open_elsewhere(tmp_path)
    lock.release()
