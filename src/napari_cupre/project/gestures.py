"""The gestures of a person on cells, each a function that returns a change.

No function here changes anything: `History.do` applies the change. Positions are (y, x) in pixels; the centre
of the first pixel is (0, 0). `plane` is the position on the axes in front.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage
from skimage.draw import line as line_pixels
from skimage.draw import polygon as fill_polygon

from napari_cupre.data.labels import USUAL_SCORE
from napari_cupre.errors import InputError
from napari_cupre.project.boxes import Box, Patch, box_around, clipped, is_empty, slices
from napari_cupre.project.cells import By, Cell, Cells, Change, State
from napari_cupre.project.edits import as_change, pieces, put

WIDEST_GAP = 3
"""Merging closes a gap of up to twice this many px between two cells."""

_OVERSHOOT = 2.0
"""Extension of a splitting line beyond its ends in px, because nobody starts exactly on the edge."""

LEAST = 0.01
"""Lowest possible setting of the minimum certainty of visible guesses."""

_SLIVER = 0.02
"""A part below this share of a cell does not count as half of it."""

# --- states ---------------------------------------------------------------------------------------


def accept(cells: Cells, numbers: Iterable[int], by: By | None = None) -> Change:
    """Accept guesses as checked; checked and edited cells stay as they are.

    Raises
    ------
    InputError
        There is no such cell.
    """
    guesses = [n for n in numbers if cells.row(n).state is State.GUESS]
    return _with_state(cells, f"Accept {_count(guesses)}", guesses, State.CHECKED, by or By.now())


def accept_all(cells: Cells, view: Box | None = None, certainty: float = 0.0, by: By | None = None) -> Change:
    """Accept all visible guesses.

    Parameters
    ----------
    view : Box or None, optional
        The visible box, over all axes; guesses with their centre in it are accepted. None for all guesses.
    certainty : float, optional
        Guesses with a lower score are hidden, and stay guesses.
    """
    return accept(cells, _guesses_in(cells, view, certainty), by)


def _with_state(cells: Cells, verb: str, numbers: Sequence[int], state: State, by: By) -> Change:
    rows: dict[int, tuple[Cell | None, Cell | None]] = {}
    for number in numbers:
        old = cells.rows[number]
        rows[number] = (old, replace(old, state=state, author=by.author, time=by.time))
    return Change(verb, rows=rows)


def hidden(cells: Cells, certainty: float) -> list[int]:
    """Return the guesses that the certainty slider hides, those with a lower score."""
    return [n for n, cell in cells if cell.state is State.GUESS and cell.score < certainty]


def shown_from(cells: Cells) -> float:
    """Return the certainty at which no guess is hidden: the default, or that of the least certain guess."""
    scores = [cell.score for _, cell in cells if cell.state is State.GUESS and not math.isnan(cell.score)]
    return max(LEAST, min(USUAL_SCORE, math.floor(100 * min(scores, default=USUAL_SCORE)) / 100))


def _guesses_in(cells: Cells, view: Box | None, certainty: float) -> list[int]:
    found = []
    for number, cell in cells:
        if cell.state is not State.GUESS or cell.score < certainty:
            continue
        middle = [(start + stop - 1) / 2 for start, stop in cell.box]
        if view is None or all(start <= at < stop for at, (start, stop) in zip(middle, view)):
            found.append(number)
    return found


# --- removing and joining -------------------------------------------------------------------------


def reject(cells: Cells, numbers: Iterable[int]) -> Change:
    """Remove guesses; checked and edited cells stay.

    Raises
    ------
    InputError
        There is no such cell.
    """
    guesses = [n for n in numbers if cells.row(n).state is State.GUESS]
    return replace(delete(cells, guesses), verb=f"Reject {_count(guesses)}")


def delete(cells: Cells, numbers: Iterable[int]) -> Change:
    """Remove cells of any state.

    Raises
    ------
    InputError
        There is no such cell.
    """
    unwanted = sorted({int(n) for n in numbers})
    boxes = [cells.row(n).box for n in unwanted]
    verb = f"Delete {_count(unwanted)}"
    if not unwanted:
        return Change(verb)
    rows: dict[int, tuple[Cell | None, Cell | None]] = {n: (cells.rows[n], None) for n in unwanted}
    total = box_around(boxes)
    if _volume(total) <= sum(map(_volume, boxes)):
        groups = [(total, unwanted)]
    else:
        groups = [(box, [n]) for n, box in zip(unwanted, boxes)]
    patches: list[Patch] = []
    gone: list[int] = []
    for box, group in groups:
        before = cells.labels[slices(box)].copy()
        before[np.isin(before, gone)] = 0  # removed already by an earlier patch of this change
        patches.append(Patch(box, before, np.where(np.isin(before, group), 0, before).astype(np.int32)))
        gone += group
    return Change(verb, tuple(patches), rows)


def merge(cells: Cells, number: int, other: int, by: By | None = None) -> Change:
    """Merge two cells into one with the first number; close a narrow gap of background between them.

    Raises
    ------
    InputError
        There is no such cell.
    """
    if number == other:
        return Change("Merge two cells")
    box = box_around([cells.row(number).box, cells.row(other).box])
    box = clipped([(start - 1, stop + 1) for start, stop in box], cells.shape)
    after = cells.labels[slices(box)].copy()
    joined = np.isin(after, [number, other])
    after[_closed(joined, after == 0)] = number
    return as_change(cells, "Merge two cells", box, after, {number: (State.EDITED, np.nan)}, by or By.now())


def _closed(mask: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Return the mask with the background that joins its parts across a narrow gap."""
    if len(pieces(mask)[1]) < 2:
        return mask
    for radius in range(1, WIDEST_GAP + 1):
        element = _disk(radius)[(np.newaxis,) * (mask.ndim - 2)]
        padded = np.pad(mask, [(0, 0)] * (mask.ndim - 2) + [(radius, radius)] * 2)
        inner = (slice(None),) * (mask.ndim - 2) + (slice(radius, -radius),) * 2
        closed: np.ndarray = mask | (ndimage.binary_closing(padded, element)[inner] & ground)
        if len(pieces(closed)[1]) < 2:
            return closed
    return mask


def _disk(radius: int) -> np.ndarray:
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    inside: np.ndarray = rows**2 + columns**2 <= radius**2
    return inside


def split(
    cells: Cells,
    line: np.ndarray,
    plane: Sequence[int] = (),
    by: By | None = None,
) -> Change:
    """Divide a cell along a drawn line; the largest part keeps the number.

    If the line divides several cells, the one with the longest crossing is split.

    Parameters
    ----------
    line : numpy.ndarray
        (n, 2), its points.
    plane : Sequence[int], optional
        The plane of the line. A cell that spans several planes is divided in all of them.

    Returns
    -------
    Change
        Does nothing if the line divides no cell.

    Raises
    ------
    InputError
        Under two points.
    """
    verb = "Split a cell"
    rows, columns = _pixels_of(line)
    on_line = cells.labels[tuple(plane)][_within(rows, columns, cells.shape)]
    values, lengths = np.unique(on_line[on_line > 0], return_counts=True)
    crossed = [int(values[i]) for i in np.argsort(-lengths, kind="stable")]
    for candidate in crossed:
        box, mask = cells.pixels(candidate)
        parts = _divided(mask, rows - box[-2][0], columns - box[-1][0])
        if parts is None:
            continue
        count = int(parts.max())
        numbers = [candidate, *cells.free_numbers(count - 1)]
        after = cells.labels[slices(box)].copy()
        after[mask] = np.array([0, *numbers], np.int32)[parts[mask]]
        return as_change(
            cells, verb, box, after, dict.fromkeys(numbers, (State.EDITED, np.nan)), by or By.now()
        )
    return Change(verb)


def _pixels_of(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of a drawn line, extended a little beyond its ends."""
    points = np.asarray(line, float)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2 or not np.isfinite(points).all():
        raise InputError("A splitting line needs two points or more: draw it through the cell.")
    points = points.copy()
    for end, towards in ((0, points[0] - points[1]), (-1, points[-1] - points[-2])):
        length = float(np.hypot(*towards))
        if length:
            points[end] += _OVERSHOOT * towards / length
    whole = np.rint(points).astype(int)
    runs = [line_pixels(*ends[0], *ends[1]) for ends in itertools.pairwise(whole)]
    return np.concatenate([run[0] for run in runs]), np.concatenate([run[1] for run in runs])


def _within(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels that are inside a plane of an image of this shape."""
    inside = (rows >= 0) & (rows < shape[-2]) & (columns >= 0) & (columns < shape[-1])
    return rows[inside], columns[inside]


def _divided(mask: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray | None:
    """Return parts 1, 2, ... of a cell, the largest first; None if the line does not divide it."""
    barrier = np.zeros(mask.shape[-2:], bool)
    barrier[_within(rows, columns, mask.shape)] = True
    before = pieces(mask)[1]
    parts, areas = pieces(mask & ~barrier, corners=False)  # a diagonal line separates them too
    least = max(1.0, _SLIVER * mask.sum())
    halves = [int(i) + 1 for i in np.argsort(-areas, kind="stable") if areas[i] >= least]
    if len(halves) < 2 or len(halves) <= (before >= least).sum():
        return None
    ranks = np.zeros(len(areas) + 1, np.int32)
    ranks[halves] = np.arange(1, len(halves) + 1)
    ranked = ranks[parts]
    # Pixels under the line and slivers beside it go to the nearest part.
    nearest = ndimage.distance_transform_edt(ranked == 0, return_distances=False, return_indices=True)
    divided: np.ndarray = np.where(mask, ranked[tuple(nearest)], 0)
    return divided


# --- drawing --------------------------------------------------------------------------------------


def draw(
    cells: Cells,
    outline: np.ndarray,
    plane: Sequence[int] = (),
    by: By | None = None,
) -> Change:
    """Make a new cell from a closed outline; an outline with two loops makes two cells.

    The cell takes background and guesses under it; checked and edited cells keep their pixels.

    Parameters
    ----------
    outline : numpy.ndarray
        (n, 2), n >= 3; the last point joins the first.

    Returns
    -------
    Change
        Does nothing if other cells or the image's edge leave no pixel.

    Raises
    ------
    InputError
        Under three points.
    """
    box, mask = _filled(cells, outline, plane)
    verb = "Draw a cell"
    if is_empty(box):
        return Change(verb)
    return put(cells, verb, box, mask, (State.EDITED, np.nan), by or By.now())


def place(
    cells: Cells,
    mask: np.ndarray,
    corner: Sequence[int],
    plane: Sequence[int] = (),
    *,
    score: float = np.nan,
    state: State = State.CHECKED,
    instead_of: int | None = None,
    by: By | None = None,
) -> Change:
    """Make a cell from a mask, e.g. the network's outline for a box or a click; see `draw`.

    Parameters
    ----------
    mask : numpy.ndarray
        bool (Y, X).
    corner : Sequence[int]
        Row and column of its first pixel; it may reach beyond the image.
    score : float, optional
        Certainty of the network.
    instead_of : int or None, optional
        The cell that another reading of the same click replaces.
    """
    top, left = (int(at) for at in corner)
    flat = clipped([(top, top + mask.shape[0]), (left, left + mask.shape[1])], cells.shape[-2:])
    if is_empty(flat):
        return Change("Add a cell")
    (y0, y1), (x0, x1) = flat
    inside = np.asarray(mask, bool)[y0 - top : y1 - top, x0 - left : x1 - left]
    box = tuple((int(at), int(at) + 1) for at in plane) + flat
    shaped = inside.reshape((1,) * len(tuple(plane)) + inside.shape)
    return put(cells, "Add a cell", box, shaped, (state, score), by or By.now(), instead_of)


def _filled(cells: Cells, outline: np.ndarray, plane: Sequence[int]) -> tuple[Box, np.ndarray]:
    """Return the box and the pixels inside a closed outline."""
    points = np.asarray(outline, float)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise InputError("An outline needs three points or more: draw around the cell.")
    low, high = points.min(axis=0), points.max(axis=0)
    flat = clipped([(low[0], high[0] + 1), (low[1], high[1] + 1)], cells.shape[-2:])
    front = tuple((int(at), int(at) + 1) for at in plane)
    if is_empty(flat):
        return front + flat, np.zeros(0, bool)
    shape = tuple(stop - start for start, stop in flat)
    rows, columns = fill_polygon(points[:, 0] - flat[0][0], points[:, 1] - flat[1][0], shape)
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return front + flat, mask.reshape((1,) * len(front) + shape)


def _count(numbers: Sequence[int]) -> str:
    return "a cell" if len(numbers) == 1 else f"{len(numbers)} cells"


def _volume(box: Box) -> int:
    return int(np.prod([stop - start for start, stop in box]))
