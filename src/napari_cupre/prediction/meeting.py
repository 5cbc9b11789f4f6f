"""Find detections of a tile that are cells already painted by an earlier tile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

import numpy as np

from napari_cupre.model.paint import Foreground

SAME_NEW = 0.4
"""A detection with more than this share of its mask on another tile's instance is the same cell."""

SAME_OLD = 0.6
"""A cut instance with more than this share of its pixels under a whole one is a piece of it."""

SAME_SHARED = 0.5
"""Two cut pieces are one cell if they agree this much in the area that both tiles saw."""

NEW, DOUBLE = 0, -1


class Meeting(NamedTuple):
    """A detection lies on an instance of another tile.

    `of_new` and `of_old` are the shares of the detection's mask and of the instance's visible
    pixels that they have in common.
    """

    new: int
    old: int
    of_new: float
    of_old: float


@dataclass
class Verdict:
    """The decisions about a tile's detections.

    Attributes
    ----------
    fate : numpy.ndarray
        int64 (N,); `NEW`, `DOUBLE`, or the instance (> 0) that the detection is a piece of.
    erased : set[int]
        Cut instances that a whole detection replaces.
    merged : dict of int to int
        Instances that turned out to be pieces of another one: {piece: instance that stays}.
    """

    fate: np.ndarray
    erased: set[int] = field(default_factory=set)
    merged: dict[int, int] = field(default_factory=dict)


def find_meetings(parts: Iterable[Foreground], labels: np.ndarray, count: int) -> list[Meeting]:
    """Count the pixels that detections and instances share, sorted by detection.

    Parameters
    ----------
    parts : iterable of Foreground
        The pixels of the detections, indices into the flattened `labels`.
    labels : numpy.ndarray
        int32 (Y, X), the instances painted so far; 0 = none.
    count : int
        Number of detections.
    """
    flat = labels.reshape(-1)
    old_area = np.bincount(flat)
    new_area = np.zeros(count, dtype=np.int64)
    pairs: list[np.ndarray] = []
    for part in parts:
        new_area += np.bincount(part.instance, minlength=count)
        old = flat[part.pixel]
        on = np.flatnonzero(old)
        pairs.append(part.instance[on] * len(old_area) + old[on])
    keys, shared = np.unique(np.concatenate(pairs) if pairs else np.zeros(0, np.int64), return_counts=True)
    new, old = np.divmod(keys, len(old_area))
    of_new, of_old = shared / new_area[new], shared / old_area[old]
    return [Meeting(*m) for m in zip(new.tolist(), old.tolist(), of_new.tolist(), of_old.tolist())]


def judge(meetings: list[Meeting], new_cut: np.ndarray, old_cut: np.ndarray, shared: SharedShare) -> Verdict:
    """Decide for each detection whether it is a new cell, a double, or a piece of a cell.

    A whole instance replaces a cut one of the same cell. Of two whole ones the first stays. Two cut ones are
    joined if they agree in the area that both tiles saw.

    Parameters
    ----------
    meetings : list of Meeting
        Sorted by detection.
    new_cut : numpy.ndarray
        bool (N,), detections cut by the border of the pixels that the tile read.
    old_cut : numpy.ndarray
        bool, the same per instance (index 0 is the background).
    shared : SharedShare
        Returns how far a cut detection and a cut instance agree.
    """
    verdict = Verdict(np.full(len(new_cut), NEW, dtype=np.int64))
    for new, group in groupby(meetings, key=lambda m: m.new):
        here = list(group)
        cut = bool(new_cut[new])
        whole = [m for m in here if not old_cut[m.old]]
        pieces = [m for m in here if old_cut[m.old] and m.old not in verdict.erased]
        if any(m.of_new > SAME_NEW or (cut and m.of_old > SAME_OLD) for m in whole):
            verdict.fate[new] = DOUBLE
        elif cut:
            same = sorted(m.old for m in pieces if shared(new, m.old) > SAME_SHARED)
            if same:
                verdict.fate[new] = _join(verdict, same)
        else:
            same = [m.old for m in pieces if m.of_new > SAME_NEW or m.of_old > SAME_OLD]
            verdict.erased.update(same)
    return _settle(verdict)


class SharedShare:
    """The agreement of a cut detection and a cut instance in the area that both tiles saw."""

    def __init__(
        self, masks: dict[int, np.ndarray], labels: np.ndarray, zones: dict[int, tuple[slice, slice]]
    ):
        self._masks, self._labels, self._zones = masks, labels, zones

    def __call__(self, new: int, old: int) -> float:
        """Return the common pixels as a share of the smaller piece, within the area that both tiles saw."""
        zone = self._zones[old]
        mine, theirs = self._masks[new][zone], self._labels[zone] == old
        smaller = min(np.count_nonzero(mine), np.count_nonzero(theirs))
        return np.count_nonzero(mine & theirs) / smaller if smaller else 0.0


def _join(verdict: Verdict, same: list[int]) -> int:
    """Merge instances into the one with the lowest number, following earlier merges."""
    roots = sorted({_root(verdict.merged, old) for old in same})
    for old in roots[1:]:
        verdict.merged[old] = roots[0]
    return roots[0]


def _root(merged: dict[int, int], label: int) -> int:
    while label in merged:
        label = merged[label]
    return label


def _settle(verdict: Verdict) -> Verdict:
    """Follow chains of merges; a piece of an instance that was erased later becomes a new cell again."""
    verdict.merged = {old: _root(verdict.merged, old) for old in verdict.merged}
    gone = verdict.erased
    verdict.merged = {old: to for old, to in verdict.merged.items() if old not in gone and to not in gone}
    for new in np.flatnonzero(verdict.fate > 0).tolist():
        to = _root(verdict.merged, int(verdict.fate[new]))
        verdict.fate[new] = NEW if to in gone else to
    return verdict
