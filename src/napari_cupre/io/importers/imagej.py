"""Read ImageJ's regions of interest (ROIs), one by one or in a zip."""

from __future__ import annotations

import itertools
import logging
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.io.files import is_junk, is_tiff
from napari_cupre.io.importers.accounts import (
    DAMAGED,
    LINE,
    NO_AREA,
    PICTURE,
    POINT,
    TEXT,
    Account,
    Reason,
)
from napari_cupre.io.importers.imagej_outlines import rings_of
from napari_cupre.io.importers.shapes import Shape

if TYPE_CHECKING:
    from roifile import ImagejRoi

LARGEST_ROI, LARGEST_ZIP = 64 * 2**20, 2**30
"""Most bytes of an ROI and of an unpacked zip; larger files are not annotations."""

_LABEL = re.compile(r"^label:\s*(\d{1,10})\s*$", re.MULTILINE)


_DEFAULT_NAME = re.compile(r"\d+(-\d+)+")
"""The name that ImageJ gives to an ROI: its slice and its place."""


def read_rois(paths: Sequence[Path], account: Account) -> list[Shape]:
    """Read the ROIs with an area in a zip or in `.roi` files: polygons, traces, ovals, composites.

    Entries are read into memory up to a limit, and never unpacked to a path. Points, lines, texts and
    damaged ROIs are left out and counted.

    Raises
    ------
    InputError
        If a file is damaged, too large, or contains something else, or every ROI in it is damaged.
    """
    return _shapes(itertools.chain.from_iterable(map(_contents, paths)), paths[0], account)


def read_overlay(path: Path, account: Account) -> list[Shape]:
    """Read the ROIs that ImageJ keeps in a TIFF file in the same way, see `overlay_of`."""
    return _shapes(enumerate(overlay_of(path), start=1), path, account)


def overlay_of(path: Path) -> list[bytes]:
    """Return the overlay of an ImageJ TIFF, or its selection if it has none; empty for any other file."""
    import tifffile

    if not is_tiff(path):
        return []
    with tifffile.TiffFile(path) as file:
        kept = (file.imagej_metadata or {}) if file.is_imagej else {}
    overlay = kept.get("Overlays") or kept.get("ROI") or []
    return [overlay] if isinstance(overlay, bytes) else list(overlay)


def is_part_of_set(path: Path) -> bool:
    """Whether a `.roi` file has the name that ImageJ gives to one of many ROIs of an image."""
    return path.suffix.lower() == ".roi" and _DEFAULT_NAME.fullmatch(path.stem) is not None


def _shapes(
    contents: Iterable[tuple[object, bytes | Exception]], path: Path, account: Account
) -> list[Shape]:
    """Return the shapes of ROIs, each with its name."""
    from roifile import ImagejRoi

    log = logging.getLogger("roifile")
    if not log.handlers:  # undrawable ROIs are counted here, and Python would also print the log
        log.addHandler(logging.NullHandler())
    shapes: list[Shape] = []
    damage = ""
    for name, content in contents:
        account.total += 1
        reason: Reason | None
        try:
            if isinstance(content, Exception):
                raise content
            roi = ImagejRoi.frombytes(content)
            reason = _unfit(roi)
            if reason is None:
                shapes.append(_shape(roi))
        except Exception as error:  # roifile raises whatever it meets in a damaged ROI
            reason = DAMAGED
            damage = damage or f'the ROI "{name}" is damaged ({error}): save it again.'
        if reason is not None:
            account.leave_out(reason)
    if damage and account.reasons[DAMAGED] == account.total:
        raise InputError(f'"{path}": {damage}')
    if damage:
        account.notes.append(damage)
    return shapes


def roi_entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """List the ROIs in a zip, without the system's own files."""
    return [entry for entry in data_entries(archive) if entry.filename.lower().endswith(".roi")]


def data_entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """List the files in a zip, without the system's own, such as `__MACOSX/._a.roi`."""
    return [
        entry
        for entry in archive.infolist()
        if not entry.is_dir()
        and not any(is_junk(Path(part)) for part in PurePosixPath(entry.filename).parts if part != "..")
    ]


def _contents(path: Path) -> Iterator[tuple[str, bytes | Exception]]:
    """Yield name and bytes of every ROI; if they cannot be unpacked, the error instead of the bytes."""
    if path.suffix.lower() != ".zip" and not zipfile.is_zipfile(path):
        if path.stat().st_size > LARGEST_ROI:
            raise InputError(f'"{path}" is too large for an ROI: choose another file.')
        yield path.name, path.read_bytes()
        return
    with zip_of_rois(path) as archive:
        entries = roi_entries(archive)
        if sum(entry.file_size for entry in entries) > LARGEST_ZIP:
            raise InputError(f'"{path}" contains over {LARGEST_ZIP >> 20} MB of ROIs: split it.')
        for entry in entries:
            yield entry.filename, _unpacked(archive, entry, path)


@contextmanager
def zip_of_rois(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip.

    Raises
    ------
    InputError
        If it is damaged, even if that only shows when it is used.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except InputError:
        raise
    except Exception as error:  # bad zips raise BadZipFile, EOFError, NotImplementedError, ...
        raise InputError(f'"{path}" is not a readable zip of ROIs ({error}): save it again.') from error


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> bytes | Exception:
    try:
        with archive.open(entry) as stream:
            # The size in the directory may be wrong, so reading is bounded as well.
            content = stream.read(LARGEST_ROI + 1)
    except Exception as error:  # zlib.error, BadZipFile, EOFError, RuntimeError of encrypted entries, ...
        return error
    if len(content) > LARGEST_ROI:
        raise InputError(f'"{path}": the ROI "{entry.filename}" is too large: choose another file.')
    return content


def _unfit(roi: ImagejRoi) -> Reason | None:
    """Say why an ROI cannot be a cell; None if it can."""
    from roifile import ROI_SUBTYPE, ROI_TYPE

    by_subtype = {ROI_SUBTYPE.TEXT: TEXT, ROI_SUBTYPE.IMAGE: PICTURE, ROI_SUBTYPE.ARROW: LINE}
    if roi.subtype in by_subtype:
        return by_subtype[roi.subtype]
    lines = (ROI_TYPE.LINE, ROI_TYPE.FREELINE, ROI_TYPE.POLYLINE, ROI_TYPE.ANGLE)
    if roi.roitype in lines:
        return LINE
    if roi.roitype == ROI_TYPE.POINT:
        return POINT
    areas = (ROI_TYPE.POLYGON, ROI_TYPE.RECT, ROI_TYPE.OVAL, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED)
    if roi.roitype not in areas or not any(len(ring) >= 3 for ring in rings_of(roi)):
        return NO_AREA
    return None


def _shape(roi: ImagejRoi) -> Shape:
    rings = [np.asarray(ring, float) for ring in rings_of(roi) if len(ring) >= 3]
    found = _LABEL.search(roi.props or "")
    return Shape([rings], int(found.group(1)) if found else 0, _plane(roi))


def _plane(roi: ImagejRoi) -> dict[str, int]:
    """Return positions from 0; ImageJ counts from 1, and its 0 means no position."""
    counted = {"C": roi.c_position, "Z": roi.z_position, "T": roi.t_position}
    plane = {axis: int(place) - 1 for axis, place in counted.items() if place > 0}
    if not plane and roi.position > 0:
        plane["N"] = int(roi.position) - 1
    return plane
