"""The shipped sample images are whole, small, licensed and annotated as they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_cupre.data.annotation import scattered_labels
from napari_cupre.errors import InputError
from napari_cupre.io import samples
from napari_cupre.io.samples import SAMPLES, load_sample

FOLDER = Path(samples.__file__).parent
NAMES = [info.name for info in SAMPLES]


def test_together_they_are_small():
    assert sum(file.stat().st_size for file in FOLDER.iterdir() if file.is_file()) < 3_000_000


def test_every_kind_is_there():
    assert sum(name.startswith("nuclei") for name in NAMES) == 3
    assert sum(load_sample(name).image.is_rgb for name in NAMES) == 2
    assert "phase_contrast" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_annotations_are_ready(name):
    sample = load_sample(name)
    shape = sample.image.plane_shape
    assert sample.annotations.shape == shape
    assert sample.annotations.dtype == np.int32
    assert 4 <= len(np.unique(sample.annotations)) - 1 <= 12
    assert scattered_labels(sample.annotations) == []
    if sample.truth is not None:
        marked = sample.annotations > 0
        np.testing.assert_array_equal(sample.annotations[marked], sample.truth[marked])
    shot = sample.shot()
    assert shot.known[shot.labels > 0].all()
    assert 0.02 < shot.known.mean() < 0.3


@pytest.mark.parametrize("name", [info.name for info in SAMPLES if info.regions])
def test_every_cell_in_a_region_is_annotated(name):
    sample = load_sample(name)
    if sample.truth is None:
        pytest.skip("nobody drew every cell of it")
    for region in sample.regions:
        (top, left), (bottom, right) = region.min(axis=0).astype(int), region.max(axis=0).astype(int)
        inside = np.s_[top : bottom + 1, left : right + 1]
        np.testing.assert_array_equal(sample.annotations[inside], sample.truth[inside])


def test_the_phase_contrast_image_knows_its_scale():
    image = load_sample("phase_contrast").image
    assert image.data.dtype == np.uint16
    assert image.pixel_size_um == pytest.approx(0.8708, abs=1e-4)


def test_origin_and_licence_are_said():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    licences = (FOLDER / "LICENSE-samples.txt").read_text(encoding="utf-8")
    for info in SAMPLES:
        assert info.name in licences
        assert f"`{info.name}`" in readme
        assert all(word in readme for word in info.source.split(",")[0].split())


def test_unknown_names_list_the_known_ones():
    with pytest.raises(InputError, match=r"no sample image \"cat\".*nuclei_field"):
        load_sample("cat")
