"""How large the annotated cells are, and whether one diameter fits all images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_cupre.data.labels import label_areas
from napari_cupre.data.shot import Shot

VARIED = {3: 1.6, 1: 2.2}
"""Images with at least so many cells whose medians differ by more than this factor were not taken at one
magnification (single cells differ by chance): each is scaled by its own cells, and the model estimates the
diameter of every image that it predicts."""


@dataclass(frozen=True)
class Scaling:
    """Cell diameters in image px.

    Attributes
    ----------
    typical : float
        Median over all annotated cells, or as the user gave it.
    common : float or None
        The same if it fits all images, else None.
    """

    typical: float
    common: float | None

    def of(self, shot: Shot) -> float:
        """The diameter that this shot is scaled by."""
        if self.common is not None:
            return self.common
        diameters = _diameters(shot)
        return float(np.median(diameters)) if len(diameters) else self.typical

    def __str__(self) -> str:
        if self.common is not None:
            return f"diameter {self.common:.0f} px"
        return f"diameter about {self.typical:.0f} px, different from image to image"


def choose_scaling(shots: list[Shot], diameter: float | None) -> Scaling:
    """The given diameter for all, or the median annotated cell, or each image's own where they vary.

    Parameters
    ----------
    shots : list[Shot]
        With at least one annotated cell among them.
    diameter : float or None
        In image px; None = measure it.
    """
    if diameter is not None:
        return Scaling(diameter, diameter)
    by_shot = [_diameters(shot) for shot in shots]
    typical = float(np.median(np.concatenate(by_shot)))
    varied = any(_spread(by_shot, least) > factor for least, factor in VARIED.items())
    return Scaling(typical, None if varied else typical)


def _spread(by_shot: list[np.ndarray], least: int) -> float:
    """Largest median over smallest, of the shots with at least this many cells; 1 if there are none."""
    medians = [float(np.median(diameters)) for diameters in by_shot if len(diameters) >= least]
    return max(medians) / min(medians) if medians else 1.0


def _diameters(shot: Shot) -> np.ndarray:
    """2 * sqrt(area / pi) of every annotated cell, px."""
    return 2 * np.sqrt(label_areas(shot.labels)[1] / np.pi)
