"""The interface of detectors: find cells in a piece of an image, with any library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_cupre.errors import EnvironmentFault
from napari_cupre.model.memory import trim
from napari_cupre.model.sharpen import sharpened

if TYPE_CHECKING:
    from napari_cupre.model.checkpoint import Model
    from napari_cupre.model.model_info import ModelInfo
    from napari_cupre.prediction.stitch import Found

MAX_DETECTIONS = 3000
"""Maximum per piece; a packed field of 1024 network px with small cells contains about 2,300."""

PIXELS_BETWEEN_TRIMS = 1 << 24
"""Network pixels on a CPU after which unused memory is returned to the system: some twenty tiles."""


class Features(NamedTuple):
    """The network's features of one piece of an image, from which the heads find cells.

    Attributes
    ----------
    maps : dict of str to Any
        Maps of each pyramid level, finest first, in the detector's own form.
    size : tuple[int, int]
        (Y, X) of the piece in network px.
    factor : float
        Network px per px of the piece.
    """

    maps: dict[str, Any]
    size: tuple[int, int]
    factor: float

    @property
    def bytes(self) -> int:
        """Return the memory of the feature maps."""
        return sum(level.nbytes for level in self.maps.values())


class CellFinder(ABC):
    """A model made ready for prediction; if its weights change, make a new one.

    Attributes
    ----------
    info : ModelInfo
        The description of the model.
    """

    info: ModelInfo
    _untrimmed = 0

    @property
    def diameter(self) -> float:
        """Return the network's own cell diameter in network px."""
        return self.info.config.diameter

    @abstractmethod
    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Return everything that the results depend on, by name, in a fixed order."""

    @abstractmethod
    def batch_size(self, shape: tuple[int, int], factor: float) -> int:
        """Return how many pieces of `shape` (Y, X) image px go through the network together."""

    @abstractmethod
    def look(self, piece: np.ndarray, factor: float, score: float) -> Found:
        """Find the cells of one piece like `detected`, but in float32.

        Scale and score of the whole image follow from the result, so they must not depend on rounding.
        """

    @abstractmethod
    def glance(self, piece: np.ndarray, factor: float, score: float, most: int) -> Found:
        """Find the surest cells of one piece, at most `most`, in the fastest arithmetic available.

        Use it only where rounding does not matter; otherwise see `look`.
        """

    def __call__(self, pieces: Sequence[np.ndarray], factor: float, score: float) -> list[Found]:
        """Find the cells of each piece, in the piece's own px, with masks that follow the visible edges.

        Parameters
        ----------
        pieces : sequence of numpy.ndarray
            float32 (Y, X, 3) each, normalised, all of one shape.
        factor : float
            Network px per image px.
        score : float
            Minimum score of a cell.

        Raises
        ------
        EnvironmentFault
            If a single piece is too large for the device's memory.
        """
        found = self.detected(pieces, factor, score)
        return [
            replace(each, masks=sharpened(piece, each.boxes, each.masks))
            for piece, each in zip(pieces, found)
        ]

    @abstractmethod
    def detected(self, pieces: Sequence[np.ndarray], factor: float, score: float) -> list[Found]:
        """Do the same as `__call__`, but keep the edges that the network gives."""

    @abstractmethod
    def features(self, piece: np.ndarray, factor: float) -> Features:
        """Compute the features of one piece, for use by `mended` and `outlined`.

        Parameters
        ----------
        piece : numpy.ndarray
            float32 (Y, X, 3), normalised.
        factor : float
            Network px per image px.

        Raises
        ------
        EnvironmentFault
            If the piece is too large for the device's memory.
        """

    @abstractmethod
    def mended(self, features: Features, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return boxes (N, 4) in px of the piece, corrected by the box head.

        Returns
        -------
        tuple of numpy.ndarray
            Boxes float32 (N, 4), scores float32 (N,) of the boxes as they were, classes int64 (N,), 1-based.
        """

    @abstractmethod
    def outlined(self, features: Features, boxes: np.ndarray) -> np.ndarray:
        """Return the mask in each box (N, 4) in px of the piece: float32 probabilities (N, S, S)."""

    def _tidy(self, pixels: int) -> None:
        """Now and then, return the gaps that blocks of changing size leave in the heap to the system.

        Parameters
        ----------
        pixels : int
            Network px that were computed since the last call.
        """
        self._untrimmed += pixels
        if self._untrimmed >= PIXELS_BETWEEN_TRIMS:
            self._untrimmed = 0
            trim()


def as_finder(model: Model | CellFinder) -> CellFinder:
    """Return `model` made ready for prediction."""
    if isinstance(model, CellFinder):
        return model
    from napari_cupre.prediction.detector import Detector

    return Detector(model)


def in_px(boxes: np.ndarray, factor: float, size: tuple[int, int]) -> np.ndarray:
    """Convert boxes to the px of a piece of `size` (Y, X) before stretching, float32 (N, 4)."""
    limit = np.array([size[1], size[0], size[1], size[0]], dtype=np.float32)
    return np.minimum(boxes / np.float32(factor), limit)


def too_large(piece: np.ndarray, where: str) -> EnvironmentFault:
    """Return the error for a piece that does not fit into memory."""
    return EnvironmentFault(
        f"A piece of {piece.shape[0]} x {piece.shape[1]} px does not fit into the memory of "
        f"{where}: choose a smaller tile."
    )
