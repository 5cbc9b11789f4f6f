"""The window's side of the process that outlines cells: what the process holds, and the prompts."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.qt.threading import GeneratorWorker, create_worker
from psygnal import Signal

from napari_cupre.errors import CupreError, InputError
from napari_cupre.events import Event
from napari_cupre.model.cards import seen_by
from napari_cupre.service.client import EngineProcess
from napari_cupre.widgets.background import guarded
from napari_cupre.widgets.layers import source_file, source_path
from napari_cupre.widgets.looking import camera_of, seen_box
from napari_cupre.widgets.preferences import read_preferences
from napari_cupre.widgets.prompts import (
    LARGE,
    Answer,
    Box,
    HandedOver,
    Plane,
    Prompt,
    around,
    grown,
    holds,
    pixels_of,
    span_of,
    stamp_of,
)
from napari_cupre.widgets.session_part import SessionPart
from napari_cupre.widgets.timers import single_timer
from napari_cupre.widgets.titled import titled

if TYPE_CHECKING:
    from napari_cupre.service.protocol import Outlined
    from napari_cupre.widgets.session import Session

SETTLED_MS = 150
"""The view counts as still after this time, ms."""

AIM_MS = 60

FIRST_GUESS = {"start": 8.0, "plane": 2.0, "view": 2.0}
"""Assumed durations in seconds until they have been measured on this computer."""


class Prompter(SessionPart):
    """Keeps a separate process ready for the view, and asks it for outlines.

    It is not the training process, so that cells can be outlined during a training.

    Parameters
    ----------
    session : Session
        Of the viewer.
    engine : EngineProcess
        The process; it starts when a tool is first taken.
    """

    answered = Signal(object)
    """Emits an `Answer`."""

    changed = Signal()
    """Emitted when `status` has changed."""

    def __init__(self, session: Session, engine: EngineProcess) -> None:
        super().__init__(session)
        self.engine = engine
        self._layer: Image | None = None
        self._held: Plane | None = None
        self._handed: Box | None = None
        self._worker: GeneratorWorker | None = None
        self._waiting: dict[int, Prompt] = {}
        self._sent: set[int] = set()
        self._numbers = 0
        self._is_ready = False
        self._shown: Box | None = None
        self._view_is_ready = False
        self._aimed: tuple[float, float] | None = None
        self._took = dict(FIRST_GUESS)
        self._began = self._view_began = 0.0
        self._was_started, self._borrowers = False, 0
        self._links: list[Any] = []
        self.error = ""
        self._settled = single_timer(self.refresh, SETTLED_MS)
        self._aiming = single_timer(self._send_aim, AIM_MS)

    # --- calls from the window -------------------------------------------------------------------

    def follow(self, layer: Image) -> None:
        """Stay ready for the visible part of an image, wherever the view moves."""
        self._layer = layer
        self._connect()
        self.error = ""
        self.refresh()

    def rest(self) -> None:
        """Stop following the view; what is ready stays ready."""
        self._disconnect()

    def ask(
        self,
        *,
        box: tuple[float, float, float, float] | None = None,
        point: tuple[float, float] | None = None,
    ) -> int:
        """Ask for the cell in a box or at a point of the view; `answered` emits the result.

        Raises
        ------
        InputError
            If the image cannot be read as planes.
        """
        if self._layer is None:
            raise InputError("There is no image to outline cells in: open one first.")
        self._numbers += 1
        prompt = Prompt(self._numbers, self._wanted(), box, point)
        self._waiting[prompt.number] = prompt
        self.error = ""
        self.refresh(prompt)
        self._send_waiting()
        self.changed.emit()
        return prompt.number

    def aim(self, point: tuple[float, float]) -> None:
        """Prepare for a click at the mouse position (y, x in image px)."""
        self._aimed = point
        if self._is_ready and not self._aiming.isActive():
            self._aiming.start()

    def lend(self) -> None:
        """Let the process find cells; prompts in the meantime are answered afterwards."""
        self._borrowers += 1
        self._is_ready = False
        if self._worker is not None:
            self.engine.stop()
        self.changed.emit()

    def take_back(self) -> None:
        """Get ready for the view again, if it is followed and nobody else uses the process."""
        self._borrowers -= 1
        if self._borrowers:
            return
        self.refresh(next(iter(self._waiting.values()), None))
        self.changed.emit()

    def close(self) -> None:
        """End the process; nothing is answered afterwards."""
        self._disconnect()
        self._waiting.clear()
        worker, self._worker = self._worker, None
        self._layer = self._held = None
        with contextlib.suppress(RuntimeError):  # Qt may have deleted its object already
            for timer in (self._settled, self._aiming):
                timer.stop()
            if worker is not None:
                worker.yielded.disconnect(self._receive)
                worker.finished.disconnect(self._finish)
                worker.quit()
        self.engine.close()

    # --- state for the dock ----------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether a prompt is answered at once."""
        return self._is_ready

    @property
    def is_waiting(self) -> bool:
        """Whether a prompt has no answer yet."""
        return bool(self._waiting)

    @property
    def status(self) -> str:
        """Return a sentence that says what is being waited for, and how long; "" if nothing."""
        now = time.perf_counter()
        if self._borrowers:
            return "Your click is answered once the cells are found." if self._waiting else ""
        if self._worker is not None and not self._is_ready:
            left = self._took["plane" if self._was_started else "start"] - (now - self._began)
            what = "Getting this image ready" if self._was_started else "Loading the model"
            queued = " Your click is answered then." if self._waiting else ""
            return f"{what}{_about(left)}{queued}"
        if self._waiting:
            return "Outlining ..."
        if self._is_ready and not self._view_is_ready and self._shown is not None:
            return f"Looking at this view{_about(self._took['view'] - (now - self._view_began))}"
        return ""

    # --- state of the engine ---------------------------------------------------------------------

    def refresh(self, prompt: Prompt | None = None) -> None:
        """Make the engine load the visible part, or the part that a prompt needs."""
        if self._layer is None or self._borrowers:
            return
        if self._layer not in self._session.images():
            self._layer = None
            self.engine.stop()
            return
        try:
            wanted = self._wanted()
        except CupreError as error:
            self.error = str(error)
            self.changed.emit()
            return
        if prompt is not None and wanted.box is not None:
            wanted = replace(wanted, box=around(prompt, wanted))
        if wanted.is_same(self._held) and self._covers(prompt):
            self._show(wanted)
        elif self._worker is not None:
            self.engine.stop()  # `_finish` then starts the job that is wanted
            self._is_ready = False
        elif not self.error:
            self._start(wanted)
        self.changed.emit()

    def _wanted(self) -> Plane:
        session, layer = self._session, self._layer
        assert layer is not None
        image = session.cell_image(layer)
        height, width = image.plane_shape
        box = seen_box(session.viewer, layer, image, LARGE) if height * width > LARGE**2 else None
        return Plane(
            layer,
            image,
            session.plane_on_show(layer),
            session.model,
            stamp_of(session.model),
            session.sizes.said(layer),
            None if box is None else grown(box, image.plane_shape),
        )

    def _covers(self, prompt: Prompt | None) -> bool:
        """Whether the engine's pixels contain the visible part, or the place of a prompt."""
        if self._handed is None or self._held is None:
            return True
        if prompt is not None:
            return holds(self._handed, span_of(prompt))
        held = self._held
        return holds(self._handed, seen_box(self._session.viewer, held.layer, held.image, LARGE))

    def _start(self, plane: Plane) -> None:
        self._held, self._handed, self._is_ready = plane, None, False
        self._shown, self._view_is_ready = None, False
        self._began = time.perf_counter()
        for prompt in [p for p in self._waiting.values() if not p.plane.is_same_place(plane)]:
            self._refuse(prompt, "The view moved before the outline was ready: point at the cell again.")
        self._worker = create_worker(
            titled(guarded, "Outlining cells"), self._stream, (plane,), _start_thread=False
        )
        self._worker.yielded.connect(self._receive)
        self._worker.finished.connect(self._finish)
        self._worker.start()

    def _stream(self, plane: Plane) -> Iterator[Event | None]:
        """Hand over the pixels in the worker thread, and pass on the engine's events."""
        from napari_cupre.service.protocol import OutlineRequest

        plane = replace(plane, image=seen_by(plane.model).on(plane.image))
        request = OutlineRequest(
            plane.model,
            "",
            plane.image.axes,
            plane.image.name,
            read_preferences().device,
            index=plane.index,
            diameter=plane.diameter,
        )
        file = source_file(source_path(plane.layer), plane.image)
        if file is not None:
            yield HandedOver(None)
            chosen = plane.image.chosen_channels
            channels = None if chosen is None else list(chosen)
            yield from self.engine.events(replace(request, image=str(file), is_copy=False, channels=channels))
            return
        pixels = pixels_of(plane)
        path = self.engine.folder / f"{uuid.uuid4().hex}.npy"
        np.save(path, pixels)
        axes = "YX" if pixels.ndim == 2 else "YXS" if plane.image.is_rgb else "YXC"
        yield HandedOver(plane.box)
        yield from self.engine.events(replace(request, image=str(path), axes=axes, index={}))

    # --- events from the engine ------------------------------------------------------------------

    def _receive(self, event: Event | None) -> None:
        from napari_cupre.service.protocol import Failed, Outlined, OutlinesReady, PromptRefused, WindowReady

        match event:
            case None:
                return
            case HandedOver(box=box):
                self._handed = box
            case OutlinesReady(diameter=diameter):
                self._ready(diameter)
            case WindowReady():
                self._view_is_ready = True
                self._took["view"] = time.perf_counter() - self._view_began
            case Outlined(number=number) if number in self._waiting:
                self._sent.discard(number)
                self.answered.emit(self._answer(self._waiting.pop(number), event))
            case PromptRefused(number=number, message=message) if number in self._waiting:
                if self._is_ready:
                    self._refuse(self._waiting[number], message)
                else:  # too late for the last plane, so it goes to the next one
                    self._sent.discard(number)
            case Failed(message=message):
                self.error = message
        self.changed.emit()

    def _ready(self, diameter: float) -> None:
        if self._held is not None and self._held.diameter is None:
            self._session.sizes.see(self._held.layer, diameter)
        self._took["plane" if self._was_started else "start"] = time.perf_counter() - self._began
        self._is_ready = self._was_started = True
        self._send_waiting()
        self.refresh()

    def _show(self, plane: Plane) -> None:
        """Let the engine compute the features of the visible part."""
        from napari_cupre.service.protocol import WindowRequest

        shown = seen_box(self._session.viewer, plane.layer, plane.image, LARGE)
        if not self._is_ready or shown == self._shown:
            return
        self._shown, self._view_is_ready, self._view_began = shown, False, time.perf_counter()
        top, left = self._offset()
        self.engine.send(WindowRequest((shown[0] - top, shown[1] - left, shown[2] - top, shown[3] - left)))

    def _send_waiting(self) -> None:
        from napari_cupre.service.protocol import PromptRequest

        if not self._is_ready or self._held is None:
            return
        top, left = self._offset()
        for prompt in list(self._waiting.values()):
            if prompt.number in self._sent or not (
                prompt.plane.is_same_place(self._held) and self._covers(prompt)
            ):
                continue
            self._sent.add(prompt.number)
            if prompt.box is not None:
                x0, y0, x1, y1 = prompt.box
                boxes = [[x0 - left, y0 - top, x1 - left, y1 - top]]
                self.engine.send(PromptRequest(prompt.number, boxes=boxes))
            elif prompt.point is not None:
                points = [[prompt.point[0] - top, prompt.point[1] - left]]
                self.engine.send(PromptRequest(prompt.number, points=points, all_readings=True))

    def _send_aim(self) -> None:
        from napari_cupre.service.protocol import AimRequest

        if self._is_ready and self._aimed is not None:
            top, left = self._offset()
            self.engine.send(AimRequest((self._aimed[0] - top, self._aimed[1] - left)))

    def _offset(self) -> tuple[int, int]:
        return (0, 0) if self._handed is None else self._handed[:2]

    def _answer(self, prompt: Prompt, event: Outlined) -> Answer:
        top, left = self._offset()
        corners = tuple((int(y0) + top, int(x0) + left) for x0, y0, _, _ in event.boxes)
        masks = tuple(event.masks)
        if not any(mask.any() for mask in masks):
            what = "in this box" if prompt.box is not None else "here"
            return Answer(prompt, refusal=f"No cell was recognised {what}: drag a box around it, or draw it.")
        return Answer(prompt, masks, corners, tuple(map(float, event.scores)), event.best)

    def _refuse(self, prompt: Prompt, why: str) -> None:
        self._waiting.pop(prompt.number, None)
        self._sent.discard(prompt.number)
        self.answered.emit(Answer(prompt, refusal=why))

    def _finish(self) -> None:
        """Handle the end of the job, because something else is wanted or the job failed."""
        self._worker, self._held, self._is_ready = None, None, False
        self._sent.clear()
        if self.error:
            for prompt in list(self._waiting.values()):
                self._refuse(prompt, self.error)
        else:
            self.refresh(next(iter(self._waiting.values()), None))
        self.changed.emit()

    # --- following the view -----------------------------------------------------------------------

    def _connect(self) -> None:
        if self._links:
            return
        viewer = self._session.viewer
        signals = [
            camera_of(viewer).events.center,
            camera_of(viewer).events.zoom,
            viewer.dims.events.current_step,
            self._session.models_changed,
            self._session.sizes.changed,
        ]
        for signal in signals:
            signal.connect(self._moved)
        self._links = signals

    def _disconnect(self) -> None:
        for signal in self._links:
            with contextlib.suppress(ValueError, RuntimeError, TypeError):
                signal.disconnect(self._moved)
        self._links = []

    def _moved(self, event: Any = None) -> None:
        self.error = ""
        self._settled.start()


def _about(seconds: float) -> str:
    """Return the end of a sentence about waiting."""
    return f" (about {max(1, round(seconds))} s)." if seconds > 0.5 else " ..."
