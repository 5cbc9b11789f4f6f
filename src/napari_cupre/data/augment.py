"""Augment a sample: geometry for image, labels and known area alike, and a microscope's photometry.

Every function draws from an explicit generator and returns new arrays. Pasting of annotated
cells is in `data.paste`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage, sparse

from napari_cupre.data.labels import label_areas
from napari_cupre.data.normalise import CLIP, is_grey
from napari_cupre.data.sample import Sample

MIN_KEPT = 0.25
"""An instance that the crop's border cuts below this share of its area becomes unknown."""


# ---- geometry ------------------------------------------------------------------------------------


def random_crop(
    rng: np.random.Generator,
    sample: Sample,
    size: int,
    scale: tuple[float, float] = (0.8, 1.25),
    around: tuple[float, float] | None = None,
) -> Sample:
    """Cut a square part at a random place and scale, and resample it in one step.

    Parameters
    ----------
    rng : np.random.Generator
        Source of all randomness.
    sample : Sample
        Image, labels and known area of any size; beyond its border the image is mirrored and unknown.
    size : int
        Side of the result in px.
    scale : tuple[float, float], optional
        Range of result px per source px, drawn log-uniformly.
    around : tuple[float, float] or None, optional
        A position (y, x) in source px that the crop must contain; by default any crop will do.

    Returns
    -------
    Sample of (size, size). Instances keep their labels; those with less than `MIN_KEPT` of their area
    left have become unknown.
    """
    factor = float(np.exp(rng.uniform(*np.log(scale))))
    window = size / factor
    starts = []
    for length, wanted in zip(sample.labels.shape, around or (None, None)):
        low, high = sorted((0.0, length - window))
        if wanted is not None:
            # Anywhere with the wanted position well inside the crop; within the image if possible.
            inner = max(0.0, min(0.25 * window, window / 2 - 1))
            near = np.array([wanted - window + inner, wanted - inner])
            low, high = np.clip(near, low, high)
        starts.append(float(rng.uniform(low, high)))
    return _resampled(sample, starts, factor, size)


def rescale(sample: Sample, factor: float) -> Sample:
    """Resize the whole sample by `factor`; the image is smoothed where it shrinks."""
    shape = [max(1, round(length * factor)) for length in sample.labels.shape]
    factors = [wanted / length for wanted, length in zip(shape, sample.labels.shape)]
    index = [
        ((np.arange(wanted) + 0.5) / f).astype(int).clip(0, length - 1)
        for wanted, length, f in zip(shape, sample.labels.shape, factors)
    ]
    image = _interpolated(sample.image, (0.0, 0.0), factors, shape)
    nearest = np.ix_(*index)
    return Sample(image, sample.labels[nearest], sample.known[nearest], sample.classes)


def random_turn(rng: np.random.Generator, sample: Sample) -> Sample:
    """Apply one of the eight flips and quarter turns; height and width may change places."""
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))

    def turned(array: np.ndarray) -> np.ndarray:
        array = np.rot90(array, turns)
        return np.ascontiguousarray(array[:, ::-1] if flip else array)

    image, labels, known = map(turned, (sample.image, sample.labels, sample.known))
    return Sample(image, labels, known, sample.classes)


def _resampled(sample: Sample, starts: list[float], factor: float, size: int) -> Sample:
    """Resample the window of `size` / `factor` source px that begins at `starts` (y, x)."""
    image = _interpolated(sample.image, starts, (factor, factor), (size, size))
    index, inside = [], []
    for start, length in zip(starts, sample.labels.shape):
        source = np.floor(start + (np.arange(size) + 0.5) / factor).astype(int)
        inside.append((source >= 0) & (source < length))
        index.append(source.clip(0, length - 1))
    is_inside = np.logical_and.outer(*inside)
    nearest = np.ix_(*index)
    labels = np.where(is_inside, sample.labels[nearest], 0).astype(np.int32)
    known = sample.known[nearest] & is_inside
    lost = _cut_away(sample.labels, labels, factor)
    if lost.size:
        gone = np.isin(labels, lost)
        labels[gone] = 0
        known[gone] = False
    return Sample(image, labels, known, sample.classes)


def _cut_away(before: np.ndarray, after: np.ndarray, factor: float) -> np.ndarray:
    """Return the values of the instances that kept less than `MIN_KEPT` of their area."""
    values, areas = label_areas(after)
    if not values.size:
        return values
    all_values, all_areas = label_areas(before)
    whole = all_areas[np.searchsorted(all_values, values)] * factor**2
    return values[areas < MIN_KEPT * whole]


def _interpolated(
    image: np.ndarray, starts: Sequence[float], factors: Sequence[float], shape: Sequence[int]
) -> np.ndarray:
    """Resample a window that begins at `starts` by `factors`, float32 `shape` + (3,)."""
    rows, cut_rows = _linear_weights(image.shape[0], starts[0], factors[0], shape[0])
    columns, cut_columns = _linear_weights(image.shape[1], starts[1], factors[1], shape[1])
    window = image[cut_rows, cut_columns].astype(np.float32, copy=False)
    window = window[..., :1] if is_grey(window) else window
    high, wide, channels = window.shape
    across = columns @ window.transpose(1, 0, 2).reshape(wide, high * channels)
    across = across.reshape(shape[1], high, channels).transpose(1, 0, 2)
    found = (rows @ across.reshape(high, shape[1] * channels)).reshape(*shape, channels)
    return np.ascontiguousarray(np.broadcast_to(found, (*shape, 3))) if channels == 1 else found


def _linear_weights(length: int, start: float, factor: float, size: int) -> tuple[sparse.csr_matrix, slice]:
    """Return weights for linear interpolation along one axis, or for a weighted mean where it shrinks.

    Result pixel i lies at start + (i + 0.5) / factor - 0.5; the image is mirrored beyond its border.

    Returns
    -------
    matrix : scipy.sparse.csr_matrix
        float32 (size, n), for the n source pixels in `cut`.
    cut : slice
        The source pixels.
    """
    reach = max(1.0, 1 / factor)
    centre = start + (np.arange(size) + 0.5) / factor - 0.5
    margin = int(np.ceil(reach))
    source = np.floor(centre).astype(int)[:, None] + np.arange(-margin, margin + 2)
    weight = np.clip(1 - np.abs(source - centre[:, None]) / reach, 0, None)
    weight /= weight.sum(axis=1, keepdims=True)
    source %= 2 * length
    source = np.where(source >= length, 2 * length - 1 - source, source)
    low, high = int(source.min()), int(source.max()) + 1
    target = np.repeat(np.arange(size), source.shape[1])
    entries = (weight.astype(np.float32).ravel(), (target, source.ravel() - low))
    matrix = sparse.csr_matrix(entries, shape=(size, high - low))
    return matrix, slice(low, high)


# ---- photometry ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Photometry:
    """Strength of the photometric changes.

    Attributes
    ----------
    gamma, contrast : float
        Drawn log-uniformly from [1/x, x].
    brightness : float
        Largest shift, in units of the normalised image.
    gain : float
        Largest relative change of one colour; grey images are not changed.
    invert, blur, noise : float
        Probability of each.
    max_blur : float
        Largest sigma, px.
    max_noise : float
        Largest standard deviation.
    """

    gamma: float = 1.5
    contrast: float = 1.4
    brightness: float = 0.1
    gain: float = 0.12
    invert: float = 0.05
    blur: float = 0.25
    noise: float = 0.4
    max_blur: float = 1.2
    max_noise: float = 0.06


def photometric(
    rng: np.random.Generator, image: np.ndarray, strength: Photometry | None = None
) -> np.ndarray:
    """Imitate another exposure of a field: contrast, brightness, gamma, sign, colour balance, focus, noise.

    Parameters
    ----------
    image : numpy.ndarray
        float32 (Y, X, 3), normalised.

    Returns
    -------
    numpy.ndarray
        float32 (Y, X, 3) within `data.normalise.CLIP`; a grey image stays exactly grey.
    """
    s = strength or Photometry()
    grey = is_grey(image)
    value = image[..., :1] if grey else image
    if rng.random() < s.invert:
        value = 1 - value
    value = np.sign(value) * np.abs(value) ** np.float32(_log_between(rng, s.gamma))
    middle = np.float32(value.mean())
    value = (value - middle) * np.float32(_log_between(rng, s.contrast)) + middle
    value = value + np.float32(rng.uniform(-s.brightness, s.brightness))
    if not grey:
        value = value * rng.uniform(1 - s.gain, 1 + s.gain, 3).astype(np.float32)
    if rng.random() < s.blur:
        sigma = rng.uniform(0.3, s.max_blur)
        value = ndimage.gaussian_filter(value, (sigma, sigma, 0), truncate=3)
    if rng.random() < s.noise:
        spread = np.float32(rng.uniform(0, s.max_noise))
        value = value + spread * rng.standard_normal(value.shape, dtype=np.float32)
    value = np.clip(value, *CLIP).astype(np.float32, copy=False)
    return np.repeat(value, 3, axis=2) if grey else np.ascontiguousarray(value)


def jpeg_artefacts(image: np.ndarray, quality: int, exposure: float = 1.0) -> np.ndarray:
    """Give an image the artefacts of a JPEG file.

    Parameters
    ----------
    image : numpy.ndarray
        float32 (Y, X, 3), normalised; a grey image is written as grey.
    quality : int
        Pillow's quality, 1 to 95.
    exposure : float
        Share of the 8-bit range that the image fills, (0, 1]. The darker a file is, the more clearly its
        blocks of 8 px show once it is stretched.

    Returns
    -------
    numpy.ndarray
        float32 (Y, X, 3) within `data.normalise.CLIP`.
    """
    low, high = CLIP
    step = (high - low) / (255 * exposure)
    bits = np.rint((np.clip(image, low, high) - low) / step).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(bits[..., 0] if is_grey(image) else bits).save(file, "JPEG", quality=quality)
    read = np.asarray(Image.open(file).convert("RGB"), dtype=np.float32)
    return np.clip(read * np.float32(step) + np.float32(low), low, high)


def _log_between(rng: np.random.Generator, limit: float) -> float:
    return float(np.exp(rng.uniform(-1, 1) * np.log(limit)))
