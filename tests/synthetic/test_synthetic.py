"""Synthetic fields: exact labels, every look, the same on every draw."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_cupre.data.normalise import is_grey
from napari_cupre.errors import InputError
from napari_cupre.synthetic import LOOKS, SHAPES, SyntheticFields, draw_field, register_look
from napari_cupre.synthetic import field as field_module
from napari_cupre.synthetic.cell_shapes import ANGLES, Outlines, draw_outlines
from napari_cupre.synthetic.layout import MIN_AREA, rasterise, topmost
from napari_cupre.synthetic.noise import blur, fibres, octaves, smooth_noise


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(48, 200),
    look=st.sampled_from(sorted(LOOKS)),
    diameter=st.floats(8, 80),
)
def test_every_field_is_sound(seed: int, size: int, look: str, diameter: float) -> None:
    field = draw_field(np.random.default_rng(seed), size, look, diameter)
    assert field.image.shape == (size, size, 3)
    assert field.image.dtype == np.float32
    assert np.isfinite(field.image).all()
    assert field.image.min() >= -0.5
    assert field.image.max() <= 1.5
    assert field.labels.shape == (size, size)
    assert field.labels.dtype == np.int32
    values, areas = np.unique(field.labels[field.labels > 0], return_counts=True)
    assert np.array_equal(values, np.arange(1, values.size + 1))
    assert (areas >= MIN_AREA).all()
    assert field.look == look
    again = draw_field(np.random.default_rng(seed), size, look, diameter)
    assert np.array_equal(again.image, field.image)
    assert np.array_equal(again.labels, field.labels)


@pytest.mark.parametrize("look", sorted(LOOKS))
def test_cells_can_be_seen(look: str) -> None:
    """Inside and around most cells of most fields the image differs, in level or in structure."""
    differs = []
    for seed in range(6):
        field = draw_field(np.random.default_rng(seed), 160, look, 24)
        cells = field.labels > 0
        if not cells.any():
            continue
        around = ndimage.binary_dilation(cells, iterations=6) & ~ndimage.binary_dilation(cells, iterations=2)
        gradient = np.stack([ndimage.gaussian_gradient_magnitude(c, 1.0) for c in field.image.T]).max(0).T
        edge = ndimage.binary_dilation(cells) & ~ndimage.binary_erosion(cells)
        if around.any():
            level = np.abs(field.image[cells].mean(0) - field.image[around].mean(0)).max()
            structure = abs(np.log(gradient[cells | edge].mean() / gradient[around].mean()))
            differs.append(max(level / 0.05, structure / 0.1))
    assert np.median(differs) > 1


def test_median_diameter_is_what_was_asked_for() -> None:
    for diameter in (12.0, 40.0):
        drawn = [
            draw_field(np.random.default_rng(i), 256, "fluorescence", diameter).diameter for i in range(20)
        ]
        assert 0.75 * diameter < np.median(drawn) < 1.25 * diameter


def test_some_fields_are_empty_or_nearly_and_some_are_enlarged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_module, "SPARSE", 1.0)
    counts = [draw_field(np.random.default_rng(seed), 96, None, 16).labels.max() for seed in range(40)]
    assert set(counts) == {0, 1, 2, 3}
    monkeypatch.setattr(field_module, "SPARSE", 0.0)
    monkeypatch.setattr(field_module, "ENLARGED", 1.0)
    sides = {field_module._side(np.random.default_rng(seed), 128, 24.0) for seed in range(40)}
    assert min(sides) >= 128 / field_module.MOST_ENLARGED - 1
    assert max(sides) < 128 / 1.15
    drawn = [draw_field(np.random.default_rng(seed), 128, "fluorescence", 24.0) for seed in range(20)]
    assert 18 < np.median([field.diameter for field in drawn]) < 30
    assert field_module._side(np.random.default_rng(0), 128, 8.0) == 128  # too small to be drawn smaller


def test_source_is_a_function_of_seed_and_index() -> None:
    source, other = SyntheticFields(96, seed=3), pickle.loads(pickle.dumps(SyntheticFields(96, seed=3)))
    assert np.array_equal(source[5].image, other[5].image)
    assert not np.array_equal(source[5].image, source[6].image)
    assert not np.array_equal(source[5].image, SyntheticFields(96, seed=4)[5].image)


def test_source_draws_the_looks_that_it_is_given() -> None:
    looks = {SyntheticFields(64, 0, {"histology": 1, "oblique": 1})[i].look for i in range(12)}
    assert looks == {"histology", "oblique"}


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"looks": {"x-ray": 1.0}}, "x-ray"),
        ({"looks": {"histology": 0.0}}, "above 0"),
        ({"looks": {"histology": -1.0, "oblique": 2.0}}, "0 or more"),
        ({"diameter": (30.0, 10.0)}, "(30.0, 10.0)"),
        ({"diameter": (1.0, 10.0)}, "4 px"),
    ],
)
def test_unfit_settings_are_refused(arguments: dict, part: str) -> None:
    with pytest.raises(InputError, match=re.escape(part)):
        SyntheticFields(**arguments)


def test_unknown_look_is_refused() -> None:
    with pytest.raises(InputError, match="fluorescence"):
        draw_field(np.random.default_rng(0), look="x-ray")


def test_a_new_look_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_cupre.synthetic.looks import registry

    monkeypatch.setattr(registry, "_LOOKS", dict(registry._LOOKS))

    @register_look("flat", weight=1)
    def flat(rng, scene):
        return scene.paint(np.ones(scene.cell.size))

    assert registry._LOOKS["flat"].render is flat


def test_grey_looks_are_exactly_grey() -> None:
    grey = [draw_field(np.random.default_rng(i), 64, "phase_contrast", 20).image for i in range(40)]
    assert np.mean([is_grey(image) for image in grey]) > 0.8


# ---- parts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_shapes_have_unit_area(name: str) -> None:
    outlines = draw_outlines(np.random.default_rng(0), 20, name)
    assert outlines.radii.shape == (20, ANGLES.size)
    assert (outlines.radii > 0).all()
    bodies = rasterise(400, np.full((20, 2), 200.0), np.full(20, 40.0), np.linspace(0, 6, 20), outlines)
    areas = np.bincount(bodies.body, minlength=20)
    assert np.allclose(areas, np.pi * 40**2, rtol=0.06)


def test_rasterised_circles_are_exact() -> None:
    circle = Outlines(np.ones((1, ANGLES.size), np.float32), np.zeros(1, np.float32))
    bodies = rasterise(64, np.array([[30.3, 25.7]]), np.array([11.0]), np.array([0.4]), circle)
    y, x = np.divmod(bodies.pixel, 64)
    distance = np.hypot(*(np.indices((64, 64)) - np.array([30.3, 25.7])[:, None, None]))
    assert bodies.pixel.size == (distance < 11).sum()
    assert np.allclose(bodies.depth, distance[y, x] / 11, atol=1e-4)


def test_piled_bodies_hide_and_abutting_ones_share() -> None:
    circle = Outlines(np.ones((2, ANGLES.size), np.float32), np.zeros(2, np.float32))
    bodies = rasterise(64, np.array([[32.0, 24.0], [32.0, 40.0]]), np.full(2, 12.0), np.zeros(2), circle)
    whole = np.bincount(bodies.body)
    piled = np.bincount(bodies.body[topmost(bodies, 64, pile=True)])
    shared = np.bincount(bodies.body[topmost(bodies, 64, pile=False)])
    assert piled[1] == whole[1]
    assert piled[0] < whole[0]
    assert abs(shared[0] - shared[1]) <= 2 * 24
    assert shared.sum() == piled.sum()


def test_bodies_outside_the_field_cover_nothing() -> None:
    circle = Outlines(np.ones((1, ANGLES.size), np.float32), np.zeros(1, np.float32))
    for centre in ([-30.0, 10.0], [10.0, 200.0]):
        assert rasterise(64, np.array([centre]), np.array([9.0]), np.zeros(1), circle).pixel.size == 0


@pytest.mark.parametrize("sigma", [0.5, 1.5, 3.9, 4.1, 12.0])
def test_blur_is_gaussian(sigma: float) -> None:
    image = smooth_noise(np.random.default_rng(0), 160, 2)
    expected = ndimage.gaussian_filter(image, sigma)
    inner = np.s_[50:-50, 50:-50]
    assert np.abs(blur(image, sigma) - expected)[inner].max() < 0.05 * expected[inner].std()


def test_noise_has_the_asked_spread_and_grain() -> None:
    rng = np.random.default_rng(0)
    for draw in (
        lambda: smooth_noise(rng, 256, 1),
        lambda: smooth_noise(rng, 256, 6),
        lambda: octaves(rng, 256, 12),
        lambda: fibres(rng, 256, 3),
    ):
        noise = draw()
        assert noise.shape == (256, 256)
        assert noise.dtype == np.float32
        assert abs(noise.mean()) < 0.2
        assert 0.4 < noise.std() < 1.4
    rough, smooth = (np.abs(np.diff(smooth_noise(rng, 256, s))).mean() for s in (2, 16))
    assert rough > 4 * smooth
