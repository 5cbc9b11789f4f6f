"""Label images as OME-TIFF, with the axes and the pixel size of the image they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_cupre.data.axes import canonical_unit, micrometers_per, parse_axes
from napari_cupre.io.files import atomic_write

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
    """Write a label image as a deflated int32 OME-TIFF, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file to write.
    labels : numpy.ndarray
        Whole numbers over `axes`, e.g. (Y, X) or (T, Z, Y, X).
    scale, units, translate : mapping of str to float, optional and mapping of str to str, optional
        By axis letter, as in `CellImage`; what is missing is 1, "pixel", 0.
    axes : str or None, optional
        Letters out of T, Z, Y, X; None takes the last ones of "TZYX".
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
    scale, units, translate = scale or {}, units or {}, translate or {}
    options: dict[str, Any] = {}
    per_centimeter = [_per_centimeter(scale.get(axis, 1.0), units.get(axis, "pixel")) for axis in "XY"]
    # Read by programs that know no OME; a ratio of 32-bit numbers, so that it has an end on either side.
    if all(each and 1 / _MOST_PER_CENTIMETER < each < _MOST_PER_CENTIMETER for each in per_centimeter):
        options = {"resolution": tuple(per_centimeter), "resolutionunit": "CENTIMETER"}
    metadata = _ome_metadata(axes, labels, scale, units, translate) | {"Name": Path(path).name}
    metadata |= {"Description": description} if description else {}
    with atomic_write(path) as temporary:
        tifffile.imwrite(
            temporary,
            labels,
            ome=True,
            photometric="minisblack",
            compression="zlib",
            metadata=metadata,
            **options,
        )


def _ome_metadata(
    axes: str,
    labels: np.ndarray,
    scale: Mapping[str, float],
    units: Mapping[str, str],
    translate: Mapping[str, float],
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": axes}
    planes = labels.size // (labels.shape[axes.index("Y")] * labels.shape[axes.index("X")])
    positions: dict[str, Any] = {}
    for axis in axes:
        unit = _OME_UNITS.get(canonical_unit(units.get(axis)), units.get(axis))
        if axis == "T":
            metadata["TimeIncrement"] = float(scale.get("T", 1.0))
            if unit not in (None, "pixel"):
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
