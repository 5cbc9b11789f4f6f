"""Measure, while the computer is idle, how much more cells would help."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_cupre.events import Event, Finished, RunState
from napari_cupre.project.cells import State
from napari_cupre.project.project import Project
from napari_cupre.project.rounds import origin
from napari_cupre.service.client import EngineBusy, Turn
from napari_cupre.widgets.background import Job
from napari_cupre.widgets.errands import Errands
from napari_cupre.widgets.preferences import read_preferences
from napari_cupre.widgets.session_part import SessionPart
from napari_cupre.widgets.timers import single_timer

if TYPE_CHECKING:
    from napari_cupre.evaluation.project_curve import ProjectCurve
    from napari_cupre.service.beside import LessonRequest
    from napari_cupre.widgets.session import Session

TICK_MS, LOOK_MS = 5000, 1000
QUIET_S = 60.0
"""Measuring starts after this time without training, finding cells or annotating."""

BUSY_PERCENT = 50.0
"""If more of the processor is in use, other programs need it."""

LEAST_STEPS, MOST_STEPS, USUAL_STEPS = 20, 100, 60


class IdleLessons(SessionPart):
    """Trains on parts of the annotation in the background and reports the result.

    This runs in the training process, at the same low priority; anything that a person starts ends it.
    """

    changed = Signal()
    """Emitted when there is a new answer, or when measuring begins or ends."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._turn, self._errands = Turn(), Errands()
        self.job = Job("Measuring how much more cells would help", self._turn.stop)
        self.job.received.connect(self._take)
        self.job.status.events.state.connect(self._ended)
        self.is_wanted = True
        self.found: ProjectCurve | None = None
        self.left: int | None = None
        """Number of parts not measured yet; None while unknown."""
        self._left_for = 0
        self._quiet_since = time.monotonic()
        psutil.cpu_percent(None)  # each call reports the use since the previous call
        self._timer = QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self.tick)
        self._timer.start()
        self._looking = single_timer(self.look, LOOK_MS)
        self._looked_for = -1
        self._others = (session.training, session.prediction, session.comparison, session.what_next.job)
        for job in self._others:
            job.status.events.state.connect(self._something_runs)
        session.cells_changed.connect(lambda cells, change: self._annotated())
        session.queue.changed.connect(self._counted)
        session.keeper.opened.connect(lambda project: self._forget())
        session.what_next.changed.connect(self.look)

    # --- when to measure -------------------------------------------------------------------------

    def tick(self) -> None:
        """Measure one more part if the computer is idle."""
        from napari_cupre.service.beside import LessonRequest

        if not self._session.is_open:  # the window is gone
            self._session.close()
            return
        project, is_free = self._session.keeper.project, _machine_is_free()
        if project is not None and is_free and self._is_idle() and self._lacks(project):
            self._turn.begin()
            steps = [each.verdict.get("steps") for each in project.document.rounds]
            usual = int(steps[-1] or USUAL_STEPS) if steps else USUAL_STEPS
            self.job.start(
                self._stream,
                LessonRequest(
                    str(project.folder),
                    origin(project),
                    min(max(usual, LEAST_STEPS), MOST_STEPS),
                    read_preferences().device,
                ),
            )
            self.changed.emit()

    def _is_idle(self) -> bool:
        session = self._session
        jobs = (*self._others, self.job)
        return (
            self.is_wanted
            and not any(job.status.is_active for job in jobs)
            and not session.tools.prompter.is_waiting
            and not session.keeper.is_dirty
            and time.monotonic() - self._quiet_since >= QUIET_S
        )

    def _lacks(self, project: Project) -> bool:
        """Whether there is something to measure: a person has trained on enough cells, and a part is left."""
        from napari_cupre.evaluation.decision import ENOUGH_CELLS

        cells = self.cells()
        if project.read_only or not project.document.rounds or cells < ENOUGH_CELLS:
            return False
        return self.left != 0 or cells > self._left_for

    @property
    def is_coming(self) -> bool:
        """Whether a measurement will start as soon as the computer is idle."""
        project = self._session.keeper.project
        return self.is_wanted and project is not None and self._lacks(project)

    def cells(self) -> int:
        """Count the checked and edited cells of the project."""
        session = self._session
        here = sum(each.cells.count(State.CHECKED, State.EDITED) for each in session.all_cells())
        return here + sum(entry.checked for entry in session.queue.taught_elsewhere())

    def _touched(self) -> None:
        self._quiet_since = time.monotonic()

    def _annotated(self) -> None:
        self._touched()
        self._looking.start()

    def _counted(self) -> None:
        """Look again if the number of cells differs: a project's images become known one after the other."""
        if self.cells() != self._looked_for:
            self._looking.start()

    def _something_runs(self, state: RunState) -> None:
        self._touched()
        if state is RunState.PREPARING:
            self.job.stop()
        elif state.is_over:
            self.look()

    def want(self, on: bool) -> None:
        """Switch measuring on or off."""
        self.is_wanted = on
        if not on:
            self.job.stop()
        self.changed.emit()

    # --- results ---------------------------------------------------------------------------------

    def _stream(self, request: LessonRequest) -> Iterator[Event | None]:
        """Measure in the worker thread, only while the process has nothing else to do."""
        try:
            yield from self._turn.events(self._session.engine, request)
        except EngineBusy:
            yield None

    def _take(self, event: Event) -> None:
        if isinstance(event, Finished) and "left" in event.result:
            self.left, self._left_for = int(event.result["left"]), self.cells()

    def _ended(self, state: RunState) -> None:
        if state is RunState.FAILED:  # e.g. too few cells for a part; more cells may solve this
            self.left, self._left_for = 0, self.cells()
        if state.is_over:
            self.look()

    def look(self) -> None:
        """Read the measurements and announce the answer."""
        project = self._session.keeper.project
        if project is None or not self._session.is_open:
            return
        advice, self._looked_for = self._session.what_next.advice, self.cells()
        like = advice[0].name if advice else ""
        from napari_cupre.evaluation.project_curve import curve_of

        work = partial(curve_of, project.folder, tuple(project.document.rounds), self._looked_for, like)
        self._errands.do(work, self._know, lambda error: None)

    def _know(self, found: ProjectCurve) -> None:
        self.found = found
        self.changed.emit()

    def _forget(self) -> None:
        self.job.stop()
        self.found, self.left, self._left_for = None, None, 0
        self._touched()
        self.look()
        self.changed.emit()

    def close(self) -> None:
        """Stop measuring for good."""
        self._timer.stop()
        self._looking.stop()
        self._errands.close()
        self.job.abandon()


def _machine_is_free() -> bool:
    """Whether other programs leave the processor free and the computer is plugged in."""
    battery: Any = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    on_battery = battery is not None and battery.power_plugged is False
    return not on_battery and psutil.cpu_percent(None) < BUSY_PERCENT
