"""The worst errors of a prediction, with pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage
from skimage.segmentation import find_boundaries

from napari_cupre.evaluation.matching import match_instances

Kind = Literal["missed", "invented", "badly outlined"]

TRUTH_COLOUR = (0.1, 0.9, 0.35)
PREDICTION_COLOUR = (1.0, 0.25, 0.9)
GOOD_OUTLINE = 0.75
"""Minimum IoU of an outline that does not count as a fault."""

MOST_FAULTS = 12
"""Maximum number of cells of each kind on the page."""

CONTEXT, SHOWN = 48, 160
"""Minimum side of the square around a cell that a picture shows, and its size on the page, px."""


@dataclass(frozen=True)
class Fault:
    """One error of a prediction.

    `image` is the row of the image in the report. `label` is a label of the truth or, for an invented cell,
    of the prediction. `partner` is the predicted label of a badly outlined cell, else 0, and `iou` the IoU
    with it. `area` is in px.
    """

    image: int
    kind: Kind
    label: int
    partner: int
    area: int
    iou: float


def worst_faults(
    truth: Sequence[np.ndarray],
    predicted: Sequence[np.ndarray],
    known: Sequence[np.ndarray | None] | None = None,
) -> dict[Kind, list[Fault]]:
    """Return the largest missed and invented cells and worst outlines, up to `MOST_FAULTS` of each."""
    areas = known if known is not None else [None] * len(truth)
    faults = [fault for i, each in enumerate(zip(truth, predicted, areas)) for fault in _faults(i, *each)]
    chosen: dict[Kind, list[Fault]] = {}
    for kind in ("missed", "invented", "badly outlined"):
        ordered = sorted((f for f in faults if f.kind == kind), key=lambda fault: (fault.iou, -fault.area))
        chosen[kind] = ordered[:MOST_FAULTS]
    return chosen


def _faults(
    image: int, truth: np.ndarray, predicted: np.ndarray, known: np.ndarray | None
) -> Iterator[Fault]:
    match = match_instances(truth, predicted, known)
    for label, area, iou, row in zip(match.truth_ids, match.truth_areas, match.truth_iou, match.partner):
        if iou >= GOOD_OUTLINE:
            continue
        kind: Kind = "missed" if row < 0 else "badly outlined"
        partner = int(match.predicted_ids[row]) if row >= 0 else 0
        yield Fault(image, kind, int(label), partner, int(area), float(iou))
    for row in np.flatnonzero((match.predicted_iou == 0) & ~match.ignorable):
        yield Fault(image, "invented", int(match.predicted_ids[row]), 0, int(match.predicted_areas[row]), 0.0)


def thumbnail(fault: Fault, image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Draw a cell's surroundings with the outlines of truth and prediction; neighbours are fainter.

    Parameters
    ----------
    fault : Fault
        The cell.
    image : numpy.ndarray
        float (Y, X, 3) in about [0, 1].
    truth, predicted : numpy.ndarray
        int32 (Y, X).

    Returns
    -------
    numpy.ndarray
        uint8 (rows, columns, 3), enlarged to about `SHOWN` px a side.
    """
    cell = (predicted if fault.kind == "invented" else truth) == fault.label
    window = _window(cell)
    zoom = max(1, SHOWN // max(part.stop - part.start for part in window))
    picture = np.clip(image[window], 0, 1).repeat(zoom, 0).repeat(zoom, 1)
    partner = fault.label if fault.kind == "invented" else fault.partner
    for labels, focus, colour in (
        (truth, fault.label if fault.kind != "invented" else 0, TRUTH_COLOUR),
        (predicted, partner, PREDICTION_COLOUR),
    ):
        enlarged = labels[window].repeat(zoom, 0).repeat(zoom, 1)
        edges = find_boundaries(enlarged, mode="inner")
        strength = np.where(enlarged == focus, 1.0, 0.4)[edges, None]
        picture[edges] = (1 - strength) * picture[edges] + strength * np.array(colour)
    return (picture * 255).astype(np.uint8)


def _window(cell: np.ndarray) -> tuple[slice, slice]:
    """Return the cell's box with a margin of half its size, at least CONTEXT px wide, within the image."""
    box = ndimage.find_objects(cell.astype(np.uint8))[0]
    parts = []
    for part, length in zip(box, cell.shape):
        wanted = min(max(CONTEXT, 2 * (part.stop - part.start)), length)
        start = min(max((part.start + part.stop - wanted) // 2, 0), length - wanted)
        parts.append(slice(start, start + wanted))
    return parts[0], parts[1]
