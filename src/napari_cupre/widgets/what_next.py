"""Rate which image of the queue to annotate next, in the background after each round or on request."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_cupre.errors import InputError
from napari_cupre.events import Event, Finished, RunState, StateChanged
from napari_cupre.service.client import HEARTBEAT_S, EngineBusy, Turn
from napari_cupre.widgets.background import Job
from napari_cupre.widgets.layers import source_path
from napari_cupre.widgets.loading import Item
from napari_cupre.widgets.looking import show_field
from napari_cupre.widgets.preferences import read_preferences
from napari_cupre.widgets.session_part import SessionPart
from napari_cupre.widgets.timers import single_timer

if TYPE_CHECKING:
    from napari_cupre.service.beside import RateRequest
    from napari_cupre.widgets.session import Session

WAITING = "Waiting for the current job"
RATED_LATER = "A model is being trained: the images are rated when it is done."


@dataclass(frozen=True)
class Advice:
    """A place worth annotating, and why.

    `field` is top, left, bottom and right in px, None for the whole image; `picture` is uint8 (64, 64, 3).
    """

    name: str
    field: tuple[int, int, int, int] | None
    reason: str
    picture: np.ndarray


class WhatNext(SessionPart):
    """Rates the images by how much they would teach the current model.

    This runs in the training process, at the same low priority; starting a training ends it.
    """

    changed = Signal()
    """Emitted when there is new advice."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._turn = Turn()
        self.job = Job("Rating images", self._turn.stop)
        self.job.received.connect(self._take)
        self.advice: list[Advice] = []
        self.notice = ""
        self._asked_for = self._rated_for = self._present()
        self._goal: Advice | None = None
        self._visited: list[Advice] = []
        # napari resets the view after showing the image; only then can we move it
        self._arriving = single_timer(self._arrived)
        self._has_trained = False
        session.comparison.status.events.state.connect(self._comparison_changed)
        session.training.received.connect(self._trained)
        session.training.status.events.state.connect(self._training_changed)
        session.keeper.opened.connect(lambda project: self.forget())
        session.queue.changed.connect(lambda: self._arriving.start())

    @property
    def has_choice(self) -> bool:
        """Whether there is more than one image."""
        project = self._session.keeper.project
        return (project is not None and len(project.images) > 1) or len(self._session.images()) > 1

    # --- rating -----------------------------------------------------------------------------------

    def _present(self) -> tuple[str, tuple[int, ...] | None, bool]:
        """Return what images would be rated for now: the model's name, the channels, if it is a round."""
        rounds, model = self._session.rounds, self._session.model
        return rounds.name_of(model), self._session.channels.chosen, rounds.is_round(Path(model))

    @property
    def sees_otherwise(self) -> bool:
        """Whether the images were rated by other channels than those used now."""
        return bool(self.advice) and self._rated_for[1] != self._present()[1]

    @property
    def out_of_date(self) -> str:
        """Why the images should be rated again; "" if nothing has changed."""
        if self.sees_otherwise:
            return "Other channels are used since these images were rated: press Rate."
        if self.advice and self._rated_for != self._present():
            return f'These images were rated for the model "{self._rated_for[0]}": press Rate.'
        return ""

    def rate(self) -> None:
        """Rate the images of the queue.

        Raises
        ------
        InputError
            There are fewer than two images, a model is being trained, or images are being rated.
        """
        session = self._session
        if not self.has_choice:
            raise InputError("There is no other image to compare with: add some with +.")
        if session.training.status.is_active:
            raise InputError(RATED_LATER)
        if self.job.status.is_active:
            raise InputError("The images are being rated: wait a moment.")
        self._turn.begin()
        session.keeper.when_saved(self._begin)

    def _begin(self) -> None:
        from napari_cupre.service.beside import RateRequest

        session, project = self._session, self._session.keeper.project
        if self.job.status.is_active or session.training.status.is_active:
            return
        files = {
            item.name: str(path)
            for item in session.queue.items()
            if item.stem is None and item.layer is not None and (path := source_path(item.layer)) is not None
        }
        folder = "" if project is None else str(project.folder)
        device, channels = read_preferences().device, session.channels.chosen
        self._asked_for = self._present()
        request = RateRequest(session.model, folder, files, device, channels=channels)
        self.job.start(self._stream, request)

    def _stream(self, request: RateRequest) -> Iterator[Event | None]:
        """Wait for the process in the worker thread, then read its events."""
        is_said = False
        while self.job.status.state is not RunState.STOPPING:
            try:
                yield from self._turn.events(self._session.engine, request)
                return
            except EngineBusy:
                if not is_said:
                    yield StateChanged(RunState.PREPARING, WAITING)
                is_said = True
                time.sleep(HEARTBEAT_S)
                yield None

    def _take(self, event: Event) -> None:
        from napari_cupre.service.beside import Rated

        if isinstance(event, Rated):
            self.notice, self._rated_for = event.notice, self._asked_for
            self.advice = [
                Advice(name, _box(part), reason, picture)
                for name, part, reason, picture in zip(
                    event.names, event.fields, event.reasons, event.pictures
                )
            ]
            self._visited = []
            self._order()
            self.changed.emit()

    def _comparison_changed(self, state: RunState) -> None:
        """Give way to a job that the user is waiting for."""
        if state is RunState.PREPARING:
            self.job.stop()

    def _trained(self, event: Event) -> None:
        self._has_trained |= isinstance(event, Finished)

    def _training_changed(self, state: RunState) -> None:
        """Give way to a training; when it is done, rate the images with its model."""
        if state is RunState.PREPARING:
            self._has_trained = False
            self.job.stop()
        elif state.is_over and self._has_trained and self.has_choice:
            self._turn.begin()
            self._session.keeper.when_saved(self._begin)

    def forget(self) -> None:
        """Forget the advice, because another project is open."""
        self.job.stop()
        self.advice, self.notice, self._goal, self._visited = [], "", None, []
        self._order()
        self.changed.emit()

    # --- following the advice --------------------------------------------------------------------

    @property
    def orders(self) -> bool:
        """Whether the queue is sorted by this advice."""
        return self._session.queue.order is not None

    @orders.setter
    def orders(self, on: bool) -> None:
        self._session.queue.order = {} if on else None
        self._order()

    def _order(self) -> None:
        queue = self._session.queue
        if queue.order is not None:
            ranks: dict[str, int] = {}
            for place, advice in enumerate(self.advice):
                ranks.setdefault(advice.name, place)
            queue.order = ranks
        queue.changed.emit()

    def best(self) -> Advice | None:
        """Return the best advice about another image that is still not annotated; None if it is out of date.

        Advice for the model before the last is better than none.
        """
        if self.sees_otherwise:
            return None
        queue = self._session.queue
        items = {item.name: item for item in queue.items()}
        at = queue.position()
        shown = queue.items()[at].name if at >= 0 else ""
        for advice in self.advice:
            item = items.get(advice.name)
            if item is None or any(advice is each for each in self._visited):
                continue
            if advice.field is not None or not (advice.name == shown or queue.teaches(item)):
                return advice
        return None

    def go_on(self) -> None:
        """Show the image that would teach most; without advice, the next image of the queue."""
        advice = self.best()
        if advice is None:
            self._session.queue.go(1)
        else:
            self.go_to(advice)

    def go_to(self, advice: Advice) -> None:
        """Show an image and the suggested field in it.

        Raises
        ------
        InputError
            The image is no longer in the queue.
        """
        item = self._item(advice)
        if item is None:
            raise InputError(f'"{advice.name}" is not in the queue any more: rate the images again.')
        self._goal = advice
        self._visited.append(advice)
        self._session.queue.show(item)
        self._arriving.start()

    def _item(self, advice: Advice) -> Item | None:
        return next((item for item in self._session.queue.items() if item.name == advice.name), None)

    def close(self) -> None:
        """Stop rating."""
        self._arriving.stop()
        self.job.abandon()

    def _arrived(self) -> None:
        """Move the view to the field once the image is on show."""
        advice, image = self._goal, self._session.image
        if not self._session.is_open or advice is None or image is None or self._session.queue.is_busy:
            return
        item = self._item(advice)
        if item is not None and item.layer is image:
            self._goal = None
            if advice.field is not None:
                show_field(self._session.viewer, image, self._session.cell_image(image), advice.field)


def _box(field: Sequence[int] | None) -> tuple[int, int, int, int] | None:
    if field is None:
        return None
    top, left, bottom, right = map(int, field)
    return top, left, bottom, right
