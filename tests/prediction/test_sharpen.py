"""Masks moved to the edges of the image, and to the box that was drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_cupre.model.sharpen import MARGIN, NEAR, Surroundings, edge_odds, sharpened, surroundings
from napari_cupre.prediction.prompt_masks import FINER, around_box, finer_mask
from napari_cupre.prediction.tiles import Window

SHAPE = (120, 140)
SIDE = 28


def disc(radius: float, centre: tuple[float, float] = (60, 70)) -> np.ndarray:
    rows, columns = np.indices(SHAPE) + 0.5
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2


def picture(cell: np.ndarray, inside: float = 0.8, outside: float = 0.1, noise: float = 0.02) -> np.ndarray:
    grey = np.where(cell, inside, outside) + np.random.default_rng(0).normal(0, noise, cell.shape)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.float32)


def reader(image: np.ndarray):
    def read(window: Window, step: int = 1) -> np.ndarray:
        rows, columns = window.slices
        return image[rows.start : rows.stop : step, columns.start : columns.stop : step]

    return read


def soft_disc(radius: float, box: np.ndarray, softness: float = 2.0) -> np.ndarray:
    """What a network says that is not quite sure where a disc ends."""
    places = box[0] + (np.arange(SIDE) + 0.5) * (box[2] - box[0]) / SIDE
    rows = box[1] + (np.arange(SIDE) + 0.5) * (box[3] - box[1]) / SIDE
    distance = np.hypot(rows[:, None] - 60, places[None] - 70)
    return 1 / (1 + np.exp((distance - radius) / softness))


def painted(probabilities: np.ndarray, box: np.ndarray) -> np.ndarray:
    from napari_cupre.model.paint import paint_masks

    return paint_masks(box[None], probabilities[None], np.ones(1), SHAPE) > 0


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return (first & second).sum() / (first | second).sum()


BOX = np.array([40.0, 30.0, 100.0, 90.0])


def of_prompt(probabilities: np.ndarray, image: np.ndarray) -> np.ndarray:
    return finer_mask(probabilities, BOX, reader(image), SHAPE)


def of_found_cell(probabilities: np.ndarray, image: np.ndarray) -> np.ndarray:
    return sharpened(image, BOX[None], probabilities[None].astype(np.float32))[0]


BOTH = pytest.mark.parametrize("moved", [of_prompt, of_found_cell])


@BOTH
@pytest.mark.parametrize("said", [22.0, 26.0])
@pytest.mark.parametrize("tint", [(1, 1, 1), (1, 0.5, 0.1), (0, 0, 1)])
def test_an_edge_moves_to_where_the_image_has_one(moved, said, tint):
    cell, probabilities = disc(24), soft_disc(said, BOX)
    image = picture(cell) * np.array(tint, np.float32)
    before = iou(painted(probabilities, BOX), cell)
    after = iou(painted(moved(probabilities, image), BOX), cell)
    assert after > max(0.95, before + 0.05)


@BOTH
@pytest.mark.parametrize("image", [np.full((*SHAPE, 3), 0.3, np.float32), picture(disc(0), noise=0.3)])
def test_where_nothing_can_be_told_apart_the_network_has_its_way(moved, image):
    probabilities = soft_disc(24, BOX)
    after = painted(moved(probabilities, image), BOX)
    assert iou(after, painted(probabilities, BOX)) > 0.98


@BOTH
def test_a_bright_neighbour_is_not_taken_in(moved):
    both = disc(24) | disc(24, (60, 118))
    after = painted(moved(soft_disc(24, BOX), picture(both)), BOX)
    assert iou(after, disc(24)) > 0.95


def test_a_mask_fills_the_box_that_was_drawn():
    image = np.full((*SHAPE, 3), 0.3, np.float32)
    probabilities = soft_disc(22, BOX)
    tight = np.array([46.0, 36.0, 94.0, 84.0])
    plain, fitted = (
        painted(finer_mask(probabilities, BOX, reader(image), SHAPE, box), BOX) for box in (None, tight)
    )
    assert iou(fitted, disc(24)) > iou(plain, disc(24)) + 0.05


def test_a_box_far_off_changes_little():
    image = np.full((*SHAPE, 3), 0.3, np.float32)
    probabilities = soft_disc(22, BOX)
    plain, fitted = (
        painted(finer_mask(probabilities, BOX, reader(image), SHAPE, box), BOX)
        for box in (None, np.array([60.0, 30.0, 72.0, 90.0]))
    )
    assert iou(fitted, plain) > 0.75


@settings(max_examples=40, deadline=None)
@given(
    corner=st.tuples(st.floats(-5, 60), st.floats(-5, 50)),
    sides=st.tuples(st.floats(0.5, 90), st.floats(0.5, 90)),
    seed=st.integers(0, 99),
)
def test_any_box_gives_probabilities(corner, sides, seed):
    rng = np.random.default_rng(seed)
    image = rng.random((*SHAPE, 3), dtype=np.float32)
    box = np.array([corner[0], corner[1], corner[0] + sides[0], corner[1] + sides[1]])
    found = finer_mask(rng.random((SIDE, SIDE)), box, reader(image), SHAPE, box)
    assert found.shape == (SIDE * FINER, SIDE * FINER)
    assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mirrored_image_gives_the_mirrored_mask(axis):
    image = picture(disc(24))
    width = SHAPE[1] if axis else SHAPE[0]
    place = [0, 2] if axis else [1, 3]
    mirrored = BOX.copy()
    mirrored[place] = width - BOX[place[::-1]]
    probabilities = soft_disc(26, BOX)
    plain = finer_mask(probabilities, BOX, reader(image), SHAPE, BOX)
    back = finer_mask(np.flip(probabilities, axis), mirrored, reader(np.flip(image, axis)), SHAPE, mirrored)
    np.testing.assert_allclose(np.flip(back, axis), plain, atol=1e-3)


def test_of_a_large_cell_few_pixels_are_read():
    most = 0

    def read(window: Window, step: int = 1) -> np.ndarray:
        nonlocal most
        shape = tuple(-(-side // step) for side in window.shape)
        most = max(most, shape[0] * shape[1])
        return np.zeros((*shape, 3), np.float32)

    finer_mask(np.full((SIDE, SIDE), 0.9), np.array([0.0, 0, 6000, 9000]), read, (10000, 10000))
    assert 0 < most < 400 * 600


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(0, 150),
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    seed=st.integers(0, 99),
)
def test_each_mask_is_sharpened_as_if_it_were_alone(count, shape, seed):
    rng = np.random.default_rng(seed)
    image = rng.random((*shape, 3), dtype=np.float32)
    corners = rng.uniform(-5, max(shape), (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 40, (count, 2))], axis=1)
    masks = rng.random((count, 7, 7), dtype=np.float32)
    together = sharpened(image, boxes, masks)
    assert together.shape == masks.shape
    assert together.dtype == np.float32
    assert ((together >= 0) & (together <= 1)).all()
    if count:
        row = seed % count
        alone = sharpened(image, boxes[row : row + 1], masks[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 999),
)
def test_the_surroundings_are_the_image_between_its_pixels(shape, channels, seed):
    rng = np.random.default_rng(seed)
    image = rng.random((*shape, channels), dtype=np.float32)
    corners = rng.uniform(-5, 12, (4, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + rng.uniform(0, 20, (4, 2)).astype(np.float32)], axis=1)
    found = surroundings(image, boxes, side=5, margin=2)
    assert found.values.dtype == np.float32
    steps = (np.arange(-2, 7) + 0.5) / 5
    for box, values, inside in zip(boxes.astype(float), found.values, found.in_image):
        xs, ys = (box[axis] + (box[axis + 2] - box[axis]) * steps - 0.5 for axis in (0, 1))
        grid = np.meshgrid(ys, xs, indexing="ij")
        for channel in range(channels):
            right = ndimage.map_coordinates(image[..., channel].astype(float), grid, order=1, mode="nearest")
            np.testing.assert_allclose(values[..., channel], right, atol=1e-4)
        assert (inside == (within(grid[0], shape[0]) & within(grid[1], shape[1]))).all()


def within(places: np.ndarray, end: int) -> np.ndarray:
    return (places > -0.5) & (places < end - 0.5)


def test_what_lies_beyond_the_image_counts_as_nothing():
    """A cell at the border: the border's own pixels, repeated, are no background."""
    cell = disc(24, (60, 4))
    image, probabilities = picture(cell), soft_disc(22, BOX)
    box = BOX - [66, 0, 66, 0]
    after = painted(sharpened(image, box[None], probabilities[None].astype(np.float32))[0], box)
    assert iou(after, cell) > iou(painted(probabilities, box), cell) + 0.04


def around_boxes(image: np.ndarray) -> Surroundings:
    return surroundings(image, BOX[None], SIDE, MARGIN)


def odds_of(around: Surroundings, radius: float = 22.0) -> np.ndarray:
    return edge_odds(around, soft_disc(radius, BOX)[None], MARGIN, NEAR)[0]


@pytest.mark.parametrize("side", ["inside", "outside"])
def test_places_beyond_the_image_have_no_influence(side):
    around = around_boxes(picture(disc(24)))
    rows = slice(16, 20) if side == "inside" else slice(0, 3)
    seen = around.in_image.copy()
    seen[:, rows] = False
    other = around.values.copy()
    other[:, rows] = 7.0
    kept = np.r_[0 : rows.start, rows.stop : seen.shape[1]]
    kept = kept[(kept >= MARGIN) & (kept < MARGIN + SIDE)] - MARGIN
    plain, changed = (odds_of(Surroundings(values, seen)) for values in (around.values, other))
    assert np.abs(plain).max() > 0.5
    np.testing.assert_allclose(plain[kept], changed[kept], atol=1e-5)


def test_only_pixels_near_the_edge_change():
    from scipy import ndimage

    odds = odds_of(around_boxes(picture(disc(24))))
    cell = soft_disc(22.0, BOX) >= 0.5
    near = ndimage.binary_dilation(cell, np.ones((3, 3)), NEAR) & ~ndimage.binary_erosion(
        cell, np.ones((3, 3)), NEAR
    )
    assert odds[near].any()
    assert not odds[~near].any()


def test_a_few_sure_pixels_say_nothing():
    around = around_boxes(picture(disc(24)))
    sure = soft_disc(22.0, BOX)
    inside = np.argwhere(sure > 0.8)
    unsure = np.clip(sure, 0, 0.7)
    unsure[tuple(inside[:7].T)] = 0.9
    assert not edge_odds(around, unsure[None], MARGIN, NEAR).any()
    unsure[tuple(inside[:30].T)] = 0.9
    assert edge_odds(around, unsure[None], MARGIN, NEAR).any()


def test_the_worse_the_two_sides_are_told_apart_the_less_the_image_says():
    def said(noise: float) -> float:
        return float(np.abs(odds_of(around_boxes(picture(disc(24), noise=noise)))).mean())

    clear, doubtful, none = (said(noise) for noise in (0.05, 0.45, 5.0))
    assert clear > 2 * doubtful > 0
    assert none == 0


@pytest.mark.parametrize("pixels", [20.0, 300.0, 900.0])
def test_a_strided_read_says_where_its_pixels_lie(pixels):
    shape = (1400, 1500)
    columns = np.broadcast_to(np.arange(shape[1]) + 0.5, shape)
    rows = np.broadcast_to(np.arange(shape[0])[:, None] + 0.5, shape)
    ramp = np.stack([columns, rows, rows], axis=2).astype(np.float32)
    box = np.array([200.3, 150.7, 200.3 + pixels, 150.7 + pixels])
    around = around_box(box, SIDE * FINER, reader(ramp), shape)
    steps = (np.arange(-MARGIN * FINER, (SIDE + MARGIN) * FINER) + 0.5) / (SIDE * FINER)
    np.testing.assert_allclose(around.values[0, 0, :, 0], box[0] + pixels * steps, atol=0.02)
    np.testing.assert_allclose(around.values[0, :, 0, 1], box[1] + pixels * steps, atol=0.02)


def test_what_a_shift_gains_must_be_worth_it():
    """A drawn box that is larger by a seventh of a mask pixel is no reason to grow."""
    image = np.full((*SHAPE, 3), 0.3, np.float32)
    drawn_box = np.array([47.7, 37.7, 92.3, 82.3])
    plain, fitted = (
        finer_mask(soft_disc(22, BOX), BOX, reader(image), SHAPE, box) for box in (None, drawn_box)
    )
    np.testing.assert_array_equal(plain, fitted)
