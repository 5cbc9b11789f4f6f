"""Read the pixel size from ImageJ, slide scanners, LSM and plain TIFF files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tifffile

from napari_cupre.data.axes import canonical_unit, micrometers_per

Scales = tuple[dict[str, float], dict[str, float], dict[str, str]]
"""Scale, translate and units by axis letter."""

LARGEST_PLAIN_PIXEL = 20.0
"""µm. Up to this, a plain TIFF's resolution is a pixel size; above, it is the dots per inch of a printout."""


def tiff_scales(file: tifffile.TiffFile) -> Scales:
    """Return scale, origin and units of a TIFF file that is not an OME-TIFF."""
    if file.is_lsm and file.lsm_metadata:
        return _lsm_scales(file.lsm_metadata)
    if file.is_imagej and file.imagej_metadata is not None:
        return _imagej_scales(file, file.imagej_metadata)
    for read in (_metamorph_scales, _olympus_scales, _described):
        if (scales := read(file))[0]:
            return scales
    return _plain_scales(file)


def _imagej_scales(file: tifffile.TiffFile, metadata: Mapping[str, Any]) -> Scales:
    """Read scales as ImageJ does: Y and Z may have units of their own, and lengths become µm."""
    unit = canonical_unit(metadata.get("unit"))
    if unit == "pixel":
        scale, translate, units = _plain_scales(file)
        unit = units.get("X", "pixel")
    else:
        scale, translate, units = {}, {}, {}
        for axis, tag in (("X", "XResolution"), ("Y", "YResolution")):
            per_unit = _rational(file, tag)
            if per_unit:
                scale[axis] = 1 / per_unit
        units = {
            "X": unit,
            "Y": canonical_unit(metadata.get("yunit") or unit),
            "Z": canonical_unit(metadata.get("zunit") or unit),
        }
    spacing = positive(abs(number) if (number := _number(metadata.get("spacing"))) is not None else None)
    if spacing is not None:
        scale["Z"] = spacing
        units.setdefault("Z", canonical_unit(metadata.get("zunit") or metadata.get("unit")))
    for axis, each in units.items():
        micrometers = micrometers_per(each)
        if micrometers and each != "micrometer":
            scale[axis], units[axis] = scale.get(axis, 1.0) * micrometers, "micrometer"
    interval = positive(metadata.get("finterval"))
    if interval is not None:
        scale["T"], units["T"] = interval, canonical_unit(metadata.get("tunit") or "s")
    return scale, translate, units


def _lsm_scales(metadata: Mapping[str, Any]) -> Scales:
    """Read Zeiss' scales, which are in metres and seconds."""
    sizes = {axis: positive(metadata.get(f"VoxelSize{axis}")) for axis in "ZYX"}
    scale = {axis: size * 1e6 for axis, size in sizes.items() if size is not None}
    units = dict.fromkeys(scale, "micrometer")
    interval = positive(metadata.get("TimeIntervall"))
    if interval is not None:
        scale["T"], units["T"] = interval, "second"
    return scale, {}, units


def _metamorph_scales(file: tifffile.TiffFile) -> Scales:
    """Read the scales of MetaMorph stacks and of single MetaSeries planes."""
    if file.is_stk and file.stk_metadata:
        told = file.stk_metadata
        names = {"X": "XCalibration", "Y": "YCalibration"}
        unit, steps = told.get("CalibrationUnits"), np.ravel(told.get("ZDistance", ()))
    elif file.is_metaseries and file.metaseries_metadata:
        told = file.metaseries_metadata.get("PlaneInfo", {})
        names = {"X": "spatial-calibration-x", "Y": "spatial-calibration-y"}
        unit, steps = told.get("spatial-calibration-units"), np.empty(0)
    else:
        return {}, {}, {}
    unit = canonical_unit(unit)
    if micrometers_per(unit) is None:
        return {}, {}, {}
    scale = {axis: size for axis, name in names.items() if (size := positive(told.get(name))) is not None}
    if scale and (steps > 0).any():
        scale["Z"] = float(np.median(steps[steps > 0]))
    return scale, {}, dict.fromkeys(scale, unit)


def _olympus_scales(file: tifffile.TiffFile) -> Scales:
    """Read Olympus' scales, which are in metres."""
    told = file.sis_metadata or {} if file.is_sis else {}
    sizes = {axis: positive(told.get(f"pixelsize{axis.lower()}")) for axis in "YX"}
    scale = {axis: size * 1e6 for axis, size in sizes.items() if size is not None}
    return scale, {}, dict.fromkeys(scale, "micrometer")


def _described(file: tifffile.TiffFile) -> Scales:
    """Read µm per pixel from the description, where Aperio and similar scanners write it."""
    match = re.search(r"\bMPP\s*=\s*([\d.]+)", file.pages.first.description or "")
    size = positive(match[1]) if match else None
    if size is None:
        return {}, {}, {}
    return {"Y": size, "X": size}, {}, dict.fromkeys("YX", "micrometer")


def _plain_scales(file: tifffile.TiffFile) -> Scales:
    """Return the resolution of a file without metadata, if it can come from a microscope."""
    unit = file.pages.first.tags.valueof("ResolutionUnit", 0)
    micrometers = {2: 25400.0, 3: 1e4}.get(int(unit or 0))
    x, y = _rational(file, "XResolution"), _rational(file, "YResolution")
    if not (micrometers and x and y) or max(micrometers / x, micrometers / y) > LARGEST_PLAIN_PIXEL:
        return {}, {}, {}
    return {"Y": micrometers / y, "X": micrometers / x}, {}, dict.fromkeys("YX", "micrometer")


def _rational(file: tifffile.TiffFile, tag: str) -> float | None:
    """Return the value of a resolution tag in pixels per unit, None if there is none."""
    value = file.pages.first.tags.valueof(tag)
    return value[0] / value[1] if isinstance(value, tuple) and len(value) == 2 and all(value) else None


def positive(value: Any) -> float | None:
    """Return a number above zero, else None; writers fill unknown sizes with 0 or nothing."""
    number = _number(value)
    return number if number is not None and number > 0 else None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
