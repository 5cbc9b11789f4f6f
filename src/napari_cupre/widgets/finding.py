"""What a prediction finds in an image becomes the guesses of its cells, as one step of undo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from napari.layers import Image

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.errors import CupreError, InputError
from napari_cupre.events import Event
from napari_cupre.project.boxes import Box
from napari_cupre.project.cells import Cells, Change
from napari_cupre.project.gestures import shown_from
from napari_cupre.widgets.cells_layer import CellsLayer
from napari_cupre.widgets.errands import Errands
from napari_cupre.widgets.found import FoundLabels, Place, Summary
from napari_cupre.widgets.layers import METADATA_KEY
from napari_cupre.widgets.predicting import ImageFinished
from napari_cupre.widgets.session import Session


@dataclass(frozen=True)
class _Outcome:
    """What the thread made of some events, for cells as they were at a revision."""

    cells: Cells
    revision: int
    place: Place = ()
    change: Change | None = None
    summary: Summary | None = None


class GuessSink:
    """Takes up what is found in one image; cells that a person vouched for are never touched.

    How the guesses change is worked out in a thread, for the cells as they are then; if a person changed them
    meanwhile, it is worked out again. What is kept of each plane lies in the layer's metadata under
    `METADATA_KEY`: numbers and areas of the cells, their boxes, scores, classes and small overlapping masks,
    for files that hold those.

    Parameters
    ----------
    session : Session
        Of the viewer.
    layer : Image
        The image that is searched.
    image : CellImage
        How it is read.
    model : str
        Name of the model, to be kept.
    certainty : float or None, optional
        Guesses with a lower score are found but hidden; 0 shows whatever is found, None leaves that as it is.
    plane : PlaneIndex or None, optional
        The plane that is searched alone; None for all of the image.
    window : Box or None, optional
        Rows and columns of it that are searched alone, as start and stop; None for all of them.

    Raises
    ------
    InputError
        The layer that is meant for the image's cells cannot be used.
    """

    def __init__(
        self,
        session: Session,
        layer: Image,
        image: CellImage,
        model: str,
        certainty: float | None = None,
        plane: PlaneIndex | None = None,
        window: Box | None = None,
    ) -> None:
        self._session, self._source, self._image, self._model = session, layer, image, model
        self._certainty = certainty
        self._cells: CellsLayer | None = None
        self._found = FoundLabels(image, plane or {}, window)
        self._step: Change | None = None
        self._errands = Errands()
        self._line: list[Event] = []
        self._is_working = self._is_finished = self._is_over = False
        self._then: list[Callable[[], None]] = []
        if fault := session.fault_of(layer):
            raise InputError(fault)

    def __call__(self, event: Event) -> None:
        """Take up an event of this image's prediction."""
        self._line.append(event)
        self._next()

    def when_taken(self, action: Callable[[], None]) -> None:
        """Do something once all that came so far is among the guesses."""
        self._then.append(action)
        self._next()

    def close(self) -> None:
        """Take up nothing more."""
        self._errands.close()
        self._is_working = False
        self._leave()

    def is_shown_in(self, layers: Any) -> bool:
        """Whether the layer is still among a viewer's."""
        return self._cells is not None and self._cells.layer in layers

    def is_about(self, layer: Image) -> bool:
        """Whether an image is searched, and more may come of it."""
        return layer is self._source and not self._is_over

    # --- one after the other ----------------------------------------------------------------------

    def _next(self) -> None:
        if self._is_working:
            return
        if not (self._line or self._found.is_due or self._is_finished):
            self._do_then()
            return
        cells = self._ready()
        if cells is None:
            self._leave()
            return
        cells.settle()
        events, self._line = self._line, []
        self._is_finished |= any(isinstance(event, ImageFinished) for event in events)
        now = Cells(cells.cells.labels, cells.cells.rows)
        self._is_working = True
        held = cells.cells
        work = partial(_outcome, self._found, events, now, held, held.revision, self._is_finished)
        self._errands.do(work, self._made, self._failed)

    def _made(self, outcome: _Outcome) -> None:
        """In the window again: make the change, unless the cells are others by now."""
        self._is_working = False
        try:
            cells = self._ready()
            if cells is not None:
                cells.settle()
                if cells.cells is outcome.cells and cells.cells.revision == outcome.revision:
                    self._take_up(cells, outcome)
        except BaseException:
            self._leave()
            raise
        self._next()

    def _take_up(self, cells: CellsLayer, outcome: _Outcome) -> None:
        if outcome.change is not None:
            self._step = cells.made(outcome.change, onto=self._step)
            self._found.settled(outcome.place)
        elif outcome.summary is not None:
            self._finish(cells, outcome.summary)
            self._is_finished, self._is_over = False, True

    def _failed(self, error: Exception) -> None:
        self._is_working = False
        self._leave()
        if not isinstance(error, CupreError):
            raise error

    def _leave(self) -> None:
        """The image is gone: nothing is left to do."""
        self._line.clear()
        self._found = FoundLabels(self._image, {})
        self._is_finished, self._is_over = False, True
        self._do_then()

    def _do_then(self) -> None:
        waiting, self._then = self._then, []
        for action in waiting:
            action()

    def _ready(self) -> CellsLayer | None:
        """The cells of the image; None once the image is gone or read in another way."""
        session = self._session
        if self._is_over or self._source not in session.viewer.layers:
            return None
        if session.cell_image(self._source).axes != self._image.axes:
            return None
        if self._cells is None:
            self._cells = session.make_cells(self._source)
            if self._certainty is not None:
                self._cells.certainty = self._certainty
        found = session.cells_of(self._source)
        return found if found is self._cells else None

    def _finish(self, cells: CellsLayer, summary: Summary) -> None:
        if self._found.window is not None:  # a part says nothing about the rest of its plane
            return
        cells.name_classes(summary.classes)
        if self._certainty == 0:
            cells.certainty = shown_from(cells.cells)
        cells.searched |= {tuple(plane["index"].values()) for plane in summary.planes}
        before = cells.layer.metadata.get(METADATA_KEY, {}).get("planes", ())
        places = [plane["index"] for plane in summary.planes]
        kept = [plane for plane in before if plane["index"] not in places and "areas" in plane]
        cells.layer.metadata = cells.layer.metadata | {
            METADATA_KEY: {
                "model": self._model,
                "axes": self._image.result_axes,
                "planes": kept + summary.planes,
            }
        }


def _outcome(
    found: FoundLabels, events: Sequence[Event], now: Cells, cells: Cells, revision: int, is_finished: bool
) -> _Outcome:
    """In the thread: what comes of some events, or of the end when nothing else is left.

    Events that change no guess yet, such as the first of several linked planes, are no end.
    """
    for event in events:
        found.take(event)
    if found.is_due:
        place, change = found.next_change(now)
        return _Outcome(cells, revision, place, change)
    return _Outcome(cells, revision, summary=found.summary(now) if is_finished else None)
