"""Carrying identities from one label image to the next: planes into 3-D cells, frames into tracks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MIN_IOU = 0.25
"""Two instances of neighbouring planes are one cell from this IoU on ..."""

MIN_SHARE = 0.5
"""... or when so much of the smaller one lies on the larger, as at the caps of a ball."""


def link(labels: Sequence[np.ndarray] | np.ndarray, min_iou: float = MIN_IOU) -> list[np.ndarray]:
    """Give instances that lie on each other in neighbouring steps one label.

    Each instance has at most one successor and one predecessor; the best overlap comes first.

    Parameters
    ----------
    labels : int32 arrays of one shape, (Y, X) per plane or (Z, Y, X) per frame; 0 = background.
    min_iou : IoU from which on two instances may be one.

    Returns
    -------
    list of int32 arrays; labels run from 1 in order of first appearance.
    """
    linked: list[np.ndarray] = []
    highest = 0
    previous: np.ndarray | None = None
    for current in labels:
        table = np.zeros(int(current.max(initial=0)) + 1, dtype=np.int32)
        present = np.unique(current)
        present = present[present > 0]
        if previous is not None:
            for old, new in best_pairs(previous, current, min_iou):
                table[new] = old
        fresh = present[table[present] == 0]
        table[fresh] = highest + 1 + np.arange(len(fresh))
        highest += len(fresh)
        previous = table[current]
        linked.append(previous)
    return linked


def best_pairs(first: np.ndarray, second: np.ndarray, min_iou: float = MIN_IOU) -> list[tuple[int, int]]:
    """Pair the instances of two label images one to one, best overlap first.

    Parameters
    ----------
    first, second : int (..., Y, X) of one shape; 0 = background.
    min_iou : IoU that a pair needs, unless more than `MIN_SHARE` of the smaller one is shared.

    Returns
    -------
    list of (label in `first`, label in `second`).
    """
    a, b = first.reshape(-1), second.reshape(-1)
    area_a, area_b = np.bincount(a), np.bincount(b)
    both = np.flatnonzero((a > 0) & (b > 0))
    keys, common = np.unique(a[both].astype(np.int64) * len(area_b) + b[both], return_counts=True)
    of_first, of_second = np.divmod(keys, len(area_b))
    iou = common / (area_a[of_first] + area_b[of_second] - common)
    share = common / np.minimum(area_a[of_first], area_b[of_second])
    fits = (iou >= min_iou) | (share >= MIN_SHARE)
    order = np.flatnonzero(fits)[np.argsort(-iou[fits], kind="stable")]
    used_a, used_b = np.zeros(len(area_a), dtype=bool), np.zeros(len(area_b), dtype=bool)
    pairs: list[tuple[int, int]] = []
    for one, other in zip(of_first[order].tolist(), of_second[order].tolist()):
        if not used_a[one] and not used_b[other]:
            used_a[one] = used_b[other] = True
            pairs.append((one, other))
    return pairs
