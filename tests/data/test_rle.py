"""Run lengths against pycocotools, and malformed ones refused."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from napari_cupre.data import rle
from napari_cupre.errors import InputError


def decoded(mask):
    """The bool (Y, X) mask of an RLE."""
    return rle.paint([mask], mask["size"]) > 0


LABELS = hnp.arrays(np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3))


@given(LABELS)
@settings(deadline=None)
def test_masks_equal_those_of_pycocotools(labels):
    ids, rles = rle.encode_labels(labels)
    assert ids.tolist() == [i for i in np.unique(labels) if i]
    for value, mask in zip(ids, rles):
        theirs = coco_mask.encode(np.asfortranarray(labels == value, np.uint8))
        assert mask["counts"] == theirs["counts"].decode()
        assert np.array_equal(decoded(mask), labels == value)


@given(hnp.arrays(bool, (13, 9)))
@settings(deadline=None)
def test_pixels_and_labels_are_encoded_alike(mask):
    one = rle.encode_pixels(np.flatnonzero(mask), mask.shape)
    assert one["counts"] == coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
    assert rle.area(one) == mask.sum()
    assert rle.encode_labels(mask.astype(int))[1] == ([one] if mask.any() else [])


def test_polygons_far_off_are_cut_and_bad_ones_refused():
    square = rle.encode_polygons([[2, 3, 8, 3, 8, 9, 2, 9]], (20, 10))
    assert rle.bounding_box(square) == [2, 3, 6, 6]
    assert rle.area(rle.encode_polygons([[0, 0, 1e12, 0, 1e12, 1e12, 0, 1e12]], (20, 10))) == 200
    for bad in ([], [["x"] * 6], [None]):
        with pytest.raises(InputError, match="polygon is malformed"):
            rle.encode_polygons(bad, (20, 10))


@given(LABELS)
@settings(deadline=None)
def test_painting_undoes_encoding(labels):
    ids, rles = rle.encode_labels(labels)
    assert np.array_equal(np.append(0, ids)[rle.paint(rles, labels.shape)], labels)


@given(hnp.arrays(bool, (40, 30)), st.booleans())
@settings(deadline=None, max_examples=30)
def test_long_and_uncompressed_counts_are_read(mask, as_list):
    theirs = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    if as_list:
        flat = np.append(0, mask.ravel(order="F").astype(int))
        edges = np.append(np.flatnonzero(np.diff(flat)), mask.size)
        theirs = {"size": [40, 30], "counts": np.diff(edges, prepend=0).tolist()}
    assert np.array_equal(decoded(theirs), mask)


def test_the_first_of_overlapping_masks_wins():
    both = np.zeros((4, 4), np.uint8, order="F")
    both[:2] = 1
    first, second = coco_mask.encode(both), coco_mask.encode(np.asfortranarray(both.T))
    labels = rle.paint([first, second], (4, 4))
    assert (labels[:2] == 1).all()
    assert (labels[2:, :2] == 2).all()


@given(st.binary(max_size=40), st.integers(1, 50))
@settings(deadline=None, max_examples=300)
def test_any_counts_give_a_mask_or_a_clear_refusal(counts, side):
    with contextlib.suppress(InputError):
        assert decoded({"size": [side, side], "counts": counts}).shape == (side, side)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"size": [4], "counts": "0"},
        {"size": ["a", 3], "counts": "0"},
        {"size": [10**9, 10**9], "counts": "0"},
        {"size": [4, 4], "counts": [3, 10**9]},
        {"size": [4, 4], "counts": [3, -1]},
        {"size": [4, 4], "counts": [2**70]},
        {"size": [4, 4], "counts": "ooooooooooooooooo"},
        {"size": [4, 4]},
    ],
)
def test_malformed_masks_are_refused(broken):
    with pytest.raises(InputError, match="RLE mask"):
        rle.runs(broken)
