"""The window's end of the pipe. Knows no Qt: what blocks is an iterator, to be read in a worker thread."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import weakref
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cupre.errors import InputError
from napari_cupre.events import Event

if TYPE_CHECKING:
    from napari_cupre.service.child import Child
    from napari_cupre.service.protocol import Request

HEARTBEAT_S = 0.1


class EngineBusy(InputError):
    """Another job runs in the process; nothing was sent."""


class EngineProcess:
    """A child process that trains and predicts, started when it is first needed.

    One job runs at a time. `events` blocks and belongs into a worker thread; all else returns at once and may
    be called from any thread.

    Parameters
    ----------
    command : list[str] or None, optional
        Program and arguments to start instead of the engine's own; the exchange folder is appended.
    is_urgent : bool, optional
        A person waits for each answer: the process does not stand back behind others.
    """

    def __init__(self, command: list[str] | None = None, *, is_urgent: bool = False) -> None:
        # -P: a torch.py in the user's current folder must not shadow the real one
        self._command = command or [sys.executable, "-P", "-m", "napari_cupre.service"]
        self._is_urgent = is_urgent
        self._child: Child | None = None
        self._lock = threading.Lock()
        self._busy = False

    @property
    def is_running(self) -> bool:
        """Whether a process is there (it may still be importing)."""
        return self._child is not None and self._child.is_alive

    @property
    def is_busy(self) -> bool:
        """Whether a job is running."""
        return self._busy

    @property
    def folder(self) -> Path:
        """Where arrays are exchanged; starts the process, and exists as long as it."""
        return self._started().folder

    def start(self) -> None:
        """Start the process if it does not run yet, so that the first job need not wait for imports.

        Raises
        ------
        EnvironmentFault
            If the system refuses to start it.
        """
        self._started()

    def events(self, request: Request) -> Generator[Event | None, None, None]:
        """Have a job done and yield what it reports; None whenever nothing came for a tenth of a second.

        The Nones let the reader give up: closing the iterator stops the job. A job that fails, or a process
        that dies, ends with a `Failed` event.

        Raises
        ------
        EngineBusy
            If another job is running.
        EnvironmentFault
            If the process cannot be started.
        """
        with self._lock:
            if self._busy:
                raise EngineBusy("The engine is busy: stop what is running, or wait until it ends.")
            self._busy = True
        try:
            child = self._started()
            child.send(request)
        except BaseException:
            self._busy = False
            raise
        ended = False
        try:
            while not ended:
                event = child.next_event(HEARTBEAT_S)
                ended = child.is_last(event)
                if not ended:
                    yield event
        finally:
            if ended:
                self._busy = False
            else:
                child.stop()
                threading.Thread(target=self._drain, args=(child,), name="cupre-drain", daemon=True).start()

    def stop(self) -> None:
        """Ask the running job to end soon; its last events still come."""
        if self._busy and self._child is not None:
            self._child.stop()

    def send(self, request: Request) -> None:
        """Send what has no answer of its own, such as a preview; lost if no process runs."""
        if self._child is not None:
            self._child.send(request)

    def close(self, wait: float = 0.0) -> None:
        """Stop the job and let the process leave once it has saved; wait up to `wait` seconds for that."""
        child, self._child = self._child, None
        if child is not None:
            child.hang_up()
            with contextlib.suppress(subprocess.TimeoutExpired):
                if wait:
                    child.process.wait(wait)

    def _started(self) -> Child:
        from napari_cupre.service.child import start_child  # with all messages, which no dock needs to open

        with self._lock:
            if self._child is None or not self._child.is_alive:
                self._child = start_child(self._command, self._is_urgent)
                # runs at interpreter exit too; the child then sees its stdin close, saves and leaves
                weakref.finalize(self, self._child.hang_up)
            return self._child

    def _drain(self, child: Child) -> None:
        """After an iterator was given up: read the job's last events, so that the next job starts clean."""
        while not child.is_last(child.next_event(HEARTBEAT_S)):
            pass
        self._busy = False


class Turn:
    """One user's turns at processes that others use as well: it stops nothing but its own job."""

    def __init__(self) -> None:
        self._engine: EngineProcess | None = None
        self._is_stopped = False

    def begin(self) -> None:
        """Forget that the last job was stopped."""
        self._is_stopped = False

    def events(self, engine: EngineProcess, request: Request) -> Iterator[Event | None]:
        """As `EngineProcess.events`.

        Raises
        ------
        EngineBusy
            Somebody else was faster.
        """
        with contextlib.closing(engine.events(request)) as events:
            try:
                for event in events:
                    if self._engine is None:
                        self._engine = engine
                        if self._is_stopped:
                            engine.stop()
                    yield event
            finally:
                self._engine = None

    def stop(self) -> None:
        """Ask the own job to end soon, also if it is just about to begin."""
        self._is_stopped = True
        if self._engine is not None:
            self._engine.stop()
