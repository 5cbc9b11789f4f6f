"""Smooth random maps and blur, computed as products of small matrices.

A smooth map is a coarse grid of random numbers, multiplied by an interpolation matrix on either side. A
narrow Gaussian blur is a band matrix, the same for every strip of the image; a wide blur is a narrow one on a
coarser grid. In float32 this is several times faster than resizing or filtering. The products are small
enough that BLAS starts no threads: otherwise each loader worker would occupy all cores and stall the
training.
"""

from __future__ import annotations

import numpy as np

Map = np.ndarray  # float32 (H, W)

_SERIAL = 1 << 18  # multiply-adds up to which OpenBLAS computes a matrix product in one thread
_FINE_SCALE = 4.0  # px; finer noise than this is blurred white noise
_WIDE_SIGMA = 4.0  # px; from this sigma on, blur is computed on a coarser grid
_STRIP = 16  # rows that one product blurs


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Compute `left @ right`, a few rows at a time."""
    rows = max(1, _SERIAL // right.size)
    out = np.empty((left.shape[0], right.shape[1]), np.float32)
    for start in range(0, left.shape[0], rows):
        np.matmul(left[start : start + rows], right, out=out[start : start + rows])
    return out


def _spline(distance: np.ndarray) -> np.ndarray:
    """The cubic B-spline at a distance from its knot, in knot spacings; float32."""
    d = np.abs(distance)
    near = (4 - 6 * d**2 + 3 * d**3) / 6
    far = np.clip(2 - d, 0, None) ** 3 / 6
    return np.where(d < 1, near, far).astype(np.float32)


def _spline_basis(n: int, scale: float, phase: float) -> np.ndarray:
    """The matrix that interpolates n pixels between knots `scale` px apart, float32 (n, knots)."""
    position = np.arange(n) / scale + phase
    first = position.astype(np.intp)
    knots = first[:, None] + np.arange(4)
    basis = np.zeros((n, int(first[-1]) + 4), np.float32)
    np.put_along_axis(basis, knots, _spline(position[:, None] + 1 - knots), axis=1)
    return basis


def smooth_noise(rng: np.random.Generator, size: int, scale: float) -> Map:
    """Smooth noise with grains `scale` px wide, a mean of about 0 and a standard deviation of about 1.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    size : int
        Side of the map in px.
    scale : float
        Distance in px between the random knots of a cubic spline; 1 or less gives white noise.

    Returns
    -------
    numpy.ndarray
        float32 (size, size).
    """
    if scale < _FINE_SCALE:
        # As wide as the spline; the factor restores the standard deviation of the blurred white noise.
        sigma = scale / np.sqrt(3) if scale > 1 else 0.0
        return blur(_uniform(rng, size), sigma) * np.float32(max(1.0, 2 * np.sqrt(np.pi) * sigma))
    basis = _spline_basis(size, scale, rng.random())
    # Interpolation leaves 0.48 of the knots' standard deviation.
    knots = _uniform(rng, basis.shape[1]) / np.float32(0.48)
    return _product(_product(basis, knots), basis.T)


def _uniform(rng: np.random.Generator, size: int) -> Map:
    """Uniform white noise, float32 (size, size), with mean 0 and standard deviation 1."""
    return (rng.random((size, size), dtype=np.float32) - np.float32(0.5)) * np.float32(np.sqrt(12))


def octaves(rng: np.random.Generator, size: int, scale: float, count: int = 3) -> Map:
    """Sum of `count` smooth noises, each half as wide and 0.6 times as strong as the one before.

    Parameters
    ----------
    rng, size
        As in `smooth_noise`.
    scale : float
        Grain width of the first noise in px, see `smooth_noise`.
    count : int, optional
        Number of noises.

    Returns
    -------
    numpy.ndarray
        float32 (size, size), with a mean of about 0 and a standard deviation of about 1.
    """
    total = np.zeros((size, size), np.float32)
    strengths = 0.6 ** np.arange(count, dtype=np.float32)
    strengths /= np.sqrt(np.sum(strengths**2))
    for k, strength in enumerate(strengths):
        total += strength * smooth_noise(rng, size, scale / 2**k)
    return total


def fibres(rng: np.random.Generator, size: int, width: float, waviness: float = 1.0) -> Map:
    """Wavy strands that run in one direction.

    Parameters
    ----------
    rng, size
        As in `smooth_noise`.
    width : float
        Width of a strand in px, approximately.
    waviness : float, optional
        How much the strands meander; 0 makes them straight.

    Returns
    -------
    numpy.ndarray
        float32 (size, size), with a mean of about 0 and a standard deviation of about 0.6.
    """
    angle = rng.uniform(0, np.pi)
    along = np.arange(size, dtype=np.float32) / np.float32(width)
    position = along[None, :] * np.float32(np.cos(angle)) + along[:, None] * np.float32(np.sin(angle))
    position += np.float32(3 * waviness) * smooth_noise(rng, size, 12 * width)
    position -= position.min()
    index = position.astype(np.intp)
    strands = rng.standard_normal(int(index.max()) + 2).astype(np.float32)
    blend = position - index.astype(np.float32)
    blend *= blend * (3 - 2 * blend)
    pattern = np.take(strands, index)
    pattern += blend * (np.take(strands, index + 1) - pattern)
    # Strands fade in and out along their length.
    return pattern * (np.float32(0.6) + np.float32(0.4) * smooth_noise(rng, size, 6 * width))


def blur(image: Map, sigma: float) -> Map:
    """Apply a Gaussian blur.

    Parameters
    ----------
    image : numpy.ndarray
        float32 (H, W); its edge pixels are repeated beyond the border.
    sigma : float
        Standard deviation in px; at 0.2 or less the image is returned as it is.

    Returns
    -------
    numpy.ndarray
        float32 (H, W).
    """
    if sigma <= 0.2:
        return image
    for _ in range(2):
        image = np.ascontiguousarray(_blur_down(image, sigma).T)
    return image


def _blur_down(image: Map, sigma: float) -> Map:
    """Blur along the first axis."""
    if sigma < _WIDE_SIGMA:
        return _blur_narrow(image, sigma)
    # Average `step` rows, blur the averages, and interpolate back. Averaging and interpolation blur as well,
    # with the two variances that are subtracted, in units of the step.
    step = 1 << int(np.log2(sigma / 2))
    rest = np.sqrt((sigma / step) ** 2 - (1 - 1 / step**2) / 12 - 1 / 3)
    length, width = image.shape
    padded = np.pad(image, ((2 * step, 2 * step + -length % step), (0, 0)), mode="edge")
    coarse = _blur_narrow(padded.reshape(-1, step, width).mean(axis=1), rest)
    # Each mean and its two neighbours on either side give the `step` rows at its place.
    around = np.lib.stride_tricks.sliding_window_view(coarse, (5, width))[:, 0]
    place = (np.arange(step) - (step - 1) / 2) / step
    weights = _spline(place[:, None] - np.arange(-2, 3))
    return np.matmul(weights, around).reshape(-1, width)[:length]


def _blur_narrow(image: Map, sigma: float) -> Map:
    """Blur along the first axis, in overlapping strips that share one small band matrix."""
    length, width = image.shape
    reach = int(np.ceil(3.5 * sigma))
    strip = _STRIP
    while strip > 2 and strip * (strip + 2 * reach) * width > _SERIAL:
        strip //= 2
    count = -(-length // strip)
    padded = np.pad(image, ((reach, reach + count * strip - length), (0, 0)), mode="edge")
    high = strip + 2 * reach
    strips = np.lib.stride_tricks.sliding_window_view(padded, (high, width))[::strip, 0]
    offset = np.arange(high) - np.arange(strip)[:, None] - reach
    band = np.where(np.abs(offset) <= reach, np.exp(-0.5 * (offset / sigma) ** 2), 0)
    band = (band / band.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.matmul(band, strips).reshape(-1, width)[:length]
