"""Find the pixels of a plane that show how bright its cells are, without padding and debris."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from napari_cupre.data.percentiles import Ordered

Percentiles = Callable[[Ordered], tuple[float, float]]
"""A function that returns the grey values at the lower and the upper percentile."""

_Ends = Callable[["np.ndarray | None"], tuple[float, float]]
"""The same for some pixels of a plane (a mask), or for all of them (None)."""

BLOCK = 8
"""Side of the blocks in which flat areas are searched for, in samples."""

FLAT = 0.02
"""A block is flat if its grey values differ by no more than this share of the plane's range."""

LEAST_REST = 0.005
"""In a plane with padding, the image itself fills at least this share."""

ABOVE, BELOW = 0.25, 0.5
"""Padding is brighter (first) or darker (second) than the rest of the plane by this many times the rest's
range of grey values. Glass behind tissue and the dark background of fluorescence are not so far off.
"""

MOSTLY, INSIDE = 0.5, 0.1
"""Flat grey is also padding if it fills the first share of the plane and lies at least the second share of
the rest's range away from its ends, because the background of cells is at one of the ends.
"""

MOST_DEBRIS = 0.03
"""Something that fills a larger share of a plane is not debris."""

KNEE = 3.0
"""Debris differs from the background this many times as much as 97 % of the plane."""

OUTSHINES = 2.5
"""Debris counts only if the range of grey values without it is this many times smaller."""

HALO = 5
"""Pixels as near as this to debris, in samples, are left out with it: they are its glow."""

CONTRAST = 6.0
"""There is something beside the debris where smoothed grey values exceed their surroundings by this many
standard deviations of the noise; noise alone reaches 4.
"""

MORE = 1.5
"""Cells beside debris fill this many times its area. If not, the bright pixels are the few cells of a sparse
field and their glow.
"""

LEAST_CELLS = 3
"""Fewest objects that must be seen beside the debris."""

_SMOOTH, _COARSE = 5, 65


def tissue(
    plane: np.ndarray,
    every: Ordered,
    percentiles: Percentiles,
    finely: Callable[[], np.ndarray],
) -> np.ndarray | None:
    """Find the pixels that count, bool (n, m); None if all count, as in every ordinary image.

    Parameters
    ----------
    plane : numpy.ndarray
        (n, m, C) finite grey values, or a regular subsample of them.
    every : Ordered
        All values of `plane`.
    percentiles : Percentiles
        Returns the range of grey values of some or all pixels.
    finely : Callable[[], numpy.ndarray]
        Returns a part of the plane that is not subsampled, (n, m, C).
    """
    # NumPy picks pixels from two axes ten times as fast as from three.
    grey = plane[..., 0] if plane.shape[2] == 1 else plane

    def ends(kept: np.ndarray | None) -> tuple[float, float]:
        return percentiles(every if kept is None else Ordered(grey[kept]))

    # Relative to a bright piece of debris the cells themselves look flat and would be taken for padding.
    rest = None
    for sign in (1, -1):
        without = _beside_debris(plane, rest, every, ends, finely, sign)
        rest = rest if without is None else without
    counted = _beside_padding(plane, ends, rest)
    if counted is None:
        return rest
    for sign in (1, -1):
        without = _beside_debris(plane, counted, every, ends, finely, sign)
        counted = counted if without is None else without
    return counted


def _beside_padding(plane: np.ndarray, ends: _Ends, rest: np.ndarray | None) -> np.ndarray | None:
    """Find the pixels outside padding, that is, large flat areas far from the grey values of the rest.

    `rest` is the plane without debris, None if there is no debris.
    """
    bottom, top = ends(rest)
    blocks = _blocks(plane)
    if not bottom < top or blocks is None:
        return None
    # row by row first, which is many times faster than all at once
    least, most = blocks.min(axis=1).min(axis=(2, 3)), blocks.max(axis=1).max(axis=(2, 3))
    flat = (most.astype(np.float64) - least) <= FLAT * (top - bottom)
    if not flat.any():
        return None
    level = float(np.median(least[flat]))
    padding = flat & (np.abs(least - level) <= FLAT * (top - bottom))
    # Compression and resampling blur the edge of the padding, a block wide at most.
    near = ndimage.binary_dilation(padding, np.ones((3, 3)))
    counted = ~near.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)
    if counted.shape != plane.shape[:2]:
        counted = np.pad(counted, [(0, n - m) for n, m in zip(plane.shape, counted.shape)], mode="edge")
    if np.count_nonzero(counted) < LEAST_REST * counted.size:
        return None
    low, high = ends(counted)
    span = high - low
    is_outside = level > high + ABOVE * span or level < low - BELOW * span
    is_most = padding.mean() > MOSTLY and INSIDE * span < level - low < (1 - INSIDE) * span
    return counted if span > 0 and (is_outside or is_most or _is_frame(padding)) else None


def _is_frame(padding: np.ndarray) -> bool:
    """Whether most of a plane is a frame around the rest, such as black around a small picture."""
    rows, columns = (np.flatnonzero(~padding.all(axis=axis)) for axis in (1, 0))
    return (
        bool((np.ptp(rows) + 1) * (np.ptp(columns) + 1) < (1 - MOSTLY) * padding.size) if rows.size else False
    )


def _blocks(plane: np.ndarray) -> np.ndarray | None:
    """Split a plane into whole blocks, (rows, BLOCK, columns, BLOCK, C); None if there is no whole block."""
    rows, columns = (length // BLOCK for length in plane.shape[:2])
    if rows * columns == 0:
        return None
    whole = plane[: rows * BLOCK, : columns * BLOCK]
    return whole.reshape(rows, BLOCK, columns, BLOCK, plane.shape[2])


def _beside_debris(
    plane: np.ndarray,
    counted: np.ndarray | None,
    every: Ordered,
    ends: _Ends,
    finely: Callable[[], np.ndarray],
    sign: int,
) -> np.ndarray | None:
    """Find the pixels besides debris: a few pixels far brighter (`sign` 1) or darker (-1) than all others.

    None if there is no debris, or only noise beside it: then the bright pixels are the cells.
    """
    low, high = _directed(ends(counted), sign)
    extreme = plane[..., 0] if plane.shape[2] == 1 else plane.max(axis=2) if sign > 0 else plane.min(axis=2)
    if counted is None:  # the extremes of a single channel are its values
        ordered = every if plane.shape[2] == 1 else Ordered(extreme)
    else:
        ordered = Ordered(extreme[counted])
    most = ordered.percentile(97, sign)
    beyond = low + KNEE * (most - low)
    if not most > low or not sign * float(extreme.max() if sign > 0 else extreme.min()) > beyond:
        return None
    debris = extreme.astype(np.float64) * sign > beyond
    kept = np.ones(plane.shape[:2], bool) if counted is None else counted
    debris &= kept
    if not 0 < debris.sum() <= MOST_DEBRIS * kept.sum():
        return None
    rest = kept & ~ndimage.binary_dilation(debris, iterations=HALO)
    if rest.sum() < LEAST_REST * rest.size:
        return None
    rest_low, rest_high = _directed(ends(rest), sign)
    end = float(np.percentile(extreme[rest].astype(np.float64) * sign, 99.8)) * sign
    if high - rest_low <= OUTSHINES * (rest_high - rest_low) or not shows_cells(finely(), end, sign):
        return None
    return rest


def _directed(ends: tuple[float, float], sign: int) -> tuple[float, float]:
    return ends if sign > 0 else (-ends[1], -ends[0])


@np.errstate(over="ignore", invalid="ignore")
def shows_cells(part: np.ndarray, end: float, sign: int) -> bool:
    """Whether objects below (`sign` 1) or above (-1) a grey value cover more area than the pixels beyond it.

    Parameters
    ----------
    part : numpy.ndarray
        (n, m, C) grey values, not subsampled.
    end : float
        Grey values beyond it are debris.
    """
    # Values near the limits of float64 are debris, however inexact the arithmetic is there.
    grey = part.astype(np.float64 if part.dtype.itemsize > 4 else np.float32).mean(axis=2)
    is_beyond = (grey - end) * sign > 0
    kept = ~ndimage.binary_dilation(is_beyond, iterations=2 * HALO)
    steps = np.abs(np.diff(grey, axis=1))[kept[:, 1:] & kept[:, :-1]]
    if steps.size == 0:
        return False
    least = 0.3 if part.dtype.kind in "bui" else 0.0  # rounding to whole numbers hides smaller noise
    noise = max(float(np.median(steps)) / (0.6745 * 2**0.5), least) / _SMOOTH
    # Debris does not count in the mean of the surroundings.
    weight = ndimage.uniform_filter(kept.astype(np.float32), _COARSE)
    around = ndimage.uniform_filter(np.where(kept, grey, 0.0), _COARSE) / np.maximum(weight, 1e-3)
    smooth = ndimage.uniform_filter(grey, _SMOOTH) - around
    return any(
        _outweigh(kept & (signed > CONTRAST * noise), int(is_beyond.sum())) for signed in (smooth, -smooth)
    )


def _outweigh(seen: np.ndarray, debris: int) -> bool:
    """Whether there are several objects whose total area in px is larger than the debris."""
    areas = np.bincount(ndimage.label(seen)[0].ravel())[1:]
    areas = areas[areas > _SMOOTH**2]
    return bool(len(areas) >= LEAST_CELLS and areas.sum() > MORE * debris)
