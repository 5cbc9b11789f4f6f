"""Try in the background which shipped model finds most in the current view, for a first training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image
from psygnal import Signal

from napari_cupre.data.annotation import region_mask
from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.errors import CupreError, InputError
from napari_cupre.events import Event, RunState
from napari_cupre.model.zoo import SHIPPED, models_of_package
from napari_cupre.project.cells import Cells
from napari_cupre.service.client import EngineBusy, Turn
from napari_cupre.widgets.background import Job
from napari_cupre.widgets.errands import Errands
from napari_cupre.widgets.looking import seen_box
from napari_cupre.widgets.preferences import read_preferences

if TYPE_CHECKING:
    from napari_cupre.evaluation.start_choice import StartAdvice
    from napari_cupre.service.beside import Tried
    from napari_cupre.widgets.session import Session

VIEW_SIDE = 2048
"""Largest side of the part of the view to try, px."""

MOST_TIMES = 3
"""Maximum number of attempts on a view in which the process fails."""

KEPT = 12
"""Number of images to remember."""

Key = tuple[object, tuple[str, tuple[int, ...] | None], tuple[int, ...]]


@dataclass
class Trial:
    """The cells that the models found in one plane.

    Attributes
    ----------
    key : Key
        Identifies the plane, the image, and the reading of its axes and channels.
    image : CellImage
        The image during the trial; None afterwards, so that no pixels stay in memory.
    index : PlaneIndex
        The plane.
    box : tuple[int, int, int, int]
        Top, left, bottom and right in px of the part that is handed over.
    diameter : float or None
        Diameter of the cells in px, if known.
    found : dict[str, Tried]
        Results by model.
    """

    key: Key
    image: CellImage | None
    index: PlaneIndex
    box: tuple[int, int, int, int]
    diameter: float | None
    found: dict[str, Tried] = field(default_factory=dict)
    times: int = 0
    is_done: bool = False


class StartTrials:
    """Tries the shipped models on the image in view, once per image, and says which is best.

    This runs in the training process, at the same low priority; anything that a person starts ends it. The
    results are kept, so that later annotation can be compared without another search.

    Parameters
    ----------
    session : Session
        Of the viewer.
    """

    changed = Signal()
    """Emitted when the advice changes, or a trial begins or ends."""

    def __init__(self, session: Session) -> None:
        self._session, self._turn, self._errands = session, Turn(), Errands()
        self.job = Job("Trying models", self._turn.stop)
        self.job.received.connect(self._take)
        self.job.status.events.state.connect(self._ended)
        self.is_chosen = False
        """Whether the user chose the model to start from; the choice then stays."""
        self.advice: StartAdvice | None = None
        self._trials: dict[Key, Trial] = {}
        self._now: Trial | None = None
        self._seen: Key | None = None
        self._judged: tuple[Key, int] | None = None
        self._others = (session.training, session.prediction, session.comparison)
        for job in self._others:
            job.status.events.state.connect(self._something_runs)
        session.image_changed.connect(lambda image: self._forget_advice())
        session.keeper.opened.connect(lambda project: self._forget_choice())

    # --- when to try -----------------------------------------------------------------------------

    @property
    def is_needed(self) -> bool:
        """Whether a first training is possible: an image is open, and there is no round to start from."""
        session = self._session
        return session.is_open and session.image is not None and session.rounds.start() is None

    def tick(self) -> None:
        """Try the models on a view that has been still, if the process is free; compare new annotation."""
        image = self._session.image
        if image is None or not self.is_needed:
            return
        try:
            key = self._key(image)
        except CupreError:  # the axes are unknown
            return
        was_seen, self._seen = self._seen == key, key
        trial = self._trials.get(key)
        if trial is not None and trial.is_done:
            self._judge(image, trial)
        elif was_seen and self._is_free() and (trial is None or trial.times < MOST_TIMES):
            self._try(image, key)

    def _is_free(self) -> bool:
        session = self._session
        jobs = (*self._others, session.what_next.job, session.idling.job, self.job)
        return not any(job.status.is_active for job in jobs) and not session.tools.prompter.is_waiting

    def _key(self, image: Image) -> Key:
        session = self._session
        reading = session.cell_image(image)
        stem = session.keeper.stem_of(image)  # pixels are read again each time an image is shown
        which = (id(image), id(image.data)) if stem is None else stem
        look = reading.axes, reading.chosen_channels
        return which, look, tuple(session.plane_on_show(image).values())

    def _something_runs(self, state: RunState) -> None:
        if state is RunState.PREPARING:
            self.job.stop()

    # --- trying -----------------------------------------------------------------------------------

    def _try(self, image: Image, key: Key) -> None:
        session = self._session
        reading = session.cell_image(image)
        box = seen_box(session.viewer, image, reading, VIEW_SIDE)
        known = session.sizes.best(image)
        times = self._trials[key].times if key in self._trials else 0
        trial = Trial(key, reading, session.plane_on_show(image), box, known, times=times + 1)
        self._trials.pop(key, None)
        self._trials[key] = self._now = trial
        while len(self._trials) > KEPT:
            self._trials.pop(next(iter(self._trials)))
        self._turn.begin()
        self.job.start(self._stream, trial)
        self.changed.emit()

    def _stream(self, trial: Trial) -> Iterator[Event | None]:
        """Try the models in the worker thread; try later if the process is busy."""
        from napari_cupre.prediction.reader import PlaneReader
        from napari_cupre.prediction.tiles import Window
        from napari_cupre.service.beside import TryRequest

        assert trial.image is not None
        view = PlaneReader(trial.image, trial.index)(Window(*trial.box))
        request = TryRequest(shipped_models(), view, trial.diameter, read_preferences().device)
        try:
            yield from self._turn.events(self._session.engine, request)
        except EngineBusy:
            trial.times -= 1
            yield None

    def _take(self, event: Event) -> None:
        from napari_cupre.service.beside import Tried

        if isinstance(event, Tried) and self._now is not None:
            self._now.found[event.model] = event

    def _ended(self, state: RunState) -> None:
        trial = self._now
        if not state.is_over or trial is None:
            return
        self._now, trial.image = None, None
        trial.is_done = state is RunState.DONE and bool(trial.found)
        if state is RunState.STOPPED:
            trial.times -= 1  # a job started by the user came first
        if self._session.is_open:
            self.tick()
            self.changed.emit()

    # --- comparing --------------------------------------------------------------------------------

    def _judge(self, image: Image, trial: Trial) -> None:
        """Compare the results with the present annotation in a thread."""
        held = self._session.cells_of(image)
        cells = None if held is None else held.cells
        stamp = trial.key, -1 if cells is None else cells.revision
        if stamp == self._judged or self._errands.is_busy:
            return
        self._judged = stamp
        marks = None if cells is None else Marks.of(cells, trial)
        self._errands.do(partial(_advice, trial.found, marks), self._know, lambda error: None)

    def _know(self, advice: StartAdvice) -> None:
        if self._judged is not None and self._judged[0] == self._seen:
            self.advice = advice
            self.changed.emit()

    def _forget_advice(self) -> None:
        """Forget the advice, because another image is on show or the axes are read differently."""
        self.advice, self._judged, self._seen = None, None, None
        self.job.stop()
        self.changed.emit()

    def _forget_choice(self) -> None:
        self.is_chosen = False
        self._trials.clear()
        self._forget_advice()

    def close(self) -> None:
        """Stop trying."""
        self._errands.close()
        self.job.abandon()


@dataclass(frozen=True)
class Marks:
    """The user's annotation in the searched part, as plain values.

    Attributes
    ----------
    labels : numpy.ndarray
        int32 (Y, X), every `step`-th row and column.
    taught : tuple[int, ...]
        Numbers of the checked and edited cells; all others are guesses.
    regions : tuple[numpy.ndarray, ...]
        Corners (n, 2) in px of `labels` of the regions in which every cell is annotated.
    """

    labels: np.ndarray
    taught: tuple[int, ...]
    regions: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, cells: Cells, trial: Trial) -> Marks | None:
        """Return the marks of a plane; None if its cells have another size than the tried image."""
        first = next(iter(trial.found.values()))
        top, left = trial.box[0] + first.box[0], trial.box[1] + first.box[1]
        rows, columns = slice(top, trial.box[0] + first.box[2]), slice(left, trial.box[1] + first.box[3])
        place = tuple(trial.index.values())
        if len(place) != cells.labels.ndim - 2:
            return None
        step, depth = first.step, len(place)
        labels = cells.labels[place][rows, columns][::step, ::step].copy()
        regions = [np.array(region, float) for region in cells.regions]
        here = [each for each in regions if tuple(round(float(at)) for at in each[0, :depth]) == place]
        return cls(
            labels,
            tuple(number for number, cell in cells if cell.state.teaches),
            tuple((each[:, depth:] - (top, left)) / step for each in here),
        )

    @property
    def marked(self) -> np.ndarray:
        """Return the labels of the checked and edited cells."""
        return np.where(np.isin(self.labels, self.taught), self.labels, 0).astype(np.int32)

    @property
    def complete(self) -> np.ndarray:
        """Return where every cell is annotated, without the guesses, which nobody has judged yet."""
        rows, columns = self.labels.shape
        inside = np.zeros((rows, columns), bool)
        for region in self.regions:
            with suppress(InputError):  # the region lies outside the searched part
                inside |= region_mask([region], (rows, columns))
        return inside & ((self.labels == 0) | np.isin(self.labels, self.taught))


def _advice(found: dict[str, Tried], marks: Marks | None) -> StartAdvice:
    """Work out the advice in the thread."""
    from napari_cupre.evaluation.start_choice import advise_start

    if marks is None or {each.labels.shape for each in found.values()} != {marks.labels.shape}:
        return advise_start(found)
    return advise_start(found, marks.marked, marks.complete)


def shipped_models() -> list[str]:
    """Return the shipped models, the most trained one first, because it is preferred among equals."""
    there = {entry.name for entry in models_of_package()}
    return [name for name in reversed(SHIPPED) if name in there]
