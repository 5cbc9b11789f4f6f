"""What runs beside the window, and how many things at a time."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from qtpy.QtCore import QThreadPool
from qtpy.QtGui import QMovie
from qtpy.QtWidgets import QLabel, QStatusBar

from napari_cupre.events import Event, Finished, Notice
from napari_cupre.service.protocol import Failed
from napari_cupre.widgets.background import Job, guarded
from napari_cupre.widgets.errands import Errands
from napari_cupre.widgets.titled import titled

WAIT = 20_000


@pytest.fixture
def one_thread(qapp: Any) -> Iterator[QThreadPool]:
    """As on a machine with a single core."""
    threads = QThreadPool.globalInstance()
    most = threads.maxThreadCount()
    threads.setMaxThreadCount(1)
    yield threads
    threads.setMaxThreadCount(most)


def test_jobs_that_wait_leave_a_thread_for_a_save(one_thread: QThreadPool, qtbot: Any) -> None:
    end = threading.Event()

    def stream() -> Iterator[None]:
        while not end.wait(0.01):
            yield None

    jobs = [Job("Training"), Job("Finding cells")]
    done: list[int] = []
    try:
        for job in jobs:
            job.start(stream)
        Errands().do(lambda: 1, done.append, lambda error: None)
        qtbot.waitUntil(lambda: done == [1], timeout=WAIT)
    finally:
        end.set()
        qtbot.waitUntil(lambda: not any(job.status.is_active for job in jobs), timeout=WAIT)
    assert one_thread.maxThreadCount() == 1


def test_nothing_in_the_window_moves_by_itself_while_a_job_runs(workbench: Any, qtbot: Any) -> None:
    end = threading.Event()
    job = Job("Training")
    bars = workbench.viewer.window._qt_window.findChildren(QStatusBar)
    rings = [label for bar in bars for label in bar.findChildren(QLabel) if label.movie()]
    assert rings, "napari has a turning ring for what takes long"

    def stream() -> Iterator[None]:
        while not end.wait(0.01):
            yield None

    try:
        for _ in range(2):
            end.clear()
            job.start(stream)
            qtbot.wait(100)
            assert all(ring.isVisible() for ring in rings)
            assert all(ring.movie().state() is QMovie.MovieState.Paused for ring in rings)
            end.set()
            qtbot.waitUntil(lambda: not job.status.is_active, timeout=WAIT)
    finally:
        end.set()


@pytest.mark.parametrize("last", [Finished("better"), Failed("The file is gone.", "a traceback")])
def test_who_follows_a_job_sees_nothing_of_the_run_before(last: Event, qtbot: Any) -> None:
    job = Job("Training")
    status, seen = job.status, []
    status.events.connect(lambda event: seen.append((status.message, status.notice, status.error)))
    for _ in range(2):
        seen.clear()
        job.start(lambda: iter([Notice("Mind this."), last]))
        assert seen == [("", "", "")], "one change: it prepares"
        qtbot.waitUntil(lambda: status.state.is_over, timeout=WAIT)


def test_napari_shows_work_under_the_name_that_users_know() -> None:
    """As in its question whether to close a window in the middle of a training."""
    found = titled(guarded, "Training")
    assert f"Executing {found}" == "Executing “Training” (CUPre)"
    assert inspect.isgeneratorfunction(found), "or napari would make another worker of it"
    assert titled(len, "Counting")("abc") == 3
