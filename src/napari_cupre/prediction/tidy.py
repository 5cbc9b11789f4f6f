"""Tidy a painted label image: one part per label, no specks, no pinholes.

Everything is computed on runs, stretches of equal pixels in a row: a field of cells has about fifty times
fewer runs than pixels. Its connected parts are those of the graph of runs that touch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

MIN_AREA = 6
"""Labels with fewer visible pixels than this are removed."""

HOLE_SHARE = 0.05
"""A hole is filled if it is no larger than this share of its cell (or than `MIN_AREA` pixels)."""


def tidy_labels(labels: np.ndarray, *, held: np.ndarray | None = None) -> np.ndarray:
    """Keep the largest part of each label, fill small holes, and drop specks, all in place.

    Parameters
    ----------
    labels : numpy.ndarray
        int32 (Y, X), changed in place.
    held : numpy.ndarray, optional
        Labels that must not change (e.g. because they extend beyond this block).

    Returns
    -------
    numpy.ndarray
        int64 (max + 1,), the remaining area of each label; entry 0 is the background.
    """
    if labels.size == 0 or not labels.any():
        return np.array([labels.size], dtype=np.int64)
    runs = _runs_of(labels)
    part_area = np.bincount(runs.part, weights=runs.length).astype(np.int64)
    part_label = np.zeros(len(part_area), dtype=labels.dtype)
    part_label[runs.part] = runs.label
    area = np.bincount(part_label, weights=part_area).astype(np.int64)
    frozen = np.zeros(len(area), dtype=bool)
    if held is not None:
        frozen[held[held < len(area)]] = True

    new_label = _largest_parts(part_label, part_area, area, frozen)
    holes, owners = _holes(runs, part_label, part_area, area)
    filled = ~frozen[owners]
    new_label[holes[filled]] = owners[filled]
    changed = new_label != part_label
    if changed.any():
        _repaint(labels, runs, np.flatnonzero(changed[runs.part]), new_label)
        area = np.bincount(new_label, weights=part_area, minlength=len(area)).astype(np.int64)
    return area


class _Runs(NamedTuple):
    """The runs of a label image, row by row, and which of them touch.

    `start`, `length`, `label` and `part` are (N,): index into the flattened image, pixels, label, and number
    of the connected part. `above` and `below` are (M,), pairs of runs that touch vertically. `at_border` is
    bool (N,).
    """

    start: np.ndarray
    length: np.ndarray
    label: np.ndarray
    part: np.ndarray
    above: np.ndarray
    below: np.ndarray
    at_border: np.ndarray


def _runs_of(labels: np.ndarray) -> _Runs:
    width = labels.shape[1]
    flat = labels.reshape(-1)
    begins = np.empty(flat.size, dtype=bool)
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    begins[::width] = True
    start = np.flatnonzero(begins)
    length = np.diff(start, append=flat.size)
    label = flat[start]
    # Each stretch in which two runs touch begins where one of them does.
    numbers = np.arange(len(start))
    first, last = np.searchsorted(start, (width, flat.size - width))
    over = np.searchsorted(start, start[first:] - width, side="right") - 1
    under = np.searchsorted(start, start[:last] + width, side="right") - 1
    later = start[under] < start[:last] + width  # otherwise the pair is there already
    above = np.concatenate([over, numbers[:last][later]])
    below = np.concatenate([numbers[first:], under[later]])
    pairs = np.flatnonzero(label[above] == label[below])
    touching = coo_array((np.ones(len(pairs), bool), (above[pairs], below[pairs])), shape=2 * (len(start),))
    part = connected_components(touching, directed=False)[1]
    column = start % width
    at_border = (column == 0) | (column + length == width)
    at_border[:first] = at_border[last:] = True
    return _Runs(start, length, label, part, above, below, at_border)


def _largest_parts(
    part_label: np.ndarray, part_area: np.ndarray, area: np.ndarray, frozen: np.ndarray
) -> np.ndarray:
    """Return the label of each connected part: 0 for all but the largest part of a label."""
    largest = np.zeros(len(area), dtype=np.int64)
    by_area = np.argsort(part_area, kind="stable")
    largest[part_label[by_area]] = by_area
    keeps = (largest[part_label] == np.arange(len(part_label))) & (part_area >= MIN_AREA)
    keeps |= frozen[part_label]
    return np.where(keeps, part_label, 0).astype(part_label.dtype)


def _holes(
    runs: _Runs, part_label: np.ndarray, part_area: np.ndarray, area: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find small background parts that touch only one label and not the border: parts, and those labels."""
    limit = max(MIN_AREA, int(HOLE_SHARE * area[1:].max(initial=0)))
    small = (part_label == 0) & (part_area <= limit)
    small[runs.part[runs.at_border]] = False
    in_hole = small[runs.part]
    inside = np.flatnonzero(in_hole)
    up, down = in_hole[runs.below], in_hole[runs.above]
    part = runs.part[np.concatenate([inside, inside, runs.below[up], runs.above[down]])]
    around = runs.label[np.concatenate([inside - 1, inside + 1, runs.above[up], runs.below[down]])]
    part, around = part[around > 0], around[around > 0]
    highest = np.zeros(len(part_area), dtype=np.int64)
    lowest = np.full(len(part_area), np.iinfo(np.int64).max)
    np.maximum.at(highest, part, around)
    np.minimum.at(lowest, part, around)
    holes = np.flatnonzero(small & (highest == lowest))
    fits = part_area[holes] <= np.maximum(MIN_AREA, HOLE_SHARE * area[highest[holes]])
    return holes[fits], highest[holes[fits]]


def _repaint(labels: np.ndarray, runs: _Runs, numbers: np.ndarray, new_label: np.ndarray) -> None:
    """Give the runs of these numbers the new labels of their parts, in place."""
    length = runs.length[numbers]
    first = np.cumsum(length) - length
    pixel = np.arange(length.sum()) + np.repeat(runs.start[numbers] - first, length)
    labels[np.divmod(pixel, labels.shape[1])] = np.repeat(new_label[runs.part[numbers]], length)
