"""How large the annotated cells are, and whether one diameter fits all images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_cupre.data.labels import label_areas
from napari_cupre.data.shot import Shot

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
        The same value if it fits all images, else None.
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


def _spread(by_shot: list[np.ndarray], least: int) -> float:
    """Return the ratio of the largest to the smallest median of shots with enough cells; 1 if none."""
    medians = [float(np.median(diameters)) for diameters in by_shot if len(diameters) >= least]
    return max(medians) / min(medians) if medians else 1.0


def _diameters(shot: Shot) -> np.ndarray:
    """Return 2 * sqrt(area / pi) of every annotated cell, px."""
    return 2 * np.sqrt(label_areas(shot.labels)[1] / np.pi)
