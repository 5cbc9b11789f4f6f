"""Run the predictions of one viewer in the engine's process, plane by plane."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError, InputError, system_reason
from napari_cupre.events import Event, Finished, Notice, Progress, RunState, StateChanged, TileDone
from napari_cupre.model.cards import seen_by
from napari_cupre.prediction.limits import is_big
from napari_cupre.service.client import EngineBusy, EngineProcess, Turn
from napari_cupre.widgets.background import Job
from napari_cupre.widgets.cell_width import CellWidth
from napari_cupre.widgets.free_engine import BorrowingJob
from napari_cupre.widgets.layers import source_file
from napari_cupre.widgets.preferences import read_preferences
from napari_cupre.words import counted

if TYPE_CHECKING:
    from napari_cupre.service.protocol import Failed

FINE = 1000  # steps of the progress within one image
SLAB_BYTES = 64 * 2**20
TICK_S = 0.02


@dataclass(frozen=True)
class StoredImage:
    """An image that no layer shows; the worker thread calls `read` when it is this image's turn."""

    name: str
    read: Callable[[], CellImage]
    file: Path | None = None


@dataclass(frozen=True)
class PredictionPlan:
    """Which images to search for cells, and how.

    `ImageStarted` refers to images by their position here. `files` holds the file that napari read each one
    from, or None. `diameter` (px) and `score` (0..1) are None to leave them to the model. `link_z` joins
    planes into 3-D cells; `link_t` keeps labels through time; `augment` looks at mirrored images, too.
    """

    model: str
    images: tuple[CellImage | StoredImage, ...]
    files: tuple[Path | None, ...]
    width: CellWidth | None
    score: float | None
    link_z: bool = False
    link_t: bool = False
    device: str = "auto"
    augment: bool = False


@dataclass(frozen=True)
class ImageStarted(Event):
    """The following planes belong to this image of the plan."""

    position: int


@dataclass(frozen=True)
class ImageFinished(Event):
    """No more planes of this image will follow."""

    position: int


@dataclass(frozen=True)
class GuessCount:
    """The guesses of an image after a search, as a person sees them.

    Attributes
    ----------
    shown : int
        Visible guesses.
    hidden : int
        Guesses below the chosen certainty.
    is_whole : bool
        Whether whole planes were searched, so that any other cell found lies on checked or edited ones.
    """

    shown: int
    hidden: int = 0
    is_whole: bool = True


@dataclass(frozen=True)
class ImageLeft(Event):
    """An image has ended, with or without success.

    `taken` is set once its results have been taken up; by then, `counts` contains how many guesses they are,
    if they are guesses.
    """

    position: int
    taken: threading.Event
    counts: list[GuessCount]


class Sink(Protocol):
    """Receives the results for one image; called in the GUI thread."""

    def __call__(self, event: Event) -> None:
        """Handle an event, now or soon."""

    def when_taken(self, action: Callable[[], None]) -> None:
        """Call a function once all events received so far are handled."""

    def guesses(self) -> GuessCount | None:
        """Count the guesses that the search made, once they are taken up; None if it makes no guesses."""

    def is_about(self, layer: Any) -> bool:
        """Whether a layer's image is being searched, so that more results may follow."""

    def close(self) -> None:
        """Ignore everything from now on."""


class PredictionJob(BorrowingJob):
    """Predicts in the engine's process or, while that one trains, in the process that outlines cells.

    Planes arrive as `PlaneDone` events.
    """

    def __init__(self, engine: EngineProcess, training: Job | None = None) -> None:
        super().__init__("Finding cells", engine, training)
        self._sinks: tuple[Sink, ...] = ()
        self._sink: Sink | None = None
        self.received.connect(self._pass_on)

    def predict(self, plan: PredictionPlan, sinks: Sequence[Sink]) -> None:
        """Start a prediction; each image's planes go to its sink, even while no widget is open.

        Parameters
        ----------
        sinks : Sequence[Sink]
            One per image of the plan, called in the GUI thread.

        Raises
        ------
        InputError
            If a prediction is running.
        """
        self.start(self._stream, plan)
        self._sinks = tuple(sinks)

    def _pass_on(self, event: Event) -> None:
        from napari_cupre.service.protocol import PlaneDone, PlaneRelabelled, SlideGrown

        match event:
            case ImageStarted(position=position):
                self._sink = self._sinks[position]
            case TileDone() | PlaneDone() | PlaneRelabelled() | SlideGrown() | ImageFinished():
                if self._sink is not None:
                    self._sink(event)
            case ImageLeft(position=position):
                sink = self._sinks[position]
                sink.when_taken(lambda: _leave(sink, event))

    def is_searching(self, layer: Any) -> bool:
        """Whether cells of a layer's image are still being found."""
        return any(sink.is_about(layer) for sink in self._sinks)

    def abandon(self) -> None:
        """Stop listening for good, because the window is closing."""
        for sink in self._sinks:
            sink.close()
        super().abandon()

    def _stream(self, plan: PredictionPlan) -> Iterator[Event | None]:
        """Hand over the images one by one in the worker thread; a failed image does not end the run."""
        from napari_cupre.service.protocol import Failed

        failures: list[Failed] = []
        verdicts: list[tuple[str, Finished, list[GuessCount]]] = []
        for position, image in enumerate(plan.images):
            if self.status.state is RunState.STOPPING:
                return
            yield ImageStarted(position)
            counts: list[GuessCount] = []
            for event in self._one_image(plan, image, plan.files[position]):
                match event:
                    case Failed():
                        failures.append(event)
                    case Progress():
                        yield _over_all(event, position, len(plan.images), image.name)
                    case StateChanged(state=state):
                        if not state.is_over:
                            yield _begun(event, position, len(plan.images), image.name)
                    case Finished():
                        verdicts.append((image.name, event, counts))
                        yield ImageFinished(position)
                    case _:
                        yield event
            yield from _until_taken(position, counts)
        if self.status.state is not RunState.STOPPING:
            yield from _summary(plan, failures, verdicts)

    def _one_image(
        self, plan: PredictionPlan, given: CellImage | StoredImage, file: Path | None
    ) -> Iterator[Event | None]:
        from napari_cupre.service.protocol import Failed

        try:
            image = given.read() if isinstance(given, StoredImage) else given
        except CupreError as error:
            yield Failed(str(error))
            return
        if is_big(image) and image is not given:
            yield Failed(f"{given.name} is larger than memory: open it and find its cells on its own.")
            return
        options = {name: getattr(plan, name) for name in ("score", "link_z", "link_t", "augment")}
        options["diameter"] = None if plan.width is None else plan.width.on(image)
        while (engine := (yield from self.free.wait())) is not None:
            try:
                yield from predicted(engine, plan.model, image, file, plan.device, options, self._turn)
                return
            except EngineBusy:  # another job took the process first
                yield None


def predicted(
    engine: EngineProcess,
    model: str,
    image: CellImage,
    file: Path | None,
    device: str = "auto",
    options: dict[str, Any] | None = None,
    turn: Turn | None = None,
) -> Iterator[Event | None]:
    """Let the engine find the cells of one image, and pass on its events; for a worker thread.

    Parameters
    ----------
    engine : EngineProcess
        The process that does the work.
    model : str
        Name or path.
    image : CellImage
        The image to search.
    file : Path or None
        Possible source of the image; it is read from there if the image is lazy and has the same pixels.
    device : str, optional
        "auto", "cpu", "cuda" or "mps".
    options : dict of str to Any or None, optional
        Keyword arguments of `prediction.predict_options.PredictOptions`.
    turn : Turn or None, optional
        The caller's turn at the process.

    Raises
    ------
    EngineBusy
        The process is busy with another job.
    """
    from napari_cupre.service.protocol import Failed, PredictRequest

    channels, said = _channels_of(image, model)
    if said:
        yield Notice(said)
    file = source_file(file, image)
    path = file or engine.folder / f"{uuid.uuid4().hex}.npy"
    if file is None:
        try:
            yield from write_array(image.data, path)
        except InputError as error:
            path.unlink(missing_ok=True)
            yield Failed(f"{image.name}: {error}")
            return
    request = PredictRequest(
        *(model, str(path), image.axes, image.name, device),
        is_copy=file is None,
        options=(options or {}) | channels,
        to_disk=is_big(image),
        keep_bytes=int(1e9 * read_preferences().slides_gb),
    )
    try:
        yield from (turn or Turn()).events(engine, request)
    except EngineBusy:
        if file is None:
            path.unlink(missing_ok=True)
        raise


def _channels_of(image: CellImage, model: str) -> tuple[dict[str, Any], str]:
    """Return the option about channels and, if the model chose them, a sentence that says so.

    It is among the other options because a kept result depends on it.
    """
    chosen, said = image.chosen_channels, ""
    if chosen is None:
        chosen, said = seen_by(model).given(image, Path(model).stem)
    return ({} if chosen is None else {"channels": chosen}), said and f"{said}; Channels chooses others."


def _leave(sink: Sink, event: ImageLeft) -> None:
    """Count the guesses of an image for the worker thread, which may then go on."""
    count = sink.guesses()
    if count is not None:
        event.counts.append(count)
    event.taken.set()


def _until_taken(position: int, counts: list[GuessCount]) -> Iterator[Event | None]:
    """Wait for the window, so that the job ends only when all results are visible and counted."""
    taken = threading.Event()
    yield ImageLeft(position, taken, counts)
    while not taken.wait(TICK_S):
        yield None


def write_array(data: Any, path: Path) -> Iterator[None]:
    """Write any array to a `.npy` file in slabs, so that a lazy array is never in memory as a whole.

    Raises
    ------
    InputError
        If the pixels of the array cannot be read.
    """
    out = np.lib.format.open_memmap(path, mode="w+", dtype=data.dtype, shape=tuple(data.shape))
    row_bytes = max(1, int(np.prod(data.shape[1:])) * data.dtype.itemsize)
    slab = max(1, SLAB_BYTES // row_bytes)
    for start in range(0, data.shape[0], slab):
        try:
            part = np.asarray(data[start : start + slab])
        except Exception as error:
            # the reader behind a lazy array raises anything on a damaged file
            raise InputError(
                f"a part of it cannot be read ({_words(error)}): the file seems damaged; copy it again."
            ) from error
        out[start : start + slab] = part
        yield None
    out.flush()


def _words(error: Exception) -> str:
    return system_reason(error) if isinstance(error, OSError) else str(error)


def _over_all(event: Progress, position: int, count: int, name: str) -> Progress:
    done = position * FINE + FINE * event.done // max(event.total, 1)
    message = f"{name}: {event.message}" if event.message not in ("", name) else name
    return Progress(done, count * FINE, message)


def _begun(event: StateChanged, position: int, count: int, name: str) -> Event:
    """Return what to show when the engine begins an image: the model is loaded for the first one only."""
    return _over_all(Progress(0, 1, ""), position, count, name) if position else event


def _named(verdict: Finished, name: str, shown: int) -> str:
    """Return the verdict on one image, worded to stand alone, with the number of cells that are shown."""
    found = counted(verdict.result["cells"], "cell")
    words = verdict.verdict
    if words.startswith(found):
        words = counted(shown, "cell") + words.removeprefix(found)
    sentence = f"{name}: {words}"
    if "path" in verdict.result:
        sentence += f" They are in {Path(verdict.result['path']).parent}; Save results copies them."
    return sentence


def _summary(
    plan: PredictionPlan, failures: list[Failed], verdicts: list[tuple[str, Finished, list[GuessCount]]]
) -> Iterator[Event]:
    """Return one verdict on all images, and a notice for anything unusual in single ones."""
    if failures and len(failures) == len(plan.images):
        yield failures[0]
        return
    shown = covered = hidden = 0
    odd = []
    for name, verdict, counts in verdicts:
        found = verdict.result["cells"]
        count = counts[0] if counts else GuessCount(found)
        shown, hidden = shown + count.shown, hidden + count.hidden
        covered += max(0, found - count.shown - count.hidden) if count.is_whole else 0
        if _is_odd(verdict.result):
            odd.append(_named(verdict, name, count.shown))
    if failures or odd:
        yield Notice(" ".join([failure.message for failure in failures] + odd))
    images = counted(len(verdicts), "image")
    yield Finished(found_words(shown, covered, hidden, images), {"cells": shown})
    yield StateChanged(RunState.DONE)


def found_words(shown: int, covered: int, hidden: int, images: str) -> str:
    """Say how many cells were found, so that the number is that of the guesses to be seen.

    Parameters
    ----------
    shown : int
        Visible guesses.
    covered : int
        Cells found again where a person has checked or edited one.
    hidden : int
        Guesses that are less certain than the chosen certainty.
    images : str
        Where, such as "2 images".

    Examples
    --------
    >>> found_words(42, 0, 0, "1 image")
    'Found 42 cells in 1 image.'
    >>> found_words(42, 14, 3, "1 image")
    'Found 42 new cells in 1 image. 14 more lie on your own cells. 3 less certain ones are hidden.'
    """
    parts = [f"Found {counted(shown, 'new cell' if covered else 'cell')} in {images}."]
    if covered:
        parts.append(f"{covered} more {'lies' if covered == 1 else 'lie'} on your own cells.")
    if hidden:
        parts.append(f"{counted(hidden, 'less certain one is', 'less certain ones are')} hidden.")
    return " ".join(parts)


def _is_odd(result: dict[str, Any]) -> bool:
    """Whether a result is partial, is on disk, or was scaled for cells of another size than the model's."""
    trained = result.get("trained")
    other_size = trained is not None and result.get("diameter") != trained
    return not result.get("complete", True) or other_size or "path" in result
