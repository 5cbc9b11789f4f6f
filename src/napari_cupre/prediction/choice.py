"""One diameter and one score for all planes of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from napari_cupre.data.image import PlaneIndex
from napari_cupre.errors import InputError
from napari_cupre.prediction.detecting import CellFinder
from napari_cupre.prediction.diameter import ScaleTrial, another, estimate, fits, look, summary
from napari_cupre.prediction.emptiness import sure_in_noise
from napari_cupre.prediction.plan import plan_plane
from napari_cupre.prediction.predict_options import PredictOptions
from napari_cupre.prediction.reader import PlaneSource
from napari_cupre.prediction.stitch import Found

DEFAULT_SCORE = 0.5
"""What is asked of a cell where nothing is estimated from the image."""


def check_score(score: float | None) -> None:
    """Raise `InputError` if a score is not between 0 and 1."""
    if score is not None and not 0 <= score <= 1:
        raise InputError(f"A score of {score} cannot be used: give one between 0 and 1.")


class Choice(NamedTuple):
    """By what an image is predicted.

    Attributes
    ----------
    diameter : float
        Of the cells in image px.
    score : float
        The least of a cell.
    doubt : bool
        Whether `diameter` is what the model was trained for and the image has not been asked.
    """

    diameter: float
    score: float
    doubt: bool = False


def choose_for(
    detector: CellFinder, source: PlaneSource, options: PredictOptions, largest_tile: int
) -> tuple[Choice, Found | None]:
    """Choose by what an image is predicted; views of it are read only where they are needed.

    They are not if the diameter is asked for. Nor if the model was trained for one and the image is a single
    piece: that piece is predicted first, and what is found says whether the diameter fits. Else up to three
    planes are looked at.

    Parameters
    ----------
    detector : CellFinder
        The network that will see the image.
    source : PlaneSource
        The planes of the image.
    options : PredictOptions
        What the user asks for.
    largest_tile : int
        Longest side of a tile in image px.

    Returns
    -------
    choice : Choice
        Nothing of it is in doubt.
    found : Found or None
        The detections of an image that was predicted as a single piece by this choice.

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
    """Parts of up to three planes."""
    views: list[np.ndarray] = []
    for position in sorted({len(indices) // 4, len(indices) // 2, (3 * len(indices)) // 4}):
        try:
            views += source.reader(indices[position]).views()
        except InputError:
            continue  # the plane is reported when its turn comes
    return views


def _confirmed(
    detector: CellFinder, piece: np.ndarray, choice: Choice, factor: float, score: float | None
) -> tuple[Choice, Found | None]:
    """A choice in doubt with what is found by it, if that fits; else the choice that the piece suggests."""
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
    """The diameter as asked for, else as trained for unless another is seen in `pieces`, else as seen.

    Where the diameter is seen in the image, the score, if it is None, is what is seen too; else it is
    `DEFAULT_SCORE`. Where no cell is seen, the diameter is the model's or the network's own. Where the image
    need not be seen (None, see `must_look`) a diameter that the model was trained for is in doubt; where it
    cannot be (an empty list) it stands.

    Raises
    ------
    InputError
        If the score is not between 0 and 1.
    """
    check_score(score)
    asked = DEFAULT_SCORE if score is None else score
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
    return Choice(seen.diameter, seen.certainty if score is None else score)
