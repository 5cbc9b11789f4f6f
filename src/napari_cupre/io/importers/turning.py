"""Outlines drawn on a turned photograph, brought back to its pixels as they are stored.

Cameras store a photograph as the sensor sees it, and say in EXIF how to turn it. LabelMe and web browsers
(VIA) turn it; napari, imageio, scikit-image and tifffile do not, and neither does this package, so that all
of them agree about rows and columns. COCO JSON of such programs (CVAT, Label Studio) gives the size of the
turned photograph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_cupre.io.importers.shapes import Shape

_ORIENTATION = 0x0112
UPRIGHT = 1


def orientation_of(path: Path | None) -> int:
    """Return the EXIF orientation of a picture, 1 to 8; 1, as stored, where nothing is said."""
    if path is None or not path.is_file():
        return UPRIGHT
    from PIL import Image

    try:
        with Image.open(path) as picture:
            said = int(picture.getexif().get(_ORIENTATION, UPRIGHT))
    except Exception:  # decoders raise anything on other files
        return UPRIGHT
    return said if 1 <= said <= 8 else UPRIGHT


def turned_words(picture: Path | None, annotation: Path) -> str:
    """Say that outlines were turned back."""
    name = "The image" if picture is None else f'"{picture.name}"'
    return (
        f'{name} is a photograph that is turned when it is shown: the outlines of "{annotation.name}" '
        "are turned back to its pixels, which napari shows as they are stored."
    )


def unsure_words(size: tuple[int, int], picture: Path | None, annotation: Path) -> str:
    """Say that nobody can tell whether outlines were drawn on the turned photograph; "" where one can.

    Parameters
    ----------
    size : tuple[int, int]
        Rows and columns of the picture as stored, which are those that the annotation names.
    picture, annotation : Path or None, Path
        Their files.
    """
    orientation = orientation_of(picture)
    if picture is None or orientation == UPRIGHT or (orientation > 4 and size[0] != size[1]):
        return ""
    return (
        f'"{picture.name}" is a photograph that is turned or mirrored when it is shown, and '
        f'"{annotation.name}" does not tell whether its outlines were drawn on it like that: '
        "they are taken as drawn on the stored pixels, so look whether they lie on the cells, "
        "and save the photograph upright if not."
    )


def shown_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the rows and columns of a picture once it is turned."""
    return (size[1], size[0]) if orientation > 4 else size


def as_stored(shapes: Sequence[Shape], size: tuple[int, int], orientation: int) -> list[Shape]:
    """Return outlines on the pixels as they are stored.

    Parameters
    ----------
    shapes : Sequence[Shape]
        Outlines on the turned picture.
    size : tuple[int, int]
        Rows and columns as stored.
    orientation : int
        See `orientation_of`.
    """
    if orientation == UPRIGHT:
        return list(shapes)
    return [
        replace(shape, parts=[[_ring(ring, size, orientation) for ring in part] for part in shape.parts])
        for shape in shapes
    ]


def labels_as_stored(labels: np.ndarray, size: tuple[int, int], path: Path | None) -> np.ndarray:
    """Turn a label image back if its size says that it was made on the turned picture; else return it.

    Parameters
    ----------
    labels : numpy.ndarray
        (Y, X), or with truth values.
    size : tuple[int, int]
        Rows and columns of the picture as stored.
    path : Path or None
        File of the picture.
    """
    if labels.shape == tuple(size) or labels.shape != tuple(size)[::-1]:
        return labels
    orientation = orientation_of(path)
    if orientation <= 4:
        return labels
    turned = labels.T
    turned = turned[:, ::-1] if orientation in (7, 8) else turned
    return np.ascontiguousarray(turned[::-1] if orientation in (6, 7) else turned)


def _ring(ring: np.ndarray, size: tuple[int, int], orientation: int) -> np.ndarray:
    """Return corners x, y on the stored picture."""
    points = np.asarray(ring, float).reshape(-1, 2)
    x, y = (points[:, 1], points[:, 0]) if orientation > 4 else (points[:, 0], points[:, 1])
    rows, columns = size
    if orientation in (2, 3, 7, 8):
        x = columns - x
    if orientation in (3, 4, 6, 7):
        y = rows - y
    return np.column_stack([x, y])
