"""An annotated image: what of it teaches, and what judges."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cupre.data.shot import Shot
from napari_cupre.io.shot_store import load_shots, save_shots, shot_digest


@pytest.fixture
def shot() -> Shot:
    labels = np.zeros((20, 30), np.int32)
    labels[2:6, 2:6], labels[10:14, 20:26] = 1, 7
    return Shot(np.zeros((20, 30, 3), np.float32), labels, np.ones((20, 30), bool), "a", accepted=(7,))


def test_a_guess_that_was_accepted_teaches_and_does_not_judge(shot: Shot) -> None:
    judging = shot.for_judging()
    assert np.unique(judging.labels).tolist() == [0, 1]
    assert (judging.known == (shot.labels != 7)).all()
    assert (shot.sample.labels == shot.labels).all()
    assert shot.known.all()


def test_where_everything_is_annotated_it_judges(shot: Shot) -> None:
    shot.surveyed = (7,)
    assert (shot.for_judging().labels == shot.labels).all()
    assert shot.for_judging().known.all()


def test_parts_know_what_was_accepted(shot: Shot) -> None:
    _, right = shot.halves(1, 15)
    assert not right.for_judging().labels.any()


def test_what_was_accepted_is_kept_on_disk(shot: Shot, tmp_path) -> None:
    drawn = Shot(shot.image, shot.labels, shot.known, "b")
    assert shot_digest(shot) != shot_digest(drawn)
    save_shots(tmp_path, [shot, drawn])
    assert [each.accepted for each in load_shots(tmp_path)] == [(7,), ()]
    digest = shot_digest(shot)
    shot.surveyed = (7,)
    assert shot_digest(shot) != digest
    save_shots(tmp_path, [shot])
    assert [each.surveyed for each in load_shots(tmp_path)] == [(7,)]


def test_what_is_held_out_is_kept_on_disk_and_parts_an_image(shot: Shot, tmp_path) -> None:
    shot.held = "1:15"
    save_shots(tmp_path, [shot])
    (again,) = load_shots(tmp_path)
    teaching, judging = again.parted()
    assert teaching is not None
    assert judging is not None
    assert np.unique(teaching.labels).tolist() == [0, 1]
    assert np.unique(judging.labels).tolist() == [0, 7]


@pytest.mark.parametrize("held", [None, "", "1:0", "1:30"])
def test_what_is_not_held_out_teaches(shot: Shot, held: str | None) -> None:
    shot.held = held
    assert shot.parted() == (shot, None)
