"""Improve masks of prompted cells: finer pixels, edges as in the image, and a size that fits the drawn box.

Mean IoU of 476 cells outside the test parts, `cupre`, before and after, for exact boxes, boxes 10 % off and
clicks: fluorescence .857 .841 .800 -> .861 .854 .808, histology .788 .766 .669 -> .804 .781 .680, EM .843
.794 .777 -> .854 .803 .786, the others within .01.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_cupre.data.normalise import is_grey
from napari_cupre.model.geometry import array_iou
from napari_cupre.model.sharpen import (
    MARGIN,
    NEAR,
    Surroundings,
    edge_odds,
    log_odds,
    probability,
    surroundings,
)
from napari_cupre.prediction.featuremaps import Read
from napari_cupre.prediction.tiles import Window

FINER = 2
"""Each mask pixel is split into this many parts along each side."""

SHIFTS, COST = np.linspace(-1, 1, 9), 0.1
"""Log odds by which a mask may grow or shrink to fit the drawn box, and the IoU that each unit costs."""


def finer_mask(
    probabilities: np.ndarray,
    box: np.ndarray,
    read: Read,
    shape: tuple[int, int],
    drawn_box: np.ndarray | None = None,
) -> np.ndarray:
    """Sharpen the mask of one cell.

    Parameters
    ----------
    probabilities : numpy.ndarray
        float (S, S), probabilities over the box.
    box : numpy.ndarray
        float (4,), x0, y0, x1, y1 in image px.
    read : Read
        Returns windows of the plane.
    shape : tuple[int, int]
        (Y, X) of the plane.
    drawn_box : numpy.ndarray, optional
        float (4,), the box that a person drew around the cell, in image px; the mask is fitted to it if a
        small change is enough.

    Returns
    -------
    numpy.ndarray
        float (`FINER` S, `FINER` S), probabilities over the same box.
    """
    finer = _finer(probabilities)
    odds = log_odds(finer)
    around = around_box(box, len(finer), read, shape)
    if around is not None:
        odds += edge_odds(around, finer[None], MARGIN * FINER, NEAR * FINER)[0]
    if drawn_box is not None:
        odds -= _shift_to_fit(odds, box, drawn_box)
    return probability(odds)


def _finer(probabilities: np.ndarray) -> np.ndarray:
    """Resample the mask bilinearly to smaller pixels; outside its box it is 0."""
    side = len(probabilities)
    places = (np.arange(side * FINER) + 0.5) / FINER + 0.5
    grid = np.meshgrid(places, places, indexing="ij")
    return np.asarray(ndimage.map_coordinates(np.pad(probabilities.astype(np.float64), 1), grid, order=1))


def around_box(box: np.ndarray, side: int, read: Read, shape: tuple[int, int]) -> Surroundings | None:
    """Resample the image around a box whose mask has `side` pixels a side; None if it is off the image."""
    pixel = (box[2:] - box[:2]) / side
    reach = (MARGIN * FINER + 1) * pixel
    low = np.maximum(0, np.floor(box[:2] - reach)).astype(int)
    high = np.minimum([shape[1], shape[0]], np.ceil(box[2:] + reach)).astype(int)
    if (high <= low).any():
        return None
    # If the mask's pixels are much larger than the image's, not every image pixel is read.
    step = max(1, int(pixel.min() / 2))
    piece = read(Window(low[1], low[0], high[1], high[0]), step)
    # A pixel that was read has its own centre as its position, not the centre of the step.
    corner = low + (1 - step) / 2
    inside = (box - np.tile(corner, 2)) / step
    return surroundings(piece[..., :1] if is_grey(piece) else piece, inside[None], side, MARGIN * FINER)


def _shift_to_fit(odds: np.ndarray, box: np.ndarray, drawn_box: np.ndarray) -> float:
    """Return the log odds at which the mask fits the drawn box best; small changes are preferred."""
    columns, rows = odds.max(axis=0), odds.max(axis=1)
    pixel = (box[2:] - box[:2]) / len(odds)
    best, found = 0.0, -np.inf
    for shift in SHIFTS:
        across, down = _extent(columns, shift), _extent(rows, shift)
        if across is None or down is None:
            continue
        ends = np.array([across[0], down[0], across[1], down[1]])
        extent = np.tile(box[:2], 2) + ends * np.tile(pixel, 2)
        quality = float(array_iou(extent, drawn_box)) - COST * abs(shift)
        if quality > found:
            best, found = float(shift), quality
    return best


def _extent(profile: np.ndarray, least: float) -> tuple[float, float] | None:
    """Return start and end of the range where a profile is at least `least`, to subpixels; None if empty."""
    on = np.flatnonzero(profile >= least)
    if not len(on):
        return None
    ends = []
    for place, beyond in ((on[0], on[0] - 1), (on[-1], on[-1] + 1)):
        is_end = not 0 <= beyond < len(profile)
        rise = 1.0 if is_end else profile[place] - profile[beyond]
        ends.append(0.5 if is_end else float((profile[place] - least) / rise))
    return on[0] + 0.5 - ends[0], on[-1] + 0.5 + ends[1]
