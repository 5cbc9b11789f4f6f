"""Normalise grey values for the network with one percentile stretch per image plane."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_cupre.data.percentiles import Ordered
from napari_cupre.data.tissue import tissue
from napari_cupre.errors import InputError, NothingToSee

MAX_SAMPLES = 1 << 17
"""In planes with more pixels, percentiles are taken from a regular subsample."""

PERCENTILES = (1.0, 99.8)
"""Percentiles of a plane's grey values; the first becomes 0, the second 1."""

CLIP = (-0.5, 1.5)
"""Bounds of normalised values; anything beyond is a hot pixel or dust."""

_SMALL_SIDE = 1024
"""Lazy planes with sides up to this are read whole."""

_BLOCK = 512
_BLOCKS_PER_SIDE = 48
"""Most rows and columns of blocks that are read of a larger plane. A block has a side of `_BLOCK` px, or is
one of the file's chunks if these are larger.
"""

_LAZY_SAMPLES = 1 << 20
"""About how many pixels of a lazy plane are kept."""


@dataclass(frozen=True)
class Stretch:
    """A linear stretch of each channel that maps its `low` to 0 and its `high` to 1.

    After it is fitted to a plane, it can be applied to any part of it, so that all tiles of a slide get the
    same grey values.

    Attributes
    ----------
    low, high : tuple[float, ...]
        One value per channel of the plane, in its own grey values. Where both are equal the channel is
        constant and becomes zero.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __call__(self, plane: Any) -> np.ndarray:
        """Normalise a plane or a part of it.

        Parameters
        ----------
        plane : Any
            (Y, X) or (Y, X, C) real array with the channels that the stretch was fitted on; a fourth channel
            of an RGBA plane is dropped.

        Returns
        -------
        numpy.ndarray
            float32 (Y, X, 3), clipped to `CLIP`. Grey is repeated three times; the third channel of a
            two-channel plane is the mean of both. NaN becomes the low end, minus and plus infinity the low
            and the high end.
        """
        return np.ascontiguousarray(self.view(plane))

    def view(self, plane: Any) -> np.ndarray:
        """Do the same as `__call__`, but a grey plane is read only: its three channels are one in memory.

        This saves two thirds of the memory, and `is_grey` need not compare them.
        """
        array = np.asarray(plane)
        array = array[..., None] if array.ndim == 2 else array[..., : len(self.low)]
        if len(self.low) == 1:
            grey = _stretch(array[..., 0], self.low[0], self.high[0])
            return np.broadcast_to(grey[..., None], (*grey.shape, 3))
        stretched = np.empty((*array.shape[:2], 3), np.float32)
        for channel, (low, high) in enumerate(zip(self.low, self.high)):
            stretched[..., channel] = _stretch(array[..., channel], low, high)
        if len(self.low) == 2:
            stretched[..., 2] = stretched[..., :2].mean(axis=2)
        return stretched


def fit_stretch(plane: Any, *, rgb: bool | None = None) -> Stretch:
    """Find the stretch of a plane from the percentiles of its finite grey values.

    The percentiles are `PERCENTILES` of the pixels that show tissue: padding and bright pieces of debris do
    not count (see `napari_cupre.data.tissue`). Where the two coincide (few bright pixels on black, or
    saturation) the minimum and maximum take their place.

    Parameters
    ----------
    plane : Any
        (Y, X) or (Y, X, C) real array, numpy or dask. Big planes are subsampled regularly, dask ones block by
        block; blocks that cannot be read are left out.
    rgb : bool or None, optional
        True stretches all colours jointly, which keeps the hue; False each channel by itself; None takes
        8-bit planes of three or four channels for RGB.

    Raises
    ------
    InputError
        There is no finite value, no pixel or more than three channels, or it is not a plane of real numbers.
    """
    check_plane(plane)
    channels = plane.shape[2] if plane.ndim == 3 else 1
    if rgb is None:
        rgb = channels in (3, 4) and plane.dtype == np.uint8
    if rgb and channels == 4:
        channels = 3
    if channels > 3:
        raise InputError(f"The image has {channels} channels, but at most three can be used: choose them.")
    sample, whole = (
        part[..., None] if part.ndim == 2 else part[..., :channels] for part in _subsample(plane)
    )
    if rgb:
        limits = [_limits(sample, whole)] * channels
    else:
        limits = [_limits(sample[..., i], whole[..., i]) for i in range(channels)]
    return Stretch(tuple(pair[0] for pair in limits), tuple(pair[1] for pair in limits))


def normalise(plane: Any, *, rgb: bool | None = None) -> np.ndarray:
    """Stretch a plane from two of its percentiles to 0 and 1, and give it three channels.

    Parameters
    ----------
    plane : Any
        (Y, X) or (Y, X, C) array of any real dtype; C is 1 to 3, or 4 for RGBA (alpha is dropped).
    rgb : bool or None, optional
        See `fit_stretch`.

    Returns
    -------
    numpy.ndarray
        float32 (Y, X, 3), about [0, 1], clipped to `CLIP`; zeros where the plane is constant.

    Raises
    ------
    InputError
        See `fit_stretch`.
    """
    return fit_stretch(plane, rgb=rgb)(plane)


def check_plane(plane: Any) -> None:
    """Raise `InputError` if an array is not a plane, with or without channels, of real numbers."""
    if plane.ndim not in (2, 3):
        raise InputError(
            f"A plane has two dimensions and possibly channels, but this array has shape {plane.shape}."
        )
    if plane.dtype.kind not in "buif":
        raise InputError(f"Grey values of type {plane.dtype} cannot be used: give real numbers.")
    if 0 in plane.shape:
        raise InputError(f"The image is empty (shape {plane.shape}): choose one that has pixels.")


def _subsample(plane: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return a sample of the plane, (n, m) or (n, m, C), and all its pixels that are in memory."""
    rows, columns = plane.shape[:2]
    if not isinstance(plane, np.ndarray):
        read = _whole(plane) if max(rows, columns) <= _SMALL_SIDE else _sample_blocks(plane, _BLOCK)
        return read, read
    step = math.ceil(math.sqrt(rows * columns / MAX_SAMPLES))
    return plane[::step, ::step], plane


def _whole(plane: Any) -> np.ndarray:
    """Read a dask plane into memory; if its file is damaged, read what can be read."""
    try:
        return np.asarray(plane)
    except Exception:
        return _sample_blocks(plane, 1)


def _sample_blocks(plane: Any, least: int) -> np.ndarray:
    """Take a regular subsample of a dask plane's blocks (`least` px or more), (n, 1) or (n, 1, C).

    A few windows of a slide say little about it: bright things may lie between them. Reading all of its
    blocks once takes about a hundredth of the time that the network needs for them; of the largest slides
    a regular grid of blocks is read.
    """
    bands, stripes = (_some_blocks(plane.shape[axis], plane.chunksize[axis], least) for axis in (0, 1))
    step = math.ceil(math.sqrt(plane.shape[0] * plane.shape[1] / _LAZY_SAMPLES))
    parts, fault = [], None
    for rows in bands:
        for columns in stripes:
            try:
                block = np.asarray(plane[rows, columns][::step, ::step])
            except Exception as error:
                # Decoders raise anything on a damaged file; the tile there is reported when its turn comes.
                fault = error
                continue
            parts.append(block.reshape(-1, 1, *block.shape[2:]))
    if not parts and fault is not None:
        raise fault
    return np.concatenate(parts)


def _some_blocks(length: int, chunk: int, least: int) -> list[slice]:
    """Choose evenly spread blocks of whole chunks, at least `least` px long, along an axis."""
    side = chunk * math.ceil(least / chunk)
    starts = np.arange(0, length, side)
    chosen = np.linspace(0, len(starts) - 1, min(len(starts), _BLOCKS_PER_SIDE)).round().astype(int)
    return [slice(start, start + side) for start in starts[chosen].tolist()]


def _limits(sample: np.ndarray, whole: np.ndarray) -> tuple[float, float]:
    """Return the grey values at `PERCENTILES` of the tissue in the sample.

    If the two are equal, the extremes of the whole image are returned.
    """
    values = _finite(sample)
    if values.size == 0:
        values = _finite(whole)
    if values.size == 0:
        raise NothingToSee("The image contains only NaN or infinity: choose another one.")
    ordered = Ordered(values)
    bottom, top = _percentiles(ordered)
    if values.size == sample.size and min(sample.shape[:2]) > 1:
        grid = sample if sample.ndim == 3 else sample[..., None]
        counted = tissue(grid, ordered, _percentiles, lambda: _quick(whole))
        if counted is not None:
            bottom, top = _percentiles(Ordered(sample[counted]))
    if not bottom < top:
        every = _finite(whole)
        bottom, top = float(every.min()), float(every.max())
    return bottom, top


def is_grey(image: np.ndarray) -> bool:
    """Whether the three channels of (Y, X, 3) are exactly equal."""
    if image.strides[2] == 0:
        return True  # one channel in memory, see `Stretch.view`; NaN does not occur in normalised images
    return all(bool((image[..., channel] == image[..., 0]).all()) for channel in (1, 2))


def grey_view(image: np.ndarray) -> np.ndarray:
    """Return a grey image (Y, X, 3) with its three channels as one in memory, read only; others as they are.

    See `Stretch.view`.
    """
    if image.strides[2] == 0 or not is_grey(image):
        return image
    return np.broadcast_to(np.ascontiguousarray(image[..., :1]), image.shape)


def middle(plane: np.ndarray, side: int) -> np.ndarray:
    """Return the middle of a plane (Y, X) or (Y, X, C), lazy or not, at most `side` px long and wide."""
    top, left = (max(0, (length - side) // 2) for length in plane.shape[:2])
    return plane[top : top + side, left : left + side]


def _quick(whole: np.ndarray) -> np.ndarray:
    """Return the middle of a plane, (n, m, C), small enough to be examined quickly."""
    part = middle(whole, _SMALL_SIDE)
    return part if part.ndim == 3 else part[..., None]


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values


def _percentiles(values: Ordered) -> tuple[float, float]:
    bottom, top = values.at([_rank(percentile, values.size) for percentile in PERCENTILES])
    return bottom, top


def _rank(percentile: float, size: int) -> int:
    """Return the position of a percentile among `size` sorted values (the nearest one)."""
    return round(percentile / 100 * (size - 1))


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map `low` to 0 and `high` to 1 and clip; float32."""
    # Halved, because the difference of the largest finite numbers is infinite.
    start, span = low * 0.5, high * 0.5 - low * 0.5
    if not span > 0:
        return np.zeros(values.shape, np.float32)
    if values.dtype.kind in "ub" and values.dtype.itemsize == 1:
        # The 256 possible values are stretched once and looked up.
        return _stretch(np.arange(256, dtype=np.float32), low, high)[values.view(np.uint8)]
    small = values.dtype.itemsize <= 2 or values.dtype == np.float32
    precise: type[np.floating] = np.float32 if small and 1e-30 < span < 1e30 else np.float64
    with np.errstate(over="ignore", invalid="ignore"):
        stretched = values.astype(precise)
        stretched *= 0.5
        stretched -= precise(start)
        stretched /= precise(span)
    np.clip(stretched, *CLIP, out=stretched)
    if values.dtype.kind == "f":
        stretched[np.isnan(stretched)] = 0.0
    return stretched.astype(np.float32, copy=False)
