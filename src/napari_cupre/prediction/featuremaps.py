"""Features of the windows in which cells are outlined, computed once and kept."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from napari_cupre.prediction.detecting import CellFinder, Features
from napari_cupre.prediction.plan import MAX_FACTOR, aligned
from napari_cupre.prediction.tiles import Window

Read = Callable[[Window, int], np.ndarray]
"""Gives every n-th pixel of a window, float32 (Y, X, 3), normalised."""

SIZE = 1.5
"""Scale at which a cell is examined, relative to the network's diameter. On eight kinds of images outside the
test parts, the mean IoU of masks in exact boxes was up to 0.03 higher than at 1; at 2, which costs nearly
twice as much, it was only slightly higher."""

CORE = 256
HALO = 64
"""Side of the core that a window answers for, and width of its surroundings, network px."""

MEMORY = 1 << 29
"""Bytes of features to keep, some eighty windows."""


class FeatureWindow(NamedTuple):
    """One window at one scale.

    Attributes
    ----------
    features : Features
        See `Detector.features`.
    corner : numpy.ndarray
        X, y, x, y of its first pixel in image px, float64 (4,).
    step : int
        Step between the image px that were read, along both axes.
    """

    features: Features
    corner: np.ndarray
    step: int

    def inside(self, boxes: np.ndarray) -> np.ndarray:
        """Convert boxes (N, 4) from image px to px of the window."""
        return (boxes - self.corner) / self.step

    def outside(self, boxes: np.ndarray) -> np.ndarray:
        """Convert boxes back to image px; the inverse of `inside`."""
        return boxes.astype(np.float64) * self.step + self.corner


class Scale(NamedTuple):
    """One of the scales at which an image is examined.

    Attributes
    ----------
    factor : float
        Network px per image px.
    step : int
        Step between the image px that are read, along both axes.
    core, halo : int
        Of a window in image px.
    """

    factor: float
    step: int
    core: int
    halo: int


class FeatureMaps:
    """The windows of one plane at scales an octave apart; the most recently used ones are kept.

    A window is computed at its first use. The scale and the window of a cell depend only on its size and
    position, so its outline does not depend on earlier prompts.

    Parameters
    ----------
    detector : CellFinder
        Makes the features.
    read : Read
        Gives windows of the plane.
    shape : tuple[int, int]
        (Y, X) of the plane.
    diameter : float, optional
        Usual cell diameter in image px, for which one scale is exactly right; None if unknown.
    memory : int, optional
        Bytes of features to keep; the last window is always kept.
    """

    def __init__(
        self,
        detector: CellFinder,
        read: Read,
        shape: tuple[int, int],
        diameter: float | None = None,
        memory: int = MEMORY,
    ) -> None:
        self.detector, self.shape = detector, shape
        self._read, self._memory = read, memory
        self._size = SIZE * detector.diameter
        self._base = 1.0 if diameter is None else self._size / diameter
        self._windows: OrderedDict[tuple[Scale, int, int], FeatureWindow] = OrderedDict()
        self._bytes = 0

    def scale(self, size: float) -> Scale:
        """Return the scale for a cell of `size` image px."""
        octaves = round(math.log2(self._size / size / self._base))
        factor = min(self._base * 2.0**octaves, MAX_FACTOR)
        if factor < 1 / MAX_FACTOR:
            # Not all pixels are read: the step must divide the places where windows begin.
            factor = 2.0 ** math.floor(math.log2(factor))
        factor, step = aligned(factor)
        core = math.ceil(CORE / factor / step) * step
        halo = math.ceil(HALO / factor / step) * step
        return Scale(factor, max(1, round(1 / (MAX_FACTOR * factor))), core, halo)

    def key(self, scale: Scale, y: float, x: float) -> tuple[Scale, int, int]:
        """Return the key of the window that answers for a position in image px."""
        rows, columns = (
            0 if side <= scale.core + 2 * scale.halo else int(min(max(place, 0), side - 1)) // scale.core
            for place, side in ((y, self.shape[0]), (x, self.shape[1]))
        )
        return scale, rows, columns

    def keys(self, scale: Scale, within: Window) -> list[tuple[Scale, int, int]]:
        """Return the keys of all windows that answer for positions in a window."""
        _, top, left = self.key(scale, within.y0, within.x0)
        _, bottom, right = self.key(scale, within.y1 - 1, within.x1 - 1)
        return [(scale, row, column) for row in range(top, bottom + 1) for column in range(left, right + 1)]

    def window(self, key: tuple[Scale, int, int]) -> FeatureWindow:
        """Return a window; compute it unless it is kept.

        Raises
        ------
        InputError
            If that part of the image cannot be read.
        EnvironmentFault
            If memory does not suffice.
        """
        if key not in self._windows:
            self._windows[key] = self._computed(*key)
            self._bytes += self._windows[key].features.bytes
            while self._bytes > self._memory and len(self._windows) > 1:
                self._bytes -= self._windows.popitem(last=False)[1].features.bytes
        self._windows.move_to_end(key)
        return self._windows[key]

    def has(self, key: tuple[Scale, int, int]) -> bool:
        """Whether a window is kept."""
        return key in self._windows

    def room(self) -> int:
        """Return how many windows of the present size fit into memory; at least 1."""
        largest = max((window.features.bytes for window in self._windows.values()), default=1)
        return max(1, self._memory // largest)

    def _computed(self, scale: Scale, row: int, column: int) -> FeatureWindow:
        y0, y1 = _span(row, self.shape[0], scale)
        x0, x1 = _span(column, self.shape[1], scale)
        piece = self._read(Window(y0, x0, y1, x1), scale.step)
        features = self.detector.features(piece, scale.factor * scale.step)
        return FeatureWindow(features, np.array([x0, y0, x0, y0], dtype=np.float64), scale.step)


def _span(number: int, side: int, scale: Scale) -> tuple[int, int]:
    """Return the range that a window reads along one axis."""
    if side <= scale.core + 2 * scale.halo:
        return 0, side
    return max(0, number * scale.core - scale.halo), min(side, (number + 1) * scale.core + scale.halo)
