"""Suggestions: uncertain images first, unlike each other and unlike what is annotated."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.evaluation.places import Candidate, fields_in, of_files, of_project
from napari_cupre.evaluation.suggestions import (
    Uncertainty,
    k_center,
    measure_uncertainty,
    suggest,
    weighted_coverage,
)
from napari_cupre.events import Steps
from napari_cupre.model.checkpoint import new_model
from napari_cupre.project.gestures import place
from napari_cupre.project.project import Project

NONE = np.zeros((0, 3), np.float32)
"""No annotated images."""


@dataclass
class Found:
    labels: np.ndarray
    scores: np.ndarray


def squares(count: int, shape: tuple[int, int] = (40, 60)) -> np.ndarray:
    labels = np.zeros(shape, np.int32)
    for number in range(count):
        top, left = 4 + 18 * (number % 2), 3 + 12 * (number // 2)
        labels[top : top + 10, left : left + 8] = number + 1
    return labels


def near(angle: float) -> np.ndarray:
    """A unit vector in the plane of the first two axes."""
    return np.array([np.cos(angle), np.sin(angle), 0.0], np.float32)


# --- the choice --------------------------------------------------------------------------------------


def test_what_looks_like_annotated_images_is_not_chosen() -> None:
    vectors = np.stack([near(0.0), near(0.05), near(1.5), [0.0, 0.0, 1.0]]).astype(np.float32)
    assert set(k_center(vectors, near(0.0)[None], 2)) == {2, 3}
    rows, distances = weighted_coverage(vectors, np.ones(4), near(0.0)[None], 2)
    assert set(rows) == {2, 3}
    assert min(distances) > 0.9


def test_of_copies_one_is_chosen() -> None:
    vectors = np.stack([near(0.0), near(0.0), near(1.5), near(1.5)]).astype(np.float32)
    rows, distances = weighted_coverage(vectors, np.array([0.2, 0.9, 0.5, 0.4]), NONE, 2)
    assert [row // 2 for row in rows] == [0, 1], "the kind with more uncertainty first"
    assert distances == pytest.approx([1.0, 1 - np.cos(1.5)], abs=1e-6)


def test_an_odd_image_comes_after_one_that_stands_for_many() -> None:
    many = [near(0.0), near(0.2), near(0.4)]
    vectors = np.stack([*many, [0.0, 0.0, 1.0]]).astype(np.float32)
    rows, _ = weighted_coverage(vectors, np.array([0.4, 0.4, 0.4, 0.9]), NONE, 2)
    assert rows == [1, 3], "the middle of the three"


def test_a_kind_of_which_the_model_is_sure_waits() -> None:
    sure, unsure = [near(0.0)] * 6, [near(np.pi / 2)] * 2
    weights = np.array([0.05] * 6 + [0.6] * 2)
    rows, _ = weighted_coverage(np.stack([*sure, *unsure]), weights, NONE, 2)
    assert rows == [6, 0]


def test_images_that_have_nothing_in_common_are_chosen_by_uncertainty() -> None:
    rows, _ = weighted_coverage(
        np.eye(4, dtype=np.float32), np.array([0.2, 0.9, 0.5, 0.4]), NONE[:, [0] * 4], 4
    )
    assert rows == [1, 2, 3, 0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 12), st.integers(0, 4), st.integers(1, 15), st.integers(0, 99))
def test_choices_differ_and_each_adds_less_than_the_one_before(
    count: int, labelled: int, wanted: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((count + labelled, 5))
    drawn = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    vectors, known, weights = drawn[:count], drawn[count:], rng.uniform(0.05, 1, count)
    apart = k_center(vectors, known, wanted)
    rows, distances = weighted_coverage(vectors, weights, known, wanted)
    assert len(rows) == len(set(rows)) == len(distances) == len(set(apart)) == min(count, wanted)

    def covered(centers: np.ndarray) -> float:
        alike = np.maximum(vectors @ centers.T, 0).max(axis=1, initial=0)
        return float(alike @ weights)

    sums = [covered(np.concatenate([known, vectors[rows[:number]]])) for number in range(len(rows) + 1)]
    gains = np.diff(sums)
    assert (gains >= -1e-5).all()
    assert all(before >= after - 1e-5 for before, after in pairwise(gains))
    others = [covered(np.concatenate([known, vectors[[row]]])) for row in range(count)]
    assert sums[min(1, len(rows))] >= max(others, default=0.0) - 1e-5, "the first is the best there is"


# --- uncertainty -------------------------------------------------------------------------------------


def test_a_sure_and_steady_model_is_not_uncertain() -> None:
    labels = squares(4)
    seen = iter([Found(labels, np.full(4, 0.999)), Found(labels[:, ::-1], np.full(4, 0.999))])
    unsure = measure_uncertainty(np.zeros((40, 60, 3), np.float32), lambda _: next(seen))
    assert unsure.cells == 4
    assert unsure.disagreement == 0
    assert unsure.doubt < 0.01


def test_scores_in_the_middle_are_doubt() -> None:
    labels = squares(4)
    seen = iter([Found(labels, np.full(4, 0.5)), Found(labels[:, ::-1], np.full(4, 0.5))])
    unsure = measure_uncertainty(np.zeros((40, 60, 3), np.float32), lambda _: next(seen))
    assert unsure.doubt == pytest.approx(1)
    assert unsure.disagreement == 0
    assert unsure.in_words() == "4 doubtful cells"


def test_other_cells_in_the_mirror_image_are_disagreement() -> None:
    sure = np.ones(4)
    seen = iter([Found(squares(4), sure), Found(squares(2)[:, ::-1], sure[:2])])
    unsure = measure_uncertainty(np.zeros((40, 60, 3), np.float32), lambda _: next(seen))
    assert unsure.doubt == 0
    assert unsure.disagreement == pytest.approx(1 - 4 / 6)
    assert unsure.in_words() == "2 cells found in only one of two passes"


def test_detections_below_a_cells_score_are_heard_for_the_doubt_alone() -> None:
    labels, scores = squares(4), np.array([1.0, 1.0, 0.3, 0.3])
    seen = iter([Found(labels, scores), Found(squares(2)[:, ::-1], scores[:2])])
    unsure = measure_uncertainty(np.zeros((40, 60, 3), np.float32), lambda _: next(seen))
    assert unsure.cells == 2
    assert unsure.disagreement == 0
    assert unsure.doubt == pytest.approx(2 * 0.84 / 6)


def test_the_mirror_image_is_what_is_looked_at() -> None:
    plane = np.random.default_rng(0).random((40, 60, 3), np.float32)
    looked: list[np.ndarray] = []

    def detect(image: np.ndarray) -> Found:
        looked.append(image)
        return Found(np.zeros((40, 60), np.int32), np.zeros(0))

    unsure = measure_uncertainty(plane, detect)
    np.testing.assert_array_equal(looked[1], plane[:, ::-1])
    assert unsure == Uncertainty(0, 1, 0)


# --- together ----------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Stripes twice, a disk, noise; and a file that is no image."""
    y, x = np.mgrid[:64, :64]
    stripes = (y // 8 % 2) * 200
    pictures = {
        "stripes": stripes,
        "stripes_again": stripes,
        "disk": ((x - 32) ** 2 + (y - 32) ** 2 < 300) * 220,
        "noise": np.random.default_rng(0).integers(0, 255, (64, 64)),
    }
    for name, picture in pictures.items():
        iio.imwrite(tmp_path / f"{name}.png", picture.astype(np.uint8))
    (tmp_path / "zzz.png").write_bytes(b"\x89PNG broken")
    return [tmp_path / f"{name}.png" for name in (*pictures, "zzz")]


def drained(steps):
    return Steps(steps).finish()


def nothing(image: np.ndarray) -> Found:
    return Found(np.zeros(image.shape[:2], np.int32), np.zeros(0))


def test_the_right_images_are_named(images: list[Path]) -> None:
    stripes, again, disk, noise, broken = images
    steps = suggest(of_files([again, disk, noise, broken], [stripes]), new_model("tiny"), nothing, count=2)
    found = drained(steps)
    assert {each.place.candidate.name for each in found.chosen} == {str(disk), str(noise)}
    assert (found.candidates, found.labelled) == (3, 1)
    assert [name for name, _ in found.skipped] == [str(broken)]
    assert [row.split()[0] for row in found.table().splitlines()[1:]] == [str(e.place) for e in found.chosen]
    assert all("no cell found" in row for row in found.table().splitlines()[1:])
    assert found.chosen[0].thumbnail.shape == (64, 64, 3)
    first = found.as_dict()["suggestions"][0]
    assert first["uncertainty"] == 0.5
    assert first["novelty"] > 0


def test_nothing_left_to_annotate_is_said(images: list[Path]) -> None:
    with pytest.raises(InputError, match="annotated already"):
        drained(suggest(of_files([], images[:2]), new_model("tiny"), nothing))
    with pytest.raises(InputError, match="can be read"):
        drained(suggest(of_files(images[4:], images[:2]), new_model("tiny"), nothing))


def test_cells_are_found_in_the_places_that_differ_most(images: list[Path]) -> None:
    stripes, again, disk, noise, _ = images
    looked: list[np.ndarray] = []

    def detect(image: np.ndarray) -> Found:
        looked.append(image)
        return nothing(image)

    steps = suggest(of_files([again, disk, noise], [stripes]), new_model("tiny"), detect, most=2)
    found = drained(steps)
    assert {each.place.candidate.name for each in found.chosen} == {str(disk), str(noise)}
    assert found.candidates == 3
    assert len(looked) == 4


def test_fields_of_a_large_image_are_rated_one_by_one() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 50, (1100, 2100)).astype(np.uint8)
    pixels[:, 1000:] = 250 * (np.arange(1100) // 20 % 2)[:, None]
    slide = Candidate(
        "slide", lambda: CellImage.from_array(pixels, "YX", name="slide"), True, ((10, 20, 30, 40),)
    )
    shapes: set[tuple[int, ...]] = set()

    def detect(image: np.ndarray) -> Found:
        shapes.add(image.shape)
        return nothing(image)

    found = drained(suggest([slide], new_model("tiny"), detect, count=9))
    assert fields_in((1100, 2100))[0] == (0, 0, 550, 700)
    assert found.labelled == 1
    assert found.candidates == len(found.chosen) == 5
    assert shapes == {(550, 700, 3)}
    assert found.chosen[0].place.field is not None
    assert found.chosen[0].place.field[1] >= 700, "noise is what is annotated already"
    assert str(found.chosen[0].place).startswith("slide [rows")
    assert "unlike the images annotated so far" in found.chosen[0].reason


def test_images_of_a_project_are_candidates(images: list[Path], tmp_path: Path) -> None:
    with Project.create(tmp_path / "work") as project:
        for path in (images[0], images[2], images[3]):
            project.add(path)
        cells = project.cells("stripes")
        cells.apply(place(cells, np.ones((9, 9), bool), (2, 3)))
        found = list(of_project(project))
        assert [(each.name, each.is_annotated, each.annotated) for each in found] == [
            ("stripes", True, ((2, 3, 11, 12),)),
            ("disk", False, ()),
            ("noise", False, ()),
        ]
        assert found[2].read().plane_shape == (64, 64)
