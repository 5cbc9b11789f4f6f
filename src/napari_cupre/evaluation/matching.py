"""Match the instances of two label images one to one, in one pass over their pixels.

It never builds a table of all truths against all predictions: only pairs that share a pixel are kept, so
fields of thousands of cells cost little more than reading them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.data.labels import as_labels
from napari_cupre.errors import InputError

if TYPE_CHECKING:
    from scipy import sparse

THRESHOLDS: tuple[float, ...] = tuple(percent / 100 for percent in range(50, 100, 5))
"""IoU thresholds of the COCO and Cellpose averages, .5:.05:.95. Quotients of integers, so that an exact IoU
such as 3/5 compares equal to its threshold."""


@dataclass(frozen=True)
class Match:
    """How the instances of a predicted label image match those of the truth.

    Attributes
    ----------
    truth_ids, predicted_ids : numpy.ndarray
        int64 (T,) and (P,), the label values of the instances, ascending.
    truth_areas, predicted_areas : numpy.ndarray
        int64 (T,) and (P,), their areas in pixels.
    truth_iou, predicted_iou : numpy.ndarray
        float64 (T,) and (P,), IoU of each instance with its partner; 0 if no partner has IoU >= 0.5.
    partner : numpy.ndarray
        int64 (T,), row of the partner among the predictions; -1 if there is none.
    ignorable : numpy.ndarray
        bool (P,), predictions with more than half of their pixels unknown; unmatched ones are neither
        right nor wrong.
    """

    truth_ids: np.ndarray
    predicted_ids: np.ndarray
    truth_areas: np.ndarray
    predicted_areas: np.ndarray
    truth_iou: np.ndarray
    predicted_iou: np.ndarray
    partner: np.ndarray
    ignorable: np.ndarray

    def counts(self, threshold: float) -> tuple[int, int, int]:
        """True positives, false positives and false negatives at an IoU of `threshold` or more.

        `threshold` must be at least 0.5, below which a partner is not unique.
        """
        if threshold < 0.5:
            raise ValueError("matches are kept from an IoU of 0.5 on")
        true = int(np.count_nonzero(self.truth_iou >= threshold))
        false = int(np.count_nonzero((self.predicted_iou < threshold) & ~self.ignorable))
        return true, false, len(self.truth_ids) - true

    def counting(self, numbers: Sequence[int]) -> Match:
        """Return a match in which some true cells count only as found or not.

        A network drew their outlines, so a similar network would look better than it is. An IoU of 0.5 or
        more counts as 1.

        Parameters
        ----------
        numbers : sequence of int
            Label values of these cells.
        """
        rows = np.flatnonzero(np.isin(self.truth_ids, numbers) & (self.partner >= 0))
        truth_iou, predicted_iou = self.truth_iou.copy(), self.predicted_iou.copy()
        truth_iou[rows] = predicted_iou[self.partner[rows]] = 1.0
        return replace(self, truth_iou=truth_iou, predicted_iou=predicted_iou)


def match_instances(truth: np.ndarray, predicted: np.ndarray, known: np.ndarray | None = None) -> Match:
    """Match the instances of two label images one to one at IoU >= 0.5.

    Instances of a label image do not overlap. So an instance can have IoU > 0.5 with only one instance of the
    other image. It can have IoU = 0.5 exactly with two only if they are its halves, which then have no other
    partner. Taking the first of the two is therefore an optimal assignment, and one matching serves every
    threshold of 0.5 or more.

    Parameters
    ----------
    truth, predicted : numpy.ndarray
        Integers, of the same shape (Y, X) or (Z, Y, X); 0 is background. The values themselves do not matter.
    known : numpy.ndarray, optional
        bool, of the same shape; False where the truth is unknown (partial annotation).

    Raises
    ------
    InputError
        If shapes differ or a label image contains negative or non-integer values.
    """
    truth, predicted = as_labels(truth, "the truth"), as_labels(predicted, "the prediction")
    _check_same_shape("the truth", truth, "the prediction", predicted)
    truth_ids, truth_rows = _rows(truth)
    predicted_ids, predicted_rows = _rows(predicted)
    table = _overlaps(truth_rows, predicted_rows, len(truth_ids), len(predicted_ids))
    truth_areas = np.asarray(table.sum(axis=1)).ravel()[1:]
    predicted_areas = np.asarray(table.sum(axis=0)).ravel()[1:]

    pairs = table.tocoo()
    shared = (pairs.row > 0) & (pairs.col > 0)
    rows, columns, common = pairs.row[shared] - 1, pairs.col[shared] - 1, pairs.data[shared]
    iou = common / (truth_areas[rows] + predicted_areas[columns] - common)
    rows, columns, iou = _unique_pairs(rows, columns, iou)

    truth_iou, predicted_iou = np.zeros(len(truth_ids)), np.zeros(len(predicted_ids))
    truth_iou[rows] = predicted_iou[columns] = iou
    partner = np.full(len(truth_ids), -1, np.int64)
    partner[rows] = columns
    ignorable = _mostly_unknown(predicted, predicted_rows, predicted_areas, known)
    return Match(
        truth_ids, predicted_ids, truth_areas, predicted_areas, truth_iou, predicted_iou, partner, ignorable
    )


def _check_same_shape(first_name: str, first: np.ndarray, second_name: str, second: np.ndarray) -> None:
    if first.shape != second.shape:
        raise InputError(
            f"{first_name} has shape {first.shape} and {second_name} {second.shape}; "
            "they must show the same pixels, so check that the files belong together."
        )


def _rows(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of the instances and, for each pixel, the 1-based row of its instance (0: none)."""
    flat = labels.ravel()
    if flat.size == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    highest = int(flat.max())
    if highest <= flat.size:  # a look-up table is much faster than sorting all pixels
        present = np.bincount(flat, minlength=1) > 0
        present[0] = False
        ids = np.flatnonzero(present)
        return ids, np.cumsum(present)[flat] * (flat > 0)
    values, inverse = np.unique(flat, return_inverse=True)
    has_background = int(values[0] == 0)
    return values[has_background:].astype(np.int64), inverse.ravel() + 1 - has_background


def _overlaps(
    truth_rows: np.ndarray, predicted_rows: np.ndarray, truths: int, predictions: int
) -> sparse.csr_matrix:
    """Return a sparse (T + 1, P + 1) table of shared pixels; row and column 0 are background."""
    from scipy import sparse  # the window imports this module long before it compares anything

    ones = np.ones(truth_rows.size, np.int64)
    shape = (truths + 1, predictions + 1)
    return sparse.coo_matrix((ones, (truth_rows, predicted_rows)), shape=shape).tocsr()


def _unique_pairs(
    rows: np.ndarray, columns: np.ndarray, iou: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs with IoU >= 0.5, each row and each column at most once."""
    kept = np.flatnonzero(iou >= 0.5)
    kept = kept[np.unique(rows[kept], return_index=True)[1]]
    kept = kept[np.unique(columns[kept], return_index=True)[1]]
    return rows[kept], columns[kept], iou[kept]


def _mostly_unknown(
    predicted: np.ndarray, rows: np.ndarray, areas: np.ndarray, known: np.ndarray | None
) -> np.ndarray:
    if known is None:
        return np.zeros(len(areas), bool)
    known = np.asarray(known, bool)
    _check_same_shape("the prediction", predicted, "the known area", known)
    unknown = np.bincount(rows[~known.ravel()], minlength=len(areas) + 1)[1:]
    return unknown * 2 > areas
