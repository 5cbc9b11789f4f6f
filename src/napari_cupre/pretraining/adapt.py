"""Synthetic fields with the light of real images: their grey values and slow changes of brightness.

The slow changes are the amplitudes of low frequencies (Yang and Soatto, "FDA: Fourier Domain Adaptation",
CVPR 2020); grey values are taken over by matching histograms. Neither moves an outline, so that the labels
stay true, and neither needs a label of the real image.
"""

from __future__ import annotations

import numpy as np

from napari_cupre.data.normalise import normalise
from napari_cupre.io.unlabelled import UnlabelledCrops

#: Most waves over a field of what counts as slow.
SLOWEST = 3.0

#: Most times that an amplitude grows: low frequencies belong to the cells, too.
STRONGEST = 2.5

#: Largest share of the way to the real image, of either.
MOST = 0.7

#: Grey values that are compared: percentiles of both images.
_LEVELS = np.linspace(0, 100, 33)


class RealLight:
    """Gives synthetic fields the light of unlabelled images.

    Parameters
    ----------
    crops : UnlabelledCrops
        Where the light is taken from.
    share : float
        Of the fields that take it, 0 to 1.
    """

    def __init__(self, crops: UnlabelledCrops, share: float) -> None:
        self.crops = crops
        self.share = share

    def on(self, rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
        """The image, float32 (H, W, 3), as it is or lit like a real one."""
        if rng.random() >= self.share:
            return image
        crop, _ = self.crops.draw(int(rng.integers(2**31)))
        return relit(rng, image, crop.image)


def relit(rng: np.random.Generator, image: np.ndarray, real: np.ndarray) -> np.ndarray:
    """An image that takes the light of a real one, more or less of it by chance.

    Parameters
    ----------
    image : numpy.ndarray
        float32 (H, W, 3), in about [0, 1].
    real : numpy.ndarray
        float32 (h, w, C) of any size, C = 1 or 3.

    Returns
    -------
    numpy.ndarray
        float32 (H, W, 3), normalised. A colour image stays as it is if the real one is grey.
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
    """The layer with amplitudes of up to `waves` waves moved towards those of the light."""
    ours, theirs = np.fft.rfft2(layer), np.fft.rfft2(light)
    # Frequencies are compared by waves over the whole, whatever the sizes.
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
    """The layer with its histogram moved towards that of the light."""
    own, wanted = np.percentile(layer[::2, ::2], _LEVELS), np.percentile(light[::2, ::2], _LEVELS)
    # A value that many pixels have, as the ground of eight-bit images, takes the mean of what they would.
    values, first, count = np.unique(own, return_index=True, return_counts=True)
    matched = np.interp(layer, values, np.add.reduceat(wanted, first) / count)
    return (layer + np.float32(weight) * (matched - layer)).astype(np.float32)
