"""Turn brush strokes and the network's results into changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.project.boxes import Box, box_around, measured, slices, whole
from napari_cupre.project.cells import By, Cells, Change, State
from napari_cupre.project.edits import CRUMB, as_change, largest_piece, pieces, trim_guesses

OVER = 0.3
"""A guess is dropped if this share of it lies on checked or edited cells, or if it covers half of one."""

_OFF = 0.1
"""A part cut off by the eraser becomes a cell of its own if it has at least this share of the cell."""


def stroke_of(labels: np.ndarray, steps: Iterable[tuple[Any, Any]]) -> tuple[Box, np.ndarray]:
    """Return the box of a stroke, and the pixels before it.

    Parameters
    ----------
    labels : numpy.ndarray
        The cells after the stroke.
    steps : Iterable[tuple[Any, Any]]
        Indices (one array per axis) and old values of the pixels that were set, in the order of the strokes,
        as in the `paint` event of a napari Labels layer.

    Returns
    -------
    box, before : Box, numpy.ndarray
        For `painted`.

    Raises
    ------
    InputError
        No pixel was set.
    """
    steps = [(tuple(np.asarray(axis) for axis in where), old) for where, old in steps]
    steps = [(where, old) for where, old in steps if where and where[0].size]
    if not steps:
        raise InputError("The stroke covers no pixels: paint on the image.")
    box = box_around([tuple((int(axis.min()), int(axis.max()) + 1) for axis in where) for where, _ in steps])
    before = labels[slices(box)].copy()
    for where, old in reversed(steps):  # the oldest value is the original one
        before[tuple(axis - start for axis, (start, _) in zip(where, box))] = old
    return box, before.astype(np.int32)


def painted(cells: Cells, box: Box, before: np.ndarray, by: By | None = None) -> Change:
    """Return the change for pixels that a brush, eraser or fill has already set in `cells.labels`.

    Painted or erased cells become edited. A blob that touches no other part of its number becomes a new
    cell. A guess that lost half of its pixels to another cell is removed; one that lost less stays a guess.

    Parameters
    ----------
    box : Box
        The box in which pixels were set.
    before : numpy.ndarray
        int32, the pixels of the box before.

    Returns
    -------
    Change
        Apply it with `History.do`, which corrects the numbers.
    """
    by = by or By.now()
    verb = "Paint"
    now = cells.labels[slices(box)]
    changed = now != before
    lost = {int(n) for n in np.unique(before[changed])} - {0}
    gained = {int(n) for n in np.unique(now[changed])} - {0}
    erased = {int(n) for n in np.unique(before[changed & (now == 0)])} - {0}
    trimmed = [n for n in lost - gained - erased if _is_guess(cells, n)]
    larger = box_around([box, *(cells.rows[n].box for n in lost | gained if n in cells.rows)])
    after, old = cells.labels[slices(larger)].copy(), cells.labels[slices(larger)].copy()
    old[tuple(slice(a - first, b - first) for (a, b), (first, _) in zip(box, larger))] = before
    states: dict[int, tuple[State, float]] = {}
    used = set(gained)
    for number in sorted((lost | gained) - set(trimmed)):
        numbers = _separate(cells, after, old, number, used)
        states |= dict.fromkeys(numbers, (State.EDITED, np.nan))
    trim_guesses(old, after, trimmed)
    return as_change(cells, verb, larger, after, states, by, before=old)


def _is_guess(cells: Cells, number: int) -> bool:
    return number in cells.rows and cells.rows[number].state is State.GUESS


def _separate(cells: Cells, after: np.ndarray, old: np.ndarray, number: int, used: set[int]) -> list[int]:
    """Give parts that came apart their own numbers, in place; return all numbers.

    In a stack, only parts in the planes of the stroke: a cell that is erased in one plane, to be drawn anew
    there, stays one cell in the planes before and behind it.
    """
    mine = after == number
    parts, areas = pieces(mine)
    if len(areas) < 2:
        return [number] if len(areas) else []
    previous = old == number
    was = pieces(previous)[1]
    if (was >= CRUMB).sum() > 1:
        return [number]  # it was scattered before, and there is a question about it already
    overlap = np.bincount(parts[previous], minlength=len(areas) + 1)[1:]
    # The rest of an old cell keeps its number; in a new cell, the largest part does.
    first = int(np.argmax(overlap if overlap.any() else areas))
    total = int(areas.sum())
    numbers = [number]
    stroked = (after != old).any(axis=(-2, -1))
    for part, (area, shared) in enumerate(zip(areas, overlap)):
        cut_off = shared > 0 and area < _OFF * total
        if part == first or area < CRUMB or cut_off or not (parts[stroked] == part + 1).any():
            continue
        fresh = _next(cells, used)
        after[parts == part + 1] = fresh
        numbers.append(fresh)
    return numbers


def _next(cells: Cells, used: set[int]) -> int:
    """Return a number that neither the table nor this stroke uses."""
    fresh = next(n for n in cells.free_numbers(len(used) + 1) if n not in used)
    used.add(fresh)
    return fresh


# --- guesses --------------------------------------------------------------------------------------


def renew_guesses(
    cells: Cells,
    found: np.ndarray,
    scores: Sequence[float] | np.ndarray | Mapping[int, float] = (),
    window: Box | None = None,
    *,
    keeps_cut: bool = False,
) -> Change:
    """Replace the guesses by the network's new results.

    Old guesses in the window are removed; their parts in other planes stay. Checked and edited cells are
    never touched: plane by plane, a guess over one is dropped, and a guess that merely touches one is
    trimmed.

    Parameters
    ----------
    found : numpy.ndarray
        Label image of the window; axes of length 1 in front may be left out.
    scores : Sequence[float] or numpy.ndarray or Mapping[int, float], optional
        Scores of label 1, 2, ..., or by label.
    window : Box or None, optional
        The searched box; None for the whole image.
    keeps_cut : bool, optional
        Whether to keep old guesses that reach beyond the window.

    Raises
    ------
    InputError
        The sizes of `found` and of the window differ.
    """
    window = window or whole(cells.shape)
    shape = tuple(stop - start for start, stop in window)
    found = np.asarray(found)
    if found.size != int(np.prod(shape)) or found.shape[-2:] != shape[-2:]:
        raise InputError(
            f"The cells found {found.shape} and the window {shape} differ in size: find cells again."
        )
    found = found.reshape(shape)
    old = [n for n, cell in cells if cell.state is State.GUESS and _touches(cells, n, window)]
    if keeps_cut:
        old = [n for n in old if _lies_in(_in_planes(cells.rows[n].box, window), window)]
    box = box_around([window, *(_in_planes(cells.rows[n].box, window) for n in old)])
    after = cells.labels[slices(box)].copy()
    after[np.isin(after, old)] = 0
    inner = tuple(slice(a - first, b - first) for (a, b), (first, _) in zip(window, box))
    kept = _fitting(cells, after[inner], found, window)
    gone = {n for n in old if _in_planes(cells.rows[n].box, window) == cells.rows[n].box}
    remaining = Cells(after, {n: c for n, c in cells.rows.items() if n not in gone})
    same = _found_again(cells, set(old), kept, window)
    taken = set(same.values())
    free = (n for n in remaining.free_numbers(len(kept) + len(taken)) if n not in taken)
    numbers = [same[label] if label in same else next(free) for label in kept]
    by_label = _by_label(scores)
    states = {}
    for number, (label, (at, mask)) in zip(numbers, kept.items()):
        after[inner][slices(at)][mask] = number
        states[number] = (State.GUESS, by_label(label))
    return as_change(cells, f"Find {len(kept)} cells", box, after, states, By("", ""))


def add_guesses(cells: Cells, found: np.ndarray, window: Box) -> Change:
    """Add guesses where the present cells leave room, without scores.

    Parameters
    ----------
    cells : Cells
        The present cells.
    found : numpy.ndarray
        Label image of the window, with its shape.
    window : Box
        The searched box.
    """
    after = cells.labels[slices(window)].copy()
    kept = _fitting(cells, after, np.asarray(found).reshape(after.shape), window)
    numbers = cells.free_numbers(len(kept))
    for number, (at, mask) in zip(numbers, kept.values()):
        after[slices(at)][mask] = number
    states = dict.fromkeys(numbers, (State.GUESS, np.nan))
    return as_change(cells, f"Find {len(kept)} likely cells", window, after, states, By("", ""))


def _found_again(
    cells: Cells, old: set[int], kept: Mapping[int, tuple[Box, np.ndarray]], window: Box
) -> dict[int, int]:
    """Map labels to the numbers of old guesses that were found again and keep their number.

    A guess found again has the same pixels. If the old guess reaches into other planes, an overlap of more
    than half is enough, so that linked planes stay linked.
    """
    same = {}
    for label, (at, mask) in kept.items():
        box = tuple((start + first, stop + first) for (start, stop), (first, _) in zip(at, window))
        under = cells.labels[slices(box)]
        values, counts = np.unique(under[mask], return_counts=True)
        number, shared = int(values[counts.argmax()]), int(counts.max())
        if number not in old:
            continue
        row, size = cells.rows[number], int(np.count_nonzero(mask))
        here = _in_planes(row.box, window)
        if here == row.box:
            is_same = shared == size == row.area
        else:
            area = int(np.count_nonzero(cells.labels[slices(here)] == number))
            is_same = 2 * shared > size + area - shared
        if is_same:
            same[label] = number
    return same


def _in_planes(box: Box, window: Box) -> Box:
    """Return the part of a box in the planes of a window, over all their rows and columns."""
    front = [(max(a, first), min(b, last)) for (a, b), (first, last) in zip(box[:-2], window)]
    return (*front, *box[-2:])


def _lies_in(box: Box, window: Box) -> bool:
    return all(first <= start and stop <= last for (start, stop), (first, last) in zip(box, window))


def _touches(cells: Cells, number: int, window: Box) -> bool:
    box = cells.rows[number].box
    if any(stop <= first or start >= last for (start, stop), (first, last) in zip(box, window)):
        return False
    shared = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(box, window))
    return shared == box or bool((cells.labels[slices(shared)] == number).any())


def _fitting(
    cells: Cells, ground: np.ndarray, found: np.ndarray, window: Box
) -> dict[int, tuple[Box, np.ndarray]]:
    """Yield box and pixels of each found cell, in planes where the cells of `ground` leave room."""
    kept = {}
    for label, (box, _) in measured(found.astype(np.int32, copy=False)).items():
        mask = found[slices(box)] == label
        for place in np.ndindex(mask.shape[:-2]):
            here = tuple(at + first for at, (first, _) in zip(place, box))
            plane = tuple(at + first for at, (first, _) in zip(here, window))
            mask[place] = _with_room(cells, plane, mask[place], ground[here][slices(box[-2:])])
        if mask.any():
            kept[label] = (box, mask)
    return kept


def _with_room(cells: Cells, plane: tuple[int, ...], mask: np.ndarray, under: np.ndarray) -> np.ndarray:
    """Return the pixels of a found cell that fit into a plane; none if it lies on checked or edited cells."""
    values, counts = np.unique(under[mask & (under > 0)], return_counts=True)
    taken = int(counts.sum())
    if not taken:
        return mask
    covers = any(2 * count >= _area(cells, value, plane) for value, count in zip(values, counts))
    if covers or taken >= OVER * np.count_nonzero(mask):
        return np.zeros_like(mask)
    return largest_piece(mask & (under == 0))


def _area(cells: Cells, number: int, plane: tuple[int, ...]) -> int:
    """Return the area of a cell in a plane; 0 for a cell drawn meanwhile that is not in the table yet."""
    row = cells.rows.get(int(number))
    if row is None:
        return 0
    if all(stop - start == 1 for start, stop in row.box[:-2]):
        return row.area
    return int(np.count_nonzero(cells.labels[plane][slices(row.box[-2:])] == number))


def _by_label(scores: Sequence[float] | np.ndarray | Mapping[int, float]) -> Any:
    if isinstance(scores, Mapping):
        return lambda label: float(scores.get(label, np.nan))
    values = np.asarray(scores, float).ravel()
    return lambda label: float(values[label - 1]) if label <= len(values) else float("nan")
