"""Augmentation keeps image, labels and known area in step."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import are_equal

from napari_cupre.data.augment import (
    MIN_KEPT,
    Photometry,
    jpeg_artefacts,
    photometric,
    random_crop,
    random_turn,
    rescale,
)
from napari_cupre.data.normalise import is_grey
from napari_cupre.data.sample import Sample
from napari_cupre.synthetic import draw_field

seeds = st.integers(0, 2**32 - 1)


@cache
def make_sample(seed: int, size: int = 96, look: str = "fluorescence") -> Sample:
    """A field of which a part is unknown."""
    rng = np.random.default_rng(seed)
    field = draw_field(rng, size, look, 16)
    known = rng.random((size // 8, size // 8)).repeat(8, 0).repeat(8, 1) < 0.7
    return Sample(field.image, field.labels, known | (field.labels > 0))


def assert_sound(sample: Sample, shape: tuple[int, int]) -> None:
    assert sample.image.shape == (*shape, 3)
    assert sample.image.dtype == np.float32
    assert sample.labels.shape == shape
    assert sample.labels.dtype == np.int32
    assert sample.known.shape == shape
    assert sample.known.dtype == bool
    assert np.isfinite(sample.image).all()
    assert sample.known[sample.labels > 0].all()


@settings(max_examples=40, deadline=None)
@given(seed=seeds, size=st.integers(8, 140), low=st.floats(0.3, 1), high=st.floats(1, 3))
def test_crop_keeps_labels_and_known_in_step(seed: int, size: int, low: float, high: float) -> None:
    sample = make_sample(seed % 7)
    crop = random_crop(np.random.default_rng(seed), sample, size, (low, high))
    assert_sound(crop, (size, size))
    assert set(np.unique(crop.labels)) <= set(np.unique(sample.labels)) | {0}
    again = random_crop(np.random.default_rng(seed), sample, size, (low, high))
    assert are_equal(crop, again)


def test_grey_images_are_resampled_like_any_channel_of_a_coloured_one() -> None:
    rng = np.random.default_rng(0)
    colours = rng.random((50, 70, 3), dtype=np.float32)
    nothing = np.zeros((50, 70), np.int32)
    for factor in (0.6, 1.0, 1.3):
        coloured = rescale(Sample.complete(colours, nothing), factor).image
        for channel in range(3):
            grey = np.repeat(colours[..., channel : channel + 1], 3, axis=2)
            image = rescale(Sample.complete(grey, nothing), factor).image
            assert image.flags.c_contiguous
            assert image.flags.writeable
            np.testing.assert_array_equal(image, np.repeat(coloured[..., channel : channel + 1], 3, axis=2))


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_crop_loses_only_instances_that_its_border_cuts(seed: int) -> None:
    sample = make_sample(seed % 5)
    where = np.indices((96, 96), np.float32).transpose(1, 2, 0)
    ramp = Sample(np.concatenate([where, where[..., :1]], axis=2), sample.labels, sample.known)
    crop = random_crop(np.random.default_rng(seed), ramp, 60, (1.0, 1.0))
    # The image holds its own coordinates, so its middle tells which window this is.
    y, x = np.floor(crop.image[30, 30, :2] - 30 + 0.5).astype(int)
    window = sample.labels[y : y + 60, x : x + 60]
    before = np.bincount(sample.labels.ravel())
    inside = np.bincount(window.ravel(), minlength=before.size)
    kept = set(np.unique(crop.labels)) - {0}
    for value in set(np.unique(window)) - {0}:
        assert (value in kept) == (inside[value] >= MIN_KEPT * before[value])
        if value not in kept:
            assert not crop.known[window == value].any()


def test_crop_beyond_the_image_is_unknown_there() -> None:
    sample = Sample(np.ones((20, 30, 3), np.float32), np.ones((20, 30), np.int32), np.ones((20, 30), bool))
    crop = random_crop(np.random.default_rng(0), sample, 64, (1.0, 1.0))
    assert crop.known.sum() == 20 * 30
    assert (crop.labels > 0).sum() == 20 * 30
    assert np.allclose(crop.image, 1)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, y=st.integers(0, 95), x=st.integers(0, 95), size=st.integers(16, 90))
def test_crop_holds_the_position_asked_for(seed: int, y: int, x: int, size: int) -> None:
    labels = np.zeros((96, 96), np.int32)
    labels[y, x] = 5
    sample = Sample(np.zeros((96, 96, 3), np.float32), labels, np.ones((96, 96), bool))
    crop = random_crop(np.random.default_rng(seed), sample, size, (1.0, 1.0), around=(y + 0.5, x + 0.5))
    assert (crop.labels == 5).sum() == 1


def test_image_and_labels_move_together() -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[20:40, 10:50] = 3
    image = np.repeat((labels > 0).astype(np.float32)[..., None], 3, axis=2)
    sample = Sample(image, labels, np.ones((64, 64), bool))
    for seed in range(10):
        rng = np.random.default_rng(seed)
        crop = random_turn(rng, random_crop(rng, sample, 50, (0.5, 2.0)))
        differ = (crop.image[..., 0] > 0.5) != (crop.labels > 0)
        inside = crop.known
        assert (differ & inside).sum() <= 0.04 * inside.sum()


def test_shrinking_averages() -> None:
    image = np.indices((64, 64)).sum(axis=0)[..., None].repeat(3, 2).astype(np.float32) % 2
    sample = Sample(image, np.zeros((64, 64), np.int32), np.ones((64, 64), bool))
    small = rescale(sample, 0.25)
    assert small.image.shape == (16, 16, 3)
    assert np.abs(small.image - 0.5).max() < 0.05


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.7])
def test_rescale_keeps_all_instances(factor: float) -> None:
    sample = make_sample(1)
    scaled = rescale(sample, factor)
    side = round(96 * factor)
    assert_sound(scaled, (side, side))
    areas = np.bincount(sample.labels.ravel())
    after = np.bincount(scaled.labels.ravel(), minlength=areas.size)
    large = np.flatnonzero(areas > 30)
    assert np.allclose(after[large], areas[large] * factor**2, rtol=0.35)


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_turns_are_a_permutation_of_pixels(seed: int) -> None:
    sample = make_sample(3)
    turned = random_turn(np.random.default_rng(seed), sample)
    assert_sound(turned, (96, 96))
    assert np.array_equal(np.bincount(turned.labels.ravel()), np.bincount(sample.labels.ravel()))
    assert turned.known.sum() == sample.known.sum()


@settings(max_examples=40, deadline=None)
@given(seed=seeds, look=st.sampled_from(["fluorescence", "histology"]))
def test_photometry_is_sound_and_keeps_grey_grey(seed: int, look: str) -> None:
    image = draw_field(np.random.default_rng(seed % 4), 48, look, 14).image
    changed = photometric(np.random.default_rng(seed), image)
    assert changed.shape == image.shape
    assert changed.dtype == np.float32
    assert np.isfinite(changed).all()
    assert changed.min() >= -0.5
    assert changed.max() <= 1.5
    assert is_grey(changed) == is_grey(image)
    assert np.array_equal(changed, photometric(np.random.default_rng(seed), image))


@settings(max_examples=30, deadline=None)
@given(
    quality=st.integers(1, 95),
    exposure=st.floats(0.05, 1),
    look=st.sampled_from(["fluorescence", "histology"]),
)
def test_a_jpeg_file_keeps_grey_grey_and_the_range(quality: int, exposure: float, look: str) -> None:
    image = draw_field(np.random.default_rng(3), 50, look, 14).image
    read = jpeg_artefacts(image, quality, exposure)
    assert read.shape == image.shape
    assert read.dtype == np.float32
    assert read.min() >= -0.5
    assert read.max() <= 1.5
    assert is_grey(read) or not is_grey(image)  # the coarsest files lose their colours, too


def test_jpeg_damage_grows_with_darkness_and_lower_quality() -> None:
    image = draw_field(np.random.default_rng(3), 96, "fluorescence", 14).image
    damage = [
        float(np.abs(jpeg_artefacts(image, *how) - image).mean()) for how in [(95, 1.0), (50, 1.0), (50, 0.2)]
    ]
    assert damage == sorted(damage)
    assert damage[0] < 0.02


def test_no_strength_changes_nothing() -> None:
    image = make_sample(2, look="histology").image
    none = Photometry(gamma=1, contrast=1, brightness=0, gain=0, invert=0, blur=0, noise=0)
    assert np.allclose(photometric(np.random.default_rng(0), image, none), image, atol=1e-5)
