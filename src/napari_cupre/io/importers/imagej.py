"""ImageJ's regions of interest, one by one or in a zip."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.io.importers.shapes import Shape

if TYPE_CHECKING:
    from roifile import ImagejRoi

#: A region of more bytes, or a zip of more in total once unpacked, is no annotation.
LARGEST_ROI, LARGEST_ZIP = 64 * 2**20, 2**30
_LABEL = re.compile(r"^label:\s*(\d{1,10})\s*$", re.MULTILINE)


def read_rois(path: Path) -> list[Shape]:
    """The regions of a `.roi` file or a zip of such that have an area: polygons, traces, ovals, composites.

    Entries are read in memory, bounded in size, and never unpacked to a path. Points, lines and text
    are left out.

    Raises
    ------
    InputError
        If the file is damaged, too large, or holds something else.
    """
    from roifile import ImagejRoi

    shapes = []
    for name, content in _contents(path):
        try:
            shape = _shape(ImagejRoi.frombytes(content))
        except Exception as error:  # roifile raises whatever it meets in a damaged region
            raise InputError(f'"{path}": the region "{name}" is damaged ({error}): save it anew.') from error
        if shape is not None:
            shapes.append(shape)
    return shapes


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.suffix.lower() != ".zip":
        if path.stat().st_size > LARGEST_ROI:
            raise InputError(f'"{path}" is too large for a region of interest: choose another file.')
        yield path.name, path.read_bytes()
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.lower().endswith(".roi")]
            if sum(entry.file_size for entry in entries) > LARGEST_ZIP:
                raise InputError(f'"{path}" holds over {LARGEST_ZIP >> 20} MB of regions: split it.')
            for entry in entries:
                yield entry.filename, _unpacked(archive, entry, path)
    except InputError:
        raise
    except Exception as error:  # bad zips raise BadZipFile, zlib.error, EOFError, NotImplementedError, ...
        raise InputError(f'"{path}" is no readable zip of regions ({error}): save it anew.') from error


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> bytes:
    with archive.open(entry) as stream:
        # The size in the directory may be a lie, so reading is bounded, too.
        content = stream.read(LARGEST_ROI + 1)
    if len(content) > LARGEST_ROI:
        raise InputError(f'"{path}": the region "{entry.filename}" is too large: choose another file.')
    return content


def _shape(roi: ImagejRoi) -> Shape | None:
    """None for what has no area."""
    from roifile import ROI_TYPE

    areas = (ROI_TYPE.POLYGON, ROI_TYPE.RECT, ROI_TYPE.OVAL, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED)
    if roi.roitype not in areas:
        return None
    rings = [np.asarray(ring, float) for ring in roi.coordinates(multi=True)]
    rings = [ring for ring in rings if len(ring) >= 3]
    if not rings:
        return None
    found = _LABEL.search(roi.props or "")
    return Shape(rings, int(found.group(1)) if found else 0, _plane(roi))


def _plane(roi: ImagejRoi) -> dict[str, int]:
    """Positions from 0; ImageJ counts from 1, and 0 stands for none."""
    plane = {}
    if roi.z_position > 0:
        plane["Z"] = roi.z_position - 1
    if roi.t_position > 0:
        plane["T"] = roi.t_position - 1
    if not plane and roi.position > 0:
        plane["Z"] = roi.position - 1
    return plane
