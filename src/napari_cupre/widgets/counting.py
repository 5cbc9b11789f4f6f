"""How much is annotated: counted beside the window, one plane at a time, after the last stroke."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, QTimer

from napari_cupre.data.image import PlaneIndex
from napari_cupre.errors import CupreError
from napari_cupre.widgets.checks import Finding, findings, refuse_grey_values
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.snapshot import Snapshot

if TYPE_CHECKING:
    from napari_cupre.data.shot import Shot

QUIET_MS = 400  # a stroke must be over for so long before anything is counted
REMEMBERED = 20  # planes that were painted last: an undo may change any of them
Marks = dict[tuple[Image, tuple[tuple[str, int], ...]], "tuple[Shot, list[Finding]]"]
Work = list[tuple[Image, Snapshot, list[PlaneIndex]]]


@dataclass(frozen=True)
class Counts:
    """What the Annotate widget shows.

    Attributes
    ----------
    cells, known, diameter : int, float, float
        For the chosen image: annotated cells, known share of the annotated planes (0..1), median diameter in
        px (NaN without a cell).
    all_cells, all_images : int
        Over all annotated images of the viewer.
    findings : tuple[Finding, ...]
        What must be asked about the chosen image.
    ready, advice : bool, str
        Whether training can start, and what would help most.
    """

    cells: int
    known: float
    diameter: float
    all_cells: int
    all_images: int
    ready: bool
    advice: str
    findings: tuple[Finding, ...] = ()


class Counter(QObject):
    """Recounts what changed and hands `Counts`, or an error's sentence, to a listener in the GUI thread.

    Counts of planes that nobody touched are kept, so that a stack costs no more than a plane.
    """

    def __init__(self, session: Session, parent: QObject, show: Callable[[Counts | str], None]) -> None:
        super().__init__(parent)
        self._session, self._show = session, show
        self._marks: Marks = {}
        self._counted_images: set[Image] = set()
        self._touched: dict[Image, list[PlaneIndex]] = {}
        self._running = False
        self._again = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(QUIET_MS)
        self._timer.timeout.connect(self._count)

    def plane_changed(self, event: Any = None) -> None:
        """Something was painted on the planes on show, which the sliders may leave before it is counted."""
        # also of an image whose count is still to come: an undo may change the plane after that count
        for image in [annotation.image for annotation in self._session.annotated()]:
            with contextlib.suppress(CupreError):
                index = self._session.plane_on_show(image)
                known = self._touched.setdefault(image, [])
                if index in known:
                    known.remove(index)
                known.append(index)
                del known[:-REMEMBERED]
        self._timer.start()

    def all_changed(self, event: Any = None) -> None:
        """Layers were chosen or exchanged, or a region was drawn, which may lie anywhere."""
        self._counted_images.clear()
        self._timer.start()

    def _count(self) -> None:
        if self._running:
            self._again = True
            return
        try:
            work = self._work()
        except CupreError as err:
            self._show(str(err))
            return
        self._running = True
        worker = create_worker(_count_planes, work, self._marks, self._session.image, _start_thread=False)
        worker.returned.connect(self._counted)
        worker.start()

    def _work(self) -> Work:
        """Which planes to look at: all of an image that is new or changed all over, else the one on show."""
        session = self._session
        annotated = session.annotated()
        layers = {annotation.image for annotation in annotated}
        self._marks = {key: kept for key, kept in self._marks.items() if key[0] in layers}
        work = []
        for annotation in annotated:
            layer = annotation.image
            image = session.cell_image(layer)
            counted = layer in self._counted_images
            planes = list(self._touched.get(layer, [])) if counted else list(image.plane_indices())
            work.append((layer, annotation.snapshot(image), planes))
        self._counted_images = layers
        return work

    def _counted(self, result: tuple[Marks, Counts | str]) -> None:
        self._running = False
        self._marks, counts = result
        if self._again:
            self._again = False
            self._timer.start()
        self._show(counts)


def _count_planes(work: Work, marks: Marks, chosen: Image | None) -> tuple[Marks, Counts | str]:
    """Run in the worker thread; the layers only serve as keys."""
    marks = dict(marks)
    from napari_cupre.data.labels import as_labels

    try:
        for layer, snapshot, planes in work:
            for index in planes:
                key = (layer, tuple(index.items()))
                marks.pop(key, None)
                found = snapshot.marks(index)
                if found is not None:
                    shot, merged = found
                    place = tuple(index.values())
                    by_hand = as_labels(snapshot.labels[place])
                    refuse_grey_values(by_hand, snapshot.image.name)
                    marks[key] = shot, findings(by_hand, place, merged)
        return marks, _sum_up(marks, chosen)
    except Exception as err:  # raised in a worker it would pop up as a traceback
        return marks, str(err)


def _sum_up(marks: Marks, chosen: Image | None) -> Counts:
    from napari_cupre.data.annotation import enough_to_train, summarise

    here = summarise([shot for (layer, _), (shot, _) in marks.items() if layer is chosen])
    shots = [shot for shot, _ in marks.values()]
    everywhere = summarise(shots)
    ready, advice = enough_to_train(shots)
    return Counts(
        cells=here.cells,
        known=here.known_fraction,
        diameter=here.diameter,
        all_cells=everywhere.cells,
        all_images=len({layer for (layer, _), (shot, _) in marks.items() if shot.labels.any()}),
        ready=ready,
        advice=advice,
        findings=tuple(x for (layer, _), (_, found) in marks.items() if layer is chosen for x in found),
    )
