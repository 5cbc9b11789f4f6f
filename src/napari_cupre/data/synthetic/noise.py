"""Smooth random maps and blur as products of small matrices.

A smooth map of n x n pixels is a coarse grid of random numbers between two interpolation
matrices, and a Gaussian blur is the map between two banded matrices. Both are one or two
float32 matrix products, several times faster than resizing or filtering at these sizes,
and the cost of a blur does not depend on its width.
"""

from __future__ import annotations

import numpy as np

Map = np.ndarray  # float32 (H, W)


def _spline_basis(n: int, scale: float, phase: float) -> np.ndarray:
    """Cubic B-spline interpolation matrix, float32 (n, knots), for knots `scale` px apart."""
    position = np.arange(n, dtype=np.float32) / np.float32(scale) + np.float32(phase) + 1
    base = position.astype(np.int64)
    t = position - base
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (t + t**2 - t**3) + 1, t**3], axis=1) / 6
    basis = np.zeros((n, int(base[-1]) + 3), np.float32)
    rows = np.arange(n)
    for k in range(4):
        basis[rows, base - 1 + k] = weights[:, k]
    return basis


def smooth_noise(rng: np.random.Generator, size: int, scale: float, aspect: float = 1.0) -> Map:
    """Noise of about zero mean and unit spread whose grains are `scale` px wide.

    Parameters
    ----------
    rng : source of all randomness.
    size : side of the map in px.
    scale : distance of the random knots in px along x; at or below 1 the noise is white.
    aspect : knots along y are `scale * aspect` px apart.

    Returns
    -------
    float32 (size, size).
    """
    if scale <= 1.0 and aspect == 1.0:
        return rng.standard_normal((size, size), dtype=np.float32)
    rows = _spline_basis(size, max(scale * aspect, 1.0), rng.random())
    columns = _spline_basis(size, max(scale, 1.0), rng.random())
    knots = rng.standard_normal((rows.shape[1], columns.shape[1]), dtype=np.float32)
    # A cubic B-spline averages its knots; 1 / 0.48 (2-D) brings the spread back to one.
    return (rows @ knots @ columns.T) * np.float32(1 / 0.48)


def octaves(rng: np.random.Generator, size: int, scale: float, count: int = 3, gain: float = 0.6) -> Map:
    """Sum of `count` smooth noises, each half as wide and `gain` times as strong as the one before."""
    total = np.zeros((size, size), np.float32)
    power = 0.0
    for k in range(count):
        strength = gain**k
        total += np.float32(strength) * smooth_noise(rng, size, scale / 2**k)
        power += strength**2
    return total / np.float32(np.sqrt(power))


def fibres(rng: np.random.Generator, size: int, width: float, waviness: float = 1.0) -> Map:
    """Wavy strands about `width` px wide running in one direction, float32, about zero mean, unit spread."""
    angle = rng.uniform(0, np.pi)
    along = np.arange(size, dtype=np.float32)
    phase = along[None, :] * np.float32(np.cos(angle)) + along[:, None] * np.float32(np.sin(angle))
    phase = phase + np.float32(waviness * 3 * width) * smooth_noise(rng, size, 12 * width)
    position = (phase - phase.min()) / np.float32(width)
    index = position.astype(np.int32)
    strands = rng.standard_normal(int(index.max()) + 2).astype(np.float32)
    blend = position - index
    blend = blend * blend * (3 - 2 * blend)
    pattern = strands[index] * (1 - blend) + strands[index + 1] * blend
    # Strands fade in and out along their length.
    return pattern * (0.6 + 0.4 * smooth_noise(rng, size, 6 * width))


def blur(image: Map, sigma: float) -> Map:
    """Gaussian blur of a float32 (H, W) map with edges repeated; sigma in px, none at or below 0.2."""
    if sigma <= 0.2:
        return image
    rows = _blur_matrix(image.shape[0], sigma)
    columns = rows if image.shape[1] == image.shape[0] else _blur_matrix(image.shape[1], sigma)
    return rows @ image @ columns.T


def _blur_matrix(n: int, sigma: float) -> np.ndarray:
    distance = np.arange(n, dtype=np.float32)
    kernel = np.exp(-0.5 * (distance / np.float32(sigma)) ** 2)
    kernel[kernel < 1e-5] = 0  # denormal tails would make the product ten times slower
    index = np.arange(n)
    matrix = kernel[np.abs(index[:, None] - index[None, :])]
    return matrix / matrix.sum(axis=1, keepdims=True)
