"""The window's end of the pipe. Knows no Qt: what blocks is an iterator, to be read in a worker thread."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import napari_cupre
from napari_cupre.errors import CupreError, EnvironmentFault, InputError, reason_of
from napari_cupre.events import Event
from napari_cupre.service.protocol import URGENT, Failed, JobEnded, Quit, Request, Stop, decode, encode

HEARTBEAT_S = 0.1
LOG_NAME = "engine.log"
LOG_TAIL = 4000  # characters of the log that a failure quotes


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
        self._arguments = [URGENT] if is_urgent else []
        self._child: _Child | None = None
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
                event = child.next_event()
                ended = isinstance(event, JobEnded)
                if not ended:
                    yield event
        finally:
            if ended:
                self._busy = False
            else:
                child.send(Stop())
                threading.Thread(target=self._drain, args=(child,), name="cupre-drain", daemon=True).start()

    def stop(self) -> None:
        """Ask the running job to end soon; its last events still come."""
        if self._busy:
            self.send(Stop())

    def send(self, request: Request) -> None:
        """Send what has no answer of its own, such as a preview; lost if no process runs."""
        if self._child is not None:
            self._child.send(request)

    def close(self, wait: float = 0.0) -> None:
        """Stop the job and let the process leave once it has saved; wait up to `wait` seconds for that."""
        child, self._child = self._child, None
        if child is not None:
            _hang_up(child)
            with contextlib.suppress(subprocess.TimeoutExpired):
                if wait:
                    child.process.wait(wait)

    def _started(self) -> _Child:
        with self._lock:
            if self._child is None or not self._child.is_alive:
                self._child = _start_child(self._command, self._arguments)
                # runs at interpreter exit too; the child then sees its stdin close, saves and leaves
                weakref.finalize(self, _hang_up, self._child)
            return self._child

    def _drain(self, child: _Child) -> None:
        """After an iterator was given up: read the job's last events, so that the next job starts clean."""
        while not isinstance(child.next_event(), JobEnded):
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


@dataclass
class _Child:
    """One process, its exchange folder and the events it has sent."""

    process: subprocess.Popen[str]
    folder: Path
    received: queue.SimpleQueue[Event] = field(default_factory=queue.SimpleQueue)
    lock: threading.Lock = field(default_factory=threading.Lock)
    was_asked: bool = False

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def send(self, request: Request) -> None:
        """Write one request; a process that is gone is reported by the stream of events, not here."""
        self.was_asked = True
        with self.lock, contextlib.suppress(OSError, ValueError):
            print(json.dumps(encode(request, self.folder)), file=self.process.stdin, flush=True)

    def next_event(self) -> Event | None:
        try:
            return self.received.get(timeout=HEARTBEAT_S)
        except queue.Empty:
            # an iterator that comes late to a dead process must not wait for ever
            return None if self.reader_lives() else JobEnded()

    def reader_lives(self) -> bool:
        return self.is_alive or self.folder.exists()

    def read(self) -> None:
        """Runs in its own thread until the process has closed its stdout, then says why it is gone."""
        with contextlib.suppress(ValueError, OSError):
            for line in self.process.stdout or ():
                self.received.put(self._decode(line))
        self.received.put(self._obituary())
        self.received.put(JobEnded())
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with self.lock, contextlib.suppress(OSError, ValueError):
                    pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _decode(self, line: str) -> Event:
        try:
            return decode(json.loads(line), self.folder)
        except (CupreError, ValueError, OSError) as err:
            return Failed(f"The engine process sent something unreadable ({err}).", line[:LOG_TAIL])

    def _obituary(self) -> Failed:
        code = self.process.wait()
        log = self.folder / LOG_NAME
        tail = log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:] if log.is_file() else ""
        if code == -9:
            why = "was killed by the system, most likely because memory ran out"
        else:
            why = f"ended unexpectedly (exit code {code})"
        advice = "Resume continues a training from its last checkpoint; finding cells again continues a slide"
        return Failed(f"The engine process {why}; {advice}.", tail)


def _start_child(command: list[str], arguments: list[str]) -> _Child:
    folder = Path(tempfile.mkdtemp(prefix="napari-cupre-"))
    try:
        with (folder / LOG_NAME).open("w") as log:
            process = subprocess.Popen(
                [*command, str(folder), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                env=_child_environment(),
                **_own_group(),
            )
    except OSError as err:
        shutil.rmtree(folder, ignore_errors=True)
        raise EnvironmentFault(
            f"The engine process could not be started ({reason_of(err)}): check the Python at {command[0]}."
        ) from err
    child = _Child(process, folder)
    threading.Thread(target=child.read, name="cupre-events", daemon=True).start()
    return child


def _hang_up(child: _Child) -> None:
    """Close the process's stdin, which tells it to save and leave; never waits.

    A process that was asked for nothing has nothing to save: it is ended at once, since it may still be
    importing its libraries and would notice much later.
    """
    process = child.process
    if not child.was_asked:
        with contextlib.suppress(OSError):
            process.kill()
    if process.stdin is not None and not process.stdin.closed:
        with contextlib.suppress(OSError, ValueError):
            print(json.dumps({"type": Quit.__name__}), file=process.stdin, flush=True)
        with contextlib.suppress(OSError, ValueError):
            process.stdin.close()


SHORT_WAITS = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "1"}
"""How long a thread of the arithmetic waits for others before it sleeps, by GNU's and by Intel's OpenMP.

By default some milliseconds, on a processor that another program, or the thread it waits for, could use. With
dozens of programs at work a training step took over 10 s of processor time, and without the waiting 1.0 s.
"""


def _child_environment() -> dict[str, str]:
    """The child finds the same package, also where the window got it from an altered `sys.path`.

    It is also told not to keep processors busy with waiting, unless the user says how to wait.
    """
    root = str(Path(napari_cupre.__file__).parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    waits = {} if "OMP_WAIT_POLICY" in os.environ else SHORT_WAITS
    return {**waits, **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _own_group() -> dict[str, Any]:
    """Ctrl-C in the terminal is the window's to handle; the child leaves in order when the window does.

    On POSIX a process group and not a session: the scheduler's autogroups follow sessions, and would weigh a
    training in a session of its own like the whole desktop, whatever its nice value.
    """
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"process_group": 0}
