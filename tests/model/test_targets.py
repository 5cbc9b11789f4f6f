"""Targets are kept as label images; what is cut from them must equal the full masks."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_cupre.model.targets import known_fraction, label_boxes, mask_targets, target_from_labels

label_images = hnp.arrays(
    np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24), elements=st.integers(0, 5)
)


@given(label_images)
def test_boxes_are_those_of_the_full_masks(labels: np.ndarray) -> None:
    ids, boxes = label_boxes(labels)
    assert ids.tolist() == sorted(set(labels[labels > 0].tolist()))
    for label, (x1, y1, x2, y2) in zip(ids, boxes):
        y, x = np.nonzero(labels == label)
        assert (x1, y1, x2, y2) == (x.min(), y.min(), x.max() + 1, y.max() + 1)


@given(label_images)
def test_an_instance_too_small_to_learn_becomes_unknown_and_nothing_else_does(labels: np.ndarray) -> None:
    target = target_from_labels(labels, min_side=2)
    kept = set(target.ids.tolist())
    lost = np.isin(labels, [i for i in np.unique(labels) if i and i not in kept])
    np.testing.assert_array_equal(target.known.numpy(), ~lost)


@settings(max_examples=50)
@given(
    hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)),
    st.lists(st.tuples(*[st.integers(-5, 25)] * 4), max_size=8),
)
def test_known_fraction_counts_the_known_pixels_of_the_part_inside(known: np.ndarray, corners: list) -> None:
    boxes = np.array([[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in corners], np.float32)
    found = known_fraction(torch.from_numpy(known), torch.from_numpy(boxes.reshape(-1, 4)))
    for (x1, y1, x2, y2), share in zip(boxes.astype(int), found.tolist()):
        part = known[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
        if part.size:
            np.testing.assert_allclose(share, part.mean(), rtol=1e-6)


def test_mask_target_is_the_instance_stretched_over_the_region() -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[8:24, 8:24], labels[8:24, 24:40] = 3, 7
    known = np.ones((64, 64), bool)
    known[16:24, 24:40] = False
    target = target_from_labels(labels, known)
    rois = torch.tensor([[8.0, 8.0, 40.0, 24.0]] * 2)
    masks, weights = mask_targets(target, rois, torch.tensor([0, 1]), 28)
    assert masks.shape == weights.shape == (2, 28, 28)
    np.testing.assert_array_equal(masks[0], np.tile(np.repeat([1.0, 0.0], 14), (28, 1)))
    np.testing.assert_array_equal(masks[1], 1 - masks[0])
    # Unknown pixels do not count, except where the instance itself vouches for them.
    assert weights[0, 20:, 16:].sum() == 0
    assert weights[0, :12].min() == 1
    assert weights[1].min() == 1
