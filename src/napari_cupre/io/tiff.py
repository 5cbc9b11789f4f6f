"""Read TIFF from microscopes: OME-TIFF and its sets of files, ImageJ hyperstacks, slides with pyramids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile

from napari_cupre.data.axes import AXIS_LETTERS, guess_axes, parse_axes
from napari_cupre.data.image import CellImage, with_letters
from napari_cupre.errors import InputError
from napari_cupre.io.colours import stored_as, to_grey_or_rgb
from napari_cupre.io.damages import damages_of, imagej_planes, listening, what_is_lost
from napari_cupre.io.ome import (
    OmeImage,
    document_of,
    missing_files,
    ome_images,
    ome_scales,
    refuse_entities,
    what_is_missing,
)
from napari_cupre.io.pixel_size import Scales, tiff_scales
from napari_cupre.io.scenes import Scene, choose_scenes, name_scenes, what_is_left
from napari_cupre.io.tiff_labels import write_labels

__all__ = ["OpenTiff", "open_tiff", "read_tiff", "tiff_scenes", "write_labels"]

LAZY_BYTES = 256 * 2**20
"""Images of more bytes than this are read plane by plane or tile by tile, on demand."""

_CHUNK = 1024


@dataclass(frozen=True)
class OpenTiff:
    """An open TIFF file and its metadata, which may lie in another file.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    file : tifffile.TiffFile
        The file, opened by tifffile.
    scenes : list of Scene
        The images that lie, at least in part, in this file.
    series : list of tifffile.TiffPageSeries
        Pixels of each scene; of a pyramid, the finest level.
    images : list of OmeImage or None
        What OME-XML says about each scene.
    uuid : str or None
        UUID of the OME document.
    no_metadata : str
        Name of the missing metadata file, or "".
    """

    path: Path
    file: tifffile.TiffFile
    scenes: list[Scene]
    series: list[Any]
    images: list[OmeImage | None]
    uuid: str | None = None
    no_metadata: str = ""


@contextmanager
def open_tiff(path: Path, *, alone: bool = False) -> Iterator[OpenTiff]:
    """Open a TIFF file.

    Parameters
    ----------
    path : Path
        The file.
    alone : bool, optional
        Read this file by itself, even if its metadata say that it belongs to a set.

    Raises
    ------
    InputError
        If its metadata are unsafe. Errors from tifffile pass through.
    """
    with tifffile.TiffFile(path) as first:
        text = first.pages.first.tags.valueof("ImageDescription", "")
        refuse_entities(text, path)
        document, no_metadata = document_of(path, first.ome_metadata or "") if _has_ome(first) else (None, "")
        if document is None and not alone:
            yield _opened(path, first, no_metadata)
            return
    with tifffile.TiffFile(path, omexml=document, _multifile=not alone) as second:
        yield _opened(path, second, no_metadata)


def _has_ome(file: tifffile.TiffFile) -> bool:
    return bool(file.is_ome and file.ome_metadata)


def _opened(path: Path, file: tifffile.TiffFile, no_metadata: str) -> OpenTiff:
    every = [series.levels[0] for series in file.series]
    if all(series.size == 0 or not series.shape for series in every):
        raise tifffile.TiffFileError("there is no picture in it")
    described, uuid = ome_images(file.ome_metadata or "") if _has_ome(file) else ([], None)
    images: list[OmeImage | None] = list(_matched(every, described)) if described else [None] * len(every)
    if any(series.kind == "ome" for series in every):
        own = [n for n, image in enumerate(images) if image is None or image.is_in(path, uuid)]
        every, images = (
            [every[n] for n in own or range(len(every))],
            [images[n] for n in own or range(len(images))],
        )
    every, images = _without_levels(every, images)
    found = [
        Scene(
            name=series.name or (image.name if image else ""),
            index=n,
            axes=series.axes,
            shape=series.shape,
            is_extra=_is_marked(series),
            identity=_identity(path, image, uuid),
        )
        for n, (series, image) in enumerate(zip(every, images))
    ]
    return OpenTiff(path, file, name_scenes(found), every, images, uuid, no_metadata)


def _matched(series: Sequence[Any], images: Sequence[OmeImage]) -> Iterator[OmeImage | None]:
    """Match each series with its description; tifffile leaves out images without pixels."""
    if all(each.kind != "ome" for each in series):
        yield from (images[0] if len(images) == 1 else None for _ in series)
        return
    left = list(images)
    for n, each in enumerate(series):
        spare = len(left) - (len(series) - n)
        fitting = [i for i, image in enumerate(left[: spare + 1]) if image.name == each.name] or [0]
        yield left[fitting[0]] if left else None
        del left[: fitting[0] + 1]


def _without_levels(
    series: list[Any], images: list[OmeImage | None]
) -> tuple[list[Any], list[OmeImage | None]]:
    """Leave out pictures that are another one at a lower resolution, in whatever order they are stored."""
    if any(each.kind not in ("generic", "uniform", "shaped") for each in series):
        return series, images
    kept = [n for n, each in enumerate(series) if not any(_is_level_of(each, other) for other in series)]
    return [series[n] for n in kept], [images[n] for n in kept]


def _is_level_of(small: Any, large: Any) -> bool:
    if not {"Y", "X"} <= set(small.axes):
        return False
    if small.axes != large.axes or small.dtype != large.dtype or len(small.shape) != len(large.shape):
        return False
    sides = {axis: (few, many) for axis, few, many in zip(small.axes, small.shape, large.shape)}
    if any(few != many for axis, (few, many) in sides.items() if axis not in "YX"):
        return False
    factor = sides["Y"][1] / sides["Y"][0]
    if factor < 1.9 or abs(factor - round(factor)) * sides["Y"][0] > 1:
        return False
    return all(abs(many - few * round(factor)) <= round(factor) for few, many in (sides["Y"], sides["X"]))


def _identity(path: Path, image: OmeImage | None, uuid: str | None) -> tuple[Any, ...] | None:
    """Return an identity that is the same in all files of an image's set; None if it has only this file."""
    if image is None or not image.others(path, uuid):
        return None
    if path.name not in dict(image.files) and missing_files(image, path, uuid):
        return None  # a renamed file; the rest of its set is missing
    return (str(path.parent.resolve()), image.files, image.number)


def _is_marked(series: Any) -> bool:
    """Whether the file says that a picture is a smaller version or a macro picture."""
    return bool(int(series.keyframe.subfiletype or 0) & (1 | 8)) and series.kind != "ome"


def tiff_scenes(path: Path) -> list[Scene]:
    """List the images of a TIFF file, without the lower levels of pyramids.

    Raises
    ------
    Exception
        What tifffile raises for a damaged file.
    """
    with listening(path, []), open_tiff(path) as opened:
        return opened.scenes


class TiffOverview(NamedTuple):
    """What the metadata of a file tell.

    Attributes
    ----------
    scenes : list of Scene
        See `tiff_scenes`.
    lacks : str
        One sentence on what is missing, or "".
    colours : str
        What the pixels of its first image mean if they are not brightness, else "".
    scales : Scales
        Pixel size of its first image.
    """

    scenes: list[Scene]
    lacks: str
    colours: str
    scales: Scales


def tiff_overview(path: Path) -> TiffOverview:
    """Say what a TIFF file contains by its metadata; no pixels are read.

    Raises
    ------
    Exception
        What tifffile raises for a damaged file.
    """
    with listening(path, []), open_tiff(path) as opened:
        scene = choose_scenes(opened.scenes, None, path.name)[0]
        series = opened.series[scene.index]
        told = _told(path, opened, scene, None, alone=False)
        lacks = what_is_missing(path, told.missing, told.files) if told.missing else ""
        _, cut = _as_imagej_tells(opened, series, series.axes)
        colours = stored_as(series.keyframe, is_imagej=bool(opened.file.is_imagej))
        return TiffOverview(opened.scenes, lacks or cut, colours, told.scales)


def read_tiff(
    path: Path,
    axes: str | None = None,
    *,
    series: str | int | None = None,
    palette_as_colours: bool = True,
    partial: bool = False,
    alone: bool = False,
) -> CellImage:
    """Read one image of a TIFF file; of a pyramid, the finest level.

    Parameters
    ----------
    path : Path
        A TIFF, OME-TIFF or ImageJ file; any file of an OME-TIFF set stands for the set.
    axes : str or None, optional
        Letters that overrule what the file says. With "S" they name the dimensions as returned, colour
        samples last; without "S" they name them as stored in the file, where samples may come first.
    series : str or int or None, optional
        Name or number of the image; None takes the first that is not a thumbnail.
    palette_as_colours : bool, optional
        False returns the stored values, as label images need.
    partial : bool, optional
        Set damaged pages of a stack to zero and name them in the image's `lacks`.
    alone : bool, optional
        See `open_tiff`.

    Returns
    -------
    CellImage
        A dask array beyond `LAZY_BYTES`, else numpy. Axes, scale, origin and units come from OME or ImageJ
        metadata, the pixel size of plain files from their resolution.

    Raises
    ------
    InputError
        Truncated or hostile metadata, missing files of a set, or axes or a series that do not fit. Errors
        from tifffile about damaged pixels pass through; `read_image` names the file.
    """
    notices: list[str] = []
    with listening(path, notices) as damages, open_tiff(path, alone=alone) as opened:
        scene = choose_scenes(opened.scenes, series, path.name)[0]
        chosen = opened.series[scene.index]
        data, lost = _pixels(path, chosen, partial)
        data, letters = _meaningful(data, chosen, axes, palette_as_colours, bool(opened.file.is_imagej))
        letters, cut = _as_imagej_tells(opened, chosen, letters)
        told = _told(path, opened, scene, series, alone)
        damages = damages_of(chosen, damages)
    lacks = (
        what_is_missing(path, told.missing, told.files)
        if told.missing
        else cut or what_is_lost(path, lost, damages)
    )
    if lacks and not partial:
        raise InputError(lacks)
    odd = told.oddities if told.missing or cut else [*told.oddities, *notices]
    image = _as_image(path, data, letters, axes, told.scales)
    return replace(image, notices=tuple(odd), lacks=lacks)


def _as_image(path: Path, data: Any, letters: str, axes: str | None, scales: Scales) -> CellImage:
    """Make an image with the axes of the file, or with those that overrule them."""
    found, guessed = _certain(letters, data, axes)
    if axes is not None:
        if "S" in letters and len(axes) == data.ndim - 1:
            axes += "S"  # the user names only rows and columns, but the palette adds colours
        known, guessed = parse_axes(axes, data.ndim), False
    else:
        known = found
    scale, translate, units = (with_letters(each, found, known) for each in scales)
    return CellImage(
        data=data,
        axes=known,
        scale=scale,
        translate=translate,
        units=units,
        name=path.name,
        path=path,
        guessed=guessed,
    )


def _as_imagej_tells(opened: OpenTiff, series: Any, letters: str) -> tuple[str, str]:
    """Return the axes of an ImageJ stack whose metadata do not fit its pixels, and what it lacks.

    In such stacks tifffile takes the planes for pages of unknown meaning.
    """
    if not opened.file.is_imagej or series.kind != "generic":
        return letters, ""
    there = series.size // max(1, series.keyframe.size)
    letter, cut = imagej_planes(opened.file.imagej_metadata or {}, there, opened.path)
    return (letters.replace("I", letter) if letter not in letters else letters), cut


class _Told(NamedTuple):
    """What metadata say about one image: scales, missing files and their total, and what is odd."""

    scales: Scales
    missing: list[str]
    files: int
    oddities: list[str]


def _told(path: Path, opened: OpenTiff, scene: Scene, series: str | int | None, alone: bool) -> _Told:
    described, odd = opened.images[scene.index], _oddities(opened, scene, series)
    if described is None:
        return _Told(tiff_scales(opened.file), [], 0, odd)
    missing = [] if alone else missing_files(described, path, opened.uuid)
    return _Told(ome_scales(described.pixels), missing, len(dict(described.files)), odd)


def _certain(letters: str, data: Any, axes: str | None) -> tuple[str, bool]:
    """Return axes that an image can have, and whether they are guessed.

    Pages of unknown meaning ("I", "Q") are interpreted only by their number.
    """
    if not set(letters) - set(AXIS_LETTERS) and len(set(letters)) == len(letters):
        return letters, False
    return (guess_axes(data.shape, rgb="S" in letters), True) if axes is None else (axes, False)


def _meaningful(
    data: Any, series: Any, axes: str | None, as_colours: bool, is_imagej: bool
) -> tuple[Any, str]:
    """Return pixels as grey values, colours or channels, and their axes."""
    letters = series.axes
    if axes is not None and "S" not in axes.upper():
        letters = letters.replace("S", "C")  # the user's axes for the file's dimensions contain no colours
    elif "S" in letters:
        position = letters.index("S")
        order = [axis for axis in range(len(letters)) if axis != position] + [position]
        data, letters = data.transpose(order), letters.replace("S", "") + "S"
    if as_colours:
        return to_grey_or_rgb(data, letters, series.keyframe, is_imagej=is_imagej)
    if letters.endswith("S") and data.shape[-1] not in (3, 4) and "C" not in letters:
        letters = letters[:-1] + "C"
    return data, letters


def _oddities(opened: OpenTiff, scene: Scene, series: str | int | None) -> list[str]:
    name = opened.path.name
    odd = [] if series is not None else what_is_left(opened.scenes, scene, name)
    if opened.no_metadata:
        odd.append(
            f'"{name}" has its metadata in "{opened.no_metadata}", which is not beside it: copy it, or '
            f"give the axes."
        )
    return odd


def _pixels(path: Path, series: Any, partial: bool) -> tuple[Any, list[int]]:
    if series.size * series.dtype.itemsize > LAZY_BYTES:
        return _open_lazily(series), []
    if partial and len(series.shape) > len(series.keyframe.shape):
        return _read_pages(path, series)
    return series.asarray(), []


def _read_pages(path: Path, series: Any) -> tuple[np.ndarray, list[int]]:
    """Read the pixels of a series; return them and the numbers of unreadable pages, which are zero.

    Raises
    ------
    Exception
        The error from tifffile, if no page can be read.
    """
    try:
        return series.asarray(), []
    except Exception:
        data = np.zeros(series.shape, series.dtype)
        pages = data.reshape(-1, *series.keyframe.shape)
        if series.dataoffset is not None:  # all pages are stored in one piece: read what is there of it
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
    """Read a page into an array; return whether that worked."""
    try:
        into[...] = page.asarray()
    except Exception:
        return False
    return True


def _open_lazily(series: Any) -> Any:
    """Return the pixels of a series as a dask array that opens its files itself."""
    # Both take long to import, and only big images need them.
    import dask.array as da
    import zarr

    if series.dataoffset is not None:
        file = series.keyframe.parent
        source: Any = np.memmap(
            file.filehandle.path,
            series.dtype.newbyteorder(file.byteorder),
            "r",
            series.dataoffset,
            series.shape,
        )
        stored: Sequence[int] = (1,) * source.ndim
    else:
        source = zarr.open(series.aszarr(level=0), mode="r")
        stored = source.chunks
    # Several tiles or strips make one chunk, so that the graph of a slide stays small.
    plane = {letter: axis for axis, letter in enumerate(series.axes) if letter in "YXS"}
    chunks = [
        min(size, -(-_CHUNK // chunk) * chunk) if axis in plane.values() else 1
        for axis, (size, chunk) in enumerate(zip(source.shape, stored))
    ]
    return da.from_array(source, chunks=tuple(chunks), name=False)
