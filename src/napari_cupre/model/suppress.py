"""Keep only one of several detections of the same cell: the one with the clearest outline.

Boxes alone cannot distinguish two neighbours from one cell found twice. The class score alone cannot
distinguish a cell from a clump: in tight clumps, a box around two nuclei scores as high as a box around one.
But the mask of such a box is undecided along the seam. So detections are compared by their masks, and ranked
by score and decidedness of the mask together. Class score times mask quality comes from Huang et al., "Mask
Scoring R-CNN" (2019). There a network learns the quality; here it is computed from the mask.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from napari_cupre.model.paint import THRESHOLD, falling_order, foreground

CONTAINED = 0.7
"""Two detections are the same cell if they share more than this part of either one's pixels."""

DECIDEDNESS_POWER = 4
"""Weight of the mask relative to the score; 2 to 6 worked equally well on BBBC038 without the test part."""


def suppress(
    boxes: np.ndarray, scores: np.ndarray, masks: np.ndarray, size: tuple[int, int], iou: float
) -> np.ndarray:
    """Return the rows of the detections to keep, by descending score.

    Parameters
    ----------
    boxes : numpy.ndarray
        float (N, 4), x1, y1, x2, y2 in px.
    scores : numpy.ndarray
        float (N,).
    masks : numpy.ndarray
        float (N, S, S), probabilities over the box.
    size : tuple of int
        (Y, X) of the image.
    iou : float
        Two masks that overlap by more than this are the same cell.
    """
    count = len(scores)
    if count < 2:
        return np.arange(count)
    first, second, inter, area = _overlaps(boxes, masks, size)
    smaller = np.minimum(area[first], area[second])
    same = (inter > iou * (area[first] + area[second] - inter)) | (inter > CONTAINED * smaller)
    rivals: list[list[int]] = [[] for _ in range(count)]
    for one, other in zip(first[same].tolist(), second[same].tolist()):
        rivals[one].append(other)
    alive = np.ones(count, dtype=bool)
    kept = []
    for row in falling_order(scores * decidedness(masks) ** DECIDEDNESS_POWER).tolist():
        if alive[row]:
            kept.append(row)
            alive[rivals[row]] = False
    rows = np.array(kept, dtype=np.int64)
    return rows[falling_order(scores[rows])]


def decidedness(masks: np.ndarray) -> np.ndarray:
    """Return the mean probability of each mask's foreground, float (N,), 0.5..1; 0 if it has none."""
    inside = masks >= THRESHOLD
    total = np.where(inside, masks, 0).sum(axis=(1, 2), dtype=np.float64)
    return total / np.maximum(inside.sum(axis=(1, 2)), 1)


def _overlaps(
    boxes: np.ndarray, masks: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return rows and shared pixels of every overlapping pair, in both orders, and all areas."""
    parts = list(foreground(boxes, masks, size))
    instance = np.concatenate([part.instance for part in parts]) if parts else np.zeros(0, np.int64)
    pixel = np.concatenate([part.pixel for part in parts]) if parts else np.zeros(0, np.int64)
    ones = np.ones(len(pixel), dtype=np.float32)
    covered = csr_array((ones, (instance, pixel)), shape=(len(boxes), size[0] * size[1]))
    shared = (covered @ covered.T).tocoo()
    # Counts are exact in float32, but their ratios are not: 0.7 of 90 px is less than 63 px but rounds to
    # 63.0 in float32, so the result for a pair just at the limit would depend on the type.
    area = np.bincount(instance, minlength=len(boxes)).astype(np.float64)
    apart = shared.row != shared.col
    return shared.row[apart], shared.col[apart], shared.data[apart].astype(np.float64), area
