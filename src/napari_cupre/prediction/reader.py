"""Read planes of an image by window, normalised, without holding a whole plane in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from napari_cupre.data.image import CellImage, PlaneIndex, Stretch
from napari_cupre.data.normalise import grey_view
from napari_cupre.data.tissue import FLAT
from napari_cupre.errors import InputError, reason_of
from napari_cupre.prediction.tiles import Window

WHOLE_PIXELS = 2048 * 2048
"""Planes of up to this many pixels are used whole to estimate the diameter."""

WINDOW = 1024
"""Side of the windows that are examined in larger planes, px."""

WINDOWS = 3
"""Number of these windows along each axis."""


class Reader(Protocol):
    """A function that returns windows of one plane.

    Attributes
    ----------
    shape : tuple of int
        (Y, X) in px.
    """

    shape: tuple[int, int]

    def __call__(self, window: Window, step: int = 1) -> np.ndarray:
        """Return the pixels of a window, or every `step`-th along both axes, float32 (Y, X, 3)."""

    def views(self) -> list[np.ndarray]:
        """Return the views for estimating the diameter."""


class PlaneSource(Protocol):
    """The planes of an image.

    Attributes
    ----------
    name : str
        Name of the image, for the user.
    plane_shape : tuple of int
        (Y, X) in px.
    """

    name: str
    plane_shape: tuple[int, int]

    def plane_indices(self) -> Iterable[PlaneIndex]:
        """Position of each plane along T and Z."""

    def reader(self, index: PlaneIndex) -> Reader:
        """Return the reader of a plane; raise `InputError` if the plane cannot be read at all."""


class PlaneReader:
    """Reads windows of one plane; all windows have the same stretch of grey values.

    Parameters
    ----------
    image : CellImage
        Numpy or lazy.
    index : PlaneIndex
        Position of the plane along T and Z.
    channels : tuple of int, optional
        Up to three channels; None takes the first three.

    Raises
    ------
    InputError
        If the plane cannot be read at all, or contains no number.
    """

    def __init__(self, image: CellImage, index: PlaneIndex, channels: tuple[int, ...] | None = None) -> None:
        self._name, self._index, self._is_lazy = image.name or "the image", index, image.is_lazy
        self._plane: Any = image.lazy_plane(index, channels)
        self._stretch: Stretch = image.stretch(index, channels)
        self.shape = image.plane_shape

    def __call__(self, window: Window, step: int = 1) -> np.ndarray:
        """Return the pixels of a window, or every `step`-th along both axes, float32 (Y, X, 3), read only.

        Raises
        ------
        InputError
            If that part of the file cannot be read; the message names it.
        """
        try:
            rows, columns = window.slices
            part = np.asarray(self._plane[rows.start : rows.stop : step, columns.start : columns.stop : step])
        except Exception as error:
            # Decoders raise anything on a damaged file; an array in memory should raise nothing.
            if not self._is_lazy:
                raise
            where = ", ".join(f"{axis}={position}" for axis, position in self._index.items())
            raise InputError(
                f"{self._name} cannot be read in rows {window.y0}-{window.y1 - 1}, columns "
                f"{window.x0}-{window.x1 - 1}{' at ' + where if where else ''} ({reason_of(error)}): "
                "the file seems damaged; copy it again."
            ) from error
        return self._stretch.view(part)

    def views(self) -> list[np.ndarray]:
        """Return the views for estimating the diameter: the whole plane, or the liveliest of nine windows."""
        rows, columns = self.shape
        if rows * columns <= WHOLE_PIXELS:
            return [_without_margins(self(Window(0, 0, rows, columns)))]
        found: list[np.ndarray] = []
        fault: InputError | None = None
        for top in _starts(rows):
            for left in _starts(columns):
                window = Window(top, left, min(rows, top + WINDOW), min(columns, left + WINDOW))
                try:
                    found.append(self(window))
                except InputError as error:
                    fault = error  # reported when the tile's turn comes
        if fault is not None and not found:
            raise fault
        return sorted(found, key=lambda view: -float(view.std()))[:WINDOWS]


class ArrayReader:
    """Returns windows of a plane in memory.

    Parameters
    ----------
    plane : ndarray of float32, shape (Y, X, 3)
        Normalised.

    Raises
    ------
    InputError
        If it is not a plane of three channels.
    """

    def __init__(self, plane: np.ndarray) -> None:
        if plane.ndim != 3 or plane.shape[2] != 3 or plane.size == 0:
            raise InputError(
                f"A plane of shape (Y, X, 3) is needed, this one has {plane.shape}: normalise it first."
            )
        self._plane = plane
        self.shape = (int(plane.shape[0]), int(plane.shape[1]))

    def __call__(self, window: Window, step: int = 1) -> np.ndarray:
        """Return the pixels of a window, or every `step`-th along both axes, float32 (Y, X, 3)."""
        return grey_view(self._plane[window.slices][::step, ::step])

    def views(self) -> list[np.ndarray]:
        """Return the whole plane."""
        return [_without_margins(grey_view(self._plane))]


class ImageSource:
    """The planes of an image of any kind.

    Parameters
    ----------
    image : CellImage
        In memory or lazy.
    channels : tuple of int, optional
        Up to three channels; None takes the first three.
    """

    def __init__(self, image: CellImage, channels: tuple[int, ...] | None = None) -> None:
        self._image, self._channels = image, channels
        self.name, self.plane_shape = image.name, image.plane_shape
        self._last: tuple[PlaneIndex, PlaneReader] | None = None

    def plane_indices(self) -> list[PlaneIndex]:
        """Position of each plane along T and Z."""
        return list(self._image.plane_indices())

    def reader(self, index: PlaneIndex) -> PlaneReader:
        """Return the reader of a plane; the last is kept, since its stretch depends on the whole plane."""
        if self._last is None or self._last[0] != index:
            self._last = index, PlaneReader(self._image, index, self._channels)
        return self._last[1]


class ArraySource:
    """A single plane in memory; see `ArrayReader`."""

    name = ""

    def __init__(self, plane: np.ndarray) -> None:
        self._reader = ArrayReader(plane)
        self.plane_shape = self._reader.shape

    def plane_indices(self) -> list[PlaneIndex]:
        """Return the position of the only plane, which has no axes."""
        return [{}]

    def reader(self, index: PlaneIndex) -> ArrayReader:
        """Return the reader of the plane."""
        return self._reader


def _without_margins(view: np.ndarray) -> np.ndarray:
    """Remove flat rows and columns around a view; with padding it would be shrunk until no cell shows."""
    edges = (view[:1], view[-1:], view[:, :1], view[:, -1:])
    if all(np.ptp(edge, axis=(0, 1)).max() > FLAT for edge in edges):
        return view  # most images have no margins and need no search
    rows, columns = (np.flatnonzero(np.ptp(view, axis=axis).max(axis=1) > FLAT) for axis in (1, 0))
    if not rows.size or not columns.size:
        return view
    return view[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _starts(length: int) -> list[int]:
    """Return where three windows along an axis begin, away from its ends if there is room."""
    return np.unique(np.linspace(0, max(0, length - WINDOW), 5, dtype=int)[1:4]).tolist()
