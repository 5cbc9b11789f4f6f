"""From light to file: optics, exposure, noise, compression, and the normalisation of every image."""

from __future__ import annotations

import imagecodecs
import numpy as np

from napari_cupre.data.normalise import normalise

from .looks.registry import log_uniform
from .noise import blur


def record(rng: np.random.Generator, light: np.ndarray, diameter: float, contrast: float = 1.0) -> np.ndarray:
    """Simulate how a camera records light and a file stores it, and normalise the result.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    light : numpy.ndarray
        float32 (H, W) or (H, W, 3), 0 to about 1.
    diameter : float
        Typical cell diameter in px; it limits the blur.
    contrast : float, optional
        Share of the sensor's range that a grey image uses. The smaller it is, the more the normalisation
        amplifies the noise.

    Returns
    -------
    numpy.ndarray
        float32 (H, W, 3), with percentiles 1 and 99.8 at 0 and 1; grey is repeated three times.
    """
    is_grey = light.ndim == 2
    image = _optics(rng, light, diameter)
    if is_grey and rng.random() < 0.04:
        image = image.max() - image
    image = _exposure(rng, image)
    if contrast < 1 and is_grey:
        image = np.float32(rng.uniform(0, 0.2)) + np.float32(contrast) * image
    image = _noise(rng, image)
    if is_grey and image.mean() < 0.35 and rng.random() < 0.08:  # exported in the colour of the dye
        is_grey = False
        image = image[..., None] * rng.dirichlet((0.4, 0.4, 0.4)).astype(np.float32)
        image /= max(float(image.max()), 1e-6)
    image = _digitise(rng, image)
    return normalise(image, rgb=not is_grey)


def _optics(rng: np.random.Generator, light: np.ndarray, diameter: float) -> np.ndarray:
    """Blur grey images like a point spread function, but keep the cells countable.

    Looks in colour blur their dyes themselves, which is cheaper than blurring three colours.
    """
    if light.ndim == 3:
        return light
    return blur(light, log_uniform(rng, 0.3, max(0.6, 0.07 * diameter)))


def _exposure(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Scale to the sensor's range, 0 to 1: often over- or underexposed, sometimes with a gamma curve."""
    if image.ndim == 2:
        low, high = np.percentile(image[::3, ::3], [0.2, 99.8])
        image = (image - low) / max(high - low, 1e-6)
        image *= np.float32(rng.uniform(0.6, 0.95) if rng.random() < 0.75 else rng.uniform(1.0, 1.8))
        image += np.float32(rng.uniform(0, 0.08))
    if rng.random() < 0.35:
        image = np.clip(image, 0, None) ** np.float32(log_uniform(rng, 0.6, 1.6))
    return np.clip(image, 0, 1)


def _noise(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Add shot noise, which grows with the light, and read noise, which does not; usually weak."""
    is_dim = rng.random() < 0.2
    photons = log_uniform(rng, 15, 300) if is_dim else log_uniform(rng, 200, 50000)
    read = log_uniform(rng, 0.005, 0.06) if is_dim else log_uniform(rng, 0.0005, 0.01)
    if image.ndim == 3:  # stained specimens give plenty of light
        photons, read = 50 * photons, read / 10
    spread = np.sqrt(image / np.float32(photons) + np.float32(read**2))
    grain = _bell(rng, image.shape[:2])
    if rng.random() < 0.4:  # resampled, demosaicked and denoised images have coarser noise
        grain = blur(grain, 0.6) * np.float32(2.0)
    if image.ndim == 3:  # one draw, shifted for each colour, takes a third of the time
        grain = np.moveaxis(np.stack([np.roll(grain, 37 * c, axis=0) for c in range(3)]), 0, -1)
    return image + spread * grain


def _bell(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Roughly Gaussian noise, standard deviation 1: sums of four random bytes, many times faster to draw."""
    count = int(np.prod(shape))
    total = np.frombuffer(rng.bytes(4 * count), np.uint8).reshape(4, count).sum(axis=0, dtype=np.uint16)
    spread = np.float32(np.sqrt(4 * (256**2 - 1) / 12))
    return ((total.astype(np.float32) - np.float32(2 * 255)) / spread).reshape(shape)


def _digitise(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Quantise to uint8 or uint16, with few or many grey levels, sometimes as JPEG."""
    image = np.clip(image, 0, 1)
    if rng.random() < 0.2:
        eight = (image * np.float32(255) + 0.5).astype(np.uint8, order="C")
        return imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(eight, level=int(rng.integers(35, 96))))
    if image.ndim == 3 or rng.random() < 0.7:
        levels = 255.0 if image.ndim == 3 else log_uniform(rng, 25, 255)
        return (image * np.float32(levels) + 0.5).astype(np.uint8)
    return (image * np.float32(65535)).astype(np.uint16)
