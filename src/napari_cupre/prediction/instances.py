"""The prediction of one plane: labels, boxes, scores and overlapping masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from napari_cupre.data.rle import RLE, encode_pixels
from napari_cupre.model.paint import foreground, pixel_ranges


class MaskSet(ABC):
    """N masks of one plane that may overlap; `masks[i]` is bool and as large as its box.

    Attributes
    ----------
    shape : tuple[int, int]
        (Y, X) of the image.
    """

    shape: tuple[int, int]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def pixels(self, index: int) -> np.ndarray:
        """Return the rising flat (row-major) pixel indices of one mask, int64."""

    def full(self, index: int) -> np.ndarray:
        """Return one mask at full size, bool (Y, X)."""
        mask = np.zeros(self.shape, dtype=bool)
        mask.reshape(-1)[self.pixels(index)] = True
        return mask

    def rle(self) -> list[RLE]:
        """Return all masks as compressed COCO run lengths (`{"size": [Y, X], "counts": str}`) for JSON.

        The runs are made from each mask's own pixels; no plane of the image's size is built.
        """
        return [encode_pixels(self.pixels(index), self.shape) for index in range(len(self))]


@dataclass
class Masks(MaskSet):
    """The overlapping masks of N instances, kept small.

    `masks[i]` holds the pixels whose centres lie in box i, bool (rows, columns).

    Attributes
    ----------
    probabilities : numpy.ndarray
        float (N, S, S), the mask over its box; inside where >= 0.5.
    boxes : numpy.ndarray
        float32 (N, 4), x1, y1, x2, y2 in image px.
    shape : tuple[int, int]
        (Y, X) of the image.
    """

    probabilities: np.ndarray
    boxes: np.ndarray
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.boxes)

    def pixels(self, index: int) -> np.ndarray:
        """Return the rising flat (row-major) pixel indices of one mask, int64."""
        parts = foreground(self.boxes, self.probabilities, self.shape, np.array([index]))
        found = [part.pixel for part in parts]
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)

    def __getitem__(self, index: int) -> np.ndarray:
        index = range(len(self))[index]
        left, top, right, bottom = pixel_ranges(self.boxes[index], self.shape)[0].tolist()
        rows, columns = np.divmod(self.pixels(index), self.shape[1])
        mask = np.zeros((bottom - top, right - left), dtype=bool)
        mask[rows - top, columns - left] = True
        return mask

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def take(self, rows: np.ndarray) -> Masks:
        """Return the masks of some rows, in that order."""
        return Masks(self.probabilities[rows], self.boxes[rows], self.shape)


class BoxMasks(list[np.ndarray], MaskSet):
    """The overlapping masks of N instances as a list of bool arrays, each the whole pixels of its box.

    Parameters
    ----------
    masks : iterable of numpy.ndarray
        bool (rows, columns) each.
    corners : sequence of tuple[int, int]
        X, y of the first pixel of each.
    shape : tuple[int, int]
        (Y, X) of the image.
    """

    def __init__(
        self, masks: Iterable[np.ndarray], corners: Sequence[tuple[int, int]], shape: tuple[int, int]
    ) -> None:
        super().__init__(masks)
        self.corners, self.shape = list(corners), shape

    def pixels(self, index: int) -> np.ndarray:
        """Return the rising flat (row-major) pixel indices of one mask, int64."""
        (left, top), mask = self.corners[index], self[index]
        rows, columns = np.nonzero(mask)
        return (rows + top).astype(np.int64) * self.shape[1] + columns + left

    def take(self, rows: np.ndarray) -> BoxMasks:
        """Return the masks of some rows, in that order."""
        return BoxMasks([self[row] for row in rows], [self.corners[row] for row in rows], self.shape)


def union_mask(masks: list[np.ndarray], boxes: list[np.ndarray], box: np.ndarray) -> np.ndarray:
    """Resample the pieces of one cell to the box around them; the highest probability counts.

    Parameters
    ----------
    masks : list of numpy.ndarray
        float (S, S) each, over its box.
    boxes : list of numpy.ndarray
        (4,) each, x1, y1, x2, y2.
    box : numpy.ndarray
        (4,), the box of the result.

    Returns
    -------
    numpy.ndarray
        float32 (S, S).
    """
    side = masks[0].shape[-1]
    centres = (np.arange(side) + 0.5) / side
    y = box[1] + centres * (box[3] - box[1])
    x = box[0] + centres * (box[2] - box[0])
    union = np.zeros((side, side), dtype=np.float32)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes):
        v, u = (y - y1) / (y2 - y1) * side - 0.5, (x - x1) / (x2 - x1) * side - 0.5
        inside = ((y >= y1) & (y < y2))[:, None] & ((x >= x1) & (x < x2))[None, :]
        grid = np.meshgrid(v, u, indexing="ij")
        sampled = map_coordinates(mask.astype(np.float32), grid, order=1, mode="nearest")
        union = np.maximum(union, np.where(inside, sampled, 0))
    return union


@dataclass
class Instances:
    """The cells of one plane; label i of `labels` is row i - 1 of everything else.

    Attributes
    ----------
    labels : numpy.ndarray
        int32 (Y, X), 0 = background.
    boxes : numpy.ndarray
        float32 (N, 4), x1, y1, x2, y2 in image px.
    scores : numpy.ndarray
        float32 (N,), falling; for outlines in the order of the prompts.
    masks : Masks or BoxMasks
        The N overlapping masks; `masks[i]` is bool and as large as box i. Predictions keep `Masks`, outlines
        `BoxMasks`, a list.
    classes : numpy.ndarray
        int64 (N,), 1-based.
    diameter : float
        Cell diameter in image px that set the scale of the prediction.
    complete : bool
        False when the prediction was stopped before all tiles were done.
    """

    labels: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    masks: Masks | BoxMasks
    classes: np.ndarray
    diameter: float
    complete: bool = True

    def __len__(self) -> int:
        return len(self.scores)
