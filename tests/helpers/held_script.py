"""What an engine does in tests of work that a training interrupts."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from napari_cupre.events import Event, Finished, Progress, RunState, StateChanged, StepDone
from napari_cupre.service.protocol import FinetuneRequest, Request


class HeldScript(ABC):
    """Trains at once; answers other requests when `may_end` is set, or is stopped.

    Attributes
    ----------
    engine : ScriptedEngine
        Plays the script.
    progress : Progress
        What is said while it waits.
    """

    engine: Any = None
    progress = Progress(1, 2)

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.may_end.set()

    @abstractmethod
    def answer(self, request: Request) -> Iterator[Event]:
        """What a request brings in the end."""

    def __call__(self, request: Request) -> Iterator[Event]:
        yield StateChanged(RunState.RUNNING)
        if isinstance(request, FinetuneRequest):
            yield StepDone(1, 0.5, 1.0, {"total": 1.0})
            yield Finished("Trained.")
            yield StateChanged(RunState.DONE)
            return
        while not self.may_end.wait(0.02):
            yield self.progress
            if self.engine.stopped.is_set():
                yield StateChanged(RunState.STOPPED)
                return
        yield from self.answer(request)
