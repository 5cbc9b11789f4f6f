"""Questions about annotation that would mislead training, each with its remedies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from scipy import ndimage

from napari_cupre.data.annotation import region_mask
from napari_cupre.project.boxes import slices
from napari_cupre.project.cells import By, Cell, Cells, Change, State
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.edits import as_change, pieces
from napari_cupre.project.gestures import accept, delete, merge, reject

CRUMBS = 0.1
"""Parts and holes below this share of a cell are slips of the hand."""

OUTSIZE = 6.0
"""A question is asked about cells with more than this multiple of the median area."""

FEWEST = 5
"""Minimum number of cells to know the usual size."""


SAME = 0.5
"""Minimum IoU of a cell with the outline in the next plane to ask whether they are one."""


class Kind(StrEnum):
    """The subject of a question."""

    GAP = "gap"
    PIECES = "pieces"
    HOLES = "holes"
    OUTSIZE = "outsize"
    UNMARKED = "unmarked"


Remedy = Callable[[Cells], Change]


@dataclass(frozen=True)
class Question:
    """A question for the dock; it may stay unanswered.

    Attributes
    ----------
    kind : Kind
        What it is about.
    text : str
        The question, a sentence.
    key : str
        Unchanged as long as its reason is; a question in `ProjectImage.answered` is not asked again.
    cells : tuple[int, ...]
        Numbers of the cells it is about.
    remedies : dict[str, Remedy]
        Remedies by the word on the button: functions of the cells that return a change.
    """

    kind: Kind
    text: str
    key: str
    cells: tuple[int, ...] = ()
    remedies: dict[str, Remedy] = field(default_factory=dict)


def questions(cells: Cells, entry: ProjectImage | None = None) -> list[Question]:
    """Return all open questions about the cells of an image.

    Parameters
    ----------
    entry : ProjectImage or None, optional
        The image's entry, for questions that were answered already and for the visible guesses.
    """
    certainty = 0.0 if entry is None else entry.certainty
    answered = () if entry is None else entry.answered
    gaps = list(_gaps(cells))
    asked = {number for question in gaps for number in question.cells}
    shapes = (question for question in _shapes(cells) if asked.isdisjoint(question.cells))
    found = [*gaps, *shapes, *_sizes(cells), *_unmarked(cells, certainty)]
    return [question for question in found if question.key not in answered]


def _gaps(cells: Cells) -> Iterator[Question]:
    """Ask about a cell drawn in one plane where a cell of several planes is missing: it may be its part.

    Someone who draws over a joined guess, or erases a joined cell in one plane, usually means the same cell.
    """
    depth = cells.labels.ndim - 2
    if not depth or all(_planes(cell) == 1 for _, cell in cells):
        return
    for number, cell in cells:
        if not cell.state.teaches or any(stop - start > 1 for start, stop in cell.box[:depth]):
            continue
        place = tuple(start for start, _ in cell.box[:depth])
        flat = slices(cell.box[depth:])
        mask = cells.labels[place][flat] == number
        other = _continued(cells, place, flat, mask)
        if other:
            planes = _planes(cells.rows[other])
            yield Question(
                Kind.GAP,
                f"Cell {number} lies where cell {other}, joined through {planes} planes, has no outline: are "
                "they one cell?",
                f"{Kind.GAP}:{number}:{other}:{cell.area}",
                (number, other),
                {"Join": lambda now, those=(other, number): merge(now, *those)},  # type: ignore[misc]
            )


def _continued(cells: Cells, place: tuple[int, ...], flat: tuple[slice, ...], mask: np.ndarray) -> int:
    """Return the cell of several planes that continues a mask and is missing in its plane but for crumbs.

    0 for none.
    """
    for axis, step in ((axis, step) for axis in range(len(place)) for step in (-1, 1)):
        beside = tuple(at + step * (axis == which) for which, at in enumerate(place))
        if not 0 <= beside[axis] < cells.labels.shape[axis]:
            continue
        values, counts = np.unique(cells.labels[beside][flat][mask], return_counts=True)
        other, shared = int(values[counts.argmax()]), int(counts.max())
        row = cells.rows.get(other)
        if row is None or row.box[axis][1] - row.box[axis][0] < 2:
            continue
        its = slices(row.box[-2:])
        area = int(np.count_nonzero(cells.labels[beside][its] == other))
        left = int(np.count_nonzero(cells.labels[place][its] == other))  # an eraser may leave crumbs
        if left < CRUMBS * area and shared >= SAME * (area + int(mask.sum()) - shared):
            return other
    return 0


def _shapes(cells: Cells) -> Iterator[Question]:
    for number, cell in cells:
        if not cell.state.teaches:
            continue
        _, mask = cells.pixels(number)
        parts = (pieces(mask)[1] >= CRUMBS * cell.area).sum()
        if parts > 1:
            said = f"has {parts} parts that do not touch: are they {parts} cells?"
            yield _about_cell(number, cell, Kind.PIECES, said, "Split", split_pieces)
        hole = int((_filled(mask) & ~mask).sum())
        if hole >= max(CRUMBS * cell.area, 4):
            said = f"has a hole of {hole} px: does it belong to the cell?"
            yield _about_cell(number, cell, Kind.HOLES, said, "Fill", fill_holes)


def _about_cell(
    number: int, cell: Cell, kind: Kind, said: str, word: str, correct: Callable[[Cells, int], Change]
) -> Question:
    """Return a question about one cell, which is asked again if its area changes."""
    remedies: dict[str, Remedy] = {word: lambda now: correct(now, number)}
    return Question(kind, f"Cell {number} {said}", f"{kind}:{number}:{cell.area}", (number,), remedies)


def _sizes(cells: Cells) -> Iterator[Question]:
    taught: dict[int, Cell] = {number: cell for number, cell in cells if cell.state.teaches}
    if len(taught) < FEWEST:
        return
    areas = {number: cell.area / _planes(cell) for number, cell in taught.items()}
    usual = float(np.median(list(areas.values())))
    for number, cell in taught.items():
        if areas[number] > OUTSIZE * usual:
            said = f"is {areas[number] / usual:.0f} times as large as the others: is it one cell?"
            yield _about_cell(number, cell, Kind.OUTSIZE, said, "Delete", lambda now, n: delete(now, [n]))


def _planes(cell: Cell) -> int:
    """Return through how many planes a cell reaches."""
    return int(np.prod([stop - start for start, stop in cell.box[:-2]]))


def _unmarked(cells: Cells, certainty: float) -> Iterator[Question]:
    """Ask about visible guesses in regions in which every cell should be annotated."""
    shown = [n for n, c in cells if c.state is State.GUESS and not c.score < certainty]
    depth = cells.labels.ndim - 2
    for number, region in enumerate(cells.regions, start=1):
        corners = np.array(region)
        plane = tuple(round(value) for value in corners[0, :depth])
        near = [n for n in shown if _may_meet(cells.rows[n], corners, depth)]
        if not near:
            continue
        inside = region_mask([corners[:, depth:]], (cells.shape[-2], cells.shape[-1]))
        mine = []
        for guess in near:
            box = cells.rows[guess].box
            if not all(start <= at < stop for at, (start, stop) in zip(plane, box)):
                continue
            mask = cells.labels[plane][slices(box[-2:])] == guess
            if 2 * int((inside[slices(box[-2:])] & mask).sum()) > int(mask.sum()):
                mine.append(guess)
        if mine:
            many = len(mine) > 1
            yield Question(
                Kind.UNMARKED,
                f"{len(mine)} likely cell{'s' if many else ''} in region {number} {'are' if many else 'is'} "
                f"not annotated: {'are they cells' if many else 'is it a cell'}?",
                f"{Kind.UNMARKED}:{number}:{','.join(map(str, mine))}",
                tuple(mine),
                {
                    "Add": lambda now, those=tuple(mine): accept(now, _there(now, those)),  # type: ignore[misc]
                    "No cells": lambda now, those=tuple(mine): reject(now, _there(now, those)),  # type: ignore[misc]
                },
            )


def _may_meet(cell: Cell, corners: np.ndarray, depth: int) -> bool:
    low, high = corners[:, depth:].min(axis=0), corners[:, depth:].max(axis=0)
    return all(start <= b and stop > a for (start, stop), a, b in zip(cell.box[-2:], low, high))


def _there(cells: Cells, numbers: tuple[int, ...]) -> list[int]:
    return [number for number in numbers if number in cells.rows]


def split_pieces(cells: Cells, number: int, by: By | None = None) -> Change:
    """Give the separate parts of a cell their own numbers; the largest part keeps its number.

    Tiny parts go to the largest. Raises InputError if there is no such cell.
    """
    box, mask = cells.pixels(number)
    parts, areas = pieces(mask)
    order = [int(i) for i in np.argsort(-areas, kind="stable") if areas[i] >= CRUMBS * mask.sum()]
    numbers = [number, *cells.free_numbers(len(order) - 1)] if len(order) > 1 else [number]
    table = np.full(len(areas) + 1, number, np.int32)
    table[[i + 1 for i in order]] = numbers
    after = cells.labels[slices(box)].copy()
    after[mask] = table[parts[mask]]
    states = dict.fromkeys(numbers, (State.EDITED, np.nan)) if len(numbers) > 1 else {}
    return as_change(cells, "Split a cell", box, after, states, by or By.now())


def fill_holes(cells: Cells, number: int, by: By | None = None) -> Change:
    """Fill the holes of a cell; other cells inside stay. Raises InputError if there is no such cell."""
    box, mask = cells.pixels(number)
    after = cells.labels[slices(box)].copy()
    after[_filled(mask) & (after == 0)] = number
    return as_change(cells, "Fill a cell", box, after, {number: (State.EDITED, np.nan)}, by or By.now())


def _filled(mask: np.ndarray) -> np.ndarray:
    """Return the mask without its holes, plane by plane."""
    planes = mask.reshape(-1, *mask.shape[-2:])
    return np.stack([ndimage.binary_fill_holes(plane) for plane in planes]).reshape(mask.shape)
