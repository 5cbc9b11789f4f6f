"""Looking twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cupre.data.image import CellImage
from napari_cupre.io.samples import load_sample
from napari_cupre.model.checkpoint import new_model
from napari_cupre.model.zoo import open_model
from napari_cupre.prediction.detector import Detector
from napari_cupre.prediction.fingerprint import labels_depend_on
from napari_cupre.prediction.mirrored import Mirrored, finder_for, mean_of, mirrored
from napari_cupre.prediction.plane import predict_plane
from napari_cupre.prediction.predict_options import PredictOptions
from napari_cupre.prediction.stitch import Found

SIDE = 6


def cells(*boxes: tuple[float, ...], scores: Sequence[float] = (), fill: float = 0.9) -> Found:
    count = len(boxes)
    return Found(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores or [0.8] * count, np.float32),
        np.ones(count, np.int64),
        np.full((count, SIDE, SIDE), fill, np.float32),
    )


def test_a_cell_that_both_views_show_is_one_with_the_mean_of_both():
    found = mean_of(
        cells((10, 10, 30, 30), scores=[0.9]), cells((12, 10, 32, 30), scores=[0.3], fill=0.1), 0.5
    )
    assert found.scores == pytest.approx([0.6])
    np.testing.assert_allclose(found.boxes, [[10.5, 10, 30.5, 30]])
    np.testing.assert_allclose(found.masks, 0.7, atol=1e-6)


def test_a_cell_of_one_view_must_be_twice_as_sure():
    one = cells((0, 0, 20, 20), (50, 50, 70, 70), scores=[0.9, 0.7])
    assert mean_of(one, cells(), 0.4).boxes.tolist() == [[0, 0, 20, 20]]
    assert len(mean_of(cells(), one, 0.3)) == 2
    far = mean_of(one, cells((100, 0, 120, 20), scores=[0.95]), 0.4)
    assert far.scores == pytest.approx([0.475, 0.45])


def test_a_second_detection_of_a_cell_that_was_matched_is_left_out():
    one = cells((0, 0, 20, 20), (2, 0, 22, 20), scores=[0.9, 0.95])
    assert len(mean_of(one, cells((0, 0, 20, 20)), 0.1)) == 1


def test_nothing_in_both_views_is_nothing():
    assert len(mean_of(cells(), cells(), 0.1)) == 0


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 999), counts=st.tuples(st.integers(0, 30), st.integers(0, 30)))
def test_the_order_of_the_views_does_not_matter(seed, counts):
    rng = np.random.default_rng(seed)
    views = []
    for count in counts:
        corners = rng.uniform(0, 60, (count, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(4, 30, (count, 2))], axis=1)
        masks = rng.random((count, SIDE, SIDE), dtype=np.float32)
        views.append(Found(boxes.astype(np.float32), rng.random(count), np.ones(count, np.int64), masks))
    first, second = views
    there, back = mean_of(first, second, 0.2), mean_of(second, first, 0.2)
    np.testing.assert_allclose(there.scores, back.scores, atol=1e-5)
    np.testing.assert_allclose(there.boxes, back.boxes, atol=1e-3)
    assert (np.diff(there.scores) <= 0).all()
    assert (there.scores >= 0.2).all()


def test_the_mirror_image_of_the_mirror_image_is_the_image():
    found = cells((3, 4, 17, 20), (30, 1, 44, 9))
    found.masks[0, 0, 0] = 0.1
    once = mirrored(found, 50)
    assert once.boxes[0].tolist() == [33, 4, 47, 20]
    assert once.masks[0, 0, -1] == pytest.approx(0.1)
    np.testing.assert_allclose(mirrored(once, 50).boxes, found.boxes)


def test_a_mirrored_image_has_mirrored_cells():
    """What looking once cannot promise: the network is not symmetric."""
    model, image = open_model("cupre", "cpu"), load_sample("nuclei_field").image.normalised()[:160, :160]
    options = {"diameter": 24.0, "score": 0.4, "augment": True}
    plain = predict_plane(model, image, **options)
    turned = predict_plane(model, np.ascontiguousarray(image[:, ::-1]), **options)
    assert len(plain.scores) > 5
    np.testing.assert_allclose(np.sort(plain.scores), np.sort(turned.scores), atol=1e-3)


def test_a_prediction_that_looks_twice_is_another_one():
    detector = Detector(new_model("tiny"))
    image = CellImage.from_array(np.zeros((32, 32), np.uint8), "YX")
    once, twice = (labels_depend_on(detector, image, PredictOptions(augment=on)) for on in (False, True))
    assert once != twice
    assert isinstance(finder_for(detector, PredictOptions(augment=True)), Mirrored)
    assert finder_for(detector, PredictOptions()) is detector
