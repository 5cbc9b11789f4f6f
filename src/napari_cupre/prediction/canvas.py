"""The canvas on which labels are painted: in memory, or on disk (`labelstore.LabelStore`)."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from napari_cupre.data.image import PlaneIndex
from napari_cupre.prediction.plan import LARGEST_TILE


class LabelArray(Protocol):
    """A two-dimensional int32 array that is read and written by slices (NumPy, Zarr, memory map)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the size along every axis, in pixels."""

    def __getitem__(self, key: Any, /) -> Any: ...

    def __setitem__(self, key: Any, value: Any, /) -> None: ...


class Canvas(Protocol):
    """The labels of all planes of an image, 0 everywhere at the start.

    Attributes
    ----------
    largest_tile : int
        Longest side of a tile in image px, which limits the memory used besides the canvas.
    """

    largest_tile: int

    def plane(self, index: PlaneIndex) -> LabelArray:
        """Return one plane to read and write by slices; changes appear in the whole."""


class ArrayCanvas:
    """Labels in memory.

    Parameters
    ----------
    shape : tuple of int
        Shape of the label image; its last two axes are Y and X.

    Attributes
    ----------
    labels : ndarray of int32
        All planes.
    """

    largest_tile = LARGEST_TILE

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.labels = np.zeros(shape, dtype=np.int32)

    def plane(self, index: PlaneIndex) -> np.ndarray:
        """Return a view of one plane, int32 (Y, X)."""
        return self.labels[tuple(index.values())]
