"""Cutting cells out and pasting them elsewhere."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import are_equal, copied

from napari_cupre.data.normalise import is_grey
from napari_cupre.data.paste import compose_field, copy_paste, cut_cells, measure_background
from napari_cupre.data.sample import Sample
from napari_cupre.synthetic import draw_field

seeds = st.integers(0, 2**32 - 1)


@cache
def make_sample(seed: int, look: str = "fluorescence", size: int = 128) -> Sample:
    """A field with the left half known."""
    field = draw_field(np.random.default_rng(seed), size, look, 18)
    known = np.zeros((size, size), bool)
    known[:, : size // 2] = True
    labels = np.where(known, field.labels, 0).astype(np.int32)
    return Sample(field.image, labels, known)


def disk_field(level: float = 0.2, noise: float = 0.02, sigma: float = 0.0) -> Sample:
    """Bright disks on a noisy ground of known statistics."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    y, x = np.indices((200, 200))
    labels = np.zeros((200, 200), np.int32)
    for i, (cy, cx) in enumerate([(50, 50), (50, 150), (150, 50), (150, 150)]):
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 15**2] = i + 1
    grain = (
        gaussian_filter(rng.standard_normal((200, 200)), sigma) if sigma else rng.standard_normal((200, 200))
    )
    grey = level + noise * grain / grain.std() + 0.6 * (labels > 0)
    return Sample(grey[..., None].repeat(3, 2).astype(np.float32), labels, np.ones((200, 200), bool))


def test_cells_are_cut_with_their_rims() -> None:
    sample = disk_field()
    cells = cut_cells(sample)
    assert len(cells) == 4
    for cell in cells:
        assert cell.mask.sum() == (sample.labels == 1).sum()
        assert cell.rim.any()
        assert not (cell.rim & cell.mask).any()
        assert cell.image[cell.mask].mean() > 0.7
        assert cell.image[cell.rim].mean() < 0.3


def test_numbers_of_cells_do_not_matter() -> None:
    sample = disk_field()
    far = np.where(sample.labels == 3, 2**30, 7 * sample.labels).astype(np.int32)
    full = np.where(sample.labels == 0, 1, far).astype(np.int32)  # nothing is background
    for labels, count in ((far, 4), (full, 4)):
        cells = cut_cells(Sample(sample.image, labels, sample.known))
        assert [int(cell.mask.sum()) for cell in cells] == [(sample.labels == 1).sum()] * count


def test_rims_are_known_background_only() -> None:
    sample = disk_field()
    known = sample.labels > 0
    cells = cut_cells(Sample(sample.image, sample.labels, known))
    assert not any(cell.rim.any() for cell in cells)
    assert measure_background(cells) is None


def test_border_cells_serve_only_where_there_are_no_others() -> None:
    sample = disk_field()
    cut = Sample(sample.image[50:, :], sample.labels[50:, :], sample.known[50:, :])
    assert len(cut_cells(cut)) == 2
    only_cut = Sample(cut.image[:60], cut.labels[:60], cut.known[:60])
    assert len(cut_cells(only_cut)) == 2


@settings(max_examples=30, deadline=None)
@given(seed=seeds, n=st.integers(0, 12), look=st.sampled_from(["fluorescence", "histology"]))
def test_pasting_changes_no_annotated_cell(seed: int, n: int, look: str) -> None:
    sample = make_sample(seed % 5, look)
    before = copied(sample)
    donors = cut_cells(make_sample(7, look))
    result = copy_paste(np.random.default_rng(seed), sample, donors, n)
    assert are_equal(sample, before)
    old = sample.labels > 0
    assert np.array_equal(result.labels[old], sample.labels[old])
    assert np.array_equal(result.image[old], sample.image[old])
    new = set(np.unique(result.labels)) - set(np.unique(sample.labels))
    assert len(new) <= n
    assert all(value > sample.labels.max() for value in new)
    assert result.known[result.labels > 0].all()
    assert (result.known >= sample.known).all()
    assert is_grey(result.image) or not is_grey(sample.image) or not all(is_grey(c.image) for c in donors)
    # Where nothing was pasted, the image is untouched.
    same = (result.image == sample.image).all(axis=2)
    assert same[~result.known].mean() > 0.5 or n > 0
    again = copy_paste(np.random.default_rng(seed), sample, donors, n)
    assert are_equal(result, again)


def test_pasting_makes_cells_in_unknown_area_known() -> None:
    sample = make_sample(1)
    unknown = Sample(sample.image, np.zeros_like(sample.labels), np.zeros_like(sample.known))
    result = copy_paste(np.random.default_rng(0), unknown, cut_cells(disk_field()), 5)
    cells = result.labels > 0
    assert len(np.unique(result.labels)) > 2
    rim = result.known & ~cells
    assert 0 < rim.sum() < cells.sum()


def test_the_background_is_read_from_the_rims() -> None:
    for sigma in (0.0, 1.0):
        background = measure_background(cut_cells(disk_field(level=0.3, noise=0.05, sigma=sigma)))
        assert background is not None
        assert np.allclose(background.level, 0.3, atol=0.03)
        assert np.allclose(np.sqrt((background.grain**2).sum(axis=1)), 0.05, rtol=0.35)
        assert abs(background.sigma - sigma) < 0.45


@settings(max_examples=15, deadline=None)
@given(seed=seeds, look=st.sampled_from(["fluorescence", "histology"]), size=st.integers(40, 140))
def test_composed_fields_are_wholly_known(seed: int, look: str, size: int) -> None:
    cells = cut_cells(make_sample(3, look))
    background = measure_background(cells)
    assert background is not None
    field = compose_field(np.random.default_rng(seed), cells, background, size)
    assert field.image.shape == (size, size, 3)
    assert field.image.dtype == np.float32
    assert field.labels.dtype == np.int32
    assert field.known.all()
    values = np.unique(field.labels)
    assert np.array_equal(values, np.arange(values.size))
    assert is_grey(field.image) == all(is_grey(cell.image) for cell in cells)


def test_composed_background_looks_like_the_rims() -> None:
    sample = disk_field(level=0.2, noise=0.04)
    cells = cut_cells(sample)
    background = measure_background(cells)
    assert background is not None
    field = compose_field(np.random.default_rng(1), cells, background, 200, n=6)
    ground = field.image[field.labels == 0][:, 0]
    cell = field.image[field.labels > 0][:, 0]
    assert abs(np.median(ground) - 0.2) < 0.04
    assert abs(ground.std() - 0.04) < 0.03
    assert abs(np.median(cell) - 0.8) < 0.05
