"""The cells of one image in memory: a label image, a row for each cell, and the regions that are complete."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import numpy as np
from scipy import ndimage

from napari_cupre.data.labels import as_labels
from napari_cupre.errors import InputError

Box = tuple[tuple[int, int], ...]
"""Start and stop along every axis of a label image."""

Region = tuple[tuple[float, ...], ...]
"""Corners (n, d) of an area in which every cell is annotated, over the axes of the label image: for two
axes as `napari_cupre.data.annotation.region_mask` takes it, for more with the plane in front."""

LARGEST_NUMBER = int(np.iinfo(np.int32).max)

_FEW = 24
"""Up to so many cells are measured one by one, more of them in one pass over the pixels."""


class State(StrEnum):
    """What is known about a cell."""

    GUESS = "guess"
    """The network found it; it teaches nothing, and new guesses replace it."""

    CHECKED = "checked"
    """A person accepted it as it is."""

    EDITED = "edited"
    """A person drew or changed it."""

    @property
    def teaches(self) -> bool:
        """Whether a person vouched for it."""
        return self is not State.GUESS


@dataclass(frozen=True)
class By:
    """Who does something, and when.

    Attributes
    ----------
    author : the user's name; may be empty.
    time : UTC, ISO 8601 to the second.
    """

    author: str
    time: str

    @classmethod
    def now(cls, author: str | None = None) -> By:
        """Now, by the user who is logged in unless another name is given."""
        return cls(_user() if author is None else author, utc_now())


def utc_now() -> str:
    """The time as projects write it, such as "2026-11-25T14:02:09Z"."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may know no name for its user
        return ""


@dataclass(frozen=True)
class Cell:
    """One row of the table of cells.

    Attributes
    ----------
    state : guess, checked or edited.
    box : bounding box.
    area : pixels.
    score : how sure the network was, 0 to 1; NaN where it was not asked.
    author, time : who brought it to this state and when; empty for a guess without an author.
    """

    state: State
    box: Box
    area: int
    score: float = float("nan")
    author: str = ""
    time: str = ""

    def __eq__(self, other: object) -> bool:
        # NaN is no score, and no score equals no score.
        return isinstance(other, Cell) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[Any, ...]:
        score = None if np.isnan(self.score) else self.score
        return self.state, self.box, self.area, score, self.author, self.time


@dataclass(frozen=True)
class Patch:
    """Pixels of a bounding box before and after a change, int32."""

    box: Box
    before: np.ndarray
    after: np.ndarray


@dataclass(frozen=True)
class Change:
    """What one gesture does to the cells of an image; true if it does anything.

    Attributes
    ----------
    verb : what was done, for the undo menu ("Merge two cells").
    patches : pixels, in the order in which they are set.
    rows : for each cell that is touched its row before and after; None where there is no such cell.
    regions : all regions before and after; None if they stay.
    """

    verb: str
    patches: tuple[Patch, ...] = ()
    rows: Mapping[int, tuple[Cell | None, Cell | None]] | None = None
    regions: tuple[tuple[Region, ...], tuple[Region, ...]] | None = None

    def __bool__(self) -> bool:
        return bool(self.patches or self.rows or self.regions)

    @property
    def nbytes(self) -> int:
        """Memory that its pixels take."""
        return sum(patch.before.nbytes + patch.after.nbytes for patch in self.patches)

    @property
    def box(self) -> Box | None:
        """The bounding box of all pixels that it sets; None if it sets none."""
        return box_around([patch.box for patch in self.patches]) if self.patches else None

    @property
    def touched(self) -> tuple[int, ...]:
        """Numbers of the cells that it makes, changes or removes."""
        return tuple(sorted(self.rows or ()))

    def inverse(self) -> Change:
        """The change that takes this one back."""
        patches = tuple(Patch(each.box, each.after, each.before) for each in reversed(self.patches))
        rows = {number: (after, before) for number, (before, after) in (self.rows or {}).items()}
        regions = (self.regions[1], self.regions[0]) if self.regions else None
        return Change(self.verb, patches, rows, regions)

    def then(self, later: Change) -> Change:
        """Join this change and a later one to a single gesture."""
        rows = dict(self.rows or {})
        for number, (before, after) in (later.rows or {}).items():
            first = rows[number][0] if number in rows else before
            rows[number] = (first, after)
            if first is None and after is None:  # it came and went
                del rows[number]
        regions = self.regions or later.regions
        if self.regions and later.regions:
            regions = (self.regions[0], later.regions[1])
        return Change(self.verb or later.verb, self.patches + later.patches, rows, regions)


class Cells:
    """The cells of one image.

    Attributes
    ----------
    labels : int32 over the axes of the annotation, 0 = no cell. It may be the array that a window shows;
        whoever paints in it says so with `napari_cupre.project.gestures.painted`.
    rows : the row of every number in `labels`, and of no other.
    regions : where every cell is annotated.
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

    @classmethod
    def empty(cls, shape: Sequence[int]) -> Cells:
        """No cell on an image of this shape."""
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
        """Cells of a label image of any integer type.

        Parameters
        ----------
        labels : whole numbers, 0 = no cell. An int32 array is used as it is, not copied.
        state : of all cells, or by number; numbers that it lacks are edited.
        scores : by number.
        regions : where every cell is annotated.
        by : who made them.

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
        """Numbers of the cells in one of the states (all cells without one), ascending."""
        return sorted(n for n, cell in self.rows.items() if not states or cell.state in states)

    def count(self, *states: State) -> int:
        """How many cells are in one of the states; all cells without one."""
        return sum(not states or cell.state in states for cell in self.rows.values())

    def free_numbers(self, count: int = 1) -> list[int]:
        """Numbers for new cells: above all there are or, when int32 is used up, the lowest gaps.

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
        """Bounding box of a cell, and which pixels in it are the cell's (bool)."""
        box = self.row(number).box
        return box, self.labels[slices(box)] == number

    def row(self, number: int) -> Cell:
        """The row of a cell.

        Raises
        ------
        InputError : there is no such cell.
        """
        try:
            return self.rows[int(number)]
        except KeyError:
            raise InputError(f"There is no cell {number} in this image: choose another one.") from None

    def at(self, position: Sequence[float]) -> int:
        """Number of the cell at a position over the axes of the labels; 0 for none, or outside."""
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
        """The same cells in memory of their own: in an int32 array of their shape if one is given."""
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


def slices(box: Box) -> tuple[slice, ...]:
    """A box as an index of arrays."""
    return tuple(slice(start, stop) for start, stop in box)


def whole(shape: Sequence[int]) -> Box:
    """The box of a whole array."""
    return tuple((0, int(size)) for size in shape)


def box_around(boxes: Sequence[Box]) -> Box:
    """The smallest box around boxes."""
    return tuple((min(start for start, _ in axis), max(stop for _, stop in axis)) for axis in zip(*boxes))


def clipped(box: Sequence[tuple[float, float]], shape: Sequence[int]) -> Box:
    """The part of a box that lies in an array; empty along an axis where none does."""
    inside = []
    for (start, stop), size in zip(box, shape):
        first = min(max(int(np.floor(start)), 0), int(size))
        inside.append((first, min(max(int(np.ceil(stop)), first), int(size))))
    return tuple(inside)


def is_empty(box: Box) -> bool:
    """Whether a box holds no pixel."""
    return any(stop <= start for start, stop in box)


def box_of(mask: np.ndarray, origin: Box) -> Box | None:
    """Bounding box of the True pixels of a mask that lies at the start of `origin`; None without any."""
    found = []
    for axis in range(mask.ndim):
        others = tuple(each for each in range(mask.ndim) if each != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        if hit.size == 0:
            return None
        found.append((int(hit[0]) + origin[axis][0], int(hit[-1]) + 1 + origin[axis][0]))
    return tuple(found)


def measured(labels: np.ndarray, origin: Box | None = None) -> dict[int, tuple[Box, int]]:
    """Bounding box and area of every number in an int32 array that lies at the start of `origin`."""
    if labels.size == 0:
        return {}
    origin = origin or whole(labels.shape)
    largest = int(labels.max())
    if largest < 2 * labels.size + 1000:
        areas = np.bincount(labels.ravel())
        values = np.flatnonzero(areas[1:]) + 1
        found = ndimage.find_objects(labels, largest)
        pairs: Iterable[tuple[int, Any, int]] = ((int(v), found[v - 1], int(areas[v])) for v in values)
    else:  # counting would need memory for every number up to the largest
        values, ranks, counts = np.unique(labels, return_inverse=True, return_counts=True)
        ranks = ranks.reshape(labels.shape).astype(np.int32)
        boxes = ndimage.find_objects(ranks + 1)
        pairs = ((int(v), box, int(n)) for v, box, n in zip(values, boxes, counts) if v)
    return {
        value: (tuple((at.start + first, at.stop + first) for at, (first, _) in zip(box, origin)), area)
        for value, box, area in pairs
    }


def measured_some(
    labels: np.ndarray, patch: Patch, areas: Mapping[int, tuple[Box | None, int]]
) -> dict[int, tuple[Box, int]]:
    """Boxes of some numbers once a patch is set, without setting it.

    Parameters
    ----------
    labels : int32.
    patch : what is going to be set.
    areas : of each number its box before (None: it is new) and its area afterwards, which is not 0.
    """
    if len(areas) > _FEW:
        box = box_around([patch.box, *(box for box, _ in areas.values() if box is not None)])
        view = _with_patch(labels, box, patch)
        return {number: found for number, found in measured(view, box).items() if number in areas}
    done = {}
    for number, (old, area) in areas.items():
        inside = box_of(patch.after == number, patch.box)
        box = box_around([each for each in (old, inside) if each is not None])
        seen = box_of(_with_patch(labels, box, patch) == number, box)
        if seen is not None:
            done[number] = (seen, area)
    return done


def _with_patch(labels: np.ndarray, box: Box, patch: Patch) -> np.ndarray:
    """A copy of the labels in a box, with what a patch sets there."""
    view = labels[slices(box)].copy()
    shared = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(box, patch.box))
    if not is_empty(shared):
        into = tuple(slice(a - first, b - first) for (a, b), (first, _) in zip(shared, box))
        source = tuple(slice(a - first, b - first) for (a, b), (first, _) in zip(shared, patch.box))
        view[into] = patch.after[source]
    return view
