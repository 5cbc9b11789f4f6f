"""Matching and figures against a brute-force reference, and the laws they must obey."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from napari_cupre.errors import InputError
from napari_cupre.evaluation import evaluate, match_instances
from napari_cupre.evaluation.matching import THRESHOLDS

SHAPE = (6, 7)
LABELS = hnp.arrays(np.int32, SHAPE, elements=st.integers(0, 4))


def brute_force(truth: np.ndarray, predicted: np.ndarray, threshold: float) -> tuple[int, int, int]:
    """Counts from the full IoU table and an optimal assignment, written for plainness."""
    truths = [truth == i for i in np.unique(truth) if i]
    predictions = [predicted == i for i in np.unique(predicted) if i]
    iou = np.array([[(a & b).sum() / (a | b).sum() for b in predictions] for a in truths])
    iou = iou.reshape(len(truths), len(predictions))
    hits = iou >= threshold
    rows, columns = linear_sum_assignment(-hits.astype(float) - iou / 1000)
    true = int(hits[rows, columns].sum())
    return true, len(predictions) - true, len(truths) - true


@given(LABELS, LABELS)
@settings(max_examples=150, deadline=None)
def test_counts_equal_brute_force(truth, predicted):
    match = match_instances(truth, predicted)
    for threshold in THRESHOLDS:
        assert match.counts(threshold) == brute_force(truth, predicted, threshold)


@given(LABELS)
@settings(deadline=None)
def test_identity_scores_one(labels):
    report = evaluate([labels], [labels])
    for figure in ("ap", "ap50", "ap75", "f1", "precision", "recall", "panoptic_quality"):
        assert getattr(report, figure) == 1
    assert report.count_error == 0


@given(LABELS, LABELS, st.permutations(range(1, 5)), st.sampled_from([1, 1000, 2**27]))
@settings(deadline=None)
def test_label_values_do_not_matter(truth, predicted, order, factor):
    renamed = np.array([0, *order], np.int32)[predicted] * factor
    assert evaluate([truth], [predicted]).as_dict() == evaluate([truth], [renamed]).as_dict()


@given(LABELS, LABELS)
@settings(deadline=None)
def test_f1_and_quality_are_symmetric(truth, predicted):
    there, back = evaluate([truth], [predicted]), evaluate([predicted], [truth])
    assert there.f1 == back.f1
    assert there.ap == back.ap
    assert there.panoptic_quality == pytest.approx(back.panoptic_quality)
    assert there.precision == back.recall


def test_halves_at_exactly_one_half_count_once():
    truth, predicted = np.zeros((2, 4), int), np.zeros((2, 4), int)
    truth[:] = 1
    predicted[:, :2], predicted[:, 2:] = 1, 2
    assert match_instances(truth, predicted).counts(0.5) == (1, 1, 0)
    assert match_instances(predicted, truth).counts(0.5) == (1, 0, 1)


def test_iou_equal_to_a_threshold_is_a_hit():
    truth, predicted = np.zeros((1, 10), int), np.zeros((1, 10), int)
    truth[0, :5], predicted[0, :3] = 1, 1
    match = match_instances(truth, predicted)
    assert match.counts(0.6) == (1, 0, 0)
    assert match.counts(0.65) == (0, 1, 1)


def squares(shape, *corners, side=4):
    labels = np.zeros(shape, np.int32)
    for number, (y, x) in enumerate(corners, 1):
        labels[y : y + side, x : x + side] = number
    return labels


def test_figures_of_a_worked_example():
    truth = squares((10, 30), (0, 0), (0, 10), (0, 20))
    predicted = squares((10, 30), (0, 0), (0, 11), (5, 20))  # exact; IoU 12/20; beside
    report = evaluate([truth], [predicted])
    assert report.ap50 == pytest.approx(2 / 4)
    assert report.ap75 == pytest.approx(1 / 5)
    assert report.ap == pytest.approx((3 * 2 / 4 + 7 * 1 / 5) / 10)
    assert report.f1 == report.precision == report.recall == pytest.approx(2 / 3)
    assert report.panoptic_quality == pytest.approx(1.6 / 3)
    assert report.count_error == 0


def test_mean_and_pooled_differ_where_images_do():
    few, many = squares((10, 30), (0, 0)), squares((10, 30), (0, 0), (0, 10), (0, 20))
    report = evaluate([few, many], [few, np.zeros_like(many)])
    assert report.ap50 == report.f1 == 0.5
    assert report.pooled.ap50 == pytest.approx(1 / 4)
    assert report.pooled.f1 == pytest.approx(2 / 5)
    assert report.count_error == 1.5
    assert report.pooled.count_error == 3


def test_nothing_there_and_nothing_found_is_right():
    empty, cell = np.zeros((5, 5), int), squares((5, 5), (0, 0))
    assert evaluate([empty], [empty]).ap == 1
    wrong = evaluate([empty], [cell])
    assert wrong.ap == wrong.precision == wrong.recall == wrong.f1 == wrong.panoptic_quality == 0
    missed = evaluate([cell], [empty])
    assert missed.ap == missed.precision == missed.recall == 0


def test_predictions_in_unknown_area_are_ignored_unless_they_match():
    truth = squares((10, 30), (0, 0))
    predicted = squares((10, 30), (0, 0), (0, 10), (0, 20))
    known = np.zeros((10, 30), bool)
    known[:, 20:] = True
    report = evaluate([truth], [predicted], known=[known])
    score = report.images[0]
    assert (score.true[0], score.false[0], score.missed[0], score.ignored) == (1, 1, 0, 1)
    known[:, 20:22] = False  # exactly half of the third is unknown: it still counts
    assert evaluate([truth], [predicted], known=[known]).images[0].false[0] == 1
    known[:, 20:23] = False
    assert evaluate([truth], [predicted], known=[known]).images[0].false[0] == 0


def test_stacks_are_matched_as_solids():
    stack = np.stack([squares((8, 8), (0, 0)), squares((8, 8), (1, 1))])
    assert evaluate([stack], [stack]).ap == 1


@pytest.mark.parametrize(
    ("truth", "predicted", "words"),
    [
        (np.zeros((4, 5), int), np.zeros((5, 4), int), ["night", "(4, 5)", "(5, 4)"]),
        (np.zeros((4, 4), int), np.full((4, 4), 0.5), ["night", "prediction", "whole number"]),
        (np.full((4, 4), -1), np.zeros((4, 4), int), ["truth", "negative"]),
    ],
)
def test_unusable_labels_are_named(truth, predicted, words):
    with pytest.raises(InputError) as caught:
        evaluate([truth], [predicted], names=["night"])
    assert all(word in str(caught.value) for word in words)


def test_unequal_numbers_and_no_image_are_refused():
    labels = np.zeros((4, 4), int)
    with pytest.raises(InputError, match="1 true images but 2 predicted"):
        evaluate([labels], [labels, labels])
    with pytest.raises(InputError, match="no image"):
        evaluate([], [])


def test_report_is_plain_and_readable():
    labels = squares((10, 30), (0, 0), (0, 10))
    report = evaluate([labels, labels], [labels, labels], names=["a", "long name"])
    assert json.loads(json.dumps(report.as_dict()))["images"][1]["name"] == "long name"
    lines = report.table().splitlines()
    assert len(lines) == 5
    assert len({len(line) for line in lines}) == 1
    assert lines[-1].startswith("pooled")
