"""How large the annotated cells are, and whether one diameter fits all images.

A model with one diameter misses cells in images of another magnification. So if the start estimates the
diameter well where it is known, it also estimates that of the images to come. Where its estimate is wrong,
the annotated diameter is used for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.data.labels import label_areas
from napari_cupre.data.shot import Shot

if TYPE_CHECKING:
    from napari_cupre.model.checkpoint import Model

Guess = Callable[[np.ndarray], float | None]
"""Function that estimates the cell diameter of a normalised image (Y, X, 3), in px; None if it sees none."""

AGREES = 1.2
"""An estimate within this factor of the annotated cells is right; chosen on images outside the test part
(docs/accuracy.md)."""

MOST_GUESSED = 2
"""Images in which the estimate is tried, those with most cells; each takes tenths of a second."""

LEAST_CELLS = 3
"""Cells of an image that tell its diameter; that of fewer differs by chance."""

VARIED = {3: 1.6, 1: 2.2}
"""If the medians of images with at least this many cells differ by more than this factor, the images have
different magnifications (single cells differ by chance). Each is then scaled by its own cells, and the model
estimates the diameter of every image that it predicts."""


@dataclass(frozen=True)
class Scaling:
    """Cell diameters in image px.

    Attributes
    ----------
    typical : float
        Median over all annotated cells, or the user's value.
    common : float or None
        The same value if it is to be used for all images, else None.
    """

    typical: float
    common: float | None

    def of(self, shot: Shot) -> float:
        """Return the diameter by which to scale a shot."""
        if self.common is not None:
            return self.common
        diameters = _diameters(shot)
        return float(np.median(diameters)) if len(diameters) else self.typical

    def __str__(self) -> str:
        if self.common is not None:
            return f"diameter {self.common:.0f} px"
        return f"diameter about {self.typical:.0f} px, different from image to image"


def choose_scaling(shots: list[Shot], diameter: float | None) -> Scaling:
    """Choose the given diameter, or the median annotated cell, or each image's own if they vary.

    Parameters
    ----------
    shots : list[Shot]
        Shots with at least one annotated cell among them.
    diameter : float or None
        In image px; None = measure it.
    """
    if diameter is not None:
        return Scaling(diameter, diameter)
    by_shot = [_diameters(shot) for shot in shots]
    typical = float(np.median(np.concatenate(by_shot)))
    varied = any(_spread(by_shot, least) > factor for least, factor in VARIED.items())
    return Scaling(typical, None if varied else typical)


def size_guess(start: Model) -> Guess:
    """Return how a model estimates the cell diameter of an image, whatever diameter it was trained for."""

    def guess(image: np.ndarray) -> float | None:
        from napari_cupre.prediction.detector import Detector
        from napari_cupre.prediction.diameter import estimate

        view = estimate(Detector(start), [image])
        return None if view is None else view.diameter

    return guess


def guesses_well(guess: Guess, shots: list[Shot]) -> bool:
    """Whether estimates fit the annotated cells of the images with most of them.

    Parameters
    ----------
    guess : callable
        See `size_guess`.
    shots : list[Shot]
        Annotated images; others are passed over.
    """
    measured = [(shot, _diameters(shot)) for shot in shots if not shot.is_unlabelled]
    measured = [each for each in measured if len(each[1]) >= LEAST_CELLS]
    for shot, diameters in sorted(measured, key=lambda each: -len(each[1]))[:MOST_GUESSED]:
        found, known = guess(shot.image), float(np.median(diameters))
        if found is None or not known / AGREES <= found <= known * AGREES:
            return False
    return bool(measured)


def model_diameter(
    scaling: Scaling, given: float | None, start: Model | None, shots: list[Shot]
) -> float | None:
    """Return the diameter that a new model takes for all images, px; None if it estimates that of each.

    Parameters
    ----------
    scaling : Scaling
        Of the training.
    given : float or None
        The user's value.
    start : Model or None
        None for random weights, which estimate nothing.
    shots : list[Shot]
        All images of the training.
    """
    if scaling.common is None or given is not None or start is None:
        return scaling.common
    return None if guesses_well(size_guess(start), shots) else scaling.common


def _spread(by_shot: list[np.ndarray], least: int) -> float:
    """Return the ratio of the largest to the smallest median of shots with enough cells; 1 if none."""
    medians = [float(np.median(diameters)) for diameters in by_shot if len(diameters) >= least]
    return max(medians) / min(medians) if medians else 1.0


def _diameters(shot: Shot) -> np.ndarray:
    """Return 2 * sqrt(area / pi) of every annotated cell, px."""
    return 2 * np.sqrt(label_areas(shot.labels)[1] / np.pi)
