"""Give synthetic fields the light of real images: their grey values and slow changes of brightness.

The slow changes are amplitudes of low frequencies (Yang and Soatto, "FDA: Fourier Domain Adaptation", CVPR
2020); the grey values are transferred by histogram matching. Neither moves an outline, so the labels stay
valid, and neither needs labels of the real image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_cupre.data.normalise import normalise
from napari_cupre.io.unlabelled import UnlabelledCrops

SLOWEST = 3.0
"""Highest frequency that counts as slow, in waves per field."""

STRONGEST = 2.5
"""Largest factor on an amplitude, because low frequencies are also part of the cells."""

MOST = 0.7
"""Upper limit of the weight of the real image, for amplitudes and for grey values."""

_LEVELS = np.linspace(0, 100, 33)
"""Percentiles at which the histograms are matched."""


@dataclass(frozen=True)
class RealLight:
    """Gives some of the synthetic fields the light of unlabelled crops; `share` is 0 to 1."""

    crops: UnlabelledCrops
    share: float

    def on(self, rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
        """Return an image, float32 (H, W, 3), unchanged or relit like a real one."""
        if rng.random() >= self.share:
            return image
        crop, _ = self.crops.draw(int(rng.integers(2**31)))
        return relit(rng, image, crop.image)


def relit(rng: np.random.Generator, image: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Relight an image like a real one, to a random degree.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    image : numpy.ndarray
        float32 (H, W, 3), in about [0, 1].
    real : numpy.ndarray
        float32 (h, w, C) of any size, normalised; C is 1 or 3.

    Returns
    -------
    numpy.ndarray
        float32 (H, W, 3), normalised. A colour image is returned unchanged if the real one is grey.
    """
    is_grey = bool((image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all())
    if is_grey:
        image, real = image[..., :1], real.mean(axis=-1, keepdims=True)
    elif real.shape[-1] == 1:
        return image
    slow, values = rng.uniform(0, MOST, 2)
    waves = rng.uniform(0, SLOWEST)
    layers = [
        _graded(_slowly(image[..., channel], light, waves, slow), light, values)
        for channel, light in enumerate(np.moveaxis(real, -1, 0))
    ]
    new = np.stack(layers, axis=-1)
    return normalise(new[..., 0] if is_grey else new, rgb=not is_grey)


def _slowly(layer: np.ndarray, light: np.ndarray, waves: float, weight: float) -> np.ndarray:
    """Move the amplitudes of up to `waves` waves towards those of `light`, by `weight`."""
    ours, theirs = np.fft.rfft2(layer), np.fft.rfft2(light)
    # Frequencies are compared in waves per image, whatever the sizes.
    reach = int(waves)
    rows = np.arange(-reach, reach + 1)
    place = np.ix_(rows, np.arange(reach + 1))
    near = np.hypot(rows[:, None], np.arange(reach + 1)[None]) <= waves
    near[reach, 0] = False  # the mean is a grey value
    own = np.abs(ours[place])
    wanted = np.abs(theirs[place]) * (layer.size / light.size)
    factor = np.where(near, 1 + weight * (wanted / np.maximum(own, 1e-6) - 1), 1.0)
    ours[place] *= np.minimum(factor, STRONGEST)
    return np.fft.irfft2(ours, s=layer.shape).astype(np.float32)


def _graded(layer: np.ndarray, light: np.ndarray, weight: float) -> np.ndarray:
    """Move the histogram of a layer towards that of `light`, by `weight`."""
    own, wanted = np.percentile(layer[::2, ::2], _LEVELS), np.percentile(light[::2, ::2], _LEVELS)
    # A value shared by many pixels, such as the background of an 8-bit image, gets the mean of its targets.
    values, first, count = np.unique(own, return_index=True, return_counts=True)
    matched = np.interp(layer, values, np.add.reduceat(wanted, first) / count)
    return (layer + np.float32(weight) * (matched - layer)).astype(np.float32)
