"""Turn the network's masks of prompted cells into outlines in image px."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from napari_cupre.model.paint import foreground, pixel_ranges
from napari_cupre.prediction.instances import BoxMasks, Instances
from napari_cupre.prediction.limits import BIG_PIXELS

LAZY_CHUNK = 2048
"""Side of the blocks in which the labels of a large plane are painted, px."""


@dataclass(frozen=True, eq=False)
class Outline:
    """One cell.

    Attributes
    ----------
    box : tuple[int, int, int, int]
        `(x0, y0, x1, y1)` of the pixels that `mask` covers, whole numbers, ends exclusive.
    mask : numpy.ndarray
        bool (y1 - y0, x1 - x0); all False if nothing was found.
    score : float
        How sure the network is that there is a cell, 0..1.
    kind : int
        Class, 1-based.
    """

    box: tuple[int, int, int, int]
    mask: np.ndarray
    score: float
    kind: int

    @property
    def area(self) -> int:
        """Return the area in image px."""
        return int(self.mask.sum())

    def holds(self, point: np.ndarray) -> bool:
        """Whether a point (y, x) in image px lies in the mask."""
        row, column = np.floor(point).astype(np.int64) - [self.box[1], self.box[0]]
        is_inside = 0 <= row < self.mask.shape[0] and 0 <= column < self.mask.shape[1]
        return bool(is_inside and self.mask[row, column])


class Grids(NamedTuple):
    """The network's masks: boxes (N, 4) in image px, probabilities (N, S, S) over them."""

    boxes: np.ndarray
    probabilities: np.ndarray
    scores: np.ndarray
    kinds: np.ndarray


def drawn_mask(
    grids: Grids,
    row: int,
    shape: tuple[int, int],
    point: np.ndarray | None = None,
) -> Outline:
    """Draw one mask in image px: the piece with the point (y, x), or the largest, with holes filled."""
    left, top, right, bottom = pixel_ranges(grids.boxes[row], shape)[0].tolist()
    mask = np.zeros((bottom - top, right - left), dtype=bool)
    for part in foreground(grids.boxes, grids.probabilities, shape, np.array([row])):
        rows, columns = np.divmod(part.pixel, shape[1])
        mask[rows - top, columns - left] = True
    mask = ndimage.binary_fill_holes(mask)
    pieces, count = ndimage.label(mask)
    score, kind = float(grids.scores[row]), int(grids.kinds[row])
    if count == 0:
        return Outline((left, top, right, bottom), mask, score, kind)
    if count > 1:
        mask = pieces == _chosen(pieces, point, (top, left))
    (rows, columns) = ndimage.find_objects(mask.astype(np.uint8))[0]
    place = (left + columns.start, top + rows.start, left + columns.stop, top + rows.stop)
    return Outline(place, mask[rows, columns].copy(), score, kind)


def _chosen(pieces: np.ndarray, point: np.ndarray | None, corner: tuple[int, int]) -> int:
    """Return the number of the piece with a point (y, x), or of the largest piece."""
    if point is not None:
        row, column = np.floor(point).astype(np.int64) - corner
        if 0 <= row < pieces.shape[0] and 0 <= column < pieces.shape[1] and pieces[row, column]:
            return int(pieces[row, column])
    return int(np.bincount(pieces.ravel())[1:].argmax()) + 1


def nothing_at(point: np.ndarray) -> Outline:
    """Return the answer to a click (y, x) outside any cell: one pixel, not in the mask."""
    y, x = np.floor(point).astype(int).tolist()
    return Outline((x, y, x + 1, y + 1), np.zeros((1, 1), dtype=bool), 0.0, 1)


def is_large(shape: tuple[int, int]) -> bool:
    """Whether the labels of a plane (Y, X) are painted lazily, only where they are read."""
    return shape[0] * shape[1] > BIG_PIXELS


def as_instances(outlines: Sequence[Outline], shape: tuple[int, int], diameter: float) -> Instances:
    """Combine outlines into a label image: outline i has label i + 1; the surer one wins an overlap.

    Parameters
    ----------
    outlines : sequence of Outline
        In the order of their prompts.
    shape : tuple[int, int]
        (Y, X) of the plane. Above `BIG_PIXELS` its labels are a dask array that is painted lazily.
    diameter : float
        Diameter of the cells in image px, if known.
    """
    boxes = np.array([outline.box for outline in outlines], dtype=np.int64).reshape(-1, 4)
    scores = np.array([outline.score for outline in outlines], dtype=np.float32)
    masks = BoxMasks([outline.mask for outline in outlines], boxes[:, :2].tolist(), shape)
    labels: Any
    if is_large(shape):
        labels = _painted_lazily(boxes, scores, masks)
    else:
        labels = np.zeros(shape, dtype=np.int32)
        _paint(labels, (0, 0), boxes, scores, masks)
    return Instances(
        labels=labels,
        boxes=boxes.astype(np.float32),
        scores=scores,
        masks=masks,
        classes=np.array([outline.kind for outline in outlines], dtype=np.int64),
        diameter=diameter,
    )


def _painted_lazily(boxes: np.ndarray, scores: np.ndarray, masks: BoxMasks) -> Any:
    """Return an int32 (Y, X) dask array whose blocks are painted when they are read."""
    import dask.array as da

    def block(block_info: Any = None) -> np.ndarray:
        place = block_info[None]["array-location"]
        part = np.zeros([end - start for start, end in place], dtype=np.int32)
        _paint(part, (place[0][0], place[1][0]), boxes, scores, masks)
        return part

    chunks = da.core.normalize_chunks(LAZY_CHUNK, masks.shape)
    return da.map_blocks(block, chunks=chunks, dtype=np.int32, meta=np.zeros((0, 0), np.int32))


def _paint(
    labels: np.ndarray, corner: tuple[int, int], boxes: np.ndarray, scores: np.ndarray, masks: BoxMasks
) -> None:
    """Paint the outlines in the part of a plane that starts at `corner` (y, x), the surest last."""
    top, left = corner
    for row in np.argsort(scores, kind="stable").tolist():
        x0, y0, x1, y1 = (boxes[row] - [left, top, left, top]).tolist()
        rows, columns = slice(max(0, y0), max(0, y1)), slice(max(0, x0), max(0, x1))
        part = labels[rows, columns]
        if part.size:
            part[masks[row][rows.start - y0 :, columns.start - x0 :][: part.shape[0], : part.shape[1]]] = (
                row + 1
            )
