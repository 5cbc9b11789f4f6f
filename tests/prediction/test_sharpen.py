"""Masks moved to the edges of the image, and to the box that was drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cupre.model.sharpen import sharpened
from napari_cupre.prediction.prompt_masks import FINER, finer_mask
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
@pytest.mark.parametrize("tint", [(1, 1, 1), (1, 0.5, 0.1)])
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


def test_what_lies_beyond_the_image_counts_as_nothing():
    """A cell at the border: the border's own pixels, repeated, are no background."""
    cell = disc(24, (60, 4))
    image, probabilities = picture(cell), soft_disc(22, BOX)
    box = BOX - [66, 0, 66, 0]
    after = painted(sharpened(image, box[None], probabilities[None].astype(np.float32))[0], box)
    assert iou(after, cell) > iou(painted(probabilities, box), cell) + 0.04
