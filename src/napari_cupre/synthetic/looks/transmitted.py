"""Unstained cells in transmitted light: bright field, phase contrast, oblique illumination."""

from __future__ import annotations

import numpy as np

from ..layout import Style
from ..noise import Map, blur, octaves, smooth_noise
from ..scene import SyntheticScene
from .registry import log_uniform, register_look

_CULTURE = Style(
    shapes={"blob": 3, "star": 2.5, "ellipse": 3, "spindle": 2, "rod": 2, "crescent": 0.5, "ragged": 0.5},
    coverage=(0.08, 0.9),
    pile=0.2,
    aligned=0.3,
)


def _thickness(rng: np.random.Generator, scene: SyntheticScene) -> Map:
    """Thickness of the cells, about 1 at their centre: flat or domed, with granules and a nucleus."""
    d, depth = scene.diameter, scene.depth
    dome = (1 - depth**2) ** np.float32(log_uniform(rng, 0.15, 1.0))
    grain = scene.texture(rng, max(1.5, d * rng.uniform(0.04, 0.12)))
    dome *= 1 + np.float32(rng.uniform(0.02, 0.3)) * grain
    if rng.random() < 0.5:
        dome += np.float32(rng.uniform(0.1, 0.6)) / (
            1 + np.exp((depth - np.float32(rng.uniform(0.25, 0.5))) * 16)
        )
    height = np.exp(rng.normal(0, 0.3, scene.count)).astype(np.float32)
    return scene.pile_up(dome * height[scene.cell])


def _ground(rng: np.random.Generator, scene: SyntheticScene) -> Map:
    """Uneven illumination, and rings from dust out of focus; mean about 0."""
    size = scene.size
    ground = np.float32(rng.uniform(0.02, 0.25)) * smooth_noise(rng, size, size / rng.uniform(1, 2.5))
    ground += np.float32(rng.uniform(0, 0.04)) * octaves(rng, size, max(4.0, scene.diameter / 2))
    if rng.random() < 0.4:
        rings = scene.scatter(
            rng, int(rng.integers(1, 8)), (0.5 * scene.diameter, 3 * scene.diameter), "ellipse"
        )
        wave = np.cos(rings.depth * np.float32(rng.uniform(8, 22))) * (1 - rings.depth)
        ground += np.float32(rng.uniform(0.02, 0.1)) * blur(scene.add(rings, wave), 1.0)
    if rng.random() < 0.4:
        specks = scene.scatter(rng, int(rng.integers(1, 40)), (1.5, max(2.5, 0.2 * scene.diameter)))
        ground -= np.float32(rng.uniform(-0.3, 0.6)) * scene.add(specks, np.ones(specks.pixel.size))
    return ground


@register_look("phase_contrast", weight=0.13, style=_CULTURE)
def phase_contrast(rng: np.random.Generator, scene: SyntheticScene) -> Map:
    """Zernike phase contrast: dark cells with a bright halo, or the reverse, with fine structure."""
    d = scene.diameter
    phase = blur(_thickness(rng, scene), rng.uniform(0.02, 0.06) * d)
    halo = blur(phase, d * log_uniform(rng, 0.12, 0.6))
    light = phase - np.float32(rng.uniform(0.6, 1.1)) * halo
    light += np.float32(rng.uniform(0.5, 3)) * (phase - blur(phase, max(1.2, 0.06 * d)))
    if rng.random() < 0.75:
        light = -light
    if rng.random() < 0.4:  # rounded cells shift the phase beyond half a wave and turn bright
        round_ones = rng.random(scene.count) < rng.uniform(0.03, 1)
        glow = np.where(round_ones[scene.cell], (1 - scene.depth**2), 0).astype(np.float32)
        bright = blur(scene.paint(glow), 0.04 * d)
        light += np.float32(rng.uniform(1, 3)) * (bright - np.float32(0.5) * blur(bright, 0.15 * d))
    return 0.5 + np.float32(rng.uniform(0.1, 0.4)) * (light + _ground(rng, scene))


@register_look("bright_field", weight=0.09, style=_CULTURE)
def bright_field(rng: np.random.Generator, scene: SyntheticScene) -> Map:
    """Bright field near focus: edges refract light (Laplacian of the thickness), the body may absorb it."""
    d = scene.diameter
    thickness = blur(_thickness(rng, scene), rng.uniform(0.02, 0.05) * d)
    width = d * log_uniform(rng, 0.04, 0.2)
    bend = thickness - blur(thickness, width)
    bend /= max(float(bend.std()), 1e-3)
    focus = rng.choice([-1, 1]) * rng.uniform(0.05, 0.5)
    absorb = np.float32(rng.uniform(0, 0.8) if rng.random() < 0.6 else 0)
    light = np.exp(-absorb * thickness) + np.float32(0.3 * focus) * bend
    return 0.7 * light + np.float32(rng.uniform(0.1, 0.5)) * _ground(rng, scene)


@register_look("oblique", weight=0.04, style=_CULTURE)
def oblique(rng: np.random.Generator, scene: SyntheticScene) -> Map:
    """Differential interference contrast or oblique illumination: a relief lit from one side."""
    phase = blur(_thickness(rng, scene), rng.uniform(0.03, 0.08) * scene.diameter)
    dy, dx = np.gradient(phase)
    angle = rng.uniform(0, 2 * np.pi)
    relief = np.float32(np.cos(angle)) * dx + np.float32(np.sin(angle)) * dy
    relief /= max(float(relief.std()), 1e-3)
    light = 0.5 + np.float32(rng.uniform(0.05, 0.15)) * relief + np.float32(rng.uniform(-0.1, 0.1)) * phase
    return light + np.float32(rng.uniform(0.05, 0.3)) * _ground(rng, scene)
