"""Smooth random maps and blur as products of small matrices.

A smooth map of n x n pixels is a coarse grid of random numbers between two interpolation
matrices, and a Gaussian blur is the map between two banded matrices. Both are float32
matrix products, several times faster than resizing or filtering at these sizes, and a
blur gets cheaper as it gets wider, since a coarse grid then holds all of it.
"""

from __future__ import annotations

import numpy as np

Map = np.ndarray  # float32 (H, W)

_COARSE_SIGMA = 4.0  # from here on a blurred map is computed on a grid of knots, px


def _spline_basis(n: int, scale: float, phase: float = 0.0) -> np.ndarray:
    """Cubic B-spline interpolation matrix, float32 (n, knots), for knots `scale` px apart."""
    position = np.arange(n, dtype=np.float32) / np.float32(scale) + np.float32(phase)
    base = position.astype(np.int64)
    t = position - base.astype(np.float32)
    square, cube = t * t, t * t * t
    knots = int(base[-1]) + 4
    basis = np.zeros(n * knots, np.float32)
    first = np.arange(n) * knots + base
    basis[first] = (1 - 3 * t + 3 * square - cube) / 6
    basis[first + 1] = (4 - 6 * square + 3 * cube) / 6
    basis[first + 2] = (1 + 3 * t + 3 * square - 3 * cube) / 6
    basis[first + 3] = cube / 6
    return basis.reshape(n, knots)


def smooth_noise(rng: np.random.Generator, size: int, scale: float) -> Map:
    """Noise of about zero mean and unit spread whose grains are `scale` px wide.

    Parameters
    ----------
    rng : source of all randomness.
    size : side of the map in px.
    scale : distance of the random knots in px; at or below 1 the noise is white.

    Returns
    -------
    float32 (size, size).
    """
    if scale <= 1.0:
        return (rng.random((size, size), dtype=np.float32) - np.float32(0.5)) * np.float32(12**0.5)
    basis = _spline_basis(size, scale, rng.random())
    knots = rng.random((basis.shape[1],) * 2, dtype=np.float32) - np.float32(0.5)
    # 12**0.5 makes the spread of the knots one; the spline's averaging leaves 0.48 of it.
    knots *= np.float32(12**0.5 / 0.48)
    return basis @ knots @ basis.T


def octaves(rng: np.random.Generator, size: int, scale: float, count: int = 3, gain: float = 0.6) -> Map:
    """Sum of `count` smooth noises, each half as wide and `gain` times as strong as the one before."""
    total = np.zeros((size, size), np.float32)
    strengths = gain ** np.arange(count, dtype=np.float32)
    strengths /= np.sqrt(np.sum(strengths**2))
    for k, strength in enumerate(strengths):
        total += strength * smooth_noise(rng, size, scale / 2**k)
    return total


def fibres(rng: np.random.Generator, size: int, width: float, waviness: float = 1.0) -> Map:
    """Wavy strands about `width` px wide that run in one direction, float32, about zero mean, spread 0.6."""
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
    """Gaussian blur of a float32 (H, W) map; sigma in px, none at or below 0.2.

    Beyond the border there is nothing: the weights inside are scaled up to a sum of one.
    """
    if sigma <= 0.2:
        return image
    rows = _blur_matrices(image.shape[0], sigma)
    columns = rows if image.shape[1] == image.shape[0] else _blur_matrices(image.shape[1], sigma)
    for left, right in zip(rows, columns):
        image = left @ image @ right.T
    return image


def _blur_matrices(n: int, sigma: float) -> list[np.ndarray]:
    """Matrices that blur a vector of length n when applied one after the other.

    Narrow: one (n, n). Wide: (knots, n) averages onto knots sigma / 2 apart, (n, knots) interpolates.
    """
    if sigma < _COARSE_SIGMA:
        kernel = _gaussian(np.arange(1 - n, n, dtype=np.float32), sigma)
        weights = np.lib.stride_tricks.sliding_window_view(kernel, n)[::-1]
        return [weights / weights.sum(axis=1, keepdims=True)]
    step = sigma / 2
    basis = _spline_basis(n, step)
    # The interpolating spline itself blurs by sqrt(1/3) of its knots' distance.
    rest = np.sqrt(sigma**2 - step**2 / 3)
    knots = (np.arange(basis.shape[1], dtype=np.float32) - 1) * np.float32(step)
    weights = _gaussian(knots[:, None] - np.arange(n, dtype=np.float32), rest)
    return [weights / weights.sum(axis=1, keepdims=True), basis]


def _gaussian(distance: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian of float32 distances, 0 beyond about five sigma."""
    scaled = distance / np.float32(sigma)
    value = np.exp(np.maximum(np.float32(-0.5) * scaled * scaled, np.float32(-15)))
    value[value < 1e-6] = 0  # denormal tails would make the products ten times slower
    return value
