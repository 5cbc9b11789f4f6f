"""Short jobs in the background, one after the other: reading and writing files."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from napari.qt.threading import FunctionWorker, create_worker

from napari_cupre.widgets.titled import titled

T = TypeVar("T")


class Errands:
    """A queue of functions that run in a thread; each has a callback that runs in the window afterwards."""

    def __init__(self) -> None:
        self._line: deque[tuple[Callable[[], Any], Callable[[Any], None], Callable[[Exception], None]]] = (
            deque()
        )
        self._worker: FunctionWorker | None = None
        self._is_closed = False

    @property
    def is_busy(self) -> bool:
        """Whether a job is running or waiting."""
        return self._worker is not None or bool(self._line)

    def do(
        self, work: Callable[[], T], then: Callable[[T], None], failed: Callable[[Exception], None]
    ) -> None:
        """Run work in the thread, then use its result in the window.

        Parameters
        ----------
        work : Callable[[], T]
            The function to run; it must not touch the window.
        then : Callable[[T], None]
            Called with the result of `work`.
        failed : Callable[[Exception], None]
            Called with the exception that `work` raised.
        """
        self._line.append((work, then, failed))
        self._next()

    def close(self) -> None:
        """Start nothing more; ignore the result of what is running."""
        self._is_closed = True
        self._line.clear()
        if self._worker is not None:
            with contextlib.suppress(RuntimeError, TypeError):
                self._worker.returned.disconnect()
            self._worker = None

    def _next(self) -> None:
        if self._worker is not None or not self._line or self._is_closed:
            return
        work, then, failed = self._line.popleft()
        worker = create_worker(titled(_outcome, "Reading and writing"), work, _start_thread=False)
        worker.returned.connect(lambda outcome: self._ended(outcome, then, failed))
        self._worker = worker
        worker.start()

    def _ended(
        self,
        outcome: tuple[Any, Exception | None],
        then: Callable[[Any], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._worker = None
        if self._is_closed:
            return
        result, error = outcome
        try:
            if error is None:
                then(result)
            else:
                failed(error)
        finally:
            self._next()


def _outcome(work: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Return the result or the error, in the thread; napari would show a raised error as a traceback."""
    try:
        return work(), None
    except Exception as error:
        return None, error
