"""TIFF as microscopes write it: OME-TIFF, ImageJ hyperstacks, pyramids, and label images in OME-TIFF."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_cupre.data.axes import AXIS_LETTERS, canonical_unit, guess_axes, micrometers_per, parse_axes
from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.io.files import atomic_write

LAZY_BYTES = 256 * 2**20
"""Images of more bytes than this are read plane by plane or tile by tile, on demand."""

LARGEST_PLAIN_PIXEL = 20.0
"""µm. A plain TIFF's resolution is a scale only below this; above, it is the dots per inch of a printout."""

_MOST_PER_CENTIMETER = 2.0**32 - 1

_CHUNK = 1024
_COLOURS = (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)

Scales = tuple[dict[str, float], dict[str, float], dict[str, str]]
"""Scale, translate and units by axis letter."""


def read_tiff(
    path: Path, axes: str | None = None, *, palette_as_colours: bool = True, partial: bool = False
) -> CellImage:
    """Read the first series of a TIFF file, of a pyramid the finest level.

    Parameters
    ----------
    path : a TIFF, OME-TIFF or ImageJ file.
    axes : letters that overrule what the file says. With "S" they name the dimensions as they are returned,
        colour samples last; without it as they lie in the file, where samples may come first.
    palette_as_colours : False returns the indices of a palette picture, as label images need.
    partial : leave damaged pages of a stack at zero and name them in the image's `lacks`.

    Returns
    -------
    CellImage : dask beyond `LAZY_BYTES`, else numpy. Axes, scale, origin and units come from OME or
        ImageJ metadata, the pixel size of plain files from their resolution.

    Raises
    ------
    InputError : truncated or hostile metadata, or axes that do not fit. Whatever tifffile raises for
        damaged pixels passes through; `read_image` names the file.
    """
    notices: list[str] = []
    lost: list[int] = []
    with _listening(path, notices, partial) as damages, tifffile.TiffFile(path) as file:
        _refuse_entities(file, path)
        series = file.series[0].levels[0]
        page = series.keyframe
        letters = series.axes
        scales = _scales(file)
        palette = page.colormap if page.photometric == tifffile.PHOTOMETRIC.PALETTE else None
        colours = page.photometric in _COLOURS
        data: Any
        if series.size * series.dtype.itemsize > LAZY_BYTES:
            data = _open_lazily(path, series)
        elif partial and len(series.shape) > len(page.shape):
            data, lost = _read_pages(path, series)
        else:
            data = series.asarray()
    if palette_as_colours and palette is not None and not file.is_imagej:
        # ImageJ's look-up tables colour grey values for display; other programs' palettes are the picture.
        data = _apply_palette(data, palette)
        letters, colours = letters + "S", True
    if axes is not None and "S" not in axes.upper():
        letters = letters.replace("S", "C")  # the user names the file's own dimensions, none as colours
    else:
        data, letters = _samples_last(data, letters, colours)
    known = not set(letters) - set(AXIS_LETTERS) and len(set(letters)) == len(letters)
    scale, translate, units = scales
    if not known and axes is None:
        # Pages without a meaning ("I", "Q") are told apart by their number alone.
        letters = guess_axes(data.shape, rgb="S" in letters)
    image = CellImage(
        data=data,
        axes=letters if known or axes is None else axes,
        scale=scale,
        translate=translate,
        units=units,
        name=path.name,
        path=path,
        guessed=not known and axes is None,
        notices=tuple(notices),
        lacks=_what_is_lost(path, lost, is_cut=bool(damages)),
    )
    return image if axes is None else image.with_axes(axes)


def _read_pages(path: Path, series: Any) -> tuple[np.ndarray, list[int]]:
    """The pixels of a series, and the numbers of the pages that could not be read and are zero.

    Raises
    ------
    Exception : what tifffile raises, if no page can be read.
    """
    try:
        return series.asarray(), []
    except Exception:
        data = np.zeros(series.shape, series.dtype)
        pages = data.reshape(-1, *series.keyframe.shape)
        if series.dataoffset is not None:  # all pages in one piece: what is there of it
            stored = series.dtype.newbyteorder(series.keyframe.parent.byteorder)
            left = (path.stat().st_size - series.dataoffset) // pages[0].nbytes
            pixels = np.fromfile(path, stored, left * pages[0].size, offset=series.dataoffset)
            pages[:left] = pixels.reshape(pages[:left].shape)
            lost = list(range(left, len(pages)))
        else:
            lost = [number for number, page in enumerate(series.pages) if not _read_page(page, pages[number])]
        if len(lost) == len(pages):
            raise
        return data, lost


def _read_page(page: Any, into: np.ndarray) -> bool:
    """Whether a page could be read."""
    try:
        into[...] = page.asarray()
    except Exception:
        return False
    return True


def _what_is_lost(path: Path, lost: list[int], is_cut: bool) -> str:
    """One sentence on a damaged stack; "" on a sound one."""
    if lost:
        which = ", ".join(str(number + 1) for number in lost[:5]) + (", ..." if len(lost) > 5 else "")
        return f'"{path.name}" is damaged, of its pages {which} cannot be read: copy it anew.'
    return f'"{path.name}" is truncated, pages beyond its end are lost: copy it anew.' if is_cut else ""


@contextmanager
def _listening(path: Path, notices: list[str], partial: bool) -> Iterator[list[str]]:
    """Collect what tifffile merely logs: it returns the pages before a cut as if they were all.

    Yields the list of damages, which fills as the file is read.

    Raises
    ------
    InputError : pages or tags that lie outside the file, unless parts of it are wanted.
    """
    reader = threading.get_ident()
    damages: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == reader:
                message = record.getMessage()
                (damages if "offset" in message else notices).append(message)

    listener = Listener(logging.WARNING)
    log = logging.getLogger("tifffile")
    log.addHandler(listener)
    try:
        yield damages
    finally:
        log.removeHandler(listener)
    if damages and not partial:
        raise InputError(f'"{path}" is truncated, parts of the image lie beyond its end: copy it anew.')
    notices[:] = [f'"{path.name}" is unusual TIFF: {notice}' for notice in notices]


def _refuse_entities(file: tifffile.TiffFile, path: Path) -> None:
    """XML that defines entities can grow to any size when it is parsed; no microscope writes it."""
    text = file.pages.first.tags.valueof("ImageDescription", "")
    if isinstance(text, str) and ("<!ENTITY" in text or "<!DOCTYPE" in text):
        raise InputError(f'"{path}" holds unsafe XML metadata and is not read: save it anew without them.')


def _open_lazily(path: Path, series: Any) -> Any:
    """The pixels of a series as a dask array that opens the file by itself."""
    # Both take long to import, and only big images need them.
    import dask.array as da
    import zarr

    if series.dataoffset is not None:
        source: Any = tifffile.memmap(path, series=0, level=0, mode="r")
        stored: Sequence[int] = (1,) * source.ndim
    else:
        source = zarr.open(tifffile.imread(path, series=0, level=0, aszarr=True), mode="r")
        stored = source.chunks
    # Several tiles or strips make one chunk, so that the graph of a slide stays small.
    plane = {letter: axis for axis, letter in enumerate(series.axes) if letter in "YXS"}
    chunks = [
        min(size, -(-_CHUNK // chunk) * chunk) if axis in plane.values() else 1
        for axis, (size, chunk) in enumerate(zip(source.shape, stored))
    ]
    return da.from_array(source, chunks=tuple(chunks), name=False)


def _apply_palette(data: Any, palette: np.ndarray) -> Any:
    """Colours (..., 3) uint8 of palette indices; `palette` is uint16 (3, n)."""
    table = (palette.T >> 8).astype(np.uint8)
    if isinstance(data, np.ndarray):
        return table[data]
    return data.map_blocks(
        lambda block: table[block], dtype=np.uint8, new_axis=data.ndim, chunks=(*data.chunks, (3,))
    )


def _samples_last(data: Any, letters: str, colours: bool) -> tuple[Any, str]:
    """Move samples behind the other axes, and call them channels if they are no RGB(A)."""
    if "S" not in letters:
        return data, letters
    position = letters.index("S")
    order = [axis for axis in range(len(letters)) if axis != position] + [position]
    data, letters = data.transpose(order), letters.replace("S", "") + "S"
    if (not colours or data.shape[-1] not in (3, 4)) and "C" not in letters:
        letters = letters[:-1] + "C"
    return data, letters


# --- scale ----------------------------------------------------------------------------------------


def _scales(file: tifffile.TiffFile) -> Scales:
    if file.is_ome and file.ome_metadata:
        return _ome_scales(file.ome_metadata)
    if file.is_imagej and file.imagej_metadata:
        return _imagej_scales(file, file.imagej_metadata)
    return _plain_scales(file)


def _ome_scales(xml: str) -> Scales:
    """PhysicalSize, TimeIncrement and the position of the first plane, of the first image."""
    scale: dict[str, float] = {}
    translate: dict[str, float] = {}
    units: dict[str, str] = {}
    elements = list(ElementTree.fromstring(xml).iter())
    pixels = next((element for element in elements if element.tag.endswith("}Pixels")), None)
    if pixels is None:
        return scale, translate, units
    plane = next((element for element in pixels if element.tag.endswith("}Plane")), None)
    for axis in "ZYX":
        size = _positive(pixels.get(f"PhysicalSize{axis}"))
        if size is None:
            continue
        scale[axis], units[axis] = size, canonical_unit(pixels.get(f"PhysicalSize{axis}Unit", "um"))
        position = None if plane is None else plane.get(f"Position{axis}")
        if position is not None and plane is not None:
            unit = canonical_unit(plane.get(f"Position{axis}Unit"))
            translate[axis] = float(position) * _ratio(unit, units[axis])
    interval = _positive(pixels.get("TimeIncrement"))
    if interval is not None:
        scale["T"], units["T"] = interval, canonical_unit(pixels.get("TimeIncrementUnit", "s"))
    return scale, translate, units


def _imagej_scales(file: tifffile.TiffFile, metadata: Mapping[str, Any]) -> Scales:
    scale: dict[str, float] = {}
    unit = canonical_unit(metadata.get("unit"))
    units = dict.fromkeys("ZYX", unit)
    for axis, tag in (("X", "XResolution"), ("Y", "YResolution")):
        per_unit = _rational(file, tag)
        if per_unit and (unit != "pixel" or per_unit != 1):
            scale[axis] = 1 / per_unit
    spacing = _positive(metadata.get("spacing"))
    if spacing is not None:
        scale["Z"] = spacing
    interval = _positive(metadata.get("finterval"))
    if interval is not None:
        scale["T"], units["T"] = interval, canonical_unit(metadata.get("tunit", "s"))
    return scale, {}, units


def _plain_scales(file: tifffile.TiffFile) -> Scales:
    """The resolution of a file without metadata, if it can be that of a microscope."""
    unit = file.pages.first.tags.valueof("ResolutionUnit", 0)
    micrometers = {2: 25400.0, 3: 1e4}.get(int(unit or 0))
    x, y = _rational(file, "XResolution"), _rational(file, "YResolution")
    if not (micrometers and x and y) or max(micrometers / x, micrometers / y) > LARGEST_PLAIN_PIXEL:
        return {}, {}, {}
    return {"Y": micrometers / y, "X": micrometers / x}, {}, dict.fromkeys("YX", "micrometer")


def _rational(file: tifffile.TiffFile, tag: str) -> float | None:
    """Value of a resolution tag in pixels per unit, None if there is none."""
    value = file.pages.first.tags.valueof(tag)
    return value[0] / value[1] if isinstance(value, tuple) and len(value) == 2 and all(value) else None


def _positive(value: Any) -> float | None:
    """A number above zero, or None; writers fill unknown sizes with 0 or nothing."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) and number > 0 else None


def _ratio(unit: str, other: str) -> float:
    """How many of `other` one `unit` is; 1 where one of them is no length."""
    first, second = micrometers_per(unit), micrometers_per(other)
    return first / second if first and second else 1.0


# --- writing --------------------------------------------------------------------------------------


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
    path : the file to write.
    labels : whole numbers over `axes`, e.g. (Y, X) or (T, Z, Y, X).
    scale, units, translate : by axis letter, as in `CellImage`; what is missing is 1, "pixel", 0.
    axes : letters out of T, Z, Y, X; None takes the last ones of "TZYX".
    description : of the image, in the OME metadata.

    Raises
    ------
    InputError : axes that do not fit.
    EnvironmentFault : full or read-only disk; an older file of that name is kept.
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
