"""Carry identities from one label image to the next: planes into 3-D cells, frames into tracks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MIN_IOU = 0.25
"""Two instances of neighbouring planes are one cell if their IoU is at least this ..."""

MIN_SHARE = 0.5
"""... or if at least this share of the smaller one lies on the larger, as at the ends of a ball."""

_SHIFT = 32  # packs a pair of int32 labels into one int64


class Links(NamedTuple):
    """Along which axes planes are linked."""

    z: bool
    t: bool


class Overlap:
    """The overlaps of the instances of two label images, counted part by part.

    Attributes
    ----------
    first, second : int64, px of each label of either image.
    """

    def __init__(self) -> None:
        self.first, self.second = np.zeros(1, np.int64), np.zeros(1, np.int64)
        self._keys: list[np.ndarray] = []
        self._common: list[np.ndarray] = []

    def add(self, first: np.ndarray | None, second: np.ndarray) -> None:
        """Count a part: int arrays of one shape, 0 = background; None where there is no first image."""
        b = second.reshape(-1)
        self.second = _sum(self.second, np.bincount(b))
        if first is None:
            return
        a = first.reshape(-1)
        self.first = _sum(self.first, np.bincount(a))
        both = np.flatnonzero((a > 0) & (b > 0))
        keys, common = np.unique((a[both].astype(np.int64) << _SHIFT) | b[both], return_counts=True)
        self._keys.append(keys)
        self._common.append(common)

    def pairs(self) -> list[tuple[int, int]]:
        """Return matching instances as (label in the first image, label in the second), best overlap first.

        Each is in one pair at most. A pair needs an IoU of `MIN_IOU`, or shares at least `MIN_SHARE` of the
        smaller one.
        """
        if not self._keys:
            return []
        keys, place = np.unique(np.concatenate(self._keys), return_inverse=True)
        common = np.bincount(place.reshape(-1), weights=np.concatenate(self._common), minlength=len(keys))
        a, b = keys >> _SHIFT, keys & ((1 << _SHIFT) - 1)
        iou = common / (self.first[a] + self.second[b] - common)
        share = common / np.minimum(self.first[a], self.second[b])
        fits = (iou >= MIN_IOU) | (share >= MIN_SHARE)
        order = np.flatnonzero(fits)[np.argsort(-iou[fits], kind="stable")]
        used_a, used_b = np.zeros(len(self.first), dtype=bool), np.zeros(len(self.second), dtype=bool)
        pairs: list[tuple[int, int]] = []
        for one, other in zip(a[order].tolist(), b[order].tolist()):
            if not used_a[one] and not used_b[other]:
                used_a[one] = used_b[other] = True
                pairs.append((one, other))
        return pairs


class Numbering:
    """Labels that last through all steps, numbered from 1 in order of first appearance.

    Attributes
    ----------
    highest : int
        The highest label given so far.
    """

    def __init__(self) -> None:
        self.highest = 0
        self._before = np.zeros(1, dtype=np.int32)

    def follow(self, overlap: Overlap) -> np.ndarray:
        """Return the next step's table from its own labels to lasting ones, int32; 0 for labels without a px.

        `overlap` counts the step before as its first image and this one as its second.
        """
        table = np.zeros(len(overlap.second), dtype=np.int32)
        for old, new in overlap.pairs():
            table[new] = self._before[old]
        fresh = np.flatnonzero((overlap.second > 0) & (table == 0))
        fresh = fresh[fresh > 0]
        table[fresh] = self.highest + 1 + np.arange(len(fresh))
        self.highest += len(fresh)
        self._before = table
        return table


def _sum(total: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return the sum of two counts of possibly different length."""
    longer, shorter = (total, part) if len(total) >= len(part) else (part.astype(np.int64), total)
    longer[: len(shorter)] += shorter
    return longer
