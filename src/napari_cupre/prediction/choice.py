"""One diameter and one score for all planes of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from napari_cupre.data.image import PlaneIndex
from napari_cupre.data.labels import USUAL_SCORE
from napari_cupre.errors import InputError
from napari_cupre.prediction.detecting import CellFinder
from napari_cupre.prediction.diameter import ScaleTrial, another, estimate, fits, look, summary
from napari_cupre.prediction.emptiness import sure_in_noise
from napari_cupre.prediction.plan import plan_plane
from napari_cupre.prediction.predict_options import PredictOptions
from napari_cupre.prediction.reader import PlaneSource
from napari_cupre.prediction.stitch import Found


def check_score(score: float | None) -> None:
    """Raise `InputError` if a score is not between 0 and 1."""
    if score is not None and not 0 <= score <= 1:
        raise InputError(f"A score of {score} cannot be used: give one between 0 and 1.")


class Choice(NamedTuple):
    """The diameter and score with which an image is predicted.

    Attributes
    ----------
    diameter : float
        Diameter of the cells in image px.
    score : float
        Minimum score of a cell.
    doubt : bool
        Whether `diameter` is the model's own and has not been checked against the image.
    """

    diameter: float
    score: float
    doubt: bool = False


def choose_for(
    detector: CellFinder, source: PlaneSource, options: PredictOptions, largest_tile: int
) -> tuple[Choice, Found | None]:
    """Choose diameter and score for an image; read views of it only if needed.

    Views are not needed if the user gives a diameter. Nor are they if the model has its own diameter and the
    image is a single piece: that piece is predicted first, and the result shows whether the diameter fits.
    Otherwise up to three planes are examined.

    Parameters
    ----------
    detector : CellFinder
        The network that will see the image.
    source : PlaneSource
        The planes of the image.
    options : PredictOptions
        The user's choices.
    largest_tile : int
        Longest side of a tile in image px.

    Returns
    -------
    choice : Choice
        The final choice, without doubt.
    found : Found or None
        The detections, if the image was predicted as a single piece with this choice.

    Raises
    ------
    InputError
        If an option is out of its range, or a single piece cannot be read.
    """
    known, asked = detector.info.diameter, options.diameter
    indices = list(source.plane_indices())
    if asked is not None:
        return choose(detector, None, asked, options.score), None
    if known is not None and len(indices) == 1:
        plan = plan_plane(source.plane_shape, detector.diameter, known, options.tile, largest_tile)
        if len(plan.tiles) == 1:
            choice = choose(detector, None, None, options.score)
            piece = source.reader(indices[0])(plan.tiles[0].read)
            return _confirmed(detector, piece, choice, plan.factor, options.score)
    return choose(detector, _views(source, indices), None, options.score), None


def _views(source: PlaneSource, indices: Sequence[PlaneIndex]) -> list[np.ndarray]:
    """Return parts of up to three planes."""
    views: list[np.ndarray] = []
    for position in sorted({len(indices) // 4, len(indices) // 2, (3 * len(indices)) // 4}):
        try:
            views += source.reader(indices[position]).views()
        except InputError:
            continue  # the error is reported when it is the plane's turn
    return views


def _confirmed(
    detector: CellFinder, piece: np.ndarray, choice: Choice, factor: float, score: float | None
) -> tuple[Choice, Found | None]:
    """Confirm a doubtful choice by its detections, or return the choice that the piece suggests."""
    found = detector([piece], factor, choice.score)[0]
    own = summary([found], factor, float(piece.shape[0] * piece.shape[1]))
    if not fits(own, choice.diameter):
        seen = another(detector, [piece], choice.diameter, own)
        if seen is not None:
            return _as_seen(seen, score), None
    return choice._replace(doubt=False), found if score is not None else sure_in_noise(piece, found)


def choose(
    detector: CellFinder, pieces: list[np.ndarray] | None, diameter: float | None, score: float | None
) -> Choice:
    """Choose the user's diameter, else the model's unless `pieces` show another, else the one seen.

    If the diameter is estimated from the image, so is the score, unless it is given; otherwise the score is
    `USUAL_SCORE`. If no cell is seen, the diameter is the model's or the network's own. If `pieces` is None
    (see `must_look`), the model's diameter is marked as doubtful; if it is empty, the diameter stands.

    Raises
    ------
    InputError
        If the score is not between 0 and 1.
    """
    check_score(score)
    asked = USUAL_SCORE if score is None else score
    if diameter is not None:
        return Choice(float(diameter), asked)
    known = detector.info.diameter
    if known is None:
        seen = estimate(detector, pieces) if pieces else None
        return Choice(detector.diameter, asked) if seen is None else _as_seen(seen, score)
    if pieces is None:
        return Choice(known, asked, doubt=True)
    if not pieces or fits(own := look(detector, pieces, known), known):
        return Choice(known, asked)
    seen = another(detector, pieces, known, own)
    return Choice(known, asked) if seen is None else _as_seen(seen, score)


def _as_seen(seen: ScaleTrial, score: float | None) -> Choice:
    return Choice(seen.diameter, seen.asked if score is None else score)
