"""Estimating the cells' diameter from the image, for models that were not trained for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.model.paint import THRESHOLD

if TYPE_CHECKING:
    from napari_cupre.predict.detector import Detector
    from napari_cupre.predict.stitch import Found

WORKING_SIDE = 512
"""Side in network px of the views that are looked at."""

STEPS = (1.0, 0.5, 2.0, 0.25, 4.0)
"""Scales that are tried one after the other, as multiples of the one that shows the whole image."""

LOW_SCORE = 0.3
"""Cells of the wrong size score low; here they count all the same, by their score."""

ENOUGH = 5
"""Cells that a scale must show to be trusted without trying others."""

SETTLED = 1.4
"""A second look is taken when the first moved the scale by more than this."""


def estimate_diameter(detector: Detector, pieces: list[np.ndarray]) -> float | None:
    """The median diameter of the cells that the network sees, in image px.

    The network finds cells from about half to twice the size that it was trained for. It looks at
    the image at several scales, coarse first, until one shows enough cells; then once more at the
    scale that their median asks for, if that is another one.

    Parameters
    ----------
    detector : its network has a diameter of its own, in network px.
    pieces : float32 (Y, X, 3) each, normalised; one image, or a few crops of a large one.

    Returns
    -------
    float, or None where no cell is seen at any scale.
    """
    long_side = max(max(piece.shape[:2]) for piece in pieces)
    start = min(1.0, WORKING_SIDE / long_side)
    best: tuple[float, float, float] | None = None
    for step in STEPS:
        factor = start * step
        weight, diameter = _look(detector, pieces, factor)
        if best is None or weight > best[0]:
            best = (weight, diameter, factor)
        if weight >= ENOUGH:
            break
    if best is None or best[0] == 0:
        return None
    _, diameter, factor = best
    wanted = detector.diameter / diameter
    if max(wanted / factor, factor / wanted) > SETTLED:
        weight, again = _look(detector, pieces, wanted)
        if weight > 0:
            diameter = again
    return diameter


def _look(detector: Detector, pieces: list[np.ndarray], factor: float) -> tuple[float, float]:
    """Sum of the scores, and their weighted median diameter in image px, of what is seen at a scale."""
    side = max(1, int(WORKING_SIDE / factor))
    found = [detector([_middle(piece, side)], factor, LOW_SCORE)[0] for piece in pieces]
    scores = np.concatenate([cells.scores for cells in found])
    diameters = np.concatenate([mask_diameters(cells) for cells in found])
    seen = diameters > 0
    scores, diameters = scores[seen], diameters[seen]
    if len(scores) == 0:
        return 0.0, 0.0
    order = np.argsort(diameters)
    middle = np.searchsorted(np.cumsum(scores[order]), scores.sum() / 2)
    return float(scores.sum()), float(diameters[order][min(middle, len(order) - 1)])


def mask_diameters(found: Found) -> np.ndarray:
    """Diameter of the circle of each mask's area, float (N,), in the px of its box."""
    share = (found.masks >= THRESHOLD).mean(axis=(1, 2))
    extent = found.boxes[:, 2:] - found.boxes[:, :2]
    return 2 * np.sqrt(share * extent[:, 0] * extent[:, 1] / np.pi)


def _middle(piece: np.ndarray, side: int) -> np.ndarray:
    """The middle of a piece, at most `side` px long."""
    top, left = max(0, (piece.shape[0] - side) // 2), max(0, (piece.shape[1] - side) // 2)
    return piece[top : top + side, left : left + side]
