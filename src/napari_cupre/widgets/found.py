"""What a prediction has found in an image so far, and how it changes the guesses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.data.labels import label_areas
from napari_cupre.events import Event, TileDone
from napari_cupre.project.boxes import Box, box_around, measured, slices, whole
from napari_cupre.project.cells import Cells, Change, State
from napari_cupre.project.gestures import hidden
from napari_cupre.project.strokes import renew_guesses
from napari_cupre.widgets.predicting import GuessCount, ImageFinished

KEPT = ("index", "boxes", "scores", "classes", "class_names", "masks", "diameter")

Place = tuple[int, ...]


@dataclass(frozen=True)
class Summary:
    """The data kept from a finished prediction.

    Attributes
    ----------
    planes : list[dict[str, Any]]
        Index, boxes, scores, classes and masks of each plane, with the numbers and areas of the cells.
    classes : dict[int, str]
        The class of each cell; empty if the model knows only one.
    """

    planes: list[dict[str, Any]]
    classes: dict[int, str]


class FoundLabels:
    """The labels received from events; used by one thread at a time.

    Parameters
    ----------
    image : CellImage
        The image to search.
    plane : PlaneIndex
        The only plane to search; empty for the whole image.
    window : Box or None, optional
        The only rows and columns to search, as start and stop; events count from its first pixel. Cells cut
        by its sides are left out, and old guesses across them stay. None for whole planes.
    """

    def __init__(self, image: CellImage, plane: PlaneIndex, window: Box | None = None) -> None:
        self._plane, self.window = plane, window
        self._size = image.plane_shape
        shape = image.result_shape[:-2] + (self._size if window is None else _size_of(window))
        self._labels = np.zeros(shape, np.int32)
        self._boxes: dict[Place, dict[int, Box]] = {}
        self._scores: dict[int, float] = {}
        self._kept: list[dict[str, Any]] = []
        self._is_linked = False
        self._due: dict[Place, Box] = {}

    def take(self, event: Event) -> None:
        """Handle an event."""
        from napari_cupre.service.protocol import PlaneDone, PlaneRelabelled

        match event:
            case TileDone(index=index, y0=y0, x0=x0, labels=labels):
                rows, columns = labels.shape
                self._take_tile(index | self._plane, ((y0, y0 + rows), (x0, x0 + columns)), labels)
            case PlaneDone(labels=labels):
                index = event.index | self._plane
                kept = {name: getattr(event, name) for name in KEPT}
                self._kept.append(kept | {"ids": event.ids, "index": index})
                self._scores |= dict(zip(map(int, event.ids), map(float, event.scores)))
                self._take_tile(index, whole(labels.shape), labels)
            case PlaneRelabelled(index=index, labels=labels, ids=ids):
                self._is_linked = True  # a cell that spans several planes is one cell
                self._labels[tuple(index.values())] = labels
                for plane in self._kept:
                    if plane["index"] == index:
                        plane["ids"] = ids
            case ImageFinished() if self._is_linked:
                self._scores = {}
                for plane in self._kept:
                    for label, score in zip(map(int, plane["ids"]), map(float, plane["scores"])):
                        self._scores[label] = max(score, self._scores.get(label, 0.0))
                self._due = {(): whole(self._labels.shape)}

    @property
    def is_due(self) -> bool:
        """Whether there are new results that are not guesses yet."""
        return bool(self._due)

    def next_change(self, cells: Cells) -> tuple[Place, Change]:
        """Return the change that turns the new results of one plane into guesses."""
        place, box = next(iter(self._due.items()))
        if self.window is None:
            return place, renew_guesses(cells, self._labels[slices(box)], self._scores, box)
        labels = self._labels[place]
        found = np.where(np.isin(labels, _cut(labels, self.window, self._size)), 0, labels)
        full = (*box[:-2], *self.window)
        return place, renew_guesses(cells, found, self._scores, full, keeps_cut=True)

    def settled(self, place: Place) -> None:
        """Record that the change was made."""
        self._due.pop(place, None)

    def _take_tile(self, index: PlaneIndex, part: Box, labels: np.ndarray) -> None:
        place = tuple(index.values())
        self._labels[place][slices(part)] = labels
        plane = whole(self._labels.shape[-2:])
        if part != plane:  # cells that reach beyond the window are renewed as a whole
            boxes = self._boxes.setdefault(place, {})
            for label, (box, _) in measured(np.ascontiguousarray(labels), part).items():
                boxes[label] = box_around([box, boxes.get(label, box)])
                part = box_around([part, boxes[label]])
        full = (*((at, at + 1) for at in place), *part)
        self._due[place] = box_around([full, self._due.get(place, full)])

    def summary(self, cells: Cells) -> Summary:
        """Return the data to keep, with the numbers of the cells; empty for a part of a plane."""
        if self.window is not None:
            return Summary([], {})
        planes = [self._numbered(plane, cells) for plane in self._kept]
        return Summary(planes, _classes(planes))

    def _numbered(self, plane: dict[str, Any], cells: Cells) -> dict[str, Any]:
        """Return the data to keep for a plane, with its cells' numbers; 0 for dropped cells."""
        place = tuple(plane["index"].values())
        found, labels = self._labels[place], cells.labels[place]
        is_guess = np.isin(labels, np.array(cells.numbers(State.GUESS), np.int32)) & (found > 0)
        number_of = np.zeros(int(found.max(initial=0)) + 1, np.int32)
        number_of[found[is_guess]] = labels[is_guess]
        numbers = [int(number_of[int(label)]) if label < len(number_of) else 0 for label in plane["ids"]]
        areas = dict(zip(*(each.tolist() for each in label_areas(labels))))
        return plane | {
            "ids": np.array(numbers, np.int32),
            "areas": np.array([areas.get(number, 0) for number in numbers], np.int64),
        }


def count_guesses(
    cells: Cells, certainty: float, plane: PlaneIndex | None = None, window: Box | None = None
) -> GuessCount:
    """Count the guesses after a search.

    Parameters
    ----------
    cells : Cells
        The cells of the image.
    certainty : float
        Guesses with a lower score are hidden.
    plane : PlaneIndex or None, optional
        The only plane that was searched.
    window : Box or None, optional
        The only rows and columns that were searched.
    """
    front = [(at, at + 1) for at in (plane or {}).values()] or whole(cells.shape[:-2])
    flat = whole(cells.shape[-2:]) if window is None else window
    guesses = {
        number
        for number, cell in cells
        if cell.state is State.GUESS
        and all(start < last and stop > first for (start, stop), (first, last) in zip(cell.box, front))
        and all(first <= start and stop <= last for (start, stop), (first, last) in zip(cell.box[-2:], flat))
    }
    unseen = len(guesses.intersection(hidden(cells, certainty)))
    return GuessCount(len(guesses) - unseen, unseen, window is None)


def _size_of(window: Box) -> tuple[int, int]:
    (top, bottom), (left, right) = window
    return bottom - top, right - left


def _cut(labels: np.ndarray, window: Box, size: tuple[int, int]) -> np.ndarray:
    """Return the labels cut by the sides of a window; the borders of the image do not count."""
    (top, bottom), (left, right) = window
    sides = [
        labels[rows, columns]
        for rows, columns, is_inside in (
            (0, slice(None), top > 0),
            (-1, slice(None), bottom < size[0]),
            (slice(None), 0, left > 0),
            (slice(None), -1, right < size[1]),
        )
        if is_inside
    ]
    numbers = np.unique(np.concatenate(sides)) if sides else np.zeros(0, labels.dtype)
    return numbers[numbers > 0]


def _classes(planes: list[dict[str, Any]]) -> dict[int, str]:
    """Return the class of each cell; empty if the model knows only one."""
    names = planes[0]["class_names"] if planes else ()
    if len(names) < 2:
        return {}
    return {
        int(number): str(names[int(kind) - 1])
        for plane in planes
        for number, kind in zip(plane["ids"], plane["classes"])
        if number
    }
