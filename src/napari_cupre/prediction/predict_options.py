"""The options of a prediction that a user can choose."""

from __future__ import annotations

import math
from dataclasses import dataclass

from napari_cupre.errors import InputError
from napari_cupre.prediction.link import Links


@dataclass(frozen=True)
class PredictOptions:
    """What a user can choose about a prediction.

    Attributes
    ----------
    diameter : float, optional
        Cell diameter in image px; None takes the model's. It is estimated from the image if the model has
        none, or if the image clearly shows cells of another size.
    score : float, optional
        Minimum score of a cell, 0..1. None means 0.45 or, if the diameter is estimated, 0.45 to 0.7,
        depending on how sure the network is of the image.
    tile : int, optional
        Side of a tile in network px; None = 1024.
    channels : tuple of int, optional
        Up to three channels to use; None takes the first three.
    augment : bool
        Search every piece mirrored as well, and take the mean (test-time augmentation); takes twice the time.
    link_z : bool
        Link the planes of a stack into 3-D cells.
    link_t : bool
        Keep a cell's label through time.
    """

    diameter: float | None = None
    score: float | None = None
    tile: int | None = None
    channels: tuple[int, ...] | None = None
    augment: bool = False
    link_z: bool = False
    link_t: bool = False

    def links(self, axes: str) -> Links:
        """Return along which of an image's axes its planes are linked."""
        return Links(self.link_z and "Z" in axes, self.link_t and "T" in axes)


def check_diameter(diameter: float) -> None:
    """Raise `InputError` if a cell diameter, px, is not above 0."""
    if not (math.isfinite(diameter) and diameter > 0):
        raise InputError(f"A cell diameter of {diameter} px cannot be used: give one above 0.")
