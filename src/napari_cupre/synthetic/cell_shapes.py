"""A registry of cell shapes; each draws many random outlines at once.

An outline is a radius for each angle, so it is star-shaped about its centre, and a bend: a parabola
along which the long axis is curved. Bending preserves the area. It turns rods into bananas and
ellipses into crescents, which radii alone could not describe.

To add a shape, write a function that returns radii of any size; their area is normalised afterwards::

    @register_shape("egg")
    def egg(rng, n):
        return Outlines(1 + 0.2 * np.cos(ANGLES)[None].repeat(n, 0), np.zeros(n))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

SAMPLES = 96
ANGLES: np.ndarray = np.linspace(0, 2 * np.pi, SAMPLES, endpoint=False)


@dataclass
class Outlines:
    """`n` outlines with the long axis along x.

    Attributes
    ----------
    radii : numpy.ndarray
        float (n, SAMPLES), the radius at each of `ANGLES`.
    bend : numpy.ndarray
        float (n,); y is displaced by bend * x**2, with x and y in units of the equal-area radius.
    """

    radii: np.ndarray
    bend: np.ndarray

    def normalised(self) -> Outlines:
        """The same outlines as float32, scaled to the area of a circle of radius 1."""
        area = np.mean(self.radii**2, axis=1, keepdims=True)
        return Outlines((self.radii / np.sqrt(area)).astype(np.float32), self.bend.astype(np.float32))

    def extent(self, angle: np.ndarray) -> np.ndarray:
        """Bounding boxes after a rotation.

        Parameters
        ----------
        angle : numpy.ndarray
            float (n,), in radians.

        Returns
        -------
        numpy.ndarray
            float (n, 4), y0, x0, y1, x1 in units of the equal-area radius.
        """
        x = self.radii * np.cos(ANGLES)
        y = self.radii * np.sin(ANGLES) + self.bend[:, None] * x**2
        cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
        rx, ry = cosine * x - sine * y, sine * x + cosine * y
        return np.stack([ry.min(1), rx.min(1), ry.max(1), rx.max(1)], axis=1)


Shape = Callable[[np.random.Generator, int], Outlines]
_SHAPES: dict[str, Shape] = {}
SHAPES: Mapping[str, Shape] = MappingProxyType(_SHAPES)


def register_shape(name: str) -> Callable[[Shape], Shape]:
    """Register a function `(rng, n) -> Outlines` as a shape.

    Parameters
    ----------
    name : str
        Name of the shape, as in `Style.shapes`.

    Returns
    -------
    callable
        The decorator; it returns the function unchanged.
    """

    def register(function: Shape) -> Shape:
        _SHAPES[name] = function
        return function

    return register


def draw_outlines(rng: np.random.Generator, n: int, name: str) -> Outlines:
    """Draw `n` outlines of a registered shape, normalised to an equal-area radius of 1."""
    return SHAPES[name](rng, n).normalised()


def _wobble(
    rng: np.random.Generator, n: int, strength: np.ndarray, fall: float, order: int = 8
) -> np.ndarray:
    """Log-radius of smooth random outlines: Fourier terms 2..order with amplitudes that decay as k**-fall."""
    k = np.arange(2, order + 1)
    waves = np.concatenate([np.cos(k[:, None] * ANGLES), np.sin(k[:, None] * ANGLES)])
    amplitude = rng.standard_normal((n, 2 * k.size)) * np.tile(k**-fall / np.sqrt(2), 2)
    return strength[:, None] * (amplitude @ waves)


def _ellipse(aspect: np.ndarray) -> np.ndarray:
    a = np.sqrt(aspect)[:, None]
    return 1 / np.sqrt((np.cos(ANGLES) / a) ** 2 + (np.sin(ANGLES) * a) ** 2)


@register_shape("ellipse")
def ellipse(rng: np.random.Generator, n: int) -> Outlines:
    """Almost regular ellipses, from round to twice as long as wide."""
    aspect = np.exp(rng.uniform(0, rng.uniform(0.15, 0.75), n))
    radii = _ellipse(aspect) * np.exp(_wobble(rng, n, np.full(n, rng.uniform(0.0, 0.12)), 1.3))
    return Outlines(radii, rng.normal(0, 0.06, n))


@register_shape("spindle")
def spindle(rng: np.random.Generator, n: int) -> Outlines:
    """Long thin nuclei, two to five times as long as wide, with blunt or pointed ends."""
    aspect = np.exp(rng.uniform(0.6, rng.uniform(0.9, 1.6), n))
    radii = _ellipse(aspect) * np.exp(_wobble(rng, n, np.full(n, rng.uniform(0.0, 0.15)), 1.3))
    pointed = rng.uniform(-0.1, 0.35, n)[:, None] * np.cos(ANGLES) ** 8
    return Outlines(radii * (1 + pointed), rng.normal(0, 0.1, n))


@register_shape("blob")
def blob(rng: np.random.Generator, n: int) -> Outlines:
    """Smooth, irregular outlines: beans, drops, lobes."""
    aspect = np.exp(np.abs(rng.normal(0, 0.3, n)))
    strength = rng.uniform(0.1, 0.55, n)
    radii = _ellipse(aspect) * np.exp(_wobble(rng, n, strength, rng.uniform(1.1, 1.7)))
    return Outlines(radii, rng.normal(0, 0.1, n))


@register_shape("ragged")
def ragged(rng: np.random.Generator, n: int) -> Outlines:
    """Rough outlines, as in degraded nuclei and shrunken cells."""
    aspect = np.exp(np.abs(rng.normal(0, 0.3, n)))
    radii = _ellipse(aspect) * np.exp(_wobble(rng, n, rng.uniform(0.1, 0.4, n), 1.0, order=12))
    return Outlines(radii, np.zeros(n))


@register_shape("rod")
def rod(rng: np.random.Generator, n: int) -> Outlines:
    """Rods with round ends, straight or bent, as in bacteria."""
    length = np.exp(rng.uniform(-0.5, rng.uniform(0.6, 1.8), n))[:, None]  # half the straight part, width 2
    cosine, sine = np.abs(np.cos(ANGLES)), np.abs(np.sin(ANGLES))
    side = 1 / np.maximum(sine, 1e-6)
    cap = length * cosine + np.sqrt(np.maximum(1 - (length * sine) ** 2, 0))
    radii = np.where(side * cosine <= length, side, cap)
    return Outlines(radii, rng.normal(0, rng.uniform(0.0, 0.12), n))


@register_shape("crescent")
def crescent(rng: np.random.Generator, n: int) -> Outlines:
    """Strongly bent ellipses: crescents, bananas, sickle cells."""
    aspect = np.exp(rng.uniform(0.4, 1.2, n))
    sign = rng.choice([-1.0, 1.0], n)
    return Outlines(_ellipse(aspect), sign * rng.uniform(0.15, 0.5, n))


@register_shape("star")
def star(rng: np.random.Generator, n: int) -> Outlines:
    """Bodies with two to five unequal, tapering processes, as in adherent cells and glia."""
    radii = _ellipse(np.exp(rng.uniform(0, 0.7, n))) * np.exp(_wobble(rng, n, np.full(n, 0.3), 1.2))
    count = rng.integers(2, 6, n)
    start = rng.normal(0, 0.3, n)  # the first process roughly continues the long axis
    for j in range(5):
        angle = start + 2 * np.pi * (j + rng.normal(0, 0.2, n)) / count
        height = np.where(j < count, rng.exponential(0.8, n), 0.0).clip(0, 2.5)
        sharpness = rng.uniform(4, 30, n)[:, None]
        radii += height[:, None] * np.exp(sharpness * (np.cos(ANGLES - angle[:, None]) - 1))
    return Outlines(radii, rng.normal(0, 0.05, n))


@register_shape("polygon")
def polygon(rng: np.random.Generator, n: int) -> Outlines:
    """Rounded polygons with four to seven sides, as in epithelia and squames."""
    sides = rng.integers(4, 8, n)
    start = rng.uniform(0, 2 * np.pi, n)
    reach = np.zeros((n, SAMPLES))
    for j in range(7):
        angle = start + 2 * np.pi * (j + rng.uniform(-0.2, 0.2, n)) / sides
        distance = np.where(j < sides, rng.uniform(0.75, 1.2, n), np.inf)
        facing = np.maximum(np.cos(ANGLES - angle[:, None]), 0) / distance[:, None]
        reach += facing**10  # a soft maximum rounds the corners
    return Outlines(reach ** (-1 / 10), np.zeros(n))
