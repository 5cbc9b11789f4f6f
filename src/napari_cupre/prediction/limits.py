"""Decide which images go to disk tile by tile; quick to import, because the window uses it too."""

from __future__ import annotations

import math

from napari_cupre.data.image import CellImage

BIG_PIXELS = 6000 * 6000
"""Planes with more pixels than this go tile by tile to disk."""

BIG_STACK = 2**30
"""Stacks and series with more pixels than this do too: their labels alone would take 4 GB."""


def is_big(image: CellImage) -> bool:
    """Whether the labels of this image should go to disk tile by tile."""
    rows, columns = image.plane_shape
    return rows * columns > BIG_PIXELS or math.prod(image.result_shape) > BIG_STACK
