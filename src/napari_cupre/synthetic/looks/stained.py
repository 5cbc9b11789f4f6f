"""Stained specimens in transmitted light, by Beer-Lambert: dyes add up, light falls by their exponential."""

from __future__ import annotations

import numpy as np

from ..layout import Style
from ..noise import Map, blur, fibres, octaves, smooth_noise
from ..scene import SyntheticScene
from .registry import log_uniform, register_look

# Optical density in red, green and blue of the common dyes, after Ruifrok & Johnston (2001).
HAEMATOXYLIN = (0.65, 0.70, 0.29)
EOSIN = (0.07, 0.99, 0.11)
DAB = (0.27, 0.57, 0.78)
AZURE = (0.80, 0.58, 0.12)
VIOLET = (0.52, 0.82, 0.05)

_TISSUE = Style(
    shapes={"ellipse": 4, "blob": 2.5, "spindle": 4, "ragged": 1, "crescent": 0.4, "polygon": 0.3},
    coverage=(0.06, 0.75),
    pile=0.5,
    aligned=0.5,
    spread=(0.1, 0.4),
)


def _dye(rng: np.random.Generator, colour: tuple[float, float, float], spread: float = 0.12) -> np.ndarray:
    """A dye of roughly this colour, float32 (3,): batches, scanners and white balances differ."""
    vector = np.clip(np.array(colour) + rng.normal(0, spread, 3), 0.01, None)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _nuclear_dye(rng: np.random.Generator) -> np.ndarray:
    """A blue to purple dye, float32 (3,)."""
    kind = rng.random()
    return _dye(rng, HAEMATOXYLIN if kind < 0.5 else VIOLET if kind < 0.8 else AZURE)


def _softness(rng: np.random.Generator, diameter: float) -> float:
    """Sigma of the optical blur in px: at least half a pixel, and little enough to count the cells."""
    return log_uniform(rng, max(0.5, 0.02 * diameter), max(0.9, 0.075 * diameter))


def _nuclei(rng: np.random.Generator, scene: SyntheticScene) -> Map:
    """Nuclear dye: it adds up where nuclei overlap, and a line may separate nuclei that touch."""
    density = _nuclear_density(rng, scene)
    nuclei = scene.pile_up(density) if rng.random() < 0.6 else scene.paint(density)
    if rng.random() < 0.7:
        nuclei *= 1 - np.float32(rng.uniform(0, 0.7)) * scene.seams(rng)
    if rng.random() < 0.5:
        nuclei += np.float32(rng.uniform(0.2, 1)) * scene.out_of_focus(rng, int(rng.integers(1, 12)))
    nuclei = blur(nuclei, _softness(rng, scene.diameter))
    return scene.uneven_focus(rng, nuclei) if rng.random() < 0.35 else nuclei


def _expose(rng: np.random.Generator, densities: list[tuple[Map, np.ndarray]], size: int) -> np.ndarray:
    """Light that passes the dyes, float32 (size, size, 3); colour and evenness of the lamp vary."""
    light = np.zeros((3, size * size), np.float32)
    for amount, dye in densities:
        light -= (dye * np.float32(np.log(10)))[:, None] * amount.ravel()
    np.exp(light, out=light)
    lamp = rng.uniform(0.75, 1.0) * np.clip(rng.normal(1, 0.05, 3), 0.75, 1.1)
    light *= lamp.astype(np.float32)[:, None]
    if rng.random() < 0.4:
        light *= 1 + np.float32(rng.uniform(0.02, 0.12)) * smooth_noise(rng, size, size / 1.5).ravel()
    # Memory stays ordered by colour, which makes all later steps faster.
    return np.moveaxis(light.reshape(3, size, size), 0, -1)


def _nuclear_density(rng: np.random.Generator, scene: SyntheticScene) -> np.ndarray:
    """Dye in nuclei, (P,): pale and vesicular with a dark membrane, or dense and even."""
    d, depth = scene.diameter, scene.depth
    strength = np.exp(rng.normal(0, rng.uniform(0.1, 0.5), scene.count)).astype(np.float32)
    value = np.ones_like(depth)
    vesicular = rng.random(scene.count) < rng.choice([0.0, rng.random(), 1.0])
    pale = np.where(vesicular, rng.uniform(0.2, 0.7), rng.uniform(0, 0.25)).astype(np.float32)
    value -= pale[scene.cell] * (1 - depth ** np.float32(rng.uniform(3, 9)))
    clumps = scene.texture(rng, d * rng.uniform(0.06, 0.18))
    value += np.float32(rng.uniform(0.05, 0.4)) * clumps * (0.4 + pale[scene.cell])
    value += np.float32(rng.uniform(0, 0.25)) * scene.texture(rng, d * rng.uniform(0.25, 0.5))
    return np.maximum(value, 0.1) * strength[scene.cell]


def _stroma(rng: np.random.Generator, scene: SyntheticScene) -> Map:
    """Ground substance, 0 to about 1: cloudy, fibrous or both."""
    size, d = scene.size, scene.diameter
    ground = 0.5 + np.float32(rng.uniform(0.05, 0.3)) * octaves(rng, size, d * rng.uniform(0.6, 3), 4)
    if rng.random() < 0.6:
        strands = fibres(rng, size, max(2.0, d * rng.uniform(0.08, 0.4)), rng.uniform(0.2, 1.2))
        ground += np.float32(log_uniform(rng, 0.03, 0.25)) * strands
    if rng.random() < 0.4:  # holes, vessels, the edge of the section
        opening = smooth_noise(rng, size, size / rng.uniform(1.5, 5)) - np.float32(rng.uniform(0.0, 1.0))
        covered = (scene.labels > 0).astype(np.float32)
        opening -= 3 * blur(covered, 0.25 * d)
        ground *= 1 - np.clip(opening * 8, 0, 1)
    return np.maximum(ground, 0)


@register_look("histology", weight=0.16, style=_TISSUE)
def histology(rng: np.random.Generator, scene: SyntheticScene) -> np.ndarray:
    """Tissue sections: blue to purple nuclei in pink, violet or brown tissue."""
    d = scene.diameter
    nuclear = _nuclei(rng, scene)
    tissue = _stroma(rng, scene)
    if rng.random() < 0.6:
        hulls = scene.hulls(rng, rng.uniform(1.3, 2.2), "polygon")
        tissue += np.float32(rng.uniform(0.1, 0.7)) * blur(
            np.minimum(scene.add(hulls, np.ones(hulls.pixel.size)), 1), 0.06 * d
        )
    if rng.random() < 0.15:  # red blood cells take up the counterstain but are not nuclei
        discs = scene.scatter(rng, int(rng.integers(3, 40)), (0.8 * d, 1.3 * d), "ellipse")
        tissue += np.float32(rng.uniform(0.5, 1.5)) * blur(
            scene.add(discs, np.ones(discs.pixel.size)), 0.05 * d
        )
    counter = EOSIN if rng.random() < 0.75 else DAB
    nuclear_dye, counter_dye = _nuclear_dye(rng), _dye(rng, counter)
    if rng.random() < 0.45:  # a single hue: the counterstain is a paler shade of the nuclear one
        counter_dye = _dye(rng, tuple(nuclear_dye), 0.06)
    return _expose(
        rng,
        [
            (nuclear * np.float32(log_uniform(rng, 0.25, 1.3)), nuclear_dye),
            (tissue * np.float32(log_uniform(rng, 0.06, 0.6)), counter_dye),
        ],
        scene.size,
    )


_LOOSE = Style(
    shapes={"ellipse": 4, "blob": 4, "ragged": 2, "crescent": 0.5},
    coverage=(0.08, 0.7),
    pile=0.5,
    aligned=0.05,
    spread=(0.1, 0.45),
)


@register_look("stained_nuclei", weight=0.12, style=_LOOSE)
def stained_nuclei(rng: np.random.Generator, scene: SyntheticScene) -> np.ndarray:
    """Dark nuclei on an almost white background with pale ghosts, as in bone marrow and imprints."""
    d, size = scene.diameter, scene.size
    nuclear = _nuclei(rng, scene)
    hulls = scene.hulls(rng, rng.uniform(1.2, 1.9), "blob", rng.random(scene.count) < rng.random())
    pale = scene.add(hulls, 0.5 + 0.5 * hulls.depth)
    ghosts = scene.scatter(rng, int(rng.integers(0, 30)), (0.3 * d, 0.9 * d))
    ghost_strength = np.float32(rng.uniform(0.1, 0.6)) * (ghosts.depth**3 + 0.1)
    pale += scene.add(ghosts, ghost_strength)
    pale = blur(pale, 0.06 * d) + np.float32(rng.uniform(0, 0.2)) * np.maximum(octaves(rng, size, 2 * d), 0)
    return _expose(
        rng,
        [
            (nuclear * np.float32(log_uniform(rng, 0.4, 1.5)), _nuclear_dye(rng)),
            (pale * np.float32(log_uniform(rng, 0.03, 0.25)), _dye(rng, EOSIN, 0.2)),
        ],
        size,
    )


_SMEAR = Style(
    shapes={"ellipse": 7, "blob": 1, "crescent": 0.3, "ragged": 0.3},
    coverage=(0.1, 0.8),
    pile=0.7,
    aligned=0.05,
    spread=(0.04, 0.2),
)


@register_look("blood_smear", weight=0.07, style=_SMEAR)
def blood_smear(rng: np.random.Generator, scene: SyntheticScene) -> np.ndarray:
    """Romanowsky-stained smears: pink discs with pale centres and cells with purple nuclei, all labelled."""
    d, depth, cell = scene.diameter, scene.depth, scene.cell
    white = rng.random(scene.count) < rng.choice([0.0, 0.04, 0.3])
    pallor = rng.uniform(0.1, 1.2) * rng.uniform(0.6, 1.0, scene.count)
    disc = 1 - pallor[cell] * np.exp(-((depth / np.float32(rng.uniform(0.3, 0.65))) ** 3))
    disc += np.float32(rng.uniform(0, 0.6)) * depth**6
    red = scene.pile_up(np.where(white[cell], 0.15, disc) * np.exp(rng.normal(0, 0.15, scene.count))[cell])
    lobes = 0.75 + 0.3 * scene.texture(rng, 0.35 * d)
    nucleus = 1 / (1 + np.exp((depth - np.clip(lobes, 0.35, 0.93)) * 25))
    nucleus *= 1 + 0.2 * scene.texture(rng, 0.1 * d)
    purple = scene.pile_up(np.where(white[cell], nucleus + 0.2, 0))
    specks = scene.scatter(rng, int(rng.integers(0, 12)), (2.0, max(3.0, 0.25 * d)))
    purple += np.float32(0.4) * scene.add(specks, np.ones(specks.pixel.size))
    sigma = _softness(rng, d)
    haze = np.float32(rng.uniform(0, 0.06)) * (1 + 0.5 * octaves(rng, scene.size, 2 * d))
    return _expose(
        rng,
        [
            (blur(red, sigma) * np.float32(log_uniform(rng, 0.12, 0.6)), _dye(rng, (0.3, 0.75, 0.6), 0.15)),
            (blur(purple, sigma) * np.float32(log_uniform(rng, 0.5, 1.3)), _dye(rng, AZURE, 0.12)),
            (haze, _dye(rng, EOSIN, 0.3)),
        ],
        scene.size,
    )


_SPARSE = Style(
    shapes={"ellipse": 5, "blob": 1, "ragged": 0.5}, coverage=(0.02, 0.15), pile=0.2, spread=(0.1, 0.35)
)


@register_look("grey_stained", weight=0.06, style=_SPARSE)
def grey_stained(rng: np.random.Generator, scene: SyntheticScene) -> Map:
    """Grey images of dark nuclei in large, translucent, folded cells: squames and cytology."""
    d, size = scene.diameter, scene.size
    hulls = scene.hulls(rng, log_uniform(rng, 2, 6), "polygon", rng.random(scene.count) < 0.9)
    body = np.exp(rng.normal(0, 0.4, scene.count)).astype(np.float32)
    cytoplasm = scene.add(hulls, body[hulls.body] * (0.85 + 0.3 * hulls.depth**6))
    cytoplasm *= 1 + np.float32(rng.uniform(0.05, 0.25)) * octaves(rng, size, max(3.0, d * 0.6), 3)
    for _ in range(2):  # folds and creases, dark and thin
        folds = np.maximum(fibres(rng, size, max(1.5, d * rng.uniform(0.08, 0.3)), 2.0) - 0.9, 0)
        cytoplasm *= 1 + np.float32(rng.uniform(0, 1.5)) * folds
    nuclear = blur(scene.paint(_nuclear_density(rng, scene)), 0.04 * d)
    granules = scene.scatter(rng, int(rng.integers(0, 60)), (1.2, max(2.0, 0.15 * d)))
    density = np.float32(log_uniform(rng, 0.05, 0.35)) * np.minimum(blur(cytoplasm, 0.03 * d), 4)
    density += np.float32(log_uniform(rng, 0.4, 1.5)) * nuclear
    density += np.float32(rng.uniform(0, 0.4)) * scene.add(granules, np.ones(granules.pixel.size))
    return np.exp(-2.3 * density) * (1 + np.float32(rng.uniform(0, 0.06)) * smooth_noise(rng, size, size / 2))
