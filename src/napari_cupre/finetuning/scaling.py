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
    is_guessed : bool
        Whether there is no common value because the start estimates that of each image well.
    """

    typical: float
    common: float | None
    is_guessed: bool = False

    def of(self, shot: Shot) -> float:
        """Return the diameter by which to scale a shot."""
        if self.common is not None:
            return self.common
        diameters = _diameters(shot)
        enough = LEAST_CELLS if self.is_guessed else 1
        return float(np.median(diameters)) if len(diameters) >= enough else self.typical

    def __str__(self) -> str:
        if self.common is not None:
            return f"diameter {self.common:.0f} px"
        why = "estimated in each image" if self.is_guessed else "different from image to image"
        return f"diameter about {self.typical:.0f} px, {why}"


def choose_scaling(shots: list[Shot], diameter: float | None, guess: Guess | None = None) -> Scaling:
    """Choose the given diameter, or each image's own if they vary or are estimated well, or else the median.

    Parameters
    ----------
    shots : list[Shot]
        Shots with at least one annotated cell among them.
    diameter : float or None
        In image px; None = measure it.
    guess : callable or None, optional
        The start's estimate; None without one.
    """
    if diameter is not None:
        return Scaling(diameter, diameter)
    by_shot = [_diameters(shot) for shot in shots]
    typical = float(np.median(np.concatenate(by_shot)))
    varied = any(_spread(by_shot, least) > factor for least, factor in VARIED.items())
    is_guessed = not varied and guess is not None and _agrees(guess, shots, by_shot)
    return Scaling(typical, None if varied or is_guessed else typical, is_guessed)


def size_guess(start: Model) -> Guess:
    """Return how a model estimates the cell diameter of an image, whatever diameter it was trained for."""

    def guess(image: np.ndarray) -> float | None:
        from napari_cupre.prediction.detector import Detector
        from napari_cupre.prediction.diameter import estimate

        view = estimate(Detector(start), [image])
        return None if view is None else view.diameter

    return guess


def _agrees(guess: Guess, shots: list[Shot], by_shot: list[np.ndarray]) -> bool:
    """Whether estimates fit the annotated cells."""
    most = sorted(zip(shots, by_shot), key=lambda each: -len(each[1]))[:MOST_GUESSED]
    for shot, diameters in most:
        if len(diameters) < LEAST_CELLS:
            continue
        found, known = guess(shot.image), float(np.median(diameters))
        if found is None or not known / AGREES <= found <= known * AGREES:
            return False
    return len(most[0][1]) >= LEAST_CELLS


def _spread(by_shot: list[np.ndarray], least: int) -> float:
    """Return the ratio of the largest to the smallest median of shots with enough cells; 1 if none."""
    medians = [float(np.median(diameters)) for diameters in by_shot if len(diameters) >= least]
    return max(medians) / min(medians) if medians else 1.0


def _diameters(shot: Shot) -> np.ndarray:
    """Return 2 * sqrt(area / pi) of every annotated cell, px."""
    return 2 * np.sqrt(label_areas(shot.labels)[1] / np.pi)
