"""Which images go to disk tile by tile; light to import, since the window asks too."""

from __future__ import annotations

from napari_cupre.data.image import CellImage

BIG_PIXELS = 6000 * 6000
"""Planes with more pixels than this go tile by tile to disk."""


def is_big(image: CellImage) -> bool:
    """Whether a plane of this image should go to disk tile by tile."""
    rows, columns = image.plane_shape
    return rows * columns > BIG_PIXELS
