"""Choose which of a window's two processes finds cells: a training keeps the first one to itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

from napari_cupre.events import Event, RunState
from napari_cupre.service.client import HEARTBEAT_S, EngineProcess, Turn
from napari_cupre.widgets.background import Job, Stream

PATIENCE_S = 3.0
"""Time within which a background measurement gives way."""


@dataclass(frozen=True)
class SecondWanted(Event):
    """The job wants to find cells in the process that outlines cells."""


class Lender(Protocol):
    """The owner of the second process, who can lend it; called in the GUI thread."""

    engine: EngineProcess

    def lend(self) -> None:
        """Stop using the process until it is given back."""

    def take_back(self) -> None:
        """Take the process back from a job that borrowed it."""


class FreeEngine:
    """Finds a process for a job: the training process if it is free, else the outlining process.

    Parameters
    ----------
    job : Job
        The job that needs the process; it passes `SecondWanted` on to the window.
    first : EngineProcess
        Trains as well.
    training : Job or None, optional
        Keeps the first process for itself while it runs or waits to run.
    """

    lender: Lender | None = None
    """The owner of a second process; without one a job waits until the first is free."""

    def __init__(self, job: Job, first: EngineProcess, training: Job | None = None) -> None:
        self._job, self._first, self._training = job, first, training
        self._is_lent = threading.Event()
        job.received.connect(self._hear)

    def _hear(self, event: Event | None) -> None:
        if isinstance(event, SecondWanted) and self.lender is not None:
            self.lender.lend()
            self._is_lent.set()

    def give_back(self) -> None:
        """Give the process back after the job, in the GUI thread."""
        if self._is_lent.is_set() and self.lender is not None:
            self._is_lent.clear()
            self.lender.take_back()

    def wait(self) -> Generator[Event | None, None, EngineProcess | None]:
        """Wait for a process, in the job's thread; return None if the job should stop."""
        is_said, patient_until = False, time.monotonic() + PATIENCE_S
        while self._job.status.state is not RunState.STOPPING:
            is_training = self._training is not None and self._training.status.is_active
            if not (is_training or self._first.is_busy):
                return self._first
            if not (is_training or self._is_lent.is_set()) and time.monotonic() < patient_until:
                time.sleep(HEARTBEAT_S)
            elif self._is_lent.wait(HEARTBEAT_S):
                if self.lender is not None and not self.lender.engine.is_busy:
                    return self.lender.engine
            elif not is_said:
                is_said = True
                yield SecondWanted()
            yield None
        return None


class BorrowingJob(Job):
    """A job in whichever of the two processes is free; stopping it stops no other job there.

    Parameters
    ----------
    title : str
        What the activity dock calls it.
    engine : EngineProcess
        Trains as well.
    training : Job or None, optional
        Keeps the engine for itself while it runs or waits to run.
    """

    def __init__(self, title: str, engine: EngineProcess, training: Job | None = None) -> None:
        self._turn = Turn()
        super().__init__(title, self._turn.stop)
        self.free = FreeEngine(self, engine, training)

    def start(self, stream: Stream, *args: Any) -> None:
        """Start like `Job.start`."""
        if not self.status.is_active:
            self._turn.begin()
        super().start(stream, *args)

    def _finish(self) -> None:
        self.free.give_back()
        super()._finish()

    def abandon(self) -> None:
        """Stop listening for good, because the window is closing."""
        self.free.give_back()
        super().abandon()
