"""Boxes and RoIs in NumPy; `rpn`, `box_math` and `pool` compute the same in torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import csr_array

from napari_cupre.model.geometry import (
    BAND,
    CANONICAL,
    LARGEST_LOG,
    LEAST_LOGIT,
    ROIS_AT_ONCE,
    STRIDES,
    stride,
)


def likely_boxes(
    level: int, peaks: np.ndarray, offsets: np.ndarray, shapes: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes (N, 4) and logits (N,) of one level's `most` best anchors that may be cells.

    Parameters
    ----------
    level : int
        Number of the level.
    peaks, offsets : numpy.ndarray
        (A, Y, X), logits of anchors that are local maxima and low values elsewhere, and (4 * A, Y, X).
    shapes : numpy.ndarray
        (A, 4), the anchors around (0, 0).
    most : int
        Largest number of boxes.
    """
    kinds, rows, columns = peaks.shape
    flat = peaks.reshape(-1)
    chosen = np.flatnonzero(flat > LEAST_LOGIT)
    if len(chosen) > most:
        chosen = chosen[np.argsort(-flat[chosen], kind="stable")[:most]]
    kind, y, x = chosen // (rows * columns), chosen // columns % rows, chosen % columns
    corner = np.stack([x, y] * 2, axis=1).astype(np.float32) * np.float32(stride(level))
    shift = offsets.reshape(kinds, 4, rows, columns)[kind, :, y, x]
    return decoded(shift, shapes[kind] + corner), flat[chosen]


def decoded(
    offsets: np.ndarray, boxes: np.ndarray, weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
) -> np.ndarray:
    """Return the boxes float32 (N, 4) to which offsets from `boxes` (N, 4) lead; see `box_math.BoxCoder`."""
    offsets = offsets / np.array(weights, dtype=np.float32)
    size = boxes[:, 2:] - boxes[:, :2]
    centre = offsets[:, :2] * size + boxes[:, :2] + np.float32(0.5) * size
    half = np.float32(0.5) * np.exp(np.minimum(offsets[:, 2:], np.float32(LARGEST_LOG))) * size
    return np.concatenate([centre - half, centre + half], axis=1)


def cut_to(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Clip boxes (N, 4) to an image of `size` (Y, X)."""
    return np.clip(boxes, 0, np.array([size[1], size[0]] * 2, dtype=np.float32))


def covers_a_pixel(boxes: np.ndarray) -> np.ndarray:
    """Whether each of boxes (N, 4) is at least 1 px long along both axes."""
    return ((boxes[:, 2:] - boxes[:, :2]) >= 1.0).all(axis=1)


def pooled(maps: Sequence[np.ndarray], boxes: np.ndarray, side: int, samples: int) -> np.ndarray:
    """Resample RoIs of a feature pyramid, float32 (N, side, side, C); see `pool.RoiPool`.

    Parameters
    ----------
    maps : sequence of numpy.ndarray
        float32 (Y, X, C) of the levels at `STRIDES`, finest first.
    boxes : numpy.ndarray
        float32 (N, 4) in image px.
    side : int
        Number of samples of the result along each axis.
    samples : int
        Number of positions along each axis that are averaged for one sample.
    """
    channels = maps[0].shape[2]
    result = np.empty((len(boxes), side, side, channels), dtype=np.float32)
    for level, rows in _reading_order(boxes):
        features = maps[level]
        matrix = _sampling(boxes[rows] / np.float32(STRIDES[level]), features.shape[:2], side, samples)
        result[rows] = (matrix @ features.reshape(-1, channels)).reshape(-1, side, side, channels)
    return result


def _reading_order(boxes: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield level and rows of RoIs, a few at a time, in an order in which they share cached memory."""
    side, number = CANONICAL
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.floor(number + np.log2(np.sqrt(area) / np.float32(side)) + 1e-6)
    level = np.clip(np.nan_to_num(wanted, nan=0.0), 0, len(STRIDES) - 1).astype(np.int64)
    band, column = (np.maximum(boxes[:, axis], 0) for axis in (1, 0))
    order = np.lexsort((column.astype(np.int64), (band / BAND).astype(np.int64), level))
    for each in np.unique(level):
        rows = order[level[order] == each]
        for start in range(0, len(rows), ROIS_AT_ONCE):
            yield int(each), rows[start : start + ROIS_AT_ONCE]


def _sampling(boxes: np.ndarray, grid: tuple[int, ...], side: int, samples: int) -> csr_array:
    """Return the matrix that samples RoIs from a map: (N * side * side, Y * X)."""
    rows, row_weights = _positions(boxes[:, 1], boxes[:, 3], side, samples, grid[0])
    columns, column_weights = _positions(boxes[:, 0], boxes[:, 2], side, samples, grid[1])
    index = (rows * grid[1])[:, :, None, :, None] + columns[:, None, :, None, :]
    weight = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    count, taps = len(boxes) * side * side, (2 * samples) ** 2
    starts = np.arange(0, count * taps + 1, taps, dtype=np.int32)
    shape = (count, grid[0] * grid[1])
    return csr_array((weight.reshape(-1), index.reshape(-1), starts), shape=shape)


def _positions(
    low: np.ndarray, high: np.ndarray, side: int, samples: int, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return grid positions int32 and weights (N, side, 2 * samples) along one axis; see `pool`."""
    extent = np.maximum(high - low, np.float32(1))
    steps = (np.arange(side * samples, dtype=np.float32) + np.float32(0.5)) / np.float32(side * samples)
    place = low[:, None] + steps * extent[:, None]
    inside = ((place >= -1) & (place <= length)).astype(np.float32) / np.float32(samples)
    place = np.clip(place, 0, length - 1)
    below = np.floor(place)
    share = place - below
    index = below.astype(np.int32)
    positions = np.stack([index, np.minimum(index + 1, length - 1)], axis=-1)
    weights = np.stack([(1 - share) * inside, share * inside], axis=-1)
    shape = (len(low), side, 2 * samples)
    return positions.reshape(shape), weights.reshape(shape)
