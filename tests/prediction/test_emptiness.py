"""Noise is told from what an image may hold, however little that is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_cupre.data.image import normalise
from napari_cupre.io.samples import SAMPLES, load_sample
from napari_cupre.prediction.emptiness import is_noise, sure_in_noise
from napari_cupre.prediction.stitch import Found


def noise(side: int, smooth: float, seed: int = 0) -> np.ndarray:
    """Noise with a standard deviation of 4 about 100, (Y, X)."""
    grey = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side + 30)), smooth)
    return 100 + 4 * grey / grey.std()


def with_disc(grey: np.ndarray, height: float, radius: float, place: tuple[int, int]) -> np.ndarray:
    """A disc of so many standard deviations of the noise."""
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
    return grey + 4 * height * ((y - place[0]) ** 2 + (x - place[1]) ** 2 < radius**2)


@settings(max_examples=20, deadline=None)
@given(st.integers(128, 500), st.floats(0, 1.5), st.integers(0, 10_000), st.floats(0, 30))
@example(128, 0.0, 120, 0.0)  # high in a corner, where the filter reflects the same noise three times
def test_noise_is_recognised_in_uneven_light(side: int, smooth: float, seed: int, light: float) -> None:
    grey = noise(side, smooth, seed)
    y, x = np.indices(grey.shape) / side
    assert is_noise(normalise(grey + light * (y * y - x)))


@settings(max_examples=20, deadline=None)
@given(st.floats(4, 40), st.floats(0, 1.5), st.integers(0, 10_000), st.tuples(*[st.integers(5, 395)] * 2))
def test_one_cell_that_can_be_seen_is_enough(
    radius: float, smooth: float, seed: int, place: tuple[int, int]
) -> None:
    assert not is_noise(normalise(with_disc(noise(400, smooth, seed), 8, radius, place)))


@pytest.mark.parametrize("radius", [3, 6, 15])
def test_a_field_full_of_faint_cells_is_no_noise(radius: float) -> None:
    grey = noise(400, 0.7)
    for place in np.random.default_rng(1).integers(0, 400, (round(12_000 / radius**2), 2)):
        grey = with_disc(grey, 2, radius, (int(place[0]), int(place[1])))
    assert not is_noise(normalise(grey))


@pytest.mark.parametrize("name", [info.name for info in SAMPLES])
def test_samples_are_no_noise(name: str) -> None:
    image = load_sample(name).image
    plane = np.asarray(image.plane(next(iter(image.plane_indices()))))
    assert not is_noise(normalise(plane))


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (40, 40)])
def test_of_a_scrap_nothing_is_said(shape: tuple[int, int]) -> None:
    assert not is_noise(normalise(np.random.default_rng(0).normal(size=shape)))
    assert not is_noise(np.zeros((*shape, 3), np.float32))


def test_what_is_sure_stays_in_noise() -> None:
    scores = np.array([0.97, 0.95, 0.94, 0.4], np.float32)
    found = Found(np.zeros((4, 4), np.float32), scores, np.ones(4, int), np.zeros((4, 28, 28), np.float32))
    kept = sure_in_noise(normalise(noise(200, 0.5)), found)
    assert kept.scores.tolist() == pytest.approx([0.97, 0.95])
    assert sure_in_noise(normalise(with_disc(noise(200, 0.5), 9, 8, (50, 60))), found) is found
