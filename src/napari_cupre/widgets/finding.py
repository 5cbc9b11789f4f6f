"""What a prediction finds in an image becomes the guesses of its cells, as one step of undo."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.data.labels import label_areas
from napari_cupre.errors import InputError
from napari_cupre.events import Event, TileDone
from napari_cupre.project.boxes import Box, box_around, measured, slices, whole
from napari_cupre.project.cells import Cells, Change, State
from napari_cupre.project.strokes import renew_guesses
from napari_cupre.service.protocol import PlaneDone, PlaneRelabelled
from napari_cupre.widgets.cells_layer import CellsLayer
from napari_cupre.widgets.layers import METADATA_KEY
from napari_cupre.widgets.predicting import ImageFinished
from napari_cupre.widgets.session import Session

KEPT = ("index", "boxes", "scores", "classes", "class_names", "masks", "diameter")


class GuessSink:
    """Takes up what is found in one image; cells that a person vouched for are never touched.

    What is kept of each plane lies in the layer's metadata under `METADATA_KEY`: numbers and areas of the
    cells, their boxes, scores, classes and small overlapping masks, for files that hold those.

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
        Guesses with a lower score are found but hidden; None leaves that as it is.
    plane : PlaneIndex or None, optional
        The plane that is searched alone; None for all of the image.

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
    ) -> None:
        self._session, self._source, self._image, self._model = session, layer, image, model
        self._certainty, self._plane = certainty, plane or {}
        self._cells: CellsLayer | None = None
        self._found = np.zeros(0, np.int32)
        self._planes: list[dict[str, Any]] = []
        self._scores: dict[int, float] = {}
        self._step: Change | None = None
        self._is_linked = False
        if fault := session.fault_of(layer):
            raise InputError(fault)

    def __call__(self, event: Event) -> None:
        """Take up an event of this image's prediction."""
        match event:
            case TileDone(index=index, y0=y0, x0=x0, labels=labels):
                rows, columns = labels.shape
                self._take(index | self._plane, ((y0, y0 + rows), (x0, x0 + columns)), labels)
            case PlaneDone(labels=labels):
                index = event.index | self._plane
                kept = {name: getattr(event, name) for name in KEPT}
                self._planes.append(kept | {"ids": event.ids, "index": index})
                self._scores |= dict(zip(map(int, event.ids), map(float, event.scores)))
                self._take(index, whole(labels.shape), labels)
            case PlaneRelabelled(index=index, labels=labels, ids=ids):
                self._relabel(index, labels, ids)
            case ImageFinished():
                self._finish()

    def is_shown_in(self, layers: Any) -> bool:
        """Whether the layer is still among a viewer's."""
        return self._cells is not None and self._cells.layer in layers

    def _ready(self) -> CellsLayer | None:
        """The cells of the image; None once the image is gone or read in another way."""
        session = self._session
        if self._source not in session.viewer.layers:
            return None
        if session.cell_image(self._source).axes != self._image.axes:
            return None
        if self._cells is None:
            self._cells = session.make_cells(self._source)
            if self._certainty is not None:
                self._cells.certainty = self._certainty
            self._found = np.zeros(self._image.result_shape, np.int32)
        found = session.cells_of(self._source)
        return found if found is self._cells else None

    def _take(self, index: PlaneIndex, part: Box, labels: np.ndarray) -> None:
        cells = self._ready()
        if cells is None:
            return
        front = tuple((at, at + 1) for at in index.values())
        self._found[slices((*front, *part))] = labels
        self._renew(cells, self._around((*front, *part)))

    def _around(self, box: Box) -> Box:
        """A box that holds all cells found so far that reach into it, whole."""
        plane = (*box[:-2], *whole(self._found.shape[-2:]))
        if box == plane:
            return box
        inside = np.unique(self._found[slices(box)])
        sizes = measured(self._found[slices(plane)], plane)
        return box_around([box, *(sizes[int(label)][0] for label in inside if label)])

    def _renew(self, cells: CellsLayer, box: Box) -> None:
        found = self._found[slices(box)]
        self._step = cells.do(lambda now: renew_guesses(now, found, self._scores, box), onto=self._step)

    def _relabel(self, index: PlaneIndex, labels: np.ndarray, ids: np.ndarray) -> None:
        """A cell of several planes is one cell."""
        if self._ready() is None:
            return
        self._is_linked = True
        self._found[tuple(index.values())] = labels
        for plane in self._planes:
            if plane["index"] == index:
                plane["ids"] = ids

    def _finish(self) -> None:
        cells = self._ready()
        if cells is None:
            return
        if self._is_linked:
            self._scores = {}
            for plane in self._planes:
                for label, score in zip(map(int, plane["ids"]), map(float, plane["scores"])):
                    self._scores[label] = max(score, self._scores.get(label, 0.0))
            self._renew(cells, whole(self._found.shape))
        kept = [self._numbered(plane, cells.cells) for plane in self._planes]
        cells.name_classes(_classes(kept))
        cells.searched |= {tuple(plane["index"].values()) for plane in self._planes}
        before = cells.layer.metadata.get(METADATA_KEY, {}).get("planes", ())
        places = [plane["index"] for plane in kept]
        kept = [plane for plane in before if plane["index"] not in places and "areas" in plane] + kept
        cells.layer.metadata = cells.layer.metadata | {
            METADATA_KEY: {"model": self._model, "axes": self._image.result_axes, "planes": kept}
        }

    def _numbered(self, plane: dict[str, Any], cells: Cells) -> dict[str, Any]:
        """What is kept of a plane, with the numbers that its cells got; 0 for those that were dropped."""
        place = tuple(plane["index"].values())
        found, labels = self._found[place], cells.labels[place]
        ids, first = np.unique(found, return_index=True)
        number_of = dict(zip(ids.tolist(), labels.ravel()[first].tolist()))
        numbers = [number_of.get(int(label), 0) for label in plane["ids"]]
        guesses = set(cells.numbers(State.GUESS))
        numbers = [number if number in guesses else 0 for number in numbers]
        areas = dict(zip(*(each.tolist() for each in label_areas(labels))))
        return plane | {
            "ids": np.array(numbers, np.int32),
            "areas": np.array([areas.get(number, 0) for number in numbers], np.int64),
        }


def _classes(planes: list[dict[str, Any]]) -> dict[int, str]:
    """The class of each cell; nothing where the model knows only one."""
    names = planes[0]["class_names"] if planes else ()
    if len(names) < 2:
        return {}
    return {
        int(number): str(names[int(kind) - 1])
        for plane in planes
        for number, kind in zip(plane["ids"], plane["classes"])
        if number
    }
