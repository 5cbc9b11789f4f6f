"""Several models on the same part of a view."""

from __future__ import annotations

import numpy as np
import pytest
from predict_oracle import disc_image, disc_labels, scattered_discs, seeing_model

from napari_cupre.prediction.detecting import as_finder
from napari_cupre.prediction.trying import MOST_ZOOM, TRIED_SIDE, try_models

SHAPE = (300, 340)


@pytest.fixture
def discs() -> np.ndarray:
    return scattered_discs(3, SHAPE, (11, 13), 60, 4.0)


def test_each_model_finds_what_it_sees_in_the_same_part(discs: np.ndarray) -> None:
    finders = {"near": as_finder(seeing_model()), "far": as_finder(seeing_model(None, 80.0))}
    near, far = try_models(finders, disc_image(discs, SHAPE))
    assert (near.model, far.model) == ("near", "far")
    assert near.window == far.window
    assert near.diameter == pytest.approx(24, rel=0.2)
    truth = disc_labels(discs, SHAPE)[near.window.slices]
    assert near.labels.shape == far.labels.shape == truth.shape
    assert len(np.unique(near.labels)) == pytest.approx(len(np.unique(truth)), abs=4)


@pytest.mark.parametrize(("diameter", "step"), [(24.0, 1), (96.0, 4)])
def test_a_large_view_is_searched_in_its_middle(diameter: float, step: int) -> None:
    side = round(TRIED_SIDE * diameter / 24)
    shape = (side + 300, side + 100)
    view = disc_image(scattered_discs(4, shape, (diameter * 0.45, diameter * 0.55), 90, 5.0), shape)
    (attempt,) = try_models({"only": as_finder(seeing_model())}, view, diameter)
    assert attempt.window == (150, 50, 150 + side, 50 + side)
    assert attempt.step == step
    assert attempt.labels.shape == (-(-side // step), -(-side // step))
    assert attempt.labels.max() > 0


def test_who_sees_specks_does_not_make_all_search_a_speck(discs: np.ndarray) -> None:
    """The part is that of most; it takes the others as many times longer as `MOST_ZOOM` allows."""
    finders = {name: as_finder(seeing_model(diameter)) for name, diameter in (("a", 24.0), ("b", 24.0))}
    specks = as_finder(seeing_model(4.0))
    shape = (700, 700)
    view = disc_image(scattered_discs(5, shape, (11, 13), 200, 4.0), shape)
    found = list(try_models({**finders, "specks": specks}, view, None))
    (window,) = {each.window for each in found}
    least = min(each.diameter for each in found)
    assert window.shape[0] <= MOST_ZOOM * TRIED_SIDE * least / 24 + 1


def test_a_stop_ends_between_two_models(discs: np.ndarray) -> None:
    finders = {name: as_finder(seeing_model()) for name in "abc"}
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 4

    assert len(list(try_models(finders, disc_image(discs, SHAPE), 24.0, stop))) < 3
    assert not list(try_models(finders, disc_image(discs, SHAPE), 24.0, lambda: True))
    assert not list(try_models({}, disc_image(discs, SHAPE)))
