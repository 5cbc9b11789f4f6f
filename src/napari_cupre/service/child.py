"""One child process, its exchange folder, and what it has sent."""

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import napari_cupre
from napari_cupre.errors import CupreError, EnvironmentFault, reason_of
from napari_cupre.events import Event
from napari_cupre.service.protocol import URGENT, Failed, JobEnded, Quit, Request, Stop, decode, encode

LOG_NAME = "engine.log"
LOG_TAIL = 4000  # number of characters of the log that a failure quotes


@dataclass
class Child:
    """A process, its exchange folder and the events it has sent."""

    process: subprocess.Popen[str]
    folder: Path
    received: queue.SimpleQueue[Event] = field(default_factory=queue.SimpleQueue)
    lock: threading.Lock = field(default_factory=threading.Lock)
    was_asked: bool = False

    @property
    def is_alive(self) -> bool:
        """Whether the process exists (it may still be importing)."""
        return self.process.poll() is None

    def send(self, request: Request) -> None:
        """Write one request; the stream of events, not this call, reports a dead process."""
        self.was_asked = True
        with self.lock, contextlib.suppress(OSError, ValueError):
            print(json.dumps(encode(request, self.folder)), file=self.process.stdin, flush=True)

    def stop(self) -> None:
        """Ask the running job to end soon."""
        self.send(Stop())

    def next_event(self, wait: float) -> Event | None:
        """Return the next event; None if nothing arrived for some time."""
        try:
            return self.received.get(timeout=wait)
        except queue.Empty:
            # an iterator that starts after the process died must not wait for ever
            return None if self.reader_lives() else JobEnded()

    @staticmethod
    def is_last(event: Event | None) -> bool:
        """Whether this is the last event of a job."""
        return isinstance(event, JobEnded)

    def reader_lives(self) -> bool:
        """Whether the reading thread still runs and will report the end of the process."""
        return self.is_alive or self.folder.exists()

    def read(self) -> None:
        """Read events in a thread until the process closes its stdout, then report why it ended."""
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

    def hang_up(self) -> None:
        """Close the process's stdin, which tells it to save and exit; never wait.

        A process without requests has nothing to save. It is ended at once, because it may still be
        importing its libraries and would notice much later.
        """
        process = self.process
        if not self.was_asked:
            with contextlib.suppress(OSError):
                process.kill()
        if process.stdin is not None and not process.stdin.closed:
            with contextlib.suppress(OSError, ValueError):
                print(json.dumps({"type": Quit.__name__}), file=process.stdin, flush=True)
            with contextlib.suppress(OSError, ValueError):
                process.stdin.close()

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


def start_child(command: list[str], is_urgent: bool) -> Child:
    """Start a process.

    Parameters
    ----------
    command : list[str]
        Program and arguments; the exchange folder is appended.
    is_urgent : bool
        Whether a person waits for each answer.

    Raises
    ------
    EnvironmentFault
        If the system refuses to start it.
    """
    folder = Path(tempfile.mkdtemp(prefix="napari-cupre-"))
    try:
        with (folder / LOG_NAME).open("w") as log:
            process = subprocess.Popen(
                [*command, str(folder), *([URGENT] if is_urgent else [])],
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
    child = Child(process, folder)
    threading.Thread(target=child.read, name="cupre-events", daemon=True).start()
    return child


SHORT_WAITS = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "1"}
"""How long a computing thread waits for others before it sleeps, in GNU's and Intel's OpenMP.

By default it waits some milliseconds, on a processor that another program or the awaited thread could use.
With dozens of busy programs, a training step took over 10 s of processor time; without waiting it took 1.0 s.
"""


def _child_environment() -> dict[str, str]:
    """Return the child's environment, in which it finds the same package even if `sys.path` was changed.

    It also tells the child not to keep processors busy with waiting, unless the user has set this.
    """
    root = str(Path(napari_cupre.__file__).parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    waits = {} if "OMP_WAIT_POLICY" in os.environ else SHORT_WAITS
    return {**waits, **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _own_group() -> dict[str, Any]:
    """Start the child in its own group: the window handles Ctrl-C, and the child exits after the window.

    On POSIX this is a process group, not a session: the scheduler's autogroups follow sessions, and would
    give a training in its own session as much time as the whole desktop, whatever its nice value.
    """
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"process_group": 0}
