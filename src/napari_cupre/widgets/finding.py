"""Turn what a prediction finds in an image into guesses, as one undo step."""

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
from napari_cupre.widgets.found import FoundLabels, Place, Summary, count_guesses
from napari_cupre.widgets.layers import METADATA_KEY
from napari_cupre.widgets.predicting import GuessCount, ImageFinished
from napari_cupre.widgets.session import Session


@dataclass(frozen=True)
class _Outcome:
    """The result of some events, computed in the thread for the cells at one revision."""

    cells: Cells
    revision: int
    place: Place = ()
    change: Change | None = None
    summary: Summary | None = None


class GuessSink:
    """Turns the results for one image into guesses; checked and edited cells are never touched.

    A thread works out how the guesses change, based on the present cells; if a person changes them in the
    meantime, it starts again. The data kept for each plane are in the layer's metadata under
    `METADATA_KEY`: numbers and areas of the cells, their boxes, scores, classes and small overlapping masks,
    for files that hold those.

    Parameters
    ----------
    session : Session
        Of the viewer.
    layer : Image
        The image to search.
    image : CellImage
        How the image is read.
    model : str
        Name of the model, stored with the result.
    certainty : float or None, optional
        Guesses with a lower score are hidden; 0 shows all, None keeps the present setting.
    plane : PlaneIndex or None, optional
        The only plane to search; None for the whole image.
    window : Box or None, optional
        The only rows and columns to search, as start and stop; None for all.

    Raises
    ------
    InputError
        The image's layer of cells cannot be used.
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
        self._plane, self._window = plane or {}, window
        self._found = FoundLabels(image, self._plane, window)
        self._step: Change | None = None
        self._errands = Errands()
        self._line: list[Event] = []
        self._is_working = self._is_finished = self._is_over = False
        self._then: list[Callable[[], None]] = []
        if fault := session.fault_of(layer):
            raise InputError(fault)

    def __call__(self, event: Event) -> None:
        """Handle an event of this image's prediction."""
        self._line.append(event)
        self._next()

    def when_taken(self, action: Callable[[], None]) -> None:
        """Call a function once everything received so far is among the guesses."""
        self._then.append(action)
        self._next()

    def close(self) -> None:
        """Ignore everything from now on."""
        self._errands.close()
        self._is_working = False
        self._leave()

    def is_shown_in(self, layers: Any) -> bool:
        """Whether a viewer still contains the layer."""
        return self._cells is not None and self._cells.layer in layers

    def guesses(self) -> GuessCount | None:
        """Count the guesses that the search left; None if the image is gone."""
        cells = self._cells
        if cells is None:
            return None
        return count_guesses(cells.cells, cells.certainty, self._plane, self._window)

    def is_about(self, layer: Image) -> bool:
        """Whether an image is being searched, so that more results may follow."""
        return layer is self._source and not self._is_over

    # --- one event after another -----------------------------------------------------------------

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
        """Make the change in the GUI thread, unless the cells have changed in the meantime."""
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
        """Stop, because the image is gone."""
        self._line.clear()
        self._found = FoundLabels(self._image, {})
        self._is_finished, self._is_over = False, True
        self._do_then()

    def _do_then(self) -> None:
        waiting, self._then = self._then, []
        for action in waiting:
            action()

    def _ready(self) -> CellsLayer | None:
        """Return the cells of the image; None once the image is gone or its axes are read differently."""
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
        if self._found.window is not None:  # a window tells nothing about the rest of its plane
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
    """Work out the result of some events, or of the end of the run, in the thread.

    Events that do not change a guess yet, such as the first of several linked planes, do not end the run.
    """
    for event in events:
        found.take(event)
    if found.is_due:
        place, change = found.next_change(now)
        return _Outcome(cells, revision, place, change)
    return _Outcome(cells, revision, summary=found.summary(now) if is_finished else None)
