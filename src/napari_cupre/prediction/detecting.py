"""What finds cells in a piece of an image, whichever library computes it."""

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
"""Per piece; a packed field of 1024 network px with the smallest usual diameter holds about 2,300."""

PIXELS_BETWEEN_TRIMS = 1 << 24
"""Network pixels on a processor after which unused memory goes back to the system: some twenty tiles."""


class Features(NamedTuple):
    """What the network makes of one piece of an image; its heads read cells off it.

    Attributes
    ----------
    maps : dict of str to Any
        Of each pyramid level, finest first, in the form that their detector reads.
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
        """Memory that the feature maps take."""
        return sum(level.nbytes for level in self.maps.values())


class CellFinder(ABC):
    """A model made ready for prediction; changes of its weights need another one.

    Attributes
    ----------
    info : ModelInfo
        What is known about the model.
    """

    info: ModelInfo
    _untrimmed = 0

    @property
    def diameter(self) -> float:
        """The cell diameter in network px that the network was trained for."""
        return self.info.config.diameter

    @abstractmethod
    def contents(self) -> Iterator[tuple[str, bytes]]:
        """All that the results depend on, by name, in a fixed order."""

    @abstractmethod
    def batch_size(self, shape: tuple[int, int], factor: float) -> int:
        """How many pieces of `shape` (Y, X) image px go through the network together."""

    @abstractmethod
    def look(self, piece: np.ndarray, factor: float, score: float) -> Found:
        """Cells of one piece as `detected` finds them, in float32.

        Scale and score of a whole image follow from what is seen: they must not hang on a mask's last digit.
        """

    @abstractmethod
    def glance(self, piece: np.ndarray, factor: float, score: float, most: int) -> Found:
        """The surest cells of one piece, at most `most`, in the fastest arithmetic that there is.

        For what a last digit cannot change; see `look`.
        """

    def __call__(self, pieces: Sequence[np.ndarray], factor: float, score: float) -> list[Found]:
        """Cells of each piece, in the piece's own px, with the edges that it shows.

        Parameters
        ----------
        pieces : sequence of numpy.ndarray
            float32 (Y, X, 3) each, normalised, all of one shape.
        factor : float
            Network px per image px.
        score : float
            Cells below it are left out.

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
        """As `__call__`, with the edges that the network gives them."""

    @abstractmethod
    def features(self, piece: np.ndarray, factor: float) -> Features:
        """What the network makes of one piece, to read cells off it with `mended` and `outlined`.

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
        """What the box head makes of boxes (N, 4) in px of the piece.

        Returns
        -------
        tuple of numpy.ndarray
            Boxes float32 (N, 4), scores float32 (N,) of the boxes as they were, classes int64 (N,), 1-based.
        """

    @abstractmethod
    def outlined(self, features: Features, boxes: np.ndarray) -> np.ndarray:
        """The mask of the cell in each box (N, 4) in px of the piece: probabilities float32 (N, S, S)."""

    def _tidy(self, pixels: int) -> None:
        """Now and then, give back the gaps that blocks of changing size leave in the processor's heap.

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
    """`model` made ready, if it is not yet."""
    if isinstance(model, CellFinder):
        return model
    from napari_cupre.prediction.detector import Detector

    return Detector(model)


def in_px(boxes: np.ndarray, factor: float, size: tuple[int, int]) -> np.ndarray:
    """Boxes float32 (N, 4) in the px of a piece of `size` (Y, X), before it was stretched."""
    limit = np.array([size[1], size[0], size[1], size[0]], dtype=np.float32)
    return np.minimum(boxes / np.float32(factor), limit)


def too_large(piece: np.ndarray, where: str) -> EnvironmentFault:
    """What to raise for a piece that does not fit into memory."""
    return EnvironmentFault(
        f"A piece of {piece.shape[0]} x {piece.shape[1]} px does not fit into the memory of "
        f"{where}: choose a smaller tile."
    )
