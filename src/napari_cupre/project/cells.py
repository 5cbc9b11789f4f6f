"""The cells of one image in memory: a label image, a row for each cell, and the regions that are complete."""

from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import numpy as np

from napari_cupre.data.labels import as_labels
from napari_cupre.errors import InputError
from napari_cupre.project.boxes import Box, Patch, box_around, measured, slices

Region = tuple[tuple[float, ...], ...]
"""Corners (n, d) of an area in which every cell is annotated, over the axes of the label image: for two
axes as `napari_cupre.data.annotation.region_mask` takes it, for more with the plane in front."""

LARGEST_NUMBER = int(np.iinfo(np.int32).max)


class State(StrEnum):
    """The state of a cell."""

    GUESS = "guess"
    """Found by the network; training ignores it, and new guesses replace it."""

    CHECKED = "checked"
    """Accepted unchanged by a person."""

    EDITED = "edited"
    """Drawn or changed by a person."""

    @property
    def teaches(self) -> bool:
        """Whether training learns from it, because a person checked or edited it."""
        return self is not State.GUESS


@dataclass(frozen=True)
class By:
    """The author of a change (the name may be empty) and its time (UTC, ISO 8601 to the second)."""

    author: str
    time: str

    @classmethod
    def now(cls, author: str | None = None) -> By:
        """Return the present time with a name, by default that of the logged-in user."""
        return cls(_user() if author is None else author, utc_now())


def utc_now() -> str:
    """Return the time in the form used by projects, such as "2026-11-25T14:02:09Z"."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # in a container the user may have no name
        return ""


@dataclass(frozen=True)
class Cell:
    """One row of the table of cells.

    Attributes
    ----------
    state : State
        Guess, checked or edited.
    box : Box
        Bounding box.
    area : int
        Pixels.
    score : float
        Certainty of the network, 0 to 1; NaN if the network was not used.
    author, time : str
        Author and time of this state; empty for a guess without an author.
    """

    state: State
    box: Box
    area: int
    score: float = float("nan")
    author: str = ""
    time: str = ""

    def __eq__(self, other: object) -> bool:
        # NaN means "no score", and two such scores are equal.
        return isinstance(other, Cell) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[Any, ...]:
        score = None if np.isnan(self.score) else self.score
        return self.state, self.box, self.area, score, self.author, self.time


@dataclass(frozen=True)
class Change:
    """The effect of one gesture on the cells of an image; true if it does anything.

    Attributes
    ----------
    verb : str
        Description for the undo menu ("Merge two cells").
    patches : tuple of Patch
        Pixels, in the order in which they are set.
    rows : mapping of int to tuple[Cell or None, Cell or None] or None
        Row before and after for each affected cell; None if the cell does not exist then.
    regions : tuple[tuple[Region, ...], tuple[Region, ...]] or None
        All regions before and after; None if they do not change.
    """

    verb: str
    patches: tuple[Patch, ...] = ()
    rows: Mapping[int, tuple[Cell | None, Cell | None]] | None = None
    regions: tuple[tuple[Region, ...], tuple[Region, ...]] | None = None

    def __bool__(self) -> bool:
        return bool(self.patches or self.rows or self.regions)

    @property
    def nbytes(self) -> int:
        """Memory of its pixels in bytes."""
        return sum(patch.before.nbytes + patch.after.nbytes for patch in self.patches)

    @property
    def box(self) -> Box | None:
        """Return the bounding box of all pixels that it sets; None if it sets none."""
        return box_around([patch.box for patch in self.patches]) if self.patches else None

    @property
    def touched(self) -> tuple[int, ...]:
        """Return the numbers of the cells that it creates, changes or removes."""
        return tuple(sorted(self.rows or ()))

    def inverse(self) -> Change:
        """Return the change that undoes this one."""
        patches = tuple(Patch(each.box, each.after, each.before) for each in reversed(self.patches))
        rows = {number: (after, before) for number, (before, after) in (self.rows or {}).items()}
        regions = (self.regions[1], self.regions[0]) if self.regions else None
        return Change(self.verb, patches, rows, regions)

    def then(self, later: Change) -> Change:
        """Join this change and a later one into a single gesture."""
        rows = dict(self.rows or {})
        for number, (before, after) in (later.rows or {}).items():
            first = rows[number][0] if number in rows else before
            rows[number] = (first, after)
            if first is None and after is None:  # created and removed again
                del rows[number]
        regions = self.regions or later.regions
        if self.regions and later.regions:
            regions = (self.regions[0], later.regions[1])
        return Change(self.verb or later.verb, self.patches + later.patches, rows, regions)


class Cells:
    """The cells of one image.

    Attributes
    ----------
    labels : numpy.ndarray
        int32 over the axes of the annotation, 0 = no cell. It may be the array that a window shows; code that
        paints in it reports this with `napari_cupre.project.strokes.painted`.
    rows : mapping of int to Cell, optional
        The row of every number in `labels`, and of no other.
    regions : iterable of Region, optional
        Where every cell is annotated.
    revision : grows with every change, so that a saver sees what is new.

    Examples
    --------
    >>> cells = Cells.of(np.array([[0, 4, 4], [0, 0, 0]]), State.GUESS)
    >>> cells.rows[4].area, cells.rows[4].box
    (2, ((0, 1), (1, 3)))
    """

    def __init__(
        self, labels: np.ndarray, rows: Mapping[int, Cell] | None = None, regions: Iterable[Region] = ()
    ) -> None:
        self.labels = labels
        self.rows: dict[int, Cell] = dict(rows or {})
        self.regions: tuple[Region, ...] = tuple(regions)
        self.revision = 0
        self._counted: tuple[int, Counter[State]] = (-1, Counter())

    @classmethod
    def empty(cls, shape: Sequence[int]) -> Cells:
        """Make empty cells for an image of this shape."""
        return cls(np.zeros(tuple(shape), np.int32))

    @classmethod
    def of(
        cls,
        labels: Any,
        state: State | Mapping[int, State] = State.EDITED,
        *,
        scores: Mapping[int, float] | None = None,
        regions: Iterable[Region] = (),
        by: By | None = None,
    ) -> Cells:
        """Make cells from a label image of any integer type.

        Parameters
        ----------
        labels : Any
            Whole numbers, 0 = no cell. An int32 array is used as it is, not copied.
        state : State or mapping of int to State, optional
            State of all cells, or by number; missing numbers are edited.
        scores : mapping of int to float, optional
            By number.
        regions : iterable of Region, optional
            Where every cell is annotated.
        by : By, optional
            Who made them.

        Raises
        ------
        InputError : negative or non-integer values.
        """
        by = by or By("", "")
        given = labels
        if not (isinstance(labels, np.ndarray) and labels.dtype == np.int32 and labels.min(initial=0) >= 0):
            given = as_labels(labels)
        rows = {}
        for number, (box, area) in measured(given).items():
            its = state if isinstance(state, State) else state.get(number, State.EDITED)
            rows[number] = Cell(its, box, area, float((scores or {}).get(number, np.nan)), by.author, by.time)
        return cls(given, rows, regions)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the label image."""
        return tuple(int(size) for size in self.labels.shape)

    def numbers(self, *states: State) -> list[int]:
        """Return the numbers of cells in one of the states (by default all), ascending."""
        return sorted(n for n, cell in self.rows.items() if not states or cell.state in states)

    def count(self, *states: State) -> int:
        """Count the cells in one of the states (by default all)."""
        if not states:
            return len(self.rows)
        if self._counted[0] != self.revision:  # cached, because docks call this many times after each change
            self._counted = self.revision, Counter(cell.state for cell in self.rows.values())
        return sum(self._counted[1][state] for state in set(states))

    def free_numbers(self, count: int = 1) -> list[int]:
        """Return numbers for new cells: above all existing ones or, if int32 is used up, the lowest gaps.

        Raises
        ------
        InputError : the type has no number left.
        """
        first = max(self.rows, default=0) + 1
        if first + count - 1 <= LARGEST_NUMBER:
            return list(range(first, first + count))
        gaps: list[int] = []
        number = 1
        while len(gaps) < count and number <= LARGEST_NUMBER:
            if number not in self.rows:
                gaps.append(number)
            number += 1
        if len(gaps) < count:
            raise InputError("This image has no label left for another cell: save it and start a new one.")
        return gaps

    def pixels(self, number: int) -> tuple[Box, np.ndarray]:
        """Return the bounding box of a cell, and its pixels in the box (bool)."""
        box = self.row(number).box
        return box, self.labels[slices(box)] == number

    def row(self, number: int) -> Cell:
        """Return the row of a cell.

        Raises
        ------
        InputError : there is no such cell.
        """
        try:
            return self.rows[int(number)]
        except KeyError:
            raise InputError(f"There is no cell {number} in this image: choose another one.") from None

    def at(self, position: Sequence[float]) -> int:
        """Return the number of the cell at a position over the axes of the labels; 0 for none or outside."""
        index = tuple(round(float(value)) for value in position)
        inside = len(index) == self.labels.ndim and all(0 <= i < n for i, n in zip(index, self.shape))
        return int(self.labels[index]) if inside else 0

    def apply(self, change: Change) -> None:
        """Make a change.

        Raises
        ------
        InputError : it was made for other cells than these.
        """
        for number, (before, _) in (change.rows or {}).items():
            if self.rows.get(number) != before:
                raise InputError(f"Cell {number} changed in the meantime: try again.")
        if change.regions and change.regions[0] != self.regions:
            raise InputError("The regions changed in the meantime: try again.")
        for patch in change.patches:
            self.labels[slices(patch.box)] = patch.after
        for number, (_, after) in (change.rows or {}).items():
            if after is None:
                del self.rows[number]
            else:
                self.rows[number] = after
        if change.regions:
            self.regions = change.regions[1]
        if change:
            self.revision += 1

    def copy(self, memory: np.ndarray | None = None) -> Cells:
        """Return a copy of the cells, using a given int32 array of their shape if there is one."""
        memory = np.empty_like(self.labels) if memory is None else memory
        np.copyto(memory, self.labels)
        twin = Cells(memory, self.rows, self.regions)
        twin.revision = self.revision
        return twin

    def __iter__(self) -> Iterator[tuple[int, Cell]]:
        return iter(sorted(self.rows.items()))

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Cells)
            and self.rows == other.rows
            and self.regions == other.regions
            and np.array_equal(self.labels, other.labels)
        )

    __hash__ = None  # type: ignore[assignment]


# --- boxes ----------------------------------------------------------------------------------------
