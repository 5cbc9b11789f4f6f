"""Turn new pixels into a change, with the resulting rows, boxes and areas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from scipy import ndimage

from napari_cupre.data.labels import label_areas
from napari_cupre.project.boxes import Box, Patch, box_around, box_of, measured_some, slices
from napari_cupre.project.cells import By, Cell, Cells, Change, State

CRUMB = 5
"""A separate part with fewer pixels is a slip of the hand, not a cell."""


def as_change(
    cells: Cells,
    verb: str,
    box: Box,
    after: np.ndarray,
    states: Mapping[int, tuple[State, float]],
    by: By,
    before: np.ndarray | None = None,
) -> Change:
    """Return the change that sets the pixels of a box.

    Parameters
    ----------
    cells : Cells
        The present cells; they are not changed.
    verb : str
        Description of the change.
    box : Box
        The position.
    after : numpy.ndarray
        int32, the new pixels.
    states : Mapping[int, tuple[State, float]]
        New state and score of some cells; others keep those in their row.
    before : numpy.ndarray or None, optional
        The old pixels, if `cells.labels` already contains the new ones.
    """
    before = cells.labels[slices(box)].copy() if before is None else before
    changed = before != after
    tight = box_of(changed, box)
    patches: tuple[Patch, ...] = ()
    measures: dict[int, tuple[Box, int]] = {}
    gone: list[int] = []
    if tight is not None:
        inner = tuple(slice(a - first, b - first) for (a, b), (first, _) in zip(tight, box))
        patch = Patch(tight, before[inner].copy(), after[inner].copy())
        patches = (patch,)
        areas = _areas(cells, before[changed], after[changed])
        gone = [number for number, area in areas.items() if area <= 0]
        left = {
            number: (cells.rows[number].box if number in cells.rows else None, area)
            for number, area in areas.items()
            if area > 0
        }
        measures = measured_some(cells.labels, patch, left)
    rows: dict[int, tuple[Cell | None, Cell | None]] = {}
    for number in gone:
        if number in cells.rows:
            rows[number] = (cells.rows[number], None)
    for number in {*measures, *states} - set(gone):
        old = cells.rows.get(number)
        new = _row(old, measures.get(number), states.get(number), by)
        if new is not None and new != old:
            rows[number] = (old, new)
    return Change(verb, patches, rows)


def _areas(cells: Cells, before: np.ndarray, after: np.ndarray) -> dict[int, int]:
    """Return the area of each number after its pixels change from `before` to `after`."""
    areas: dict[int, int] = {}
    for values, sign in ((before, -1), (after, 1)):
        for number, count in zip(*label_areas(values)):
            known = cells.rows[int(number)].area if int(number) in cells.rows else 0
            areas[int(number)] = areas.get(int(number), known) + sign * int(count)
    return areas


def _row(
    old: Cell | None, measure: tuple[Box, int] | None, vouched: tuple[State, float] | None, by: By
) -> Cell | None:
    if measure is None and old is None:
        return None
    box, area = measure if measure is not None else (old.box, old.area)  # type: ignore[union-attr]
    if vouched is not None:
        return Cell(vouched[0], box, area, vouched[1], by.author, by.time)
    return (
        Cell(State.EDITED, box, area, np.nan, by.author, by.time)
        if old is None
        else replace(old, box=box, area=area)
    )


def pieces(mask: np.ndarray, *, corners: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Number the separate parts of a mask from 1; return them and their areas."""
    structure = ndimage.generate_binary_structure(mask.ndim, mask.ndim if corners else 1)
    parts, count = ndimage.label(mask, structure)
    return parts, np.bincount(parts.ravel(), minlength=count + 1)[1:]


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """Return only the largest part of a mask."""
    parts, areas = pieces(mask)
    return mask if len(areas) < 2 else parts == 1 + int(np.argmax(areas))


def put(
    cells: Cells,
    verb: str,
    box: Box,
    mask: np.ndarray,
    vouched: tuple[State, float],
    by: By,
    number: int | None = None,
) -> Change:
    """Give the pixels of a mask to a cell; separate blobs become separate cells.

    Checked and edited cells stay as they are: the cell takes only background and guesses. A guess that loses
    half of its pixels is removed.

    Parameters
    ----------
    mask : numpy.ndarray
        bool, the pixels in `box`.
    vouched : tuple[State, float]
        State and score of the new cells.
    number : int or None, optional
        The cell whose pixels are replaced; None makes new cells.
    """
    old = None if number is None else cells.row(number)
    under = np.unique(cells.labels[slices(box)][mask])
    guesses = [n for n in map(int, under) if n and n != number and cells.rows[n].state is State.GUESS]
    box, mask = _grown(box, mask, [cells.rows[n].box for n in guesses] + ([old.box] if old else []))
    after = cells.labels[slices(box)].copy()
    if number is not None:
        after[after == number] = 0
    mask = mask & ((after == 0) | np.isin(after, guesses))
    parts, areas = pieces(mask)
    order = [int(i) for i in np.argsort(-areas, kind="stable")]
    # A tiny blob alone may be a cell; next to a larger blob it is a slip of the hand.
    order = [i for rank, i in enumerate(order) if rank == 0 or areas[i] >= CRUMB]
    if not order:
        return Change(verb)
    fresh = cells.free_numbers(len(order))
    numbers = ([number] if number is not None else []) + fresh
    table = np.zeros(len(areas) + 1, np.int32)
    table[[i + 1 for i in order]] = numbers[: len(order)]
    taken = table[parts]
    after[taken > 0] = taken[taken > 0]
    trim_guesses(cells.labels[slices(box)], after, guesses)
    return as_change(cells, verb, box, after, dict.fromkeys(numbers[: len(order)], vouched), by)


def _grown(box: Box, mask: np.ndarray, boxes: Iterable[Box]) -> tuple[Box, np.ndarray]:
    """Return a mask in a box that is large enough for others too."""
    larger = box_around([box, *boxes])
    if larger == box:
        return box, mask
    grown = np.zeros([stop - start for start, stop in larger], bool)
    grown[tuple(slice(a - first, b - first) for (a, b), (first, _) in zip(box, larger))] = mask
    return larger, grown


def trim_guesses(before: np.ndarray, after: np.ndarray, guesses: Iterable[int]) -> None:
    """Keep the largest piece of guesses that lost pixels; remove those with less than half left; in place.

    Planes are judged one by one: a guess stays where it lost nothing.

    Parameters
    ----------
    before, after : numpy.ndarray
        Old and new pixels of a box that contains the whole guesses.
    """
    for number in guesses:
        was, left = before == number, after == number
        for plane in np.ndindex(left.shape[:-2]):
            if np.array_equal(was[plane], left[plane]):
                continue
            kept = largest_piece(left[plane])
            if 2 * int(kept.sum()) < int(was[plane].sum()):
                kept = np.zeros_like(kept)
            after[plane][left[plane] & ~kept] = 0
