"""Move the edges of masks to the edges in the image.

The network knows roughly where a cell ends. The pixels show it exactly, but only where the cell differs from
its surroundings. So near the edge of a mask the pixels count as well: a linear discriminant (Fisher, 1936,
https://doi.org/10.1111/j.1469-1809.1936.tb02137.x) is fitted to the pixels that the network is sure of,
inside and outside. The better it tells those apart, the more it counts.

AP of `cupre` on images outside the test parts (120 of fluorescence, 40 of histology, 4 to 6 of others),
before and after: fluorescence .612 .637, histology .322 .335, embryos .414 .429, powder .458 .466; phase
contrast, TEM and mushrooms changed by at most .002. AP50: fluorescence .815 .817, histology .562 .568; the
others did not change.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from napari_cupre.data.normalise import is_grey
from napari_cupre.model.paint import THRESHOLD

MARGIN = 4
"""Width of the border around the box that counts as outside, in mask pixels."""

IN, OUT, FEWEST = 0.8, 0.2, 8
"""Probabilities above or below which pixels are surely inside or outside, and the fewest of each."""

WEIGHT, MOST = 0.5, 4.0
"""Weight of the discriminant relative to the network, and its largest value, both as log odds."""

USELESS, GOOD = 0.7, 0.9
"""Shares of the sure pixels told apart below which the discriminant does not count, and above which fully."""

NEAR = 1
"""How far the edge can move to either side, in mask pixels."""

RIDGE = 1e-3
"""Added to the variance of each channel to avoid division by zero."""

SAFE = 1e-3
"""Smallest distance of probabilities from 0 and 1, so that the log odds are finite."""

SHARPENED_AT_ONCE = 64
"""Number of cells handled at once; limits the memory in a dense field."""


class Surroundings(NamedTuple):
    """The image resampled at the pixels of N masks and of a border around them.

    Attributes
    ----------
    values : numpy.ndarray
        float32 (N, M, M, C).
    in_image : numpy.ndarray
        bool (N, M, M), False for places beyond the image; their values are those of its border.
    """

    values: np.ndarray
    in_image: np.ndarray


def sharpened(image: np.ndarray, boxes: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Move the edges of masks to the edges in the image.

    Parameters
    ----------
    image : numpy.ndarray
        float32 (Y, X, 3), normalised.
    boxes : numpy.ndarray
        float (N, 4), x0, y0, x1, y1 in px of the image.
    masks : numpy.ndarray
        float32 (N, S, S), probabilities over the boxes.

    Returns
    -------
    numpy.ndarray
        float32 (N, S, S).
    """
    if not len(masks):
        return masks
    channels = np.ascontiguousarray(image[..., :1] if is_grey(image) else image)
    moved = np.empty_like(masks)
    for first in range(0, len(masks), SHARPENED_AT_ONCE):
        rows = slice(first, first + SHARPENED_AT_ONCE)
        around = surroundings(channels, boxes[rows], masks.shape[-1], MARGIN)
        moved[rows] = probability(log_odds(masks[rows]) + edge_odds(around, masks[rows], MARGIN, NEAR))
    return moved


def surroundings(image: np.ndarray, boxes: np.ndarray, side: int, margin: int) -> Surroundings:
    """Resample the image bilinearly in and around boxes whose masks have `side` pixels a side.

    Parameters
    ----------
    image : numpy.ndarray
        float32 (Y, X, C).
    boxes : numpy.ndarray
        float (N, 4), x0, y0, x1, y1 in px of the image.
    side : int
        Of the masks.
    margin : int
        Mask pixels around the box; M is `side` plus twice this.
    """
    steps = (np.arange(-margin, side + margin, dtype=np.float32) + 0.5) / side
    low, lengths = boxes[:, :2].astype(np.float32), (boxes[:, 2:] - boxes[:, :2]).astype(np.float32)
    (left, part_x, in_x), (top, part_y, in_y) = (
        _between(low[:, axis, None] + lengths[:, axis, None] * steps - 0.5, end)
        for axis, end in ((0, image.shape[1]), (1, image.shape[0]))
    )
    if 1 in image.shape[:2]:  # there is no pixel to go on to
        image = np.pad(image, ((0, 1), (0, 1), (0, 0)), mode="edge")
    width, channels = image.shape[1:]
    places = (top * width)[:, :, None] + left[:, None]
    # A grey image is read as plain numbers, several times as fast as pixels of one number.
    flat = np.ascontiguousarray(image).reshape(-1) if channels == 1 else image.reshape(-1, channels)
    part_x, part_y = part_x[:, None, :], part_y[:, :, None]
    if channels > 1:
        part_x, part_y = part_x[..., None], part_y[..., None]

    def row_of(offset: int) -> np.ndarray:
        start, end = flat[offset:].take(places, axis=0), flat[offset + 1 :].take(places, axis=0)
        end -= start
        end *= part_x
        end += start
        return end

    values, below = row_of(0), row_of(width)
    below -= values
    below *= part_y
    values += below
    return Surroundings(values.reshape(*places.shape, channels), in_y[:, :, None] & in_x[:, None])


def _between(places: np.ndarray, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pixel before places on an axis, at most the last but one, the fraction on, and if inside."""
    inside = (places > -0.5) & (places < end - 0.5)
    places = np.clip(places, 0, end - 1)
    before = np.clip(places.astype(np.intp), 0, max(end - 2, 0))
    return before, places - before.astype(np.float32), inside


def edge_odds(around: Surroundings, masks: np.ndarray, margin: int, near: int) -> np.ndarray:
    """Rate how much the pixels near the edges of masks look like their inside, as log odds.

    Parameters
    ----------
    around : Surroundings
        Of the masks.
    masks : numpy.ndarray
        float (N, S, S), probabilities.
    margin : int
        Margin of `around`.
    near : int
        Largest distance from the edge in mask pixels.

    Returns
    -------
    numpy.ndarray
        float32 (N, S, S); 0 where the inside cannot be told from the outside, and far from the edge.
    """
    wide = np.pad(masks, ((0, 0), (margin, margin), (margin, margin)))
    inside = (wide > IN) & around.in_image
    outside = (wide < OUT) & around.in_image
    values = _discriminant(around.values, inside, outside)
    counts = inside.sum(axis=(1, 2)), outside.sum(axis=(1, 2))
    told = (
        ((values > 0) & inside).sum(axis=(1, 2)) / np.maximum(counts[0], 1)
        + ((values <= 0) & outside).sum(axis=(1, 2)) / np.maximum(counts[1], 1)
    ) / 2
    say = WEIGHT * np.clip((told - USELESS) / (GOOD - USELESS), 0, 1)
    say[np.minimum(*counts) < FEWEST] = 0
    core = slice(margin, -margin)
    odds = np.clip(values[:, core, core], -MOST, MOST) * say[:, None, None]
    cell = wide >= THRESHOLD
    odds[~(_grown(cell, near) & _grown(~cell, near))[:, core, core]] = 0
    return np.asarray(odds, dtype=np.float32)


def _discriminant(values: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Apply Fisher's linear discriminant to pixels (N, M, M, C), inside against outside; gives (N, M, M)."""
    pixels = values.reshape(len(values), -1, values.shape[-1])
    means, spreads = [], []
    for part in (inside, outside):
        weight = part.reshape(len(part), 1, -1).astype(np.float32)
        weight /= np.maximum(weight.sum(axis=2, keepdims=True), 1)
        mean = weight @ pixels
        off = pixels - mean
        spreads.append((off * weight.swapaxes(1, 2)).swapaxes(1, 2) @ off)
        means.append(mean)
    spread = (spreads[0] + spreads[1]) / 2 + RIDGE * np.eye(values.shape[-1], dtype=np.float32)
    direction = np.linalg.solve(spread, (means[0] - means[1]).swapaxes(1, 2))
    return ((pixels - (means[0] + means[1]) / 2) @ direction).reshape(values.shape[:3])


def _grown(cells: np.ndarray, by: int) -> np.ndarray:
    """Widen masks bool (N, M, M) by `by` pixels to the sides, up and down."""
    for axis in (1, 2):
        lines, wider = np.moveaxis(cells, axis, 0), np.moveaxis(cells.copy(), axis, 0)
        for step in range(1, by + 1):
            wider[step:] |= lines[:-step]
            wider[:-step] |= lines[step:]
        cells = np.moveaxis(wider, 0, axis)
    return cells


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """Return the log odds of probabilities between 0 and 1."""
    safe = np.clip(probabilities, SAFE, 1 - SAFE)
    return np.asarray(np.log(safe / (1 - safe)))


def probability(odds: np.ndarray) -> np.ndarray:
    """Return the probabilities of log odds."""
    return np.asarray(1 / (1 + np.exp(-odds)))
