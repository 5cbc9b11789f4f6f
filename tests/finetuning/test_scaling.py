"""One diameter for images of one magnification, each its own where they differ."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cupre.data.shot import Shot
from napari_cupre.finetuning.scaling import choose_scaling, guesses_well, model_diameter
from napari_cupre.model.checkpoint import new_model


def squares(side: int, count: int = 4) -> Shot:
    labels = np.zeros((80, 80 * count), np.int32)
    for i in range(count):
        labels[5 : 5 + side, 80 * i : 80 * i + side] = i + 1
    return Shot(np.zeros((*labels.shape, 3), np.float32), labels, np.ones(labels.shape, bool))


def diameter(side: int) -> float:
    return 2 * side / np.pi**0.5


def test_like_images_share_the_median_cell() -> None:
    shots = [squares(20), squares(24)]
    scaling = choose_scaling(shots, None)
    assert scaling.common == scaling.typical == pytest.approx(diameter(22), rel=0.01)
    assert {scaling.of(shot) for shot in shots} == {scaling.common}


def test_images_of_different_magnification_are_scaled_each_by_its_own_cells() -> None:
    shots = [squares(10), squares(40), squares(70, count=1)]
    scaling = choose_scaling(shots, None)
    assert scaling.common is None
    assert [scaling.of(shot) for shot in shots[:2]] == pytest.approx([diameter(10), diameter(40)])
    # That is so for a single cell, too, once it is plain that the images differ.
    assert scaling.of(shots[2]) == pytest.approx(diameter(70))


def test_single_cells_show_different_magnifications_only_if_they_differ_by_much() -> None:
    assert choose_scaling([squares(20), squares(38, count=1)], None).common is not None
    assert choose_scaling([squares(10, count=1), squares(20, count=2), squares(50)], None).common is None


def test_an_image_without_cells_is_scaled_like_the_others() -> None:
    empty = squares(10)
    empty.labels[:] = 0
    scaling = choose_scaling([squares(10), squares(40), empty], None)
    assert scaling.of(empty) == scaling.typical


def test_what_the_user_gives_is_taken() -> None:
    scaling = choose_scaling([squares(10), squares(40)], 33.0)
    assert scaling.common == 33.0
    assert "33 px" in str(scaling)


def test_each_image_is_estimated_where_the_start_estimates_the_annotated_ones_well() -> None:
    shots = [squares(20), squares(24), squares(28, count=1)]
    guesses = {id(shot.image): diameter(side) for shot, side in zip(shots, (22, 22, 99))}
    assert guesses_well(lambda image: guesses[id(image)], shots)


@pytest.mark.parametrize("guess", [None, diameter(10), diameter(40)], ids=["none", "half", "double"])
def test_an_estimate_that_is_wrong_in_one_of_two_images_is_not_good(guess: float | None) -> None:
    given = iter([diameter(20), guess])
    assert not guesses_well(lambda image: next(given), [squares(20), squares(20)])


def test_one_or_two_cells_do_not_tell_whether_an_estimate_is_right() -> None:
    assert not guesses_well(lambda image: diameter(20), [squares(20, count=2)])


def test_of_the_images_those_with_most_cells_are_tried() -> None:
    shots, tried = [squares(20), squares(20, count=6), squares(20, count=5)], []

    def guess(image: np.ndarray) -> float:
        tried.append(image.shape[1] // 80)
        return diameter(20)

    assert guesses_well(guess, shots)
    assert tried == [6, 5]


def test_what_the_user_gives_or_random_weights_learn_holds_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_cupre.finetuning.scaling.guesses_well", lambda *_: True)
    start, shots = new_model("tiny"), [squares(20)]
    scaling = choose_scaling(shots, None)
    assert model_diameter(scaling, None, start, shots) is None
    assert model_diameter(scaling, None, None, shots) == scaling.common
    assert model_diameter(choose_scaling(shots, 33.0), 33.0, start, shots) == 33.0
    monkeypatch.setattr("napari_cupre.finetuning.scaling.guesses_well", lambda *_: False)
    assert model_diameter(scaling, None, start, shots) == scaling.common
