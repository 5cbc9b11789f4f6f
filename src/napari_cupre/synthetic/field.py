"""Complete fields from geometry, look and sensor, and an endless, seeded source of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from napari_cupre.data.augment import rescale
from napari_cupre.data.sample import Sample
from napari_cupre.errors import InputError

from .layout import arrange, thinned
from .looks import LOOKS
from .looks.registry import log_uniform
from .scene import SyntheticScene
from .sensor import record

DIAMETERS = (10.0, 60.0)

ENLARGED = 0.3
"""Share of the fields that are drawn small and then enlarged, as prediction enlarges small cells."""
MOST_ENLARGED = 2.6  # times
LEAST_DIAMETER = 7.0  # px, before enlargement

SPARSE = 0.05
"""Share of the fields with at most three faint cells, where noise fills much of the intensity range.

A network that has never seen an empty well takes its noise for cells."""


@dataclass
class SyntheticField(Sample):
    """A synthetic image with its ground truth: a sample without unknown pixels, with labels 1..n.

    Attributes
    ----------
    look : str
        Name of the look.
    diameter : float
        Median over the cells of 2 * sqrt(area / pi) in px, counting their hidden and cut-off parts.
    """

    look: str = ""
    diameter: float = float("nan")


def draw_field(
    rng: np.random.Generator, size: int = 256, look: str | None = None, diameter: float | None = None
) -> SyntheticField:
    """Draw one field.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    size : int, optional
        Side in px.
    look : str, optional
        A registered look; by default one at random by weight.
    diameter : float, optional
        Median cell diameter in px; by default log-uniform in `DIAMETERS`.

    Returns
    -------
    SyntheticField
        The normalised image, float32 (size, size, 3), with its labels.

    Raises
    ------
    InputError
        If the look is unknown.
    """
    if look is None:
        look = _choose(rng, {name: entry.weight for name, entry in LOOKS.items()})
    elif look not in LOOKS:
        raise InputError(f"There is no look {look!r} of synthetic fields; choose one of {', '.join(LOOKS)}.")
    chosen = LOOKS[look]
    if diameter is None:
        diameter = log_uniform(rng, *DIAMETERS)
    small = _side(rng, size, diameter)
    zoom = size / small
    arrangement = arrange(rng, small, diameter / zoom, chosen.style)
    contrast = 1.0
    if rng.random() < SPARSE:
        arrangement = thinned(rng, arrangement, int(rng.integers(0, 4)), small)
        contrast = log_uniform(rng, 0.2 if arrangement.radii.size else 0.01, 0.8)  # cells stay visible
    scene = SyntheticScene(small, diameter / zoom, arrangement)
    image, labels = record(rng, chosen.render(rng, scene), scene.diameter, contrast), scene.labels
    if zoom > 1:
        enlarged = rescale(Sample.complete(image, labels), zoom)
        image, labels = enlarged.image, enlarged.labels
    median = zoom * float(np.median(2 * arrangement.radii)) if scene.count else float(diameter)
    return SyntheticField(image, labels, np.ones(labels.shape, bool), look=look, diameter=median)


def _side(rng: np.random.Generator, size: int, diameter: float) -> int:
    """Side in px at which the field is drawn: `size`, or less if it will be enlarged."""
    most = min(MOST_ENLARGED, diameter / LEAST_DIAMETER, size / 32)
    if rng.random() >= ENLARGED or most <= 1.2:
        return size
    return max(32, round(size / log_uniform(rng, 1.2, most)))


def _choose(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    names = list(weights)
    share = np.array([weights[name] for name in names], float)
    return names[int(rng.choice(len(names), p=share / share.sum()))]


class SyntheticFields:
    """An endless, seeded source of fields; item i is always the same field.

    Parameters
    ----------
    size : int, optional
        Side in px.
    seed : int, optional
        Determines each field, together with its index.
    looks : mapping of str to float, optional
        Weight of each look; by default the weights with which they were registered.
    diameter : tuple of float, optional
        Range of the median diameter in px, drawn log-uniformly.

    Raises
    ------
    InputError
        If a look is unknown, no weight is positive, or the range is impossible.
    """

    def __init__(
        self,
        size: int = 256,
        seed: int = 0,
        looks: Mapping[str, float] | None = None,
        diameter: tuple[float, float] = DIAMETERS,
    ) -> None:
        self.looks = dict(looks) if looks is not None else {name: look.weight for name, look in LOOKS.items()}
        unknown = sorted(set(self.looks) - set(LOOKS))
        if unknown:
            raise InputError(
                f"There is no look {unknown[0]!r} of synthetic fields; choose from {', '.join(LOOKS)}."
            )
        if min(self.looks.values(), default=0) < 0 or sum(self.looks.values()) <= 0:
            raise InputError(
                "The weights of the looks of synthetic fields must be 0 or more, and at least one above 0."
            )
        if not 4 <= diameter[0] <= diameter[1]:
            raise InputError(f"The diameter range {diameter} must ascend and start at 4 px or more.")
        self.size = size
        self.seed = seed
        self.diameter = diameter

    def __getitem__(self, index: int) -> SyntheticField:
        rng = np.random.default_rng([self.seed, index])
        look = _choose(rng, self.looks)
        return draw_field(rng, self.size, look, log_uniform(rng, *self.diameter))
