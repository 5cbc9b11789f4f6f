"""The child: reads requests from stdin, does one job at a time, writes events to stdout.

stdin closing means that the window is gone, however it went: the running job is stopped (a training saves
itself) and the process leaves.
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
NICENESS = 5  # a third of the window's weight; much more would starve the engine on a shared machine


class Server:
    """Serves one window.

    Parameters
    ----------
    requests : Iterable[str]
        Lines of JSON, one request each; their end means "stop and leave".
    replies : IO[str]
        Where events go, one line of JSON each.
    folder : Path
        Where arrays are exchanged; removed at the end.
    """

    def __init__(self, requests: Iterable[str], replies: IO[str], folder: Path) -> None:
        self._requests = requests
        self._replies = replies
        self._folder = folder
        self._write_lock = threading.Lock()
        self._jobs: queue.SimpleQueue[EngineJob[Any] | None] = queue.SimpleQueue()
        self._latest: EngineJob[Any] | None = None
        self._detectors = LatestDetector()

    def serve(self, libraries: Iterable[str] = ()) -> None:
        """Work until the window asks to quit or goes away.

        Parameters
        ----------
        libraries : iterable of str, optional
            Modules to import while no job is there; what goes wrong is told by the job that needs them.
        """
        threading.Thread(target=self._listen, name="cupre-requests", daemon=True).start()
        try:
            for name in libraries:
                if not self._jobs.empty():
                    break  # the job imports what it needs, and no more
                with contextlib.suppress(Exception):
                    import_module(name)
            while (job := self._jobs.get()) is not None:
                self._do(job)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _listen(self) -> None:
        """Runs in its own thread, so that stop and preview are heard in the middle of a job."""
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
        """Report a request that was not understood; if it asked for a job, the window waits for its end."""
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
        elif isinstance(request, PreviewRequest):
            if self._latest is not None:
                self._latest.preview(request)
        elif isinstance(request, WindowRequest | PromptRequest | AimRequest):
            is_heard = isinstance(self._latest, Outlining) and self._latest.hear(request)
            if isinstance(request, PromptRequest) and not is_heard:
                self._send(PromptRefused(request.number, NO_PLANE))
        else:
            self._latest = job_for(request, self._detectors)
            self._jobs.put(self._latest)

    def _do(self, job: EngineJob[Any]) -> None:
        self._send(StateChanged(RunState.PREPARING, "Loading the model"))
        try:
            for event in job.events():
                self._send(event)
        except CupreError as err:
            self._send(Failed(str(err)))
        except MemoryError:
            self._send(Failed("Memory ran out: close other programs, or choose a smaller model."))
        except (Exception, SystemExit) as err:  # the window must hear of anything that ends a job
            sentence = f"The engine met an unexpected error ({type(err).__name__}: {err})."
            self._send(Failed(sentence, traceback.format_exc()))
        self._send(JobEnded())
        trim()  # what the job took is the window's again until the next one

    def _send(self, event: Event) -> None:
        # a window that is gone must not keep a training from saving itself
        with self._write_lock, contextlib.suppress(BrokenPipeError, ValueError):
            self._replies.write(json.dumps(encode(event, self._folder)) + "\n")
            self._replies.flush()


PREDICTION = (
    "napari_cupre.prediction.stack",
    "napari_cupre.prediction.outliner",
    "napari_cupre.prediction.engine_choice",
)
"""What finding and outlining need."""

TRAINING = (
    "napari_cupre.finetuning.finetune_run",
    "torch._dynamo",  # torch's optimisers import it when the first one is made, for over a second
)
"""What training needs beside."""


def libraries(is_urgent: bool) -> tuple[str, ...]:
    """What a child imports while it waits, that of the quickest job first.

    The urgent one never trains: where its work needs no torch, it saves 600 MB by not importing it.
    """
    if may_serve_without_torch():
        light = (*PREDICTION, "napari_cupre.prediction.graph_detector", "onnxruntime")
        return light if is_urgent else (*light, *TRAINING)
    return (*PREDICTION, "napari_cupre.prediction.detector", *TRAINING)


def lower_priority() -> None:
    """Let the window go first on a busy processor, and die first when memory runs out."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
        # On Linux it gives way the moment that the window has something to do. What other sessions compute
        # does not starve it: the scheduler's autogroups share out by session first.
        if hasattr(os, "SCHED_IDLE"):
            with contextlib.suppress(OSError):  # some containers forbid it; the niceness stays
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        import psutil

        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    with contextlib.suppress(OSError):  # Linux alone: raising one's own score needs no rights
        Path("/proc/self/oom_score_adj").write_text("500")


def _claim_stdout() -> IO[str]:
    """Reserve stdout for events: what libraries print, in Python or in C, goes to stderr instead."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return replies


def run_child(argv: list[str]) -> int:
    """Serve the window that started this process; `argv` holds the exchange folder, and perhaps `URGENT`."""
    replies = _claim_stdout()
    is_urgent = URGENT in argv
    if not is_urgent:
        lower_priority()
    requests = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as the process
    Server(requests, replies, Path(argv[0])).serve(libraries(is_urgent))
    return 0
