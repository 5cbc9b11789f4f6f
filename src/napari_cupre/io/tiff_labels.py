"""Write label images as OME-TIFF, with the axes and the pixel size of their image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile

from napari_cupre.data.axes import canonical_unit, micrometers_per, parse_axes
from napari_cupre.data.image import CellImage
from napari_cupre.io.files import atomic_write

TILE = 1024
"""Side of the tiles of a large label image, px."""

_MOST_PER_CENTIMETER = 2.0**32 - 1


def write_labels(
    path: str | Path,
    labels: np.ndarray,
    scale: Mapping[str, float] | None = None,
    units: Mapping[str, str] | None = None,
    translate: Mapping[str, float] | None = None,
    axes: str | None = None,
    description: str = "",
) -> None:
    """Write a label image as a deflated int32 OME-TIFF, completely or not at all.

    Parameters
    ----------
    path : str or Path
        The file to write.
    labels : numpy.ndarray
        Whole numbers over `axes`, e.g. (Y, X) or (T, Z, Y, X).
    scale, units, translate : mapping of str to float, optional and mapping of str to str, optional
        By axis letter, as in `CellImage`; the defaults are 1, "pixel" and 0.
    axes : str or None, optional
        Letters out of T, Z, Y, X; None takes the last letters of "TZYX".
    description : str, optional
        Description of the image, in the OME metadata.

    Raises
    ------
    InputError
        Axes that do not fit.
    EnvironmentFault
        Full or read-only disk; an older file of that name is kept.
    """
    labels = np.asarray(labels, np.int32)
    axes = parse_axes(axes or "TZYX"[-labels.ndim :], labels.ndim)
    header = _header(Path(path).name, _Layout(axes, labels.shape, scale or {}, units or {}, translate or {}))
    header["metadata"] |= {"Description": description} if description else {}
    with atomic_write(path) as temporary:
        tifffile.imwrite(temporary, labels, **header)


def write_large_labels(path: Path, labels: Any, image: CellImage) -> None:
    """Write a plane's labels as a tiled OME-BigTIFF, band by band, completely or not at all.

    Parameters
    ----------
    path : Path
        The file to write.
    labels : Any
        Whole numbers (Y, X), a dask array.
    image : CellImage
        The image; the file gets its pixel size.

    Raises
    ------
    EnvironmentFault
        Full or read-only disk; an older file of that name is kept.
    """
    header = _header(path.name, _Layout("YX", labels.shape, image.scale, image.units, image.translate))
    with atomic_write(path) as temporary:
        tifffile.imwrite(
            temporary,
            _tiles(labels),
            shape=labels.shape,
            dtype=np.int32,
            tile=(TILE, TILE),
            bigtiff=True,
            **header,
        )


def _tiles(labels: Any) -> Iterator[np.ndarray]:
    """Yield tiles row by row; tiles of the last row and column are filled up with background."""
    for top in range(0, labels.shape[0], TILE):
        band = np.asarray(labels[top : top + TILE], np.int32)
        for left in range(0, labels.shape[1], TILE):
            part = band[:, left : left + TILE]
            yield np.pad(part, ((0, TILE - part.shape[0]), (0, TILE - part.shape[1])))


class _Layout(NamedTuple):
    """Axes and shape of labels, and by axis letter what `CellImage` says of an image."""

    axes: str
    shape: tuple[int, ...]
    scale: Mapping[str, float]
    units: Mapping[str, str]
    translate: Mapping[str, float]


def _header(name: str, layout: _Layout) -> dict[str, Any]:
    """Return what tifffile needs for a label image besides its pixels."""
    metadata = _ome_metadata(layout) | {"Name": name}
    header = {"ome": True, "photometric": "minisblack", "compression": "zlib", "metadata": metadata}
    per_centimeter = [
        _per_centimeter(layout.scale.get(axis, 1.0), layout.units.get(axis, "pixel")) for axis in "XY"
    ]
    # For programs that do not read OME. It is a ratio of 32-bit numbers, so its range is limited at both
    # ends.
    if all(each and 1 / _MOST_PER_CENTIMETER < each < _MOST_PER_CENTIMETER for each in per_centimeter):
        header |= {"resolution": tuple(per_centimeter), "resolutionunit": "CENTIMETER"}
    return header


def _ome_metadata(layout: _Layout) -> dict[str, Any]:
    axes, shape, scale, units, translate = layout
    metadata: dict[str, Any] = {"axes": axes}
    planes = math.prod(size for axis, size in zip(axes, shape) if axis not in "YX")
    positions: dict[str, Any] = {}
    for axis in axes:
        unit = _OME_UNITS.get(canonical_unit(units.get(axis)), units.get(axis))
        if axis == "T":
            step, is_known = float(scale.get("T", 1.0)), unit not in (None, "pixel")
            if is_known or step != 1:  # OME cannot count in frames: an unknown step would read as one second
                metadata["TimeIncrement"] = step
            if is_known:
                metadata["TimeIncrementUnit"] = unit
            continue
        metadata[f"PhysicalSize{axis}"] = float(scale.get(axis, 1.0))
        metadata[f"PhysicalSize{axis}Unit"] = unit or "pixel"
        if translate.get(axis):
            positions[f"Position{axis}"] = [float(translate[axis])] * planes
            positions[f"Position{axis}Unit"] = [unit or "pixel"] * planes
    if positions:
        metadata["Plane"] = positions
    return metadata


_OME_UNITS = {
    "pixel": "pixel",
    "angstrom": "\u00c5",
    "nanometer": "nm",
    "micrometer": "\u00b5m",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "inch": "in",
    "microsecond": "\u00b5s",
    "millisecond": "ms",
    "second": "s",
    "minute": "min",
    "hour": "h",
}


def _per_centimeter(scale: float, unit: str) -> float | None:
    micrometers = micrometers_per(unit)
    return 1e4 / (scale * micrometers) if micrometers and scale > 0 else None
