"""The window's end of the pipe, without Qt; blocking calls are iterators to read in a worker thread."""

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
    """Another job is running in the process; nothing was sent."""


class EngineProcess:
    """A child process that trains and predicts; it is started when first needed.

    One job runs at a time. `events` blocks, so call it in a worker thread; everything else returns at once
    and may be called from any thread.

    Parameters
    ----------
    command : list[str] or None, optional
        Program and arguments to start instead of the engine's own; the exchange folder is appended.
    is_urgent : bool, optional
        Whether a person waits for each answer; the process then keeps normal priority.
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
        """Whether a process exists (it may still be importing)."""
        return self._child is not None and self._child.is_alive

    @property
    def is_busy(self) -> bool:
        """Whether a job is running."""
        return self._busy

    @property
    def folder(self) -> Path:
        """Return the folder for exchanging arrays; starts the process, and lives as long as it."""
        return self._started().folder

    def start(self) -> None:
        """Start the process if it is not running, so that the first job does not wait for imports.

        Raises
        ------
        EnvironmentFault
            If the system refuses to start it.
        """
        self._started()

    def events(self, request: Request) -> Generator[Event | None, None, None]:
        """Run a job and yield its events; yield None whenever nothing arrived for a tenth of a second.

        The Nones allow the reader to give up: closing the iterator stops the job. If a job fails or the
        process dies, the last event is `Failed`.

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
        """Ask the running job to end soon; its last events still arrive."""
        if self._busy and self._child is not None:
            self._child.stop()

    def send(self, request: Request) -> None:
        """Send a request without an answer of its own, such as a preview; it is lost if no process runs."""
        if self._child is not None:
            self._child.send(request)

    def close(self, wait: float = 0.0) -> None:
        """Stop the job and let the process exit once it has saved; wait up to `wait` seconds for that."""
        child, self._child = self._child, None
        if child is not None:
            child.hang_up()
            with contextlib.suppress(subprocess.TimeoutExpired):
                if wait:
                    child.process.wait(wait)

    def _started(self) -> Child:
        from napari_cupre.service.child import start_child  # imports all messages, too slow for a dock

        with self._lock:
            if self._child is None or not self._child.is_alive:
                self._child = start_child(self._command, self._is_urgent)
                # also runs at interpreter exit; the child then sees its stdin close, saves and exits
                weakref.finalize(self, self._child.hang_up)
            return self._child

    def _drain(self, child: Child) -> None:
        """Read the last events of an abandoned job, so that the next job starts clean."""
        while not child.is_last(child.next_event(HEARTBEAT_S)):
            pass
        self._busy = False


class Turn:
    """One user's turn at processes shared with others; it stops only its own job."""

    def __init__(self) -> None:
        self._engine: EngineProcess | None = None
        self._is_stopped = False

    @property
    def is_on(self) -> bool:
        """Whether a process is doing this user's job."""
        return self._engine is not None

    def begin(self) -> None:
        """Forget that the last job was stopped."""
        self._is_stopped = False

    def events(self, engine: EngineProcess, request: Request) -> Iterator[Event | None]:
        """Like `EngineProcess.events`.

        Raises
        ------
        EngineBusy
            Another user took the process first.
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
        """Ask one's own job to end soon, even if it is just about to begin."""
        self._is_stopped = True
        if self._engine is not None:
            self._engine.stop()
