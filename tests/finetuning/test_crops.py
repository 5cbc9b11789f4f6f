"""Training crops: at the network's scale, unknown area kept unknown, background where none is known."""

from __future__ import annotations

import numpy as np
import pytest
from few_shot_fields import discs

from napari_cupre.data.annotation import make_shot
from napari_cupre.data.labels import label_areas, median_diameter
from napari_cupre.finetuning.crops import CropSampler, scale_shot


def sampler(scale: float = 1.0, rehearse: float = 0.0, partial: bool = False) -> CropSampler:
    image, labels = discs(0)
    if partial:
        labels = np.where(np.isin(labels, [2, 5, 9]), labels, 0)
    return CropSampler([make_shot(image, labels, complete=not partial)], [scale], 24.0, rehearse)


def test_the_same_generator_draws_the_same_crop() -> None:
    source = sampler(rehearse=0.3)
    for seed in range(6):
        a, b = (source.draw(np.random.default_rng(seed), 64) for _ in range(2))
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.labels, b.labels)


def test_cells_come_at_the_scale_asked_for() -> None:
    source = sampler(scale=2.0)
    areas = [label_areas(source.draw(np.random.default_rng(i), 128).labels)[1] for i in range(20)]
    found = np.median(2 * np.sqrt(np.concatenate(areas) / np.pi))
    _, labels = discs(0)
    expected = 2 * median_diameter(labels)
    assert found == pytest.approx(expected, rel=0.2)


def test_full_annotation_needs_no_composed_background_and_rims_alone_do() -> None:
    assert sampler().compose == 0
    assert sampler(partial=True).compose > 0.1


def test_unknown_area_stays_unknown_outside_composed_crops() -> None:
    source = sampler(partial=True)
    shares = [source.draw(np.random.default_rng(i), 96).known.mean() for i in range(40)]
    assert min(shares) < 0.6
    assert max(shares) == 1.0


def test_scaling_keeps_image_labels_and_known_in_step() -> None:
    image, labels = discs(0)
    scaled = scale_shot(make_shot(image, labels, complete=True), 0.5)
    assert scaled.image.shape == (64, 64, 3)
    assert scaled.labels.shape == scaled.known.shape == (64, 64)
    assert scaled.image.dtype == np.float32
    assert scaled.labels.dtype == np.int32


def test_an_image_that_is_known_to_be_empty_teaches_too() -> None:
    image, labels = discs(0, count=1)
    dark = np.zeros_like(image)
    shots = [
        make_shot(image, labels, complete=True),
        make_shot(dark, np.zeros_like(labels), complete=True),
    ]
    source = CropSampler(shots, [1.0, 1.0], 24.0, 0.0)
    drawn = [source.draw(np.random.default_rng(i), 64) for i in range(30)]
    empty = [crop for crop in drawn if crop.known.all() and crop.image.max() < 0.2]
    assert empty
    assert all(not crop.labels.any() for crop in empty)
