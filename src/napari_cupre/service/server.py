"""The child: read requests from stdin, do one job at a time, write events to stdout.

When stdin closes, the window is gone: the running job is stopped (a training saves itself) and the process
exits.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import sys
import threading
import traceback
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from napari_cupre.errors import CupreError
from napari_cupre.events import Event, Notice, RunState, StateChanged
from napari_cupre.model.memory import trim
from napari_cupre.prediction.engine_choice import may_serve_without_torch
from napari_cupre.service.beside import LessonRequest, RateRequest, TryRequest
from napari_cupre.service.engine_job import EngineJob
from napari_cupre.service.jobs import job_for
from napari_cupre.service.outlining import NO_PLANE, LatestDetector, Outlining
from napari_cupre.service.protocol import (
    URGENT,
    AimRequest,
    Failed,
    FinetuneRequest,
    JobEnded,
    OutlineRequest,
    PredictRequest,
    PreviewRequest,
    PromptRefused,
    PromptRequest,
    Quit,
    Request,
    Stop,
    WindowRequest,
    decode,
    encode,
)

JOBS = (FinetuneRequest, PredictRequest, OutlineRequest, RateRequest, LessonRequest, TryRequest)
NICENESS = 5  # a third of the window's weight; a higher value would starve the engine on a shared machine


class Server:
    """Serves one window.

    Parameters
    ----------
    requests : Iterable[str]
        Lines of JSON, one request each; their end means "stop and exit".
    replies : IO[str]
        Stream for events, one line of JSON each.
    folder : Path
        Folder for exchanging arrays; removed at the end.
    """

    def __init__(self, requests: Iterable[str], replies: IO[str], folder: Path) -> None:
        self._requests = requests
        self._replies = replies
        self._folder = folder
        self._write_lock = threading.Lock()
        self._jobs: queue.SimpleQueue[EngineJob[Any] | None] = queue.SimpleQueue()
        self._latest: EngineJob[Any] | None = None
        self._loading: set[EngineJob[Any]] = set()
        self._lock = threading.Lock()
        self._detectors = LatestDetector()

    def serve(self, libraries: Iterable[str] = ()) -> None:
        """Work until the window asks to quit or disappears.

        Parameters
        ----------
        libraries : iterable of str, optional
            Modules to import while idle; errors are reported by the job that needs them.
        """
        threading.Thread(target=self._listen, name="cupre-requests", daemon=True).start()
        try:
            for name in libraries:
                if not self._jobs.empty():
                    break  # the job imports only what it needs
                with contextlib.suppress(Exception):
                    import_module(name)
            while (job := self._jobs.get()) is not None:
                self._do(job)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _listen(self) -> None:
        """Read requests in a separate thread, so that stop and preview work during a job."""
        try:
            for line in self._requests:
                try:
                    request = decode(json.loads(line), self._folder)
                    if isinstance(request, Quit):
                        break
                    self._take(request)
                except Exception as err:  # a request that cannot be served must not end a running job
                    self._refuse(line, err)
        finally:
            if self._latest is not None:
                self._latest.stop()
            self._jobs.put(None)

    def _refuse(self, line: str, error: Exception) -> None:
        """Report a request that was not understood; end its job too, because the window waits for that."""
        reason = str(error) if isinstance(error, CupreError) else f"{type(error).__name__}: {error}"
        if any(job.__name__ in line for job in JOBS):
            self._send(Failed(f"The engine could not start this ({reason})."))
            self._send(JobEnded())
        else:
            self._send(Notice(f"The engine could not answer and continues ({reason})."))

    def _take(self, request: Request) -> None:
        if isinstance(request, Stop):
            if self._latest is not None:
                self._latest.stop()
                if self._give_up(self._latest):
                    self._send(JobEnded())
        elif isinstance(request, PreviewRequest):
            if self._latest is not None:
                self._latest.preview(request)
        elif isinstance(request, WindowRequest | PromptRequest | AimRequest):
            is_heard = isinstance(self._latest, Outlining) and self._latest.hear(request)
            if isinstance(request, PromptRequest) and not is_heard:
                self._send(PromptRefused(request.number, NO_PLANE))
        else:
            self._latest = job_for(request, self._detectors)
            with self._lock:
                self._loading.add(self._latest)
            self._jobs.put(self._latest)

    def _give_up(self, job: EngineJob[Any]) -> bool:
        """End a job that is still waiting or loading, for the window at once; return whether it was.

        Importing torch and reading a model cannot be interrupted, and until its first event a job has nothing
        to keep.
        """
        with self._lock:
            is_loading = job in self._loading and job.may_end_while_loading
            if is_loading:
                self._loading.remove(job)
        return is_loading

    def _begin(self, job: EngineJob[Any]) -> bool:
        """Note that a job has loaded what it needs; return whether anybody still waits for it."""
        with self._lock:
            is_wanted = job in self._loading
            self._loading.discard(job)
        return is_wanted

    def _do(self, job: EngineJob[Any]) -> None:
        with self._lock:
            if job not in self._loading:
                job.forgo()
                return
            self._send(StateChanged(RunState.PREPARING, "Loading the model"))
        is_wanted = False
        last: Event | None = None
        try:
            with contextlib.closing(job.events()) as events:
                for event in events:
                    is_wanted = is_wanted or self._begin(job)
                    if not is_wanted:
                        return
                    self._send(event)
        except CupreError as err:
            last = Failed(str(err))
        except MemoryError:
            last = Failed("Memory ran out: close other programs, or choose a smaller model.")
        except (Exception, SystemExit) as err:  # anything that ends a job must be reported to the window
            sentence = f"The engine met an unexpected error ({type(err).__name__}: {err})."
            last = Failed(sentence, traceback.format_exc())
        if is_wanted or self._begin(job):
            self._end(last)

    def _end(self, last: Event | None) -> None:
        """Tell the window that the job ended, with a last event if there is one."""
        if last is not None:
            self._send(last)
        self._send(JobEnded())
        trim()  # return the memory of the job to the system until the next job

    def _send(self, event: Event) -> None:
        # a closed window must not stop a training from saving itself
        with self._write_lock, contextlib.suppress(BrokenPipeError, ValueError):
            self._replies.write(json.dumps(encode(event, self._folder)) + "\n")
            self._replies.flush()


PREDICTION = (
    "napari_cupre.prediction.stack",
    "napari_cupre.prediction.outliner",
    "napari_cupre.prediction.engine_choice",
)
"""Modules needed to find and outline cells."""

TRAINING = (
    "napari_cupre.finetuning.finetune_run",
    "torch._dynamo",  # torch's first optimiser imports this, which takes over a second
)
"""Modules that training needs in addition."""


def libraries(is_urgent: bool) -> tuple[str, ...]:
    """Return what a child imports while it waits, starting with the quickest job.

    The urgent child never trains; without torch it saves 600 MB, if its work does not need torch.
    """
    if may_serve_without_torch():
        light = (*PREDICTION, "napari_cupre.prediction.graph_detector", "onnxruntime")
        return light if is_urgent else (*light, *TRAINING)
    return (*PREDICTION, "napari_cupre.prediction.detector", *TRAINING)


def lower_priority() -> None:
    """Give the window priority on a busy processor, and be killed first when memory runs out."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
        # On Linux the child gives way as soon as the window has something to do. Other sessions do not starve
        # it, because the scheduler's autogroups divide the time between sessions first.
        if hasattr(os, "SCHED_IDLE"):
            with contextlib.suppress(OSError):  # some containers forbid this; the nice value stays
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        import psutil

        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    with contextlib.suppress(OSError):  # only on Linux; raising one's own score needs no rights
        Path("/proc/self/oom_score_adj").write_text("500")


def _claim_stdout() -> IO[str]:
    """Reserve stdout for events: output of libraries, in Python or C, goes to stderr instead."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return replies


def run_child(argv: list[str]) -> int:
    """Serve the window that started this process; `argv` contains the exchange folder and maybe `URGENT`."""
    replies = _claim_stdout()
    is_urgent = URGENT in argv
    if not is_urgent:
        lower_priority()
    requests = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as the process
    Server(requests, replies, Path(argv[0])).serve(libraries(is_urgent))
    return 0
