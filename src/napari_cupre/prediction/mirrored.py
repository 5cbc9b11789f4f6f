"""Looking twice: each piece as it is and mirrored, and the mean of what is found.

A network trained on every orientation should see the same cells in both. Where it does not, it is unsure, and
the mean says so (test-time augmentation, as in Krizhevsky et al., 2012).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.prediction.detecting import CellFinder, Features, as_finder
from napari_cupre.prediction.stitch import Found

if TYPE_CHECKING:
    from napari_cupre.model.checkpoint import Model
    from napari_cupre.prediction.predict_options import PredictOptions

SAME = 0.5
"""IoU of the boxes of one cell that both views show."""

LEAST = 0.2
"""Cells of one view that are surer than this may be confirmed by the other."""


def finder_for(model: Model | CellFinder, options: PredictOptions) -> CellFinder:
    """Make `model` ready, if it is not yet, to look once or twice."""
    finder = as_finder(model)
    return Mirrored(finder) if options.augment else finder


class Mirrored(CellFinder):
    """A finder that looks at each piece twice.

    Parameters
    ----------
    finder : CellFinder
        What looks.
    """

    def __init__(self, finder: CellFinder) -> None:
        self._finder = finder
        self.info = finder.info

    @property
    def diameter(self) -> float:
        """The cell diameter in network px that the network was trained for."""
        return self._finder.diameter

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Those of the finder: that it looks twice is an option of the prediction."""
        yield from self._finder.contents()

    def batch_size(self, shape: tuple[int, int], factor: float) -> int:
        """How many pieces go through the network together; see `CellFinder`."""
        return self._finder.batch_size(shape, factor)

    def look(self, piece: np.ndarray, factor: float, score: float) -> Found:
        """Look once: scale and score of an image are chosen for what a single look shows."""
        return self._finder.look(piece, factor, score)

    def glance(self, piece: np.ndarray, factor: float, score: float, most: int) -> Found:
        """Look once; see `CellFinder`."""
        return self._finder.glance(piece, factor, score, most)

    def detected(self, pieces: Sequence[np.ndarray], factor: float, score: float) -> list[Found]:
        """Cells of each piece, as both views show them in the mean."""
        least = min(score, LEAST)
        plain = self._finder.detected(pieces, factor, least)
        turned = self._finder.detected(
            [np.ascontiguousarray(piece[:, ::-1]) for piece in pieces], factor, least
        )
        views = zip(pieces, plain, turned, strict=True)
        return [mean_of(one, mirrored(other, piece.shape[1]), score) for piece, one, other in views]

    def features(self, piece: np.ndarray, factor: float) -> Features:
        """What the network makes of one piece, seen once; see `CellFinder`."""
        return self._finder.features(piece, factor)

    def mended(self, features: Features, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the box head makes of boxes; see `CellFinder`."""
        return self._finder.mended(features, boxes)

    def outlined(self, features: Features, boxes: np.ndarray) -> np.ndarray:
        """The mask of the cell in each box; see `CellFinder`."""
        return self._finder.outlined(features, boxes)


def mirrored(found: Found, width: int) -> Found:
    """Cells of a piece of so many columns as they lie in its mirror image."""
    boxes = found.boxes.copy()
    boxes[:, [0, 2]] = width - found.boxes[:, [2, 0]]
    return Found(boxes, found.scores, found.kinds, np.ascontiguousarray(found.masks[:, :, ::-1]))


def mean_of(first: Found, second: Found, score: float) -> Found:
    """The cells of two views of one piece, by falling score.

    Two that are the best match of each other are one cell: its score is the mean of both, its box and mask
    are weighted by them. A cell that only one view shows has half its score, unless it overlaps what
    the other view found there already: then it is that.

    Parameters
    ----------
    first, second : Found
        Of the same piece.
    score : float
        Cells below it are left out.
    """
    if not len(first) or not len(second):
        alone = first if len(first) else second
        return _sorted(Found(alone.boxes, alone.scores / 2, alone.kinds, alone.masks), score)
    iou = pairwise_iou(first.boxes, second.boxes)
    best, back = iou.argmax(axis=1), iou.argmax(axis=0)
    rows = np.flatnonzero((back[best] == np.arange(len(first))) & (iou.max(axis=1) > SAME))
    one, other = first.take(rows), second.take(best[rows])
    share = (one.scores / np.maximum(one.scores + other.scores, 1e-6)).astype(np.float32)
    both = Found(
        other.boxes + share[:, None] * (one.boxes - other.boxes),
        (one.scores + other.scores) / 2,
        np.where(one.scores >= other.scores, one.kinds, other.kinds),
        other.masks + share[:, None, None] * (one.masks - other.masks),
    )
    unmatched = [
        Found(part.boxes, part.scores / 2, part.kinds, part.masks)
        for part in (
            first.take(np.flatnonzero(iou.max(axis=1) <= SAME)),
            second.take(np.flatnonzero(iou.max(axis=0) <= SAME)),
        )
    ]
    whole = [both, *unmatched]
    return _sorted(
        Found(
            np.concatenate([part.boxes for part in whole]),
            np.concatenate([part.scores for part in whole]),
            np.concatenate([part.kinds for part in whole]),
            np.concatenate([part.masks for part in whole]),
        ),
        score,
    )


def _sorted(found: Found, score: float) -> Found:
    order = np.argsort(-found.scores, kind="stable")
    return found.take(order[found.scores[order] >= score])


def pairwise_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU (N, M) of boxes (N, 4) with boxes (M, 4)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    shared = np.maximum(np.minimum(first[:, None, 2:], second[None, :, 2:]) - low, 0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(union, 1e-6))
