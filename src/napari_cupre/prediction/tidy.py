"""Tidy a painted label image: one part per label, no specks, no pinholes."""

from __future__ import annotations

import numpy as np
from skimage.measure import label as connected_parts

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
    # The same pass finds the parts of the background (no pixel has the value -1), which are the holes.
    parts = connected_parts(labels, background=-1, connectivity=1)
    part_label, part_area = _labels_and_areas(labels, parts)
    area = np.bincount(part_label, weights=part_area).astype(np.int64)
    frozen = np.zeros(len(area), dtype=bool)
    if held is not None:
        frozen[held[held < len(area)]] = True

    new_label = _largest_parts(part_label, part_area, area, frozen)
    holes = _holes(labels, parts, part_label, part_area, area)
    for hole, owner in holes:
        if not frozen[owner] and new_label[hole] == 0:
            new_label[hole] = owner
    changed = np.flatnonzero(new_label != part_label)
    if len(changed):
        is_changed = np.zeros(len(part_area), dtype=bool)
        is_changed[changed] = True
        where = is_changed[parts]
        labels[where] = new_label[parts[where]]
        area = np.bincount(new_label, weights=part_area, minlength=len(area)).astype(np.int64)
    return area


def _labels_and_areas(labels: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return label and area of each part, from runs of pixels: there are far fewer runs than pixels."""
    flat = parts.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    part = flat[starts]
    area = np.bincount(part, weights=np.diff(starts, append=flat.size)).astype(np.int64)
    label = np.zeros(len(area), dtype=labels.dtype)
    label[part] = labels.ravel()[starts]
    return label, area


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
    labels: np.ndarray, parts: np.ndarray, part_label: np.ndarray, part_area: np.ndarray, area: np.ndarray
) -> list[tuple[int, int]]:
    """Find small background parts that touch only one label and not the border: (part, label)."""
    limit = max(MIN_AREA, int(HOLE_SHARE * area[1:].max(initial=0)))
    small = (part_label == 0) & (part_area > 0) & (part_area <= limit)
    small[np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])] = False
    if not small.any():
        return []
    # Few pixels are found: the faster search in one dimension pays.
    y, x = np.unravel_index(np.flatnonzero(small[parts]), parts.shape)
    around = np.stack([labels[y - 1, x], labels[y + 1, x], labels[y, x - 1], labels[y, x + 1]])
    part = parts[y, x]
    highest = np.zeros(len(part_area), dtype=np.int64)
    lowest = np.full(len(part_area), np.iinfo(np.int64).max)
    np.maximum.at(highest, part, around.max(axis=0))
    np.minimum.at(lowest, part, np.where(around > 0, around, np.iinfo(around.dtype).max).min(axis=0))
    candidates = np.flatnonzero(small & (highest == lowest))
    fits = part_area[candidates] <= np.maximum(MIN_AREA, HOLE_SHARE * area[highest[candidates]])
    return [(int(part), int(highest[part])) for part in candidates[fits]]
