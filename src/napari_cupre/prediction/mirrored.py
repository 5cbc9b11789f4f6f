"""Look twice: search each piece as it is and mirrored, and take the mean of the detections.

A network trained on every orientation should see the same cells in both views. Where it does not, it is
unsure, and the mean score is lower (test-time augmentation, as in Krizhevsky et al., 2012).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.model.geometry import array_iou
from napari_cupre.prediction.detecting import CellFinder, Features, as_finder
from napari_cupre.prediction.stitch import Found

if TYPE_CHECKING:
    from napari_cupre.model.checkpoint import Model
    from napari_cupre.prediction.predict_options import PredictOptions

SAME = 0.5
"""Boxes from the two views are the same cell if their IoU is above this."""

LEAST = 0.2
"""Cells with at least this score in one view may be confirmed by the other view."""


def finder_for(model: Model | CellFinder, options: PredictOptions) -> CellFinder:
    """Make `model` ready for prediction, to look once or twice as the options say."""
    finder = as_finder(model)
    return Mirrored(finder) if options.augment else finder


class Mirrored(CellFinder):
    """A finder that looks at each piece twice.

    Parameters
    ----------
    finder : CellFinder
        The finder that does the work.
    """

    def __init__(self, finder: CellFinder) -> None:
        self._finder = finder
        self.info = finder.info

    @property
    def diameter(self) -> float:
        """Return the cell diameter in network px that the network was trained for."""
        return self._finder.diameter

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Yield the contents of the finder; looking twice is recorded in the prediction's options."""
        yield from self._finder.contents()

    def batch_size(self, shape: tuple[int, int], factor: float) -> int:
        """Return how many pieces go through the network together; see `CellFinder`."""
        return self._finder.batch_size(shape, factor)

    def look(self, piece: np.ndarray, factor: float, score: float) -> Found:
        """Look once, because scale and score of an image are chosen for a single look."""
        return self._finder.look(piece, factor, score)

    def glance(self, piece: np.ndarray, factor: float, score: float, most: int) -> Found:
        """Look once; see `CellFinder`."""
        return self._finder.glance(piece, factor, score, most)

    def detected(self, pieces: Sequence[np.ndarray], factor: float, score: float) -> list[Found]:
        """Find the cells of each piece: the mean of both views."""
        least = min(score, LEAST)
        plain = self._finder.detected(pieces, factor, least)
        turned = self._finder.detected(
            [np.ascontiguousarray(piece[:, ::-1]) for piece in pieces], factor, least
        )
        views = zip(pieces, plain, turned, strict=True)
        return [mean_of(one, mirrored(other, piece.shape[1]), score) for piece, one, other in views]

    def features(self, piece: np.ndarray, factor: float) -> Features:
        """Compute the features of one piece, seen once; see `CellFinder`."""
        return self._finder.features(piece, factor)

    def mended(self, features: Features, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Correct boxes with the box head; see `CellFinder`."""
        return self._finder.mended(features, boxes)

    def outlined(self, features: Features, boxes: np.ndarray) -> np.ndarray:
        """Return the mask of the cell in each box; see `CellFinder`."""
        return self._finder.outlined(features, boxes)


def mirrored(found: Found, width: int) -> Found:
    """Mirror the cells of a piece that is `width` px wide."""
    boxes = found.boxes.copy()
    boxes[:, [0, 2]] = width - found.boxes[:, [2, 0]]
    return Found(boxes, found.scores, found.kinds, np.ascontiguousarray(found.masks[:, :, ::-1]))


def mean_of(first: Found, second: Found, score: float) -> Found:
    """Combine the cells of two views of one piece, sorted by falling score.

    Two cells that are each other's best match are one cell. Its score is the mean of both scores; its box and
    mask are means weighted by the scores. A cell in only one view gets half its score, unless it overlaps a
    cell of the other view: then it is taken for that cell and left out.

    Parameters
    ----------
    first, second : Found
        Detections of the same piece.
    score : float
        Cells with a lower score are left out.
    """
    if not len(first) or not len(second):
        alone = first if len(first) else second
        return _sorted(Found(alone.boxes, alone.scores / 2, alone.kinds, alone.masks), score)
    iou = array_iou(first.boxes[:, None], second.boxes)
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
