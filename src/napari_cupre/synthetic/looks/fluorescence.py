"""Bright cells on a dark background: nuclei, whole cells, membranes."""

from __future__ import annotations

import numpy as np

from ..layout import Style
from ..noise import Map, blur, fibres, octaves, smooth_noise
from ..scene import SyntheticScene
from .registry import log_uniform, register_look


def _brightness(rng: np.random.Generator, scene: SyntheticScene) -> np.ndarray:
    """Brightness of each cell, float32 (n,): similar, very different, or with a few much brighter cells."""
    values = np.exp(rng.normal(0, rng.choice([0.1, 0.25, 0.5, 0.8]), scene.count))
    if rng.random() < 0.4:  # dividing or dying nuclei
        values[rng.random(scene.count) < rng.uniform(0.02, 0.15)] *= rng.uniform(1.5, 5)
    return values.astype(np.float32)


def _chromatin(rng: np.random.Generator, scene: SyntheticScene) -> np.ndarray:
    """Relative brightness in nuclei, (P,): dome or rim, grain, dark nucleoli, bright foci."""
    d, depth = scene.diameter, scene.depth
    value = 1 - np.float32(rng.uniform(-0.25, 0.7)) * depth ** np.float32(rng.uniform(1.5, 5))
    value *= 1 + np.float32(rng.uniform(0, 0.3)) * scene.texture(rng, d * rng.uniform(0.05, 0.15))
    value *= 1 + np.float32(rng.uniform(0, 0.3)) * scene.texture(rng, d * rng.uniform(0.25, 0.6))
    kind = rng.random()
    if kind < 0.3:
        spots = scene.texture(rng, d * rng.uniform(0.12, 0.25)) - np.float32(rng.uniform(1.0, 1.7))
        value *= 1 - np.float32(rng.uniform(0.2, 0.7)) * np.clip(3 * spots, 0, 1)
    elif kind < 0.6:
        spots = scene.texture(rng, d * rng.uniform(0.08, 0.2)) - np.float32(rng.uniform(0.6, 1.5))
        value += np.float32(rng.uniform(0.3, 2.0)) * np.clip(2 * spots, 0, 1.5)
    return np.maximum(value, 0.05)


def _background(rng: np.random.Generator, scene: SyntheticScene, cells: Map) -> Map:
    """Uneven background, haze from the cells, and blurred objects above or below the focal plane."""
    size, d = scene.size, scene.diameter
    ground = np.full((size, size), log_uniform(rng, 0.002, 0.2), np.float32)
    ground *= np.exp(np.float32(rng.uniform(0, 0.6)) * smooth_noise(rng, size, size / rng.uniform(1, 4)))
    if rng.random() < 0.6:
        ground += np.float32(log_uniform(rng, 0.02, 0.4)) * blur(cells, d * log_uniform(rng, 0.3, 2))
    if rng.random() < 0.3:
        ground += np.float32(rng.uniform(0.2, 0.8)) * scene.out_of_focus(rng, int(rng.integers(1, 15)))
    if rng.random() < 0.25:
        strands = np.maximum(fibres(rng, size, max(2.0, d * rng.uniform(0.08, 0.3))) - 0.5, 0)
        ground += np.float32(log_uniform(rng, 0.01, 0.12)) * strands
    if rng.random() < 0.35:  # faint cell bodies
        hulls = scene.hulls(rng, rng.uniform(1.5, 3), "blob" if rng.random() < 0.7 else "star")
        faint = rng.uniform(0.2, 1, scene.count).astype(np.float32) * np.float32(log_uniform(rng, 0.01, 0.15))
        ground += blur(scene.add(hulls, faint[hulls.body] * (1 - 0.7 * hulls.depth)), d * 0.08)
    return ground


def _specks(rng: np.random.Generator, scene: SyntheticScene) -> Map:
    """Specks much smaller than a cell."""
    high = max(2.2, 0.18 * scene.diameter)
    bodies = scene.scatter(rng, int(rng.integers(1, 40)), (1.5, high))
    strength = rng.exponential(0.4, int(bodies.body.max(initial=0)) + 1).astype(np.float32)
    return scene.add(bodies, strength[bodies.body])


@register_look("fluorescence", weight=0.45)
def fluorescence(rng: np.random.Generator, scene: SyntheticScene) -> Map:
    """Stained nuclei: bright on dark, textured, some touching without a line between them."""
    value = _chromatin(rng, scene) * _brightness(rng, scene)[scene.cell]
    light = scene.pile_up(value) if rng.random() < 0.7 else scene.paint(value)
    if rng.random() < 0.5:
        light *= 1 - np.float32(rng.uniform(-0.4, 0.9)) * scene.seams(rng)
    if rng.random() < 0.2:
        light = scene.uneven_focus(rng, light)
    light += _background(rng, scene, light)
    if rng.random() < 0.35:
        light += np.float32(log_uniform(rng, 0.05, 1)) * _specks(rng, scene)
    if rng.random() < 0.3:  # uneven illumination
        light *= np.exp(np.float32(rng.uniform(0.1, 0.5)) * smooth_noise(rng, scene.size, scene.size / 1.5))
    return light


_TISSUE = Style(
    shapes={"blob": 3, "polygon": 3, "ellipse": 2, "star": 2, "spindle": 1, "rod": 1},
    coverage=(0.1, 0.95),
    pile=0.25,
)


@register_look("fluorescent_cells", weight=0.08, style=_TISSUE)
def fluorescent_cells(rng: np.random.Generator, scene: SyntheticScene) -> Map:
    """Whole cells with a stained cytoplasm or membrane, often with a dark nucleus."""
    d, depth = scene.diameter, scene.depth
    rim = np.exp(-(((1 - depth) / np.float32(rng.uniform(0.08, 0.3))) ** 2))
    hole = 1 - np.float32(rng.uniform(0, 0.9)) / (
        1 + np.exp((depth - np.float32(rng.uniform(0.3, 0.6))) * 14)
    )
    value = np.float32(rng.uniform(0.1, 1)) * hole + np.float32(rng.uniform(0, 1.2)) * rim
    value *= 1 + np.float32(rng.uniform(0.05, 0.45)) * scene.texture(rng, d * rng.uniform(0.04, 0.2))
    value = np.maximum(value, 0.02) * _brightness(rng, scene)[scene.cell]
    light = scene.pile_up(value)
    light += _background(rng, scene, light)
    if rng.random() < 0.3:
        light += np.float32(rng.uniform(0.05, 0.5)) * _specks(rng, scene)
    return light


@register_look("dark_field", weight=0.03)
def dark_field(rng: np.random.Generator, scene: SyntheticScene) -> Map:
    """Dark field: light scattered by edges and granules on a black background."""
    d, depth = scene.diameter, scene.depth
    rim = np.exp(-(((1 - depth) / np.float32(rng.uniform(0.06, 0.25))) ** 2))
    grain = np.maximum(scene.texture(rng, d * rng.uniform(0.04, 0.1)) - 0.5, 0)
    value = np.float32(rng.uniform(0.3, 1)) * rim + np.float32(rng.uniform(0, 0.5)) * grain
    value = (value + np.float32(rng.uniform(0.02, 0.3))) * _brightness(rng, scene)[scene.cell]
    light = scene.pile_up(value)
    light += np.float32(log_uniform(rng, 0.01, 0.15)) * np.exp(0.4 * octaves(rng, scene.size, scene.size / 3))
    return light + np.float32(rng.uniform(0, 0.6)) * _specks(rng, scene)
