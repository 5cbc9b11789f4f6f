"""Recognise images that contain only camera noise, such as empty wells.

Every image is stretched over its own range of grey values. Without a cell, noise fills the whole range, and a
network that has learned to see faint cells finds hundreds in it.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_cupre.data.normalise import middle
from napari_cupre.prediction.stitch import Found

NOISE_SCORE = 0.95
"""Minimum score of a cell in noise; the shipped networks exceed it in one of a hundred detections."""

GLIMPSE = 256
"""Side in px of the central part that is checked first; most images show there that they are not noise."""

REACH = 3
"""Distance in px over which noise may be correlated by optics, interpolation or compression."""

SIGMAS = (3.0, 5.0)
"""Sigma in px; such smoothing removes most of the noise and keeps most of a cell."""

EXCESS = 1.75
"""Maximum ratio of the variance after smoothing to the variance explained by correlation over `REACH`
px. In noise smoothed by up to 2 px it was at most 1.65, see `benchmarks/empty_wells.py`."""

HEIGHT = 6.5
"""Anything above smoothed noise by more than this many standard deviations is not noise. The highest of a
million places in noise reaches 5."""

_BLOCK = 16


def is_noise(image: np.ndarray) -> bool:
    """Whether an image shows only noise, i.e. grey values correlated over only a few pixels.

    Uneven light is taken into account. A plane in which a single small cell stands out is not noise.

    Parameters
    ----------
    image : numpy.ndarray
        float32 (Y, X, 3), normalised, of any size.
    """
    if not _is_noise(middle(image, GLIMPSE)):
        return False
    return max(image.shape[:2]) <= GLIMPSE or _is_noise(image)


def sure_in_noise(image: np.ndarray, found: Found) -> Found:
    """Return the detections of an image; if it is only noise, those with at least `NOISE_SCORE`.

    Parameters
    ----------
    image : numpy.ndarray
        See `is_noise`.
    found : Found
        Its cells.
    """
    is_sure = found.scores >= NOISE_SCORE
    # In noise hardly any detection is sure, so an image with mostly sure ones is not noise.
    if len(is_sure) == 0 or 2 * np.count_nonzero(is_sure) > len(is_sure) or not is_noise(image):
        return found
    return found.take(np.flatnonzero(is_sure))


def _is_noise(image: np.ndarray) -> bool:
    if min(image.shape[:2]) < 4 * _BLOCK:
        return False  # too few pixels to tell
    grey = _levelled(image.mean(axis=2, dtype=np.float32))
    smoothed = []
    for sigma in SIGMAS:  # the cheapest test first: in most images something stands out
        smooth = gaussian_filter(grey, sigma)
        smooth -= np.median(smooth)
        even = smooth / _edges(smooth.shape, sigma)
        spread = 1.4826 * float(np.median(np.abs(even)))
        if float(np.abs(even).max()) > HEIGHT * spread:
            return False
        smoothed.append(smooth)
    products = _products(grey)
    if products[0, 0] == 0:
        return False  # a single grey value
    for sigma, smooth in zip(SIGMAS, smoothed):
        # the fewer independent places there are, the less certain is their variance
        places = grey.size / (4 * np.pi * sigma**2)
        most = EXCESS * (1 + 3 * np.sqrt(2 / places))
        if smooth.var() > most * _explained(products, sigma):
            return False
    return True


def _levelled(grey: np.ndarray) -> np.ndarray:
    """Subtract the parabola that fits the means of the image's blocks, because light is uneven."""
    rows, columns = (length // _BLOCK for length in grey.shape)
    inner = grey[: rows * _BLOCK, : columns * _BLOCK]
    means = inner.reshape(rows, _BLOCK, columns, _BLOCK).mean(axis=(1, 3))
    centres = (np.mgrid[:rows, :columns].reshape(2, -1) + 0.5) * _BLOCK
    factors, *_ = np.linalg.lstsq(_powers(centres[0], centres[1]), means.ravel(), rcond=None)
    y, x = (np.arange(length) + 0.5 for length in grey.shape)
    constant, by_y, by_x, by_yy, by_xx, by_yx = factors
    light = (constant + by_y * y + by_yy * y * y)[:, None] + (by_x * x + by_xx * x * x)[None]
    return (grey - light - by_yx * y[:, None] * x[None]).astype(np.float32)


def _powers(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(y), y, x, y * y, x * x, y * x], axis=1)


def _edges(shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Return how much more smoothed noise varies near the edges, which the filter reflects, (Y, X)."""
    factors = []
    for length in shape:
        place = np.arange(length) + 0.5
        near = np.exp(-((place / sigma) ** 2)) + np.exp(-(((length - place) / sigma) ** 2))
        factors.append(np.sqrt(1 + near).astype(np.float32))
    return np.outer(*factors)


def _products(grey: np.ndarray) -> dict[tuple[int, int], float]:
    """Return the mean product of two pixels (Y, X) px apart, up to `REACH`, for one of opposite shifts."""
    height, width = grey.shape
    found = {}
    for down in range(REACH + 1):
        for right in range(-REACH if down else 0, REACH + 1):
            one = grey[down:, max(0, right) : width + min(0, right)]
            other = grey[: height - down, max(0, -right) : width - max(0, right)]
            found[down, right] = float(np.mean(one * other))
    return found


def _explained(products: dict[tuple[int, int], float], sigma: float) -> float:
    """Return the variance of noise with these products after a Gaussian blur of `sigma` px."""
    left = sum(
        (1 if shift == (0, 0) else 2) * product * np.exp(-(shift[0] ** 2 + shift[1] ** 2) / (4 * sigma**2))
        for shift, product in products.items()
    )
    return float(max(left, 0.0) / (4 * np.pi * sigma**2))
