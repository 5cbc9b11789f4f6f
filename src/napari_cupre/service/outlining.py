"""A job that outlines cells for the window: it stays with one plane and answers prompts until stopped."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.events import Event, Finished, RunState, StateChanged
from napari_cupre.service.engine_job import EngineJob
from napari_cupre.service.protocol import (
    AimRequest,
    ImageRequest,
    Outlined,
    OutlineRequest,
    OutlinesReady,
    PromptRefused,
    PromptRequest,
    WindowReady,
    WindowRequest,
)

if TYPE_CHECKING:
    from napari_cupre.data.image import CellImage
    from napari_cupre.prediction.detecting import CellFinder
    from napari_cupre.prediction.drawn import Outline
    from napari_cupre.prediction.outliner import Outliner

NO_PLANE = "The image is not ready for outlining yet: wait a moment, then click again."


def requested_image(request: ImageRequest) -> CellImage:
    """The image that a request names."""
    from napari_cupre.data.image import CellImage
    from napari_cupre.io.images import read_image

    if request.is_copy:
        pixels = np.load(request.image, mmap_mode="r")
        image = CellImage.from_array(pixels, request.axes, name=request.name)
    else:
        image = replace(read_image(request.image, request.axes, partial=True), name=request.name)
    image.channels = None if request.channels is None else tuple(request.channels)
    return image


class LatestDetector:
    """Keeps the detector of the last model, so that the next plane does not read it again."""

    def __init__(self) -> None:
        self._known: tuple[object, CellFinder] | None = None

    def of(self, model: str, device: str) -> CellFinder:
        """Return the detector of a model by name or path; read a changed file again."""
        from napari_cupre.model.zoo import find_model
        from napari_cupre.prediction.engine_choice import make_finder

        path = find_model(model).path
        key = (str(path), None if path is None else path.stat().st_mtime_ns, device)
        if self._known is None or self._known[0] != key:
            self._known = None  # two detectors would need twice the memory
            self._known = key, make_finder(model, device, megapixels=0)  # windows are small
        return self._known[1]


class Outlining(EngineJob[OutlineRequest]):
    """An `Outliner` with its queue: prompts first, then the mouse position, then the visible part.

    Parameters
    ----------
    request : OutlineRequest
        The plane and the model.
    detectors : LatestDetector or None, optional
        Keeps the model for the next plane.
    """

    may_end_while_loading = False  # prompts may have come, which are refused at the end

    def __init__(self, request: OutlineRequest, detectors: LatestDetector | None = None) -> None:
        super().__init__(request)
        self._detectors = detectors or LatestDetector()
        self._aimed: AimRequest | None = None
        self._prompts: queue.SimpleQueue[PromptRequest] = queue.SimpleQueue()
        self._shown: WindowRequest | None = None
        self._news = threading.Event()
        self._hearing = threading.Lock()
        self._is_deaf = False

    def hear(self, request: PromptRequest | WindowRequest | AimRequest) -> bool:
        """Accept a request from another thread; return False if it came too late."""
        with self._hearing:
            if self._is_deaf:
                return False
            if isinstance(request, PromptRequest):
                self._prompts.put(request)
            elif isinstance(request, AimRequest):
                self._aimed = request
            else:
                self._shown = request
            self._news.set()
            return True

    def stop(self) -> None:
        """End soon; waiting prompts are refused."""
        super().stop()
        self._news.set()

    def events(self) -> Generator[Event, None, None]:
        """Be ready, then answer until `stop`."""
        try:
            outliner = self._outliner()
            yield StateChanged(RunState.RUNNING)
            yield OutlinesReady(float(outliner.diameter))
            yield from self._answers(outliner)
            yield Finished("")
        finally:
            with self._hearing:
                self._is_deaf = True
            if self._request.is_copy:
                # Some systems cannot remove a mapped file; the exchange folder is removed at the end.
                with contextlib.suppress(OSError):
                    Path(self._request.image).unlink()
        yield from self._refusals()

    def _outliner(self) -> Outliner:
        from napari_cupre.prediction.outliner import Outliner
        from napari_cupre.prediction.reader import PlaneReader

        request = self._request
        reader = PlaneReader(requested_image(request), request.index)
        return Outliner(self._detectors.of(request.model, request.device), reader, request.diameter)

    def _answers(self, outliner: Outliner) -> Iterator[Event]:
        while not self._stopped.is_set():
            self._news.wait()
            self._news.clear()
            yield from self._pressing(outliner)
            shown, self._shown = self._shown, None
            if shown is not None:
                yield from self._prepared(outliner, shown)

    def _pressing(self, outliner: Outliner) -> Iterator[Event]:
        """Do what is more urgent than the view: answer prompts, and prepare the position of the mouse."""
        yield from self._prompted(outliner)
        while self._aimed is not None and not self._stopped.is_set():
            aimed, self._aimed = self._aimed, None
            with contextlib.suppress(InputError):  # outside the image, or a click will report the error
                for _ in outliner.aim(aimed.point):
                    yield from self._prompted(outliner)
                    if self._stopped.is_set() or self._aimed is not None:
                        break

    def _prompted(self, outliner: Outliner) -> Iterator[Event]:
        """Answer the waiting prompts."""
        while not self._stopped.is_set() and not self._prompts.empty():
            request = self._prompts.get()
            try:
                yield _answer(outliner, request)
            except InputError as error:
                yield PromptRefused(request.number, str(error))

    def _prepared(self, outliner: Outliner, shown: WindowRequest) -> Iterator[Event]:
        """Compute features of the visible part, window by window; give up when the view changes."""
        from napari_cupre.prediction.tiles import Window

        top, left, bottom, right = (int(side) for side in shown.box)
        try:
            for _ in outliner.prepare(Window(top, left, bottom, right)):
                yield from self._pressing(outliner)
                if self._stopped.is_set() or self._shown is not None:
                    return
        except InputError:
            return  # the prompt that needs that part of the image reports it
        yield WindowReady((top, left, bottom, right))

    def _refusals(self) -> Iterator[Event]:
        while not self._prompts.empty():
            yield PromptRefused(self._prompts.get().number, NO_PLANE)


def _answer(outliner: Outliner, request: PromptRequest) -> Outlined:
    if request.all_readings:
        if len(request.points) != 1:
            raise InputError("Alternatives are available for one point: give a single point.")
        readings = outliner.readings(request.points[0])
        return _outlined(request.number, readings.outlines, readings.best)
    found = outliner.boxes(request.boxes) if len(request.boxes) else outliner.points(request.points)
    return _outlined(request.number, found)


def _outlined(number: int, outlines: list[Outline], best: int = 0) -> Outlined:
    return Outlined(
        number=number,
        boxes=np.array([outline.box for outline in outlines], dtype=np.int32).reshape(-1, 4),
        pixels=np.concatenate([np.zeros(0, bool), *(outline.mask.ravel() for outline in outlines)]),
        scores=np.array([outline.score for outline in outlines], dtype=np.float32),
        classes=np.array([outline.kind for outline in outlines], dtype=np.int64),
        best=best,
    )
