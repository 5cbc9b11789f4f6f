"""What the values of a TIFF picture mean: grey, inverted grey, RGB, ink, a palette, or a colour space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile

from napari_cupre.errors import InputError

_P = tifffile.PHOTOMETRIC
_PLAIN_CODINGS = (1, 5, 8, 32773, 32946, 34925, 50000, 50013)
"""Compressions that keep the values as they are; JPEG and its kin are decoded to RGB."""

_UNUSABLE = {
    32803: "is raw camera data: convert it to RGB first",
    32844: "contains LogL values: save it as grey or RGB",
    32845: "contains LogLuv colours: save it as RGB",
}


_STORED = {
    _P.SEPARATED: "ink (CMYK)",
    _P.CIELAB: "L*a*b* colours",
    _P.ICCLAB: "L*a*b* colours",
    _P.ITULAB: "L*a*b* colours",
    _P.MINISWHITE: "inverted grey",
}


def stored_as(page: Any, *, is_imagej: bool) -> str:
    """Say in words what the stored values of a TIFF page mean where they are not brightness; else "".

    Parameters
    ----------
    page : Any
        The page.
    is_imagej : bool
        See `to_grey_or_rgb`.
    """
    meaning = int(page.photometric)
    if meaning == _P.PALETTE and page.colormap is not None:
        return "" if is_imagej and _is_grey_scale(page.colormap) else "a palette"
    if meaning == _P.YCBCR and int(page.compression) in _PLAIN_CODINGS:
        return "YCbCr colours"
    return {int(each): words for each, words in _STORED.items()}.get(meaning, "")


def to_grey_or_rgb(data: Any, letters: str, page: Any, *, is_imagej: bool) -> tuple[Any, str]:
    """Turn ink into brightness, and any colours into RGB.

    Parameters
    ----------
    data : Any
        numpy or dask array, samples last.
    letters : str
        Its axes, "S" last where a pixel has several samples.
    page : Any
        The TIFF page that tells what they mean.
    is_imagej : bool
        Whether ImageJ wrote it. Its palettes mostly only colour grey values for display; with other programs
        the palette's colours are the picture.

    Returns
    -------
    data : array
        Grey values, RGB or RGBA.
    letters : str
        Its axes: RGB or RGBA as "S", anything else as channels "C".

    Raises
    ------
    InputError
        If the colours cannot be turned into RGB.
    """
    meaning = int(page.photometric)
    if meaning in _UNUSABLE:
        raise InputError(f"The image {_UNUSABLE[meaning]}.")
    if meaning == _P.PALETTE and page.colormap is not None:
        if is_imagej and _is_grey_scale(page.colormap):
            return data, letters
        return _apply_palette(data, page.colormap), letters + "S"
    if meaning == _P.MINISWHITE:
        data = _inverted(data)
    if not letters.endswith("S"):
        return data, letters
    if data.shape[-1] == 1:
        return data[..., 0], letters[:-1]
    return _from_samples(data, letters, page)


def _from_samples(data: Any, letters: str, page: Any) -> tuple[Any, str]:
    """Turn pixels with several samples into RGB, grey or channels."""
    meaning, samples = int(page.photometric), data.shape[-1]
    if meaning == _P.SEPARATED:
        return _from_ink(data, page), letters
    if meaning in (_P.CIELAB, _P.ICCLAB, _P.ITULAB) and samples >= 3:
        return _on_colours(data, _from_lab(meaning), np.uint8), letters
    if meaning == _P.YCBCR and samples >= 3 and int(page.compression) in _PLAIN_CODINGS:
        return _on_colours(data, _from_ycbcr, data.dtype), letters
    if meaning in (_P.RGB, _P.YCBCR) and samples in (3, 4):
        if samples == 4 and 1 in _extras(page):
            data = _on_colours(data, _without_alpha, data.dtype)
        return data, letters
    if meaning in (_P.MINISBLACK, _P.MINISWHITE) and samples == 2 and _extras(page) & {1, 2}:
        return data[..., 0], letters[:-1]  # grey and alpha
    return data, letters if "C" in letters else letters[:-1] + "C"


def _extras(page: Any) -> set[int]:
    """Return the meanings of the samples beyond the colours: 1 is premultiplied alpha, 2 plain alpha."""
    return {int(extra) for extra in (page.extrasamples or ())}


def _is_grey_scale(palette: np.ndarray) -> bool:
    """Whether a palette (3, n) is a look-up table for grey values that is not inverted."""
    colours = np.asarray(palette, float).T / max(1, int(palette.max()))
    light = colours @ (0.299, 0.587, 0.114)
    if not np.ptp(light):
        return True
    inverted = np.corrcoef(np.arange(len(light)), light)[0, 1] < -0.9
    return bool(np.abs(np.diff(colours, axis=0)).mean() < 0.05 and not inverted)


def _apply_palette(data: Any, palette: np.ndarray) -> Any:
    """Look up palette indices as uint8 colours (..., 3); `palette` is (3, n) with 16 bits or, wrongly, 8."""
    table = (palette.T >> 8 if palette.max() > 255 else palette.T).astype(np.uint8)
    if isinstance(data, np.ndarray):
        return table[data]
    return data.map_blocks(
        lambda block: table[block], dtype=np.uint8, new_axis=data.ndim, chunks=(*data.chunks, (3,))
    )


def _inverted(data: Any) -> Any:
    """Invert the values of a picture whose 0 is white."""
    kind = data.dtype.kind
    if kind == "b":
        return ~data
    if kind == "f":
        return 1 - data
    limits = np.iinfo(data.dtype)
    return ~data if kind == "i" else limits.max - data


def _from_ink(data: Any, page: Any) -> Any:
    ink_set = page.tags.valueof("InkSet", 1)
    if int(ink_set or 1) != 1 or data.shape[-1] < 4:
        raise InputError(
            f"The image contains {data.shape[-1]} inks that are not cyan, magenta, yellow and black: "
            "save it as RGB."
        )
    return _on_colours(data, _from_cmyk, data.dtype)


def _from_cmyk(block: np.ndarray) -> np.ndarray:
    top = float(np.iinfo(block.dtype).max) if block.dtype.kind in "ui" else 1.0
    ink = block[..., :4].astype(np.float32) / top
    light = (1 - ink[..., :3]) * (1 - ink[..., 3:])
    return _as_dtype(light * top, block.dtype)


def _from_ycbcr(block: np.ndarray) -> np.ndarray:
    """Convert by ITU-R BT.601 over the full range, TIFF's default."""
    top = float(np.iinfo(block.dtype).max) if block.dtype.kind in "ui" else 1.0
    y, cb, cr = (block[..., i].astype(np.float32) for i in range(3))
    half = (top + 1) / 2 if top > 1 else 0.5
    cb, cr = cb - half, cr - half
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1)
    return _as_dtype(np.clip(rgb, 0, top), block.dtype)


def _from_lab(meaning: int) -> Callable[[np.ndarray], np.ndarray]:
    def convert(block: np.ndarray) -> np.ndarray:
        from skimage.color import lab2rgb

        bits = 8 * block.dtype.itemsize
        if block.dtype.kind == "f":
            lab = block[..., :3].astype(np.float32)
        else:
            unsigned = block[..., :3].view(f"u{block.dtype.itemsize}").astype(np.float32)
            full = 2.0**bits
            chroma = unsigned[..., 1:]
            # CIE L*a*b* stores a and b as signed numbers, ICC L*a*b* with half of the range added.
            chroma = (
                np.where(chroma >= full / 2, chroma - full, chroma)
                if meaning == _P.CIELAB
                else chroma - full / 2
            )
            lab = np.concatenate([unsigned[..., :1] * 100 / (full - 1), chroma / (full / 256)], -1)
        return np.asarray(np.clip(lab2rgb(lab, illuminant="D50"), 0, 1) * 255 + 0.5).astype(np.uint8)

    return convert


def _without_alpha(block: np.ndarray) -> np.ndarray:
    """Undo the multiplication by alpha, and drop alpha."""
    top = float(np.iinfo(block.dtype).max) if block.dtype.kind in "ui" else 1.0
    alpha = block[..., 3:].astype(np.float64)
    # Where alpha is zero everywhere, nothing can have been multiplied by it, whatever the file says.
    colours = block[..., :3] * np.divide(top, alpha, out=np.ones_like(alpha), where=alpha > 0)
    return _as_dtype(np.clip(colours, 0, top), block.dtype)


def _as_dtype(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return (np.rint(values) if dtype.kind in "ui" else values).astype(dtype)


def _on_colours(data: Any, convert: Callable[[np.ndarray], np.ndarray], dtype: Any) -> Any:
    """Convert samples to three colours; a dask array is converted block by block."""
    if isinstance(data, np.ndarray):
        return convert(data)
    whole = data.rechunk({data.ndim - 1: -1})
    return whole.map_blocks(convert, dtype=dtype, chunks=(*whole.chunks[:-1], (3,)))
