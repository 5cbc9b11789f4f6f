"""One diameter for images of one magnification, each its own where they differ."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cupre.data.shot import Shot
from napari_cupre.finetuning.scaling import choose_scaling


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
