"""Guesses that were accepted teach; they do not judge the network that drew them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_cupre.data.shot import Shot
from napari_cupre.evaluation.decision import tally
from napari_cupre.evaluation.matching import match_instances
from napari_cupre.finetuning.finetune_settings import FinetuneSettings
from napari_cupre.finetuning.teaching import Teaching
from napari_cupre.model.targets import label_boxes

SETTINGS = FinetuneSettings(steps=1)


@pytest.fixture
def shot() -> Shot:
    """Forty cells in a row."""
    labels = np.zeros((60, 480), np.int32)
    for number in range(40):
        labels[20:28, 12 * number + 2 : 12 * number + 10] = number + 1
    image = np.repeat((labels > 0)[..., None], 3, axis=-1).astype(np.float32)
    return Shot(image, labels, np.ones(labels.shape, bool), "row")


def judged(teaching: Teaching) -> int:
    return teaching.judge.cells if teaching.judge else 0


def test_cells_that_were_drawn_judge_alone(shot: Shot) -> None:
    all_drawn = Teaching([shot], SETTINGS, 24.0, scratch=False)
    half = Teaching([replace(shot, accepted=tuple(range(1, 41, 2)))], SETTINGS, 24.0, scratch=False)
    assert 0 < judged(half) < judged(all_drawn)
    assert "accepted guesses do not count" in half.in_words()
    assert "accepted" not in all_drawn.in_words()


def test_all_teach_where_all_were_accepted(shot: Shot) -> None:
    teaching = Teaching([replace(shot, accepted=tuple(range(1, 41)))], SETTINGS, 24.0, scratch=False)
    assert teaching.judge is None
    assert teaching.in_words().startswith("40 cells of 1 image, too few to hold some out")
    assert len(label_boxes(teaching.sampler.samples[0].labels)[0]) == 40


def test_accepted_guesses_count_as_found_or_not_where_everything_is_annotated(shot: Shot) -> None:
    """Their outlines are a network's: neither the shape nor the exact place of what is found matters."""
    numbers = tuple(range(1, 41))
    teaching = Teaching([replace(shot, accepted=numbers, surveyed=numbers)], SETTINGS, 24.0, scratch=False)
    drawn = Teaching([shot], SETTINGS, 24.0, scratch=False)
    assert judged(teaching) == judged(drawn) > 0
    assert "accepted" not in teaching.in_words()
    (window,) = teaching.judge.windows
    coarse = np.where(np.roll(window.labels, 3, axis=0) > 0, window.labels, 0)
    (lenient,), (strict,) = (
        each.judge.finds([match_instances(window.labels, coarse)]) for each in (teaching, drawn)
    )
    assert set(lenient.iou) == {1.0}
    assert set(strict.iou) != {1.0}
    assert np.isnan(tally([lenient]).outline), "nobody drew these outlines"
    assert tally([lenient]).found == tally([strict]).found


def test_what_a_project_holds_out_does_not_teach_even_where_nothing_of_it_can_judge_yet(shot: Shot) -> None:
    held = replace(shot, accepted=tuple(range(1, 41)), held="1:360")
    teaching = Teaching([held], SETTINGS, 24.0, scratch=False)
    assert teaching.judge is None
    assert len(label_boxes(teaching.sampler.samples[0].labels)[0]) == 30
