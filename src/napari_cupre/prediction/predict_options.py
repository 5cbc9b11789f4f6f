"""What a user can choose about a prediction."""

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
        Of the cells in image px; None takes the model's, or estimates it from the image where the model has
        none or the image clearly shows cells of another size.
    score : float, optional
        Cells that the network is less sure of are left out, 0..1; None asks for 0.5, or, where the diameter
        is estimated, for 0.35 to 0.7 by how sure the network is of the image.
    tile : int, optional
        Side of a tile in network px; None = 1024.
    channels : tuple of int, optional
        Up to three channels to look at; None takes the first three.
    augment : bool
        Look at every piece mirrored, too, and take the mean (test-time augmentation); twice the time.
    link_z : bool
        Join the planes of a stack to 3-D cells.
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
        """Along which of an image's axes its planes are linked."""
        return Links(self.link_z and "Z" in axes, self.link_t and "T" in axes)


def check_diameter(diameter: float) -> None:
    """Raise `InputError` if a cell diameter, px, is not above 0."""
    if not (math.isfinite(diameter) and diameter > 0):
        raise InputError(f"A cell diameter of {diameter} px cannot be used: give one above 0.")
