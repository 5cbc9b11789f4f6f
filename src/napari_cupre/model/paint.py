"""Paint many small masks into one label image.

A detection carries its mask as a small grid of probabilities stretched over its box. Stock code
(`torchvision.models.detection.roi_heads.paste_masks_in_image`) makes one full-size plane per detection: N x H
x W floats. Here the pixels of all boxes are strung together in chunks and sampled together, so the chunk
limits the memory, and time grows with the number of pixels in the boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

CHUNK_PIXELS = 1 << 17
"""Number of box pixels that are sampled together; takes about 8 MB of working memory."""

THRESHOLD = 0.5
"""Smallest probability of a pixel in the mask."""


class Foreground(NamedTuple):
    """Pixels where masks are at least `THRESHOLD`; both arrays are int64 (P,).

    `instance` is the row of the mask that a pixel belongs to, `pixel` its index into the flattened
    (row-major) image.
    """

    instance: np.ndarray
    pixel: np.ndarray


def falling_order(scores: np.ndarray) -> np.ndarray:
    """Return the indices that sort `scores` in descending order; equal scores keep their order."""
    return np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")


def pixel_ranges(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the ranges of pixels whose centres lie in each box, clipped to the image.

    Parameters
    ----------
    boxes : numpy.ndarray
        float (N, 4), x1, y1, x2, y2 as pixel edges; they may stick out of the image.
    shape : tuple of int
        (Y, X) of the image.

    Returns
    -------
    numpy.ndarray
        int64 (N, 4): first column, first row, end column, end row (ends exclusive, never before the
        start). A box that is not finite has no pixels.
    """
    limits = np.array([shape[1], shape[0], shape[1], shape[0]])
    edges = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    edges[~np.isfinite(edges).all(axis=1)] = 0
    ranges = np.clip(np.ceil(edges - 0.5), 0, limits).astype(np.int64)
    np.maximum(ranges[:, 2:], ranges[:, :2], out=ranges[:, 2:])
    return ranges


def foreground(
    boxes: np.ndarray,
    masks: np.ndarray,
    shape: tuple[int, int],
    order: np.ndarray | None = None,
    chunk: int = CHUNK_PIXELS,
) -> Iterator[Foreground]:
    """Sample masks bilinearly at the pixel centres of their boxes, and yield the pixels inside.

    Parameters
    ----------
    boxes : numpy.ndarray
        float (N, 4), x1, y1, x2, y2 in image px.
    masks : numpy.ndarray
        float (N, S, S), probabilities over the box; S >= 2.
    shape : tuple of int
        (Y, X) of the image.
    order : numpy.ndarray, optional
        The masks to sample, in this order (all by default). Pixels of one mask follow one another.
    chunk : int, optional
        Box pixels that are worked on at a time.
    """
    ranges = pixel_ranges(boxes, shape)
    order = np.arange(len(ranges)) if order is None else np.asarray(order, dtype=np.int64)
    grid = np.ascontiguousarray(masks, dtype=np.float32)
    edges = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    for instance, row in _row_chunks(ranges, order, grid.shape[-1], chunk):
        yield _sample_rows(instance, row, ranges, edges, grid, shape[1])


def _row_chunks(
    ranges: np.ndarray, order: np.ndarray, side: int, chunk: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Split all rows of all boxes into groups of at most about `chunk` values of work."""
    heights = ranges[order, 3] - ranges[order, 1]
    widths = ranges[order, 2] - ranges[order, 0]
    kept = (heights > 0) & (widths > 0)
    order, heights, widths = order[kept], heights[kept], widths[kept]
    # A row also costs the mask's own width, so that narrow boxes cannot make a chunk too large.
    row_cost = np.maximum(widths, side)
    end_cost = np.cumsum(heights * row_cost)
    first = 0
    while first < len(order):
        spent = end_cost[first - 1] if first else 0
        last = max(int(np.searchsorted(end_cost, spent + chunk, side="right")), first + 1)
        counts = heights[first:last]
        instance = np.repeat(order[first:last], counts)
        row = np.arange(len(instance)) - np.repeat(np.cumsum(counts) - counts, counts)
        row += ranges[instance, 1]
        # A single box that is larger than a chunk is split into groups of rows.
        step = len(instance) if last > first + 1 else max(1, int(chunk // row_cost[first]))
        for start in range(0, len(instance), step):
            yield instance[start : start + step], row[start : start + step]
        first = last


def _sample_rows(
    instance: np.ndarray, row: np.ndarray, ranges: np.ndarray, edges: np.ndarray, grid: np.ndarray, width: int
) -> Foreground:
    """Sample whole box rows bilinearly: first along y (whole mask rows), then along x (pixels)."""
    side = grid.shape[-1]
    box = edges[instance]
    place = (row.astype(np.float32) + 0.5 - box[:, 1]) / (box[:, 3] - box[:, 1]) * side - 0.5
    place = np.clip(place, 0, side - 1)
    low = np.minimum(place.astype(np.int64), side - 2)
    mask_rows = grid.reshape(-1, side)
    at = instance * side + low
    values = mask_rows[at]
    values += (place - low)[:, None].astype(np.float32) * (mask_rows[at + 1] - values)

    first, count = ranges[instance, 0], ranges[instance, 2] - ranges[instance, 0]
    start = np.cumsum(count) - count
    column = np.arange(int(count.sum())) - np.repeat(start - first, count)
    stretch = side / (box[:, 2] - box[:, 0])
    position = column.astype(np.float32)
    position *= np.repeat(stretch, count)
    position += np.repeat((0.5 - box[:, 0]) * stretch - 0.5, count)
    np.clip(position, 0, side - 1, out=position)
    left = np.minimum(position.astype(np.int32), side - 2)
    position -= left
    at = left + np.repeat(np.arange(len(row)) * side, count)
    flat = values.ravel()
    value = flat[at]
    at += 1
    value += position * (flat[at] - value)
    inside = np.flatnonzero(value >= THRESHOLD)

    of_row = np.repeat(np.arange(len(row)), count)[inside]
    return Foreground(instance[of_row], row[of_row] * width + column[inside])


def paint_masks(
    boxes: np.ndarray,
    masks: np.ndarray,
    scores: np.ndarray,
    shape: tuple[int, int],
    chunk: int = CHUNK_PIXELS,
) -> np.ndarray:
    """Paint masks into a new label image; where they overlap, the higher score stays.

    Parameters
    ----------
    boxes : numpy.ndarray
        float (N, 4), x1, y1, x2, y2 in image px; they may stick out of the image.
    masks : numpy.ndarray
        float (N, S, S), probabilities over the box.
    scores : numpy.ndarray
        float (N,).
    shape : tuple of int
        (Y, X) of the image.
    chunk : int, optional
        Box pixels that are worked on at a time.

    Returns
    -------
    numpy.ndarray
        int32 (Y, X): mask i has the value i + 1; 0 is background.
    """
    labels = np.zeros(shape, dtype=np.int32)
    flat = labels.reshape(-1)
    for part in foreground(boxes, masks, shape, falling_order(scores)[::-1], chunk):
        # NumPy keeps the last value of repeated indices, which ascending scores make the highest.
        flat[part.pixel] = part.instance + 1
    return labels
