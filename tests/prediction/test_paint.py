"""Painting small masks: against a plain reference, at the image's border, and in little memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from scipy import ndimage

from napari_cupre.model.paint import falling_order, paint_masks
from napari_cupre.prediction.instances import Masks, union_mask
from napari_cupre.prediction.tidy import HOLE_SHARE, MIN_AREA, tidy_labels


def blob_masks(seed: int, count: int, side: int = 28) -> np.ndarray:
    """Smooth random masks, float32 (N, S, S)."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 1, (count, 1, 5, 5)).astype(np.float32))
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)[:, 0].numpy()


def random_boxes(seed: int, count: int, shape: tuple[int, int], size: tuple[float, float]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centre = rng.uniform((-5, -5), (shape[1] + 5, shape[0] + 5), (count, 2))
    extent = rng.uniform(*size, (count, 2))
    return np.concatenate([centre - extent / 2, centre + extent / 2], axis=1).astype(np.float32)


def reference(boxes: np.ndarray, masks: np.ndarray, scores: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """One full plane per mask by torch's grid_sample, the highest score on top."""
    labels = np.zeros(shape, dtype=np.int32)
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    for index in falling_order(scores)[::-1]:
        x1, y1, x2, y2 = boxes[index].astype(np.float64)
        grid = np.stack([(columns - x1) / (x2 - x1) * 2 - 1, (rows - y1) / (y2 - y1) * 2 - 1], axis=-1)
        plane = torch.nn.functional.grid_sample(
            torch.from_numpy(masks[index]).double()[None, None],
            torch.from_numpy(grid)[None],
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )[0, 0].numpy()
        inside = (columns >= x1) & (columns < x2) & (rows >= y1) & (rows < y2)
        labels[inside & (plane >= 0.5)] = index + 1
    return labels


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 30),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    chunk=st.sampled_from([64, 1000, 1 << 17]),
)
def test_equals_the_plain_way(seed: int, count: int, height: int, width: int, chunk: int) -> None:
    shape = (height, width)
    boxes, masks = random_boxes(seed, count, shape, (1, 40)), blob_masks(seed, count)
    scores = np.random.default_rng(seed).choice([0.5, 0.7, 0.9], count)
    painted = paint_masks(boxes, masks, scores, shape, chunk)
    expected = reference(boxes, masks, scores, shape)
    # float32 against float64: a probability of exactly one half may fall on either side.
    assert (painted != expected).sum() <= 0.002 * painted.size + 1


def test_the_higher_score_stays_on_top() -> None:
    boxes = np.array([[0, 0, 8, 8], [4, 4, 12, 12]], dtype=np.float32)
    masks = np.ones((2, 28, 28), dtype=np.float32)
    assert paint_masks(boxes, masks, np.array([0.6, 0.9]), (12, 12))[5, 5] == 2
    assert paint_masks(boxes, masks, np.array([0.9, 0.6]), (12, 12))[5, 5] == 1
    assert paint_masks(boxes, masks, np.array([0.7, 0.7]), (12, 12))[5, 5] == 1


def test_boxes_outside_empty_or_not_finite_paint_nothing() -> None:
    boxes = np.array([[-20, -20, -5, -5], [3, 3, 3, 9], [50, 0, 60, 10], [np.nan, 0, 5, 5]], dtype=np.float32)
    assert not paint_masks(boxes, np.ones((4, 28, 28), np.float32), np.ones(4), (10, 10)).any()
    whole = paint_masks(np.array([[-1e4, -1e4, 1e4, 1e4]]), np.ones((1, 28, 28)), np.ones(1), (7, 9))
    assert (whole == 1).all()


def test_memory_does_not_grow_with_the_number_of_masks() -> None:
    shape = (520, 704)
    boxes, masks = random_boxes(0, 2000, shape, (10, 26)), blob_masks(0, 2000)
    scores = np.linspace(1, 0.5, 2000)
    tracemalloc.start()
    try:
        paint_masks(boxes, masks, scores, shape)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50e6 + 4 * shape[0] * shape[1]


def test_masks_as_planes_and_run_lengths() -> None:
    shape = (40, 50)
    boxes, probabilities = random_boxes(4, 12, shape, (4, 30)), blob_masks(4, 12)
    masks = Masks(probabilities, boxes, shape)
    for index, rle in enumerate(masks.rle()):
        expected = (
            paint_masks(boxes[index : index + 1], probabilities[index : index + 1], np.ones(1), shape) > 0
        )
        np.testing.assert_array_equal(masks.full(index), expected)
        np.testing.assert_array_equal(coco_mask.decode(rle).astype(bool), expected)
        assert isinstance(rle["counts"], str)
    assert len(masks.take(np.array([3, 1]))) == 2
    np.testing.assert_array_equal(masks.take(np.array([3, 1])).full(0), masks.full(3))


def test_pieces_of_a_mask_are_united() -> None:
    ones = np.ones((28, 28), dtype=np.float32)
    left, right = np.array([0, 0, 10, 10.0]), np.array([10, 0, 20, 10.0])
    united = union_mask([ones, ones], [left, right], np.array([0, 0, 20, 10.0]))
    assert united.min() == pytest.approx(1)
    apart = union_mask([ones, ones], [left, np.array([20, 0, 30, 10.0])], np.array([0, 0, 30, 10.0]))
    assert apart[:, 14].max() == 0


def test_tidy_keeps_the_largest_part_and_fills_pinholes() -> None:
    labels = np.zeros((30, 40), dtype=np.int32)
    labels[2:14, 2:14] = 7
    labels[7, 7] = 0  # a pinhole
    labels[2:5, 20:24] = 7  # a smaller second part
    labels[20:22, 20:22] = 3  # a speck
    labels[16:28, 30:40] = 9
    labels[20, 32] = 3  # a foreign pixel is no hole
    area = tidy_labels(labels)
    assert labels[7, 7] == 7
    assert not labels[2:5, 20:24].any()
    assert not (labels == 3).any()
    assert area.tolist() == [labels.size - 144 - 119, 0, 0, 0, 0, 0, 0, 144, 0, 119]
    np.testing.assert_array_equal(np.bincount(labels.ravel()), area)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_tidy_fills_holes_of_several_pixels(dtype) -> None:
    """A pixel in the middle of a hole has only neighbours of the hole itself."""
    labels = np.zeros((30, 40), dtype=dtype)
    labels[2:22, 2:22] = 7
    labels[2:22, 22:34] = 9
    labels[6:9, 6:10] = 0
    labels[10:12, 21:23] = 0  # between two cells: no hole of either
    tidy_labels(labels)
    assert (labels[2:22, 2:21] == 7).all()
    assert not labels[10:12, 21:23].any()


def test_tidy_leaves_held_labels_and_large_holes() -> None:
    labels = np.zeros((30, 30), dtype=np.int32)
    labels[2:20, 2:20] = 1
    labels[6:14, 6:14] = 0
    labels[25, 25] = labels[2, 28] = 2
    before = labels.copy()
    tidy_labels(labels, held=np.array([2]))
    np.testing.assert_array_equal(labels, before)
    empty = np.zeros((0, 5), dtype=np.int32)
    assert tidy_labels(empty).tolist() == [0]


@settings(max_examples=80, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    coarse=st.integers(1, 3),
    cells=st.integers(0, 4),
    held=st.sets(st.integers(1, 5)),
    order=st.sampled_from("CF"),
    seed=st.integers(0, 999),
)
def test_tidy_equals_the_plain_way(shape, coarse, cells, held, order, seed) -> None:
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, cells + 1, shape), np.ones((coarse, coarse))).astype(np.int32)
    labels[rng.random(labels.shape) < 0.05] = 0
    labels = np.array(labels, order=order)
    wanted = plainly_tidied(labels, held)
    area = tidy_labels(labels, held=np.array(sorted(held), int))
    np.testing.assert_array_equal(labels, wanted)
    np.testing.assert_array_equal(np.bincount(labels.ravel(), minlength=len(area)), area)


def plainly_tidied(labels: np.ndarray, held: set[int]) -> np.ndarray:
    """One label after the other, with a mask of the whole image for each part."""
    result = labels.copy()
    for number in set(np.unique(labels).tolist()) - held - {0}:
        parts, count = ndimage.label(labels == number)
        areas = np.bincount(parts.ravel())[1:]
        largest = 1 + count - 1 - int(np.argmax(areas[::-1]))  # of equal ones the last
        result[(labels == number) & ((parts != largest) | (areas[largest - 1] < MIN_AREA))] = 0
    holes, count = ndimage.label(labels == 0)
    for number in range(1, count + 1):
        hole = holes == number
        beside = np.unique(labels[ndimage.binary_dilation(hole) & ~hole])
        at_border = hole[[0, -1]].any() or hole[:, [0, -1]].any()
        if at_border or len(beside) != 1 or int(beside[0]) in held:
            continue
        allowed = max(MIN_AREA, HOLE_SHARE * np.count_nonzero(labels == beside[0]))
        if hole.sum() <= allowed:
            result[hole] = beside[0]
    return result
