"""A detector without torch: the graphs of a network in ONNX Runtime on the processor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array, eye_array

from napari_cupre.data.normalise import is_grey
from napari_cupre.model.geometry import stretched_size
from napari_cupre.model.graph_file import read_tensors
from napari_cupre.model.graph_network import GraphNetwork
from napari_cupre.model.hardware import is_out_of_memory
from napari_cupre.model.model_info import read_info
from napari_cupre.prediction.detecting import (
    MAX_DETECTIONS,
    CellFinder,
    Features,
    in_px,
    too_large,
)
from napari_cupre.prediction.stitch import Found


class GraphDetector(CellFinder):
    """A model file made ready for prediction without torch, in float32.

    Parameters
    ----------
    path : Path
        A model for which graphs ship (see `model.graph_file.has_graphs`).

    Raises
    ------
    ModelFileError
        If the file is damaged.
    ImportError
        If ONNX Runtime is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.info = read_info(path)
        self._path = path
        self._network = GraphNetwork(self.info.config, read_tensors(path, self.info.config))

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Yield the tensors as torch's detector does."""
        for name, value in sorted(read_tensors(self._path, self.info.config).items()):
            yield name, value.tobytes()

    def batch_size(self, shape: tuple[int, int], factor: float) -> int:
        """Return 1: the graphs take pieces one by one, and larger batches gain nothing on a CPU."""
        return 1

    def look(self, piece: np.ndarray, factor: float, score: float) -> Found:
        """Find the cells of one piece; see `CellFinder`."""
        return self._found(piece, factor, score)

    def glance(self, piece: np.ndarray, factor: float, score: float, most: int) -> Found:
        """Find the surest cells of one piece; see `CellFinder`."""
        return self._found(piece, factor, score, most)

    def detected(self, pieces: Sequence[np.ndarray], factor: float, score: float) -> list[Found]:
        """Find the cells of each piece, in the piece's own px; see `CellFinder`."""
        return [self._found(piece, factor, score) for piece in pieces]

    def _found(self, piece: np.ndarray, factor: float, score: float, most: int = MAX_DETECTIONS) -> Found:
        image = stretched(piece, factor)
        try:
            cells = self._network.detect(image, score, most)
        except Exception as error:  # ONNX Runtime's own classes of errors have no public base
            raise self._in_words(error, piece) from error
        self._tidy(image.shape[0] * image.shape[1])
        boxes = in_px(cells.boxes, factor, (piece.shape[0], piece.shape[1]))
        return Found(boxes, cells.scores, cells.classes, cells.masks)

    def features(self, piece: np.ndarray, factor: float) -> Features:
        """Compute the features of one piece; see `CellFinder`."""
        image = stretched(piece, factor)
        try:
            maps = self._network.maps(image).features
        except Exception as error:
            raise self._in_words(error, piece) from error
        self._tidy(image.shape[0] * image.shape[1])
        named = {str(number): level for number, level in enumerate(maps)}
        return Features(named, (image.shape[0], image.shape[1]), factor)

    def mended(self, features: Features, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Correct boxes (N, 4) in px of the piece with the box head; see `CellFinder`."""
        given = _in_network(features, boxes)
        mended, scores, classes = self._network.mend([*features.maps.values()], given, features.size)
        return mended / np.float32(features.factor), scores, classes

    def outlined(self, features: Features, boxes: np.ndarray) -> np.ndarray:
        """Return the mask in each box (N, 4) in px of the piece: float32 probabilities (N, S, S)."""
        return self._network.outline([*features.maps.values()], _in_network(features, boxes))

    def _in_words(self, error: Exception, piece: np.ndarray) -> Exception:
        return too_large(piece, "cpu") if is_out_of_memory(error) else error


def stretched(image: np.ndarray, factor: float) -> np.ndarray:
    """Stretch an image (Y, X, C) by exactly `factor`, like `detector.resized`."""
    if factor == 1:
        return image
    if image.shape[2] == 3 and is_grey(image):
        return np.repeat(stretched(image[..., :1], factor), 3, axis=2)
    size, lack = stretched_size((image.shape[0], image.shape[1]), factor)
    padded = np.pad(image, ((0, lack[0]), (0, lack[1]), (0, 0)), mode="edge") if any(lack) else image
    for axis in (0, 1):
        lines = np.moveaxis(padded, axis, 0)
        matrix = _interpolation(lines.shape[0], size[axis], factor * (1 + 1e-9))
        flat = matrix @ np.ascontiguousarray(lines, dtype=np.float32).reshape(lines.shape[0], -1)
        padded = np.moveaxis(flat.reshape(size[axis], *lines.shape[1:]), 0, axis)
    return np.ascontiguousarray(padded)


@lru_cache(maxsize=8)  # all images of a folder have mostly the same size, and so have the tiles of a slide
def _interpolation(length: int, size: int, factor: float) -> csr_array:
    """Return the matrix (size, length) of bilinear interpolation, smoothed if it shrinks."""
    if factor > 1 and int(length * factor) == length:
        return eye_array(size, length, dtype=np.float32, format="csr")  # torch does not stretch it, either
    step = np.float32(1 / factor)
    centre = step * (np.arange(size, dtype=np.float32) + np.float32(0.5))
    reach = max(step, np.float32(1))
    taps = int(np.ceil(2 * reach)) + 2
    first = np.floor(centre - reach).astype(np.int64)
    place = first[:, None] + np.arange(taps)
    weight = np.maximum(0, 1 - np.abs(place + np.float32(0.5) - centre[:, None]) / reach)
    if factor < 1:  # positions beyond the image have no weight
        weight = np.where((place >= 0) & (place < length), weight, 0)
    weight = (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)
    starts = np.arange(0, size * taps + 1, taps, dtype=np.int32)
    index = np.clip(place, 0, length - 1).astype(np.int32)
    return csr_array((weight.reshape(-1), index.reshape(-1), starts), shape=(size, length))


def _in_network(features: Features, boxes: np.ndarray) -> np.ndarray:
    return np.asarray(boxes, dtype=np.float32).reshape(-1, 4) * np.float32(features.factor)
