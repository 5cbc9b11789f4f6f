"""Reading one plane of an image by region, normalised; nothing of the plane's size is held."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_cupre.data.image import CellImage, PlaneIndex, Stretch
from napari_cupre.errors import InputError, reason_of
from napari_cupre.prediction.tiles import Region

WHOLE_PIXELS = 2048 * 2048
"""Planes of up to so many pixels are looked at as a whole to estimate the diameter."""

WINDOW = 1024
"""Side of the windows that are looked at in larger ones."""

WINDOWS = 3
"""How many of them."""


class PlaneReader:
    """Gives regions of one plane; all share the plane's one stretch of grey values.

    Parameters
    ----------
    image : numpy or lazy.
    index : which plane along T and Z.
    channels : up to three channels; None takes the first three.

    Raises
    ------
    InputError
        If the plane cannot be read at all, or holds no number.
    """

    def __init__(self, image: CellImage, index: PlaneIndex, channels: tuple[int, ...] | None = None) -> None:
        self._name, self._index, self._is_lazy = image.name or "the image", index, image.is_lazy
        self._plane: Any = image.lazy_plane(index, channels)
        self._stretch: Stretch = image.stretch(index, channels)
        self.shape = image.plane_shape

    def __call__(self, region: Region, step: int = 1) -> np.ndarray:
        """The pixels of a region, or every `step`-th along both axes, float32 (Y, X, 3).

        Raises
        ------
        InputError
            If that part of the file cannot be read; the message names it.
        """
        try:
            rows, columns = region.slices
            part = np.asarray(self._plane[rows.start : rows.stop : step, columns.start : columns.stop : step])
        except Exception as error:
            # Decoders raise anything on a damaged file; of an array in memory nothing is expected.
            if not self._is_lazy:
                raise
            where = ", ".join(f"{axis}={position}" for axis, position in self._index.items())
            raise InputError(
                f"{self._name} cannot be read in rows {region.y0}-{region.y1 - 1}, columns "
                f"{region.x0}-{region.x1 - 1}{' at ' + where if where else ''} ({reason_of(error)}): "
                "the file seems damaged, copy it anew."
            ) from error
        return self._stretch(part)

    def views(self) -> list[np.ndarray]:
        """What to estimate the diameter from: the whole plane, or the liveliest of nine windows."""
        rows, columns = self.shape
        if rows * columns <= WHOLE_PIXELS:
            return [self(Region(0, 0, rows, columns))]
        found: list[np.ndarray] = []
        fault: InputError | None = None
        for top in _starts(rows):
            for left in _starts(columns):
                window = Region(top, left, min(rows, top + WINDOW), min(columns, left + WINDOW))
                try:
                    found.append(self(window))
                except InputError as error:
                    fault = error  # its tile is reported when its turn comes
        if fault is not None and not found:
            raise fault
        return sorted(found, key=lambda view: -float(view.std()))[:WINDOWS]


def _starts(length: int) -> list[int]:
    """Where three windows along an axis begin, away from its ends where there is room."""
    return np.unique(np.linspace(0, max(0, length - WINDOW), 5, dtype=int)[1:4]).tolist()
