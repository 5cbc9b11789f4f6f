"""One long job at a time: a worker thread reads its events and the GUI thread shows them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils import progress
from psygnal import Signal, SignalGroupDescriptor
from qtpy.QtCore import QThreadPool, QTimer
from qtpy.QtWidgets import QApplication, QLabel, QStatusBar

from napari_cupre.errors import CupreError, InputError, system_reason
from napari_cupre.events import Event, Finished, Notice, Progress, RunState, StateChanged, StepDone
from napari_cupre.widgets.titled import titled

Stream = Callable[..., Iterator[Event | None]]
PROGRESS_STEPS = 100
BAR_MS = 300
STOPPING = "Stopping …"


@dataclass
class RunStatus:
    """The state of a job as a widget shows it; every field announces its changes (`events`).

    Attributes
    ----------
    state : RunState
        How far the job is between idle and its end.
    message : str
        What is happening now; at the end, the verdict.
    notice : str
        Something the user should read once.
    error, details : str
        Why the job failed, in one sentence and at length.
    fraction : float
        Share of the work done, 0..1.
    remaining : float or None
        Estimated seconds left; None while unknown.
    is_asked_to_stop : bool
        Whether the user pressed Stop; a job may also enter the state "stopping" by itself.
    """

    state: RunState = RunState.IDLE
    message: str = ""
    notice: str = ""
    error: str = ""
    details: str = ""
    fraction: float = 0.0
    remaining: float | None = None
    is_asked_to_stop: bool = False
    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    def begin(self) -> None:
        """Clear what the last run left."""
        with self.events.blocked():  # otherwise each change would appear next to leftovers of the last run
            self.error = self.details = self.notice = self.message = ""
            self.fraction, self.remaining, self.is_asked_to_stop = 0.0, None, False
        self.state = RunState.PREPARING

    @property
    def is_active(self) -> bool:
        """Whether the job is running."""
        return self.state not in (RunState.IDLE, RunState.DONE, RunState.STOPPED, RunState.FAILED)


class Job:
    """Runs a stream of events in napari's worker thread and keeps `status` up to date.

    Parameters
    ----------
    title : str
        Its name in the activity dock.
    request_stop : Callable[[], None] or None, optional
        Asks the source of the events to end; its last events still arrive. None if it cannot end early.
    """

    received = Signal(object)
    """Emits every event in the GUI thread, after `status` has been updated."""

    def __init__(self, title: str, request_stop: Callable[[], None] | None = None) -> None:
        self.title = title
        self.status = RunStatus()
        self._request_stop = request_stop or (lambda: None)
        self._worker: GeneratorWorker | None = None
        self._bar: progress | None = None
        self._outcome: RunState | None = None
        self._bar_timer = QTimer()
        self._bar_timer.setInterval(BAR_MS)
        self._bar_timer.timeout.connect(self._move_bar)

    def start(self, stream: Stream, *args: Any) -> None:
        """Start reading `stream(*args)`, a generator function that runs in the worker thread.

        Raises
        ------
        InputError
            If the job is already running.
        """
        if self.status.is_active:
            raise InputError(f"{self.title} is running: stop it first.")
        self._outcome = None
        self.status.begin()
        self._bar = progress(total=PROGRESS_STEPS, desc=self.title)
        hold_still()
        self._bar_timer.start()
        self._worker = create_worker(titled(guarded, self.title), stream, args, _start_thread=False)
        self._worker.yielded.connect(self._receive)
        self._worker.finished.connect(self._finish)
        self._worker.start()

    def stop(self) -> None:
        """Ask the job to end; its remaining events are still shown."""
        if self.status.is_active and not self.status.is_asked_to_stop:
            self.status.is_asked_to_stop = True
            self.status.message = STOPPING
            self.status.state = RunState.STOPPING
            self._request_stop()

    def abandon(self) -> None:
        """Stop listening for good, because the window is closing."""
        if self._worker is not None:
            self._worker.yielded.disconnect(self._receive)
            self._worker.finished.disconnect(self._finish)
            self._worker.quit()
            self._worker = None
        self._close_bar()
        self._request_stop()

    def _receive(self, event: Event | None) -> None:
        from napari_cupre.service.protocol import Failed

        if event is None:  # a heartbeat
            return
        status = self.status
        match event:
            case StateChanged(state=state, message=message):
                self._change_state(state, message)
            case Notice(message=message):
                status.notice = message
            case Progress(done=done, total=total, message=message):
                self._advance(done / max(total, 1), None)
                self._say(message)
            case StepDone(fraction=fraction, remaining=remaining):
                self._advance(fraction, remaining)
            case Finished(verdict=verdict):
                status.message = verdict
            case Failed(message=message, details=details):
                status.details = details
                status.error = message
                self._outcome = RunState.FAILED
        self.received.emit(event)

    def _change_state(self, state: RunState, message: str) -> None:
        if state.is_over:
            self._outcome = state
        elif self.status.state is not RunState.STOPPING:
            self.status.state = state
        self._say(message, has_heard=state.is_over or state is RunState.STOPPING)

    def _say(self, message: str, has_heard: bool = False) -> None:
        """Show a message; after a press of Stop, only if the engine has heard of it."""
        if message and (has_heard or not self.status.is_asked_to_stop):
            self.status.message = message

    def _advance(self, fraction: float, remaining: float | None) -> None:
        self.status.fraction = min(max(fraction, 0.0), 1.0)
        self.status.remaining = remaining

    def _move_bar(self) -> None:
        """Move napari's progress bar, but never from within one of our own events.

        The bar makes Qt process all pending events, so the next one would be handled before this one is done.
        """
        if self._bar is not None:
            step = int(self.status.fraction * PROGRESS_STEPS) - self._bar.n
            if step > 0:
                self._bar.update(step)

    def _finish(self) -> None:
        """End the run here, not at its last event: a new run may then start at once."""
        stopped = self._worker is not None and self._worker.abort_requested  # by napari's own Cancel
        stopped |= self.status.state is RunState.STOPPING
        self._worker = None
        self._close_bar()
        if self.status.message == STOPPING:
            self.status.message = ""
        self.status.state = self._outcome or (RunState.STOPPED if stopped else RunState.DONE)

    def _close_bar(self) -> None:
        self._bar_timer.stop()
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def hold_still() -> None:
    """Stop napari's turning ring in the status bar; its progress bar and ours still move.

    Each turn makes Qt compose the whole window anew. Without a graphics card (remote desktops, virtual
    machines) this took half a processor core for as long as a training ran (docs/performance.md).
    """
    for window in QApplication.topLevelWidgets():
        for bar in window.findChildren(QStatusBar):
            for label in bar.findChildren(QLabel):
                if (movie := label.movie()) is not None:
                    movie.setPaused(True)


def guarded(stream: Stream, args: tuple[Any, ...]) -> Iterator[Event | None]:
    """Turn an exception into an event; otherwise napari would show a traceback.

    Qt has one thread per core, and these streams wait minutes for another process. They lend out their
    thread; otherwise two jobs on a machine with two cores would block all saving.
    """
    from napari_cupre.service.protocol import Failed

    threads = QThreadPool.globalInstance()
    if threads is not None:
        threads.releaseThread()
    try:
        yield from stream(*args)
    except CupreError as err:
        yield Failed(str(err))
    except OSError as err:
        where = f'"{err.filename}"' if err.filename else "A file"
        yield Failed(f"{where} could not be read or written: {system_reason(err)}.", traceback.format_exc())
    except Exception as err:
        yield Failed(
            f"Something unexpected went wrong ({type(err).__name__}: {err}).", traceback.format_exc()
        )
    finally:
        if threads is not None:
            threads.reserveThread()
