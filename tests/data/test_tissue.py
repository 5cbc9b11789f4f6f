"""What a plane is stretched by: its cells, whatever else is in the picture."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_cupre.data.image import fit_stretch, normalise
from napari_cupre.io.samples import SAMPLES, load_sample


def field(cells: int = 25, side: int = 192, dtype: type = np.uint16, level: int = 300) -> np.ndarray:
    """Round bright cells on noise."""
    rng = np.random.default_rng(3)
    plane = np.zeros((side, side))
    for y, x in rng.integers(10, side - 10, (cells, 2)):
        yy, xx = np.mgrid[:side, :side]
        plane += level * np.exp(-((((yy - y) ** 2 + (xx - x) ** 2) / 60.0) ** 3))
    return np.clip(plane + rng.normal(100, 6, plane.shape), 0, np.iinfo(dtype).max).astype(dtype)


def off(stretch, reference) -> float:
    """By how much of the reference's span one stretch differs from another."""
    span = reference.high[0] - reference.low[0]
    return max(abs(stretch.low[0] - reference.low[0]), abs(stretch.high[0] - reference.high[0])) / span


@pytest.mark.parametrize("times", [5, 100])
@pytest.mark.parametrize("radius", [5, 11])
def test_a_bright_piece_of_debris_leaves_the_cells_as_bright_as_they_were(times, radius):
    plane = field()
    yy, xx = np.mgrid[:192, :192]
    dirty = np.where(np.hypot(yy - 40, xx - 120) < radius, 400 * times, plane).astype(np.uint16)
    assert off(fit_stretch(dirty), fit_stretch(plane)) < 0.2
    glow = plane + 300 * times * np.exp(-(((yy - 40) ** 2 + (xx - 120) ** 2) / (radius**2 / 4)))
    assert off(fit_stretch(glow), fit_stretch(plane)) < 0.35


@pytest.mark.parametrize("side", [15, 25, 35])
@pytest.mark.parametrize("name", [info.name for info in SAMPLES if "nuclei" in info.name])
def test_cells_that_look_flat_beside_debris_are_no_padding(name, side):
    """A saturated piece makes the range so wide that everything else differs by next to nothing."""
    plane = np.asarray(load_sample(name).image.data)[:200, :260].astype(np.uint16) * 20
    dirty = plane.copy()
    dirty[90 : 90 + side, 120 : 120 + side] = 65535
    assert off(fit_stretch(dirty), fit_stretch(plane)) < 0.5


def test_a_dark_piece_of_dirt_on_bright_field_does_not_count_either():
    plane = (2000 - field()).astype(np.uint16)
    dirty = plane.copy()
    dirty[30:50, 60:80] = 0
    assert off(fit_stretch(dirty), fit_stretch(plane)) < 0.2


@pytest.mark.parametrize("cells", [1, 3])
def test_the_few_bright_cells_of_a_sparse_field_are_no_debris(cells):
    plane = field(cells, level=3000)
    assert normalise(plane)[plane > 2500].mean() < 1.1


@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize("padding", [0, 128, 255])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_padding_does_not_count(padding, is_compressed, colours):
    plane = np.clip(field() // 4, 0, 255).astype(np.uint8)
    large = np.full((830, 860), float(padding))
    large[200:392, 300:492] = plane
    if is_compressed:  # blurs the edge, and is not quite flat
        large = gaussian_filter(large, 1.0) + np.random.default_rng(0).integers(-1, 2, large.shape)
    large = np.clip(large, 0, 255).astype(np.uint8)
    if colours:
        plane, large = (np.repeat(part[..., None], 3, 2) for part in (plane, large))
    assert off(fit_stretch(large), fit_stretch(plane)) < 0.25


def test_the_background_of_fluorescence_and_the_glass_behind_tissue_count_as_ever():
    black = np.where(field() < 150, 0, field())
    assert fit_stretch(black).low[0] == 0
    white = np.clip(255 - field() // 4.0, 0, 255)
    white[white > 225] = 255
    assert fit_stretch(white.astype(np.uint8)).high[0] == 255


@pytest.mark.parametrize("info", SAMPLES, ids=lambda info: info.name)
def test_ordinary_images_are_stretched_between_the_percentiles_of_all_their_pixels(info):
    image = load_sample(info.name).image
    plane = image.plane(next(image.plane_indices()))
    values = np.sort(plane[::1, ::1].ravel())
    stretch = image.stretch(next(image.plane_indices()))
    if values.size <= 1 << 17:
        assert stretch.low[0] == values[round(0.01 * (values.size - 1))]
        assert stretch.high[0] == values[round(0.998 * (values.size - 1))]
    else:
        span = float(stretch.high[0] - stretch.low[0])
        assert abs(stretch.high[0] - np.percentile(values, 99.8)) < 0.05 * span


def test_a_plane_of_nothing_but_debris_or_padding_is_stretched_all_the_same():
    plane = np.zeros((64, 64), np.uint16)
    plane[10:14, 10:14] = 900
    assert fit_stretch(plane).high[0] == 900
    assert not normalise(np.full((64, 64), 255, np.uint8)).any()


@pytest.mark.parametrize("far", [3.5e38, 6e82, -1.7e308])
def test_values_beyond_float32_are_debris_like_any_other(far):
    plane = np.random.default_rng(0).normal(100, 5, (64, 64))
    expected = normalise(plane)
    plane[5, 7] = far
    assert np.abs(normalise(plane) - expected)[10:].max() < 0.5


@pytest.mark.parametrize("value", [0, 60_000])
@pytest.mark.parametrize("padding", [0, 60])
def test_counting_whole_numbers_gives_what_sorting_gives(value, padding):
    """Values of up to 16 bits are counted, all others sorted."""
    plane = field()
    plane[30:38, 100:108] = value
    plane[:padding] = 2000
    assert fit_stretch(plane) == fit_stretch(plane.astype(np.float64))
