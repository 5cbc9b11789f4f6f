"""Sizes and positions that the PyTorch network and the graphs without PyTorch have in common."""

from __future__ import annotations

from math import ceil, log

import numpy as np

STRIDES = (4, 8, 16, 32)
"""Strides of the backbone's maps, px."""

DETECT_OBJECTNESS = 0.1
"""Proposals with a lower objectness are dropped during detection."""

LEAST_LOGIT = log(DETECT_OBJECTNESS / (1 - DETECT_OBJECTNESS))

PROPOSALS_A_DETECTION = 4
"""Proposals, best first, that are examined for each detection that may be returned."""

CANDIDATE_FIELD = 1024
"""Side in px of the field for which a configuration sets the number of candidates during detection; larger
fields get proportionally more."""

LARGEST_LOG = log(1000 / 16)
"""Largest log of the factor by which a box is stretched."""

REFINING = (10.0, 10.0, 5.0, 5.0)
"""Factors of the box head's offsets."""

MASK_SIZE = 28

BOXES_AT_ONCE = 1024
"""Number of proposals that are scored at once in detection."""

MASKS_AT_ONCE = 256
"""Number of RoIs that are pooled at once for their masks in detection."""

MASKS_IN_HEAD = 64
"""Number of RoIs whose masks are computed at once. The allocator keeps the memory for 64. With 256, buffers
of 50 MB went back to the system each time, and page faults took a third of the mask head's time.
"""

CANONICAL = (224.0, 2)
"""Side in px of a RoI, and the level it is pooled from; a RoI of half the side uses the level below."""

ROIS_AT_ONCE = 512
"""Number of RoIs whose sample positions are in memory at once, about 20 MB."""

BAND = 32
"""Height of the bands in which RoIs are processed from left to right, px."""


def stride(level: int) -> int:
    """Return the stride of a map in px; it doubles from level to level."""
    return STRIDES[0] * 2**level


def anchor_shapes(sizes: tuple[int, ...], ratios: tuple[float, ...]) -> np.ndarray:
    """Return anchors float32 (A, 4) around 0 in whole px, by ratio (height to width), then size."""
    stretch = np.sqrt(np.array(ratios, dtype=np.float32))[:, None]
    side = np.array(sizes, dtype=np.float32)[None]
    width, height = (side / stretch).reshape(-1), (side * stretch).reshape(-1)
    return (np.stack([-width, -height, width, height], axis=1) / 2).round()


def candidate_counts(counts: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return how many candidates a field of `size` (Y, X) px has per level, and after suppression."""
    share = max(1.0, size[0] * size[1] / CANDIDATE_FIELD**2)
    return int(share * counts[0]), int(share * counts[1])


def stretched_size(shape: tuple[int, int], factor: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the size (Y, X) of an image stretched by `factor`, and the source px it lacks at its ends.

    The size covers all of the image and is at least 1 px a side.
    """
    size = [max(1, ceil(side * factor - 1e-6)) for side in shape]
    needed = [ceil(side / factor - 1e-6) for side in size]
    lack = [max(0, want - side) for want, side in zip(needed, shape)]
    return (size[0], size[1]), (lack[0], lack[1])


def array_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the IoU of boxes (..., 4) with boxes (..., 4); the shapes are broadcast.

    Examples
    --------
    >>> boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2]])
    >>> array_iou(boxes[:, None], boxes).round(2).tolist()
    [[1.0, 0.33], [0.33, 1.0]]
    """
    low = np.maximum(first[..., :2], second[..., :2])
    shared = np.maximum(np.minimum(first[..., 2:], second[..., 2:]) - low, 0).prod(axis=-1)
    areas = ((boxes[..., 2:] - boxes[..., :2]).prod(axis=-1) for boxes in (first, second))
    return np.asarray(shared / np.maximum(sum(areas) - shared, 1e-6))
