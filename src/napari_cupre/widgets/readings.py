"""Cells outlined by the network, with the alternatives for each click."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.project import gestures
from napari_cupre.project.boxes import clipped
from napari_cupre.project.cells import Cell, Cells, State
from napari_cupre.widgets.prompts import Answer

if TYPE_CHECKING:
    from napari_cupre.widgets.cells_layer import CellsLayer

TAKEN = 0.5
"""An outline is not a new cell if other cells already cover this share of it."""

SAME = 0.9
"""Outlines with at least this IoU look the same."""

MOST = 1000
"""Number of cells whose readings are kept."""


@dataclass
class Reading:
    """A cell outlined by the network, with the alternative readings of the click.

    Attributes
    ----------
    answer : Answer
        The answer, with all readings.
    at : int
        Index of the cell's current reading.
    rows : dict[int, Cell]
        The cell's row for each reading; if it differs, somebody has changed the cell since.
    """

    answer: Answer
    at: int
    rows: dict[int, Cell]


class Readings:
    """The cells of a viewer outlined by the network."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], Reading] = {}
        self._last: tuple[CellsLayer, int] | None = None

    def forget(self) -> None:
        """Forget all of them."""
        self._known.clear()
        self._last = None

    def choose(self, cells: CellsLayer, number: int) -> bool:
        """Make `turn` act on this cell; False if it was not outlined by the network, or changed since."""
        if self._of(cells, number) is None:
            return False
        self._last = cells, number
        return True

    def first(self, cells: CellsLayer, answer: Answer, instead_of: int | None) -> Reading | None:
        """Make a cell from the likeliest reading, or from the next one if a cell already looks like that."""
        at, count = answer.best, len(answer.masks)
        if instead_of is not None and count > 1 and _looks_so(cells.cells, instead_of, answer, at):
            at = (at + 1) % count
        return self.put(cells, answer, at, instead_of)

    def put(
        self, cells: CellsLayer, answer: Answer, at: int, instead_of: int | None = None
    ) -> Reading | None:
        """Make a checked cell from a reading; None if other cells cover most of it."""
        mask, corner, score = answer.masks[at], answer.corners[at], answer.scores[at]
        plane = tuple(answer.prompt.plane.index[axis] for axis in cells.reading.result_axes[:-2])
        if _taken(cells.cells, mask, corner, plane, instead_of) >= TAKEN:
            return None
        change = cells.do(
            lambda now: gestures.place(now, mask, corner, plane, score=score, instead_of=instead_of)
        )
        rows = cells.cells.rows
        made = [n for n in change.touched if n in rows and (change.rows or {})[n][0] is None]
        number = min(made, default=0) if instead_of is None else instead_of  # the first part is the largest
        if not change or number not in rows:
            return None
        before = self._known.get((id(cells), number))
        known = before.rows if before is not None and before.answer is answer else {}
        reading = Reading(answer, at, known | {at: rows[number]})
        self._known[id(cells), number] = reading
        if len(self._known) > MOST:
            del self._known[next(iter(self._known))]
        self._last = cells, number
        return reading

    def turn(self, step: int) -> Reading:
        """Change the last cell's outline: `step` sizes larger, or smaller if negative.

        Raises
        ------
        InputError
            There is no such cell, no other outline, or no room for one.
        """
        if self._last is None or (reading := self._of(*self._last)) is None:
            raise InputError("There is nothing to change: click in a cell first.")
        cells, number = self._last
        count = len(reading.answer.masks)
        if count < 2:
            raise InputError("This is the only outline for this click: drag a box, or draw it.")
        for turn in range(1, count):
            other = self.put(cells, reading.answer, (reading.at + step * turn) % count, number)
            if other is not None:
                return other
        raise InputError("Other cells leave no room for another outline here.")

    def _of(self, cells: CellsLayer, number: int) -> Reading | None:
        """Return the cell's current reading; undo may have restored an earlier outline."""
        reading, row = self._known.get((id(cells), number)), cells.cells.rows.get(number)
        for at, made in (reading.rows if reading is not None else {}).items():
            if made == row and reading is not None:
                reading.at = at
                return reading
        return None


def _taken(
    cells: Cells, mask: np.ndarray, corner: tuple[int, int], plane: tuple[int, ...], but: int | None
) -> float:
    """Return the share of a mask covered by checked or edited cells."""
    top, left = corner
    (y0, y1), (x0, x1) = clipped(
        [(top, top + mask.shape[0]), (left, left + mask.shape[1])], cells.shape[-2:]
    )  # a mask may reach beyond the image
    under = cells.labels[plane][y0:y1, x0:x1][mask[y0 - top : y1 - top, x0 - left : x1 - left]]
    values, counts = np.unique(under, return_counts=True)
    taken = sum(
        int(count)
        for value, count in zip(values, counts)
        if value and value != but and cells.rows[int(value)].state is not State.GUESS
    )
    return taken / max(1, under.size)


def _looks_so(cells: Cells, number: int, answer: Answer, at: int) -> bool:
    """Whether a cell already has the outline of a reading."""
    box, mask = cells.pixels(number)
    flat = np.asarray(mask.reshape(-1, *mask.shape[-2:]).any(axis=0))
    (top, left), other = answer.corners[at], answer.masks[at]
    (y0, _), (x0, _) = box[-2:]
    rows, columns = np.nonzero(flat)
    rows, columns = rows + y0 - top, columns + x0 - left
    inside = (rows >= 0) & (rows < other.shape[0]) & (columns >= 0) & (columns < other.shape[1])
    shared = int(other[rows[inside], columns[inside]].sum())
    return shared > SAME * (int(flat.sum()) + int(other.sum()) - shared)
