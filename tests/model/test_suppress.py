"""Each cell once: by mask, score and how decided the mask is."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from napari_cupre.model.paint import paint_masks
from napari_cupre.model.suppress import decidedness, suppress


def disc(probability: float = 1.0) -> np.ndarray:
    y, x = np.mgrid[:28, :28] - 13.5
    return np.where(y**2 + x**2 < 13.5**2, probability, 0.0).astype(np.float32)


def full(probability: float = 1.0) -> np.ndarray:
    return np.full((28, 28), probability, np.float32)


def rows(boxes, scores, masks, iou=0.4) -> list[int]:
    found = suppress(np.array(boxes, np.float32), np.array(scores), np.stack(masks), (100, 100), iou)
    return found.tolist()


def test_one_cell_found_twice_is_kept_once() -> None:
    assert rows([[10, 10, 40, 40], [11, 10, 41, 40]], [0.8, 0.9], [disc(), disc()]) == [1]


def test_neighbours_whose_boxes_overlap_much_are_both_kept() -> None:
    """Two long cells that lie side by side, aslant: their boxes share most, their masks nothing."""
    y, x = np.mgrid[:28, :28]
    upper, lower = (x - y > 2).astype(np.float32), (y - x > 2).astype(np.float32)
    assert rows([[10, 10, 60, 60], [12, 12, 62, 62]], [0.9, 0.8], [upper, lower]) == [0, 1]


def test_a_clump_yields_to_its_cells_if_its_mask_is_undecided() -> None:
    boxes = [[10, 10, 70, 40], [10, 10, 40, 40], [40, 10, 70, 40]]
    assert rows(boxes, [0.95, 0.9, 0.85], [full(0.7), full(0.95), full(0.95)]) == [1, 2]


def test_a_part_yields_to_a_cell_that_is_decided() -> None:
    boxes = [[10, 10, 70, 40], [10, 10, 40, 40], [40, 10, 70, 40]]
    assert rows(boxes, [0.95, 0.9, 0.85], [full(0.97), full(0.9), full(0.9)]) == [0]


def test_nothing_and_one_are_left_alone() -> None:
    assert suppress(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 28, 28)), (9, 9), 0.4).tolist() == []
    assert rows([[1, 1, 5, 5]], [0.5], [np.zeros((28, 28), np.float32)]) == [0]
    assert decidedness(np.zeros((1, 28, 28))).tolist() == [0.0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 25), st.floats(0.1, 0.9))
@example(18, 24, 0.5)  # two masks that share 63 px of 90, to the digit what counts as contained
def test_what_is_kept_overlaps_little_and_what_goes_overlaps_a_kept_one(seed, count, iou) -> None:
    rng = np.random.default_rng(seed)
    corner, side = rng.uniform(0, 80, (count, 2)), rng.uniform(4, 40, (count, 2))
    boxes = np.concatenate([corner, corner + side], axis=1).astype(np.float32)
    scores, masks = rng.random(count), np.stack([disc(rng.uniform(0.6, 1)) for _ in range(count)])
    kept = suppress(boxes, scores, masks, (100, 100), iou)
    assert (np.diff(scores[kept]) <= 0).all()
    assert len(set(kept.tolist())) == len(kept)
    seen = [paint_masks(boxes[[i]], masks[[i]], scores[[i]], (100, 100)) > 0 for i in range(count)]

    def same(a: int, b: int) -> bool:
        inter, union = (seen[a] & seen[b]).sum(), (seen[a] | seen[b]).sum()
        smaller = min(seen[a].sum(), seen[b].sum())
        return bool(inter > iou * union or inter > 0.7 * smaller)

    assert not any(same(a, b) for a in kept for b in kept if a != b)
    gone = set(range(count)) - set(kept.tolist())
    assert all(any(same(row, other) for other in kept) for row in gone)
