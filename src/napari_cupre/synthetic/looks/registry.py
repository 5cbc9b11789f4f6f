"""The registry of looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ..layout import Style
from ..scene import SyntheticScene

Render = Callable[[np.random.Generator, SyntheticScene], np.ndarray]


@dataclass(frozen=True)
class Look:
    """How cells appear under one kind of microscope.

    Attributes
    ----------
    name : str
        As in `draw_field(look=name)`.
    weight : float
        How often it is drawn, relative to the others.
    style : Style
        How its cells are laid out.
    render : Render
        `(rng, scene) -> light`: float32 (H, W) or (H, W, 3), what reaches the sensor, 0 to about 1.
    """

    name: str
    weight: float
    style: Style
    render: Render


_LOOKS: dict[str, Look] = {}
LOOKS: Mapping[str, Look] = MappingProxyType(_LOOKS)


def register_look(name: str, weight: float, style: Style | None = None) -> Callable[[Render], Render]:
    """Register a render function as a look.

    Parameters
    ----------
    name : str
        Name of the look.
    weight : float
        How often it is drawn, relative to the others.
    style : Style, optional
        How its cells are laid out.

    Returns
    -------
    callable
        The decorator; it returns the function unchanged.
    """

    def register(render: Render) -> Render:
        _LOOKS[name] = Look(name, weight, style or Style(), render)
        return render

    return register


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number between `low` and `high` whose logarithm is uniformly distributed."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
