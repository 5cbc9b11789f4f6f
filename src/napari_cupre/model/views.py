"""Make two views of a crop that differ only in what varies between microscope images.

MoCo v2's recipe is made for photographs. Here it has no changes of hue or conversion to grey, but changes
that occur between two images of the same cells: orientation, focus, exposure, gain, noise and the sign of
contrast. And a view is never such a small part of its crop that it contains no cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from napari_cupre.io.unlabelled import FLAT_DEVIATION, smooth_deviation

_PLACES = 5
"""Number of places to try for a view that is not flat."""


@dataclass(frozen=True)
class ViewSettings:
    """Strength of the augmentation.

    Attributes
    ----------
    side : int
        Side of a view, px.
    min_scale : float
        Smallest share of the crop's area that a view shows.
    gamma, contrast : float
        The value is drawn log-uniformly from [1/x, x].
    brightness : float
        Largest shift, in units of the stretched image.
    invert, blur, noise : float
        Probability of each.
    max_blur : float
        Largest sigma, px of the view.
    max_noise : float
        Largest standard deviation of read noise; shot noise goes up to the same at full brightness.
    stain : float
        Largest relative change of one colour channel (colour images only).
    """

    side: int = 96
    min_scale: float = 0.35
    gamma: float = 1.8
    contrast: float = 1.6
    brightness: float = 0.2
    invert: float = 0.2
    blur: float = 0.5
    noise: float = 0.6
    max_blur: float = 1.6
    max_noise: float = 0.08
    stain: float = 0.15


def make_view(crop: np.ndarray, rng: np.random.Generator, settings: ViewSettings) -> Tensor:
    """Make a random view of a crop.

    Parameters
    ----------
    crop : numpy.ndarray
        float32 (side, side, C), C = 1 or 3, in about [0, 1].

    Returns
    -------
    Tensor
        float32 (3, settings.side, settings.side); grey is replicated.
    """
    view = _turned(_resized_part(crop, rng, settings), rng)
    view = _exposed(view, rng, settings)
    if rng.random() < settings.blur:
        sigma = rng.uniform(0.3, settings.max_blur)
        view = gaussian_filter(view, (0, sigma, sigma), truncate=2.5)
    if rng.random() < settings.noise:
        view = _noisy(view, rng, settings)
    tensor = torch.from_numpy(np.ascontiguousarray(view, dtype=np.float32))
    return tensor.expand(3, -1, -1).clone() if len(tensor) == 1 else tensor


def _resized_part(crop: np.ndarray, rng: np.random.Generator, settings: ViewSettings) -> np.ndarray:
    """Cut out a square part of the crop that is not empty, (C, side, side)."""
    whole = crop.shape[0]
    side = max(2, round(whole * float(np.sqrt(rng.uniform(settings.min_scale, 1.0)))))
    for _ in range(_PLACES):
        y, x = rng.integers(whole - side + 1, size=2)
        window = crop[y : y + side, x : x + side]
        if smooth_deviation(window) >= FLAT_DEVIATION:
            break
    part = torch.from_numpy(np.ascontiguousarray(window.transpose(2, 0, 1)))
    size = (settings.side, settings.side)
    resized = torch.nn.functional.interpolate(
        part[None], size, mode="bilinear", antialias=side > settings.side
    )
    return resized[0].numpy()


def _turned(view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    view = np.rot90(view, int(rng.integers(4)), axes=(1, 2))
    return view[:, :, ::-1] if rng.random() < 0.5 else view


def _exposed(view: np.ndarray, rng: np.random.Generator, settings: ViewSettings) -> np.ndarray:
    """Change gamma, contrast and brightness, the sign of a grey image, or the stains of a colour image."""
    gamma = np.exp(rng.uniform(-1, 1) * np.log(settings.gamma))
    contrast = np.exp(rng.uniform(-1, 1) * np.log(settings.contrast))
    view = np.clip(view, 0.0, 1.2) ** np.float32(gamma)
    mean = view.mean(axis=(1, 2), keepdims=True)
    view = (view - mean) * np.float32(contrast) + mean
    view = view + np.float32(rng.uniform(-settings.brightness, settings.brightness))
    if len(view) == 1:
        return 1.0 - view if rng.random() < settings.invert else view
    gain = 1.0 + rng.uniform(-settings.stain, settings.stain, size=(3, 1, 1)).astype(np.float32)
    return view * gain


def _noisy(view: np.ndarray, rng: np.random.Generator, settings: ViewSettings) -> np.ndarray:
    """Add uniform read noise, and shot noise that grows with the square root of the brightness."""
    read, shot = rng.uniform(0.0, settings.max_noise, size=2).astype(np.float32)
    deviation = np.sqrt(read**2 + shot**2 * np.clip(view, 0.0, 1.5))
    return view + deviation * rng.standard_normal(view.shape, dtype=np.float32)
