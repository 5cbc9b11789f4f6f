"""Find cells in all images of the queue; images without a layer get their guesses in the project."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image

from napari_cupre.errors import InputError
from napari_cupre.events import Event
from napari_cupre.project.cells import Cells, Change
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.gestures import shown_from
from napari_cupre.project.project import Project
from napari_cupre.project.strokes import renew_guesses
from napari_cupre.project.tables import read_cells
from napari_cupre.widgets.errands import Errands
from napari_cupre.widgets.finding import GuessSink
from napari_cupre.widgets.found import count_guesses
from napari_cupre.widgets.predicting import GuessCount, ImageFinished
from napari_cupre.widgets.sources import sentence_of
from napari_cupre.widgets.stored_images import found_in

if TYPE_CHECKING:
    from napari_cupre.widgets.session import Session


class StoredSink:
    """Receives the results for an image of the project, whether or not a layer shows it by then.

    Checked and edited cells are never touched.

    Parameters
    ----------
    session : Session
        Of the viewer.
    stem : str
        The project's name for the image.
    model : str
        Name of the model, stored with the results in a layer.
    certainty : float
        Guesses with a lower score are hidden; 0 shows all.
    live : GuessSink or None, optional
        The sink of the layer that shows the image now; the layer may be gone before the search ends.
    """

    def __init__(
        self,
        session: Session,
        stem: str,
        model: str,
        certainty: float,
        live: GuessSink | None = None,
    ) -> None:
        self._session, self.stem, self._model = session, stem, model
        self._certainty, self._live = certainty, live
        self._errands = Errands()  # of its own, because the dock may be closed during the search
        self._project = session.keeper.project
        self._events: list[Event] = []
        self._is_storing = False
        self._then: list[Callable[[], None]] = []
        self._count: GuessCount | None = None

    def __call__(self, event: Event) -> None:
        """Handle an event of this image's prediction."""
        from napari_cupre.service.protocol import PlaneDone, PlaneRelabelled

        if self._live is not None:
            self._live(event)
        match event:
            case PlaneDone() | PlaneRelabelled():
                self._events.append(event)
            case ImageFinished():
                self._events.append(event)
                if not self.is_live:
                    self._finish()

    @property
    def is_live(self) -> bool:
        """Whether the layer that the image had at the start shows the results."""
        return self._live is not None and self._live.is_shown_in(self._session.viewer.layers)

    def when_taken(self, action: Callable[[], None]) -> None:
        """Call a function once a layer shows everything received so far, or the project has it."""
        if self._live is not None and self.is_live:
            self._live.when_taken(action)
            return
        self._then.append(action)
        if not self._is_storing:
            self._settled()

    def guesses(self) -> GuessCount | None:
        """Count the guesses that the search left, in the layer or in the project."""
        return self._live.guesses() if self._live is not None and self.is_live else self._count

    def _settled(self, count: GuessCount | None = None) -> None:
        """Go on after the results were taken up, or could not be."""
        self._is_storing, self._count = False, count or self._count
        waiting, self._then = self._then, []
        for action in waiting:
            action()

    def is_about(self, layer: Any) -> bool:
        """Whether the image of a layer is being searched, so that more results may follow."""
        return self._live is not None and self._live.is_about(layer)

    def close(self) -> None:
        """Take up nothing more."""
        self._errands.close()
        if self._live is not None:
            self._live.close()

    def is_shown_in(self, layers: Any) -> bool:
        """Whether the results are in a layer, or in the project if no layer shows the image."""
        if self._live is not None:
            return self._live.is_shown_in(layers)
        return self._session.keeper.project is self._project

    def _finish(self) -> None:
        """Put the results into the layer that shows the image, or else into the project."""
        project = self._project
        if project is None or self._session.keeper.project is not project:
            self._settled()  # another project was opened in the meantime
            return
        image = self._session.keeper.image_of(self.stem)
        if image is not None:
            self._replay(image)
            return
        entry, loaded = project.image(self.stem), project.loaded(self.stem)
        known = None if loaded is None else loaded.copy()
        events = list(self._events)
        self._is_storing = True
        self._errands.do(
            partial(_renewed, project, entry, known, events), partial(self._take, loaded), self._refused
        )

    def _replay(self, image: Image) -> None:
        session = self._session
        try:
            sink = GuessSink(session, image, session.cell_image(image), self._model, self._certainty)
            for event in self._events:
                sink(event)
        except InputError as error:
            session.keeper.tell(str(error))
            self._settled()
            return
        self._is_storing = True
        sink.when_taken(lambda: self._settled(sink.guesses()))

    def _take(self, loaded: Cells | None, found: tuple[Cells, Change]) -> None:
        """Store the result in the GUI thread; the image may be on show, or its cells may have changed."""
        project = self._project
        if project is None or self._session.keeper.project is not project:
            self._settled()
            return
        cells, change = found
        now = project.loaded(self.stem)
        if self._session.keeper.image_of(self.stem) is not None or now is not loaded:
            self._finish()
            return
        if now is None:
            project.hold(self.stem, cells)
            project.let_go(self.stem)
        else:
            now.apply(change)
        kept = cells if now is None else now
        certainty = project.image(self.stem).certainty = self._certainty or shown_from(kept)
        self._session.keeper.touch()
        self._session.queue.look_at(self.stem)
        self._settled(count_guesses(kept, certainty))

    def _refused(self, error: Exception) -> None:
        self._session.keeper.tell(sentence_of(error))
        self._settled()


def _renewed(
    project: Project, entry: ProjectImage, known: Cells | None, events: list[Event]
) -> tuple[Cells, Change]:
    """Renew an image's guesses in a thread; return its cells and the change."""
    cells = known
    if cells is None:
        stored, _ = read_cells(project.folder, entry.stem, entry.regions)
        cells = Cells.empty(entry.shape) if stored is None else stored
        cells.regions = entry.regions
    found, scores = found_in(entry.shape, events)
    change = renew_guesses(cells, found, scores)
    cells.apply(change)
    return cells, change
