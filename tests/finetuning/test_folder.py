"""Images without annotation in a training: contrast on the backbone, and a teacher that may be doubted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from few_shot_fields import discs, settings, shot
from finding_network import FindsBoxes

from napari_cupre.data.shot import Shot
from napari_cupre.errors import InputError
from napari_cupre.events import Notice, StepDone
from napari_cupre.finetuning.finetune_run import FinetuneRun
from napari_cupre.finetuning.folder_contrast import CONTEXT, FolderContrast
from napari_cupre.finetuning.teacher import LEAST_RIGHT, MeanTeacher, Trust, taught_by, trusted
from napari_cupre.io.shot_store import digests


def unlabelled(seed: int) -> Shot:
    return Shot.unlabelled(discs(seed)[0], f"other {seed}")


def large(seed: int) -> np.ndarray:
    """Discs over and over, as many places as a queue needs."""
    return np.tile(discs(seed)[0], (9, 9, 1))[: 7 * CONTEXT, : 7 * CONTEXT]


BOXES = [(left, top, left + 8, top + 8) for top in (4, 24, 44) for left in (4, 24, 44)]


def annotated() -> Shot:
    labels = np.zeros((64, 64), np.int32)
    for number, (left, top, right, bottom) in enumerate(BOXES, start=1):
        labels[top:bottom, left:right] = number
    return Shot(np.zeros((64, 64, 3), np.float32), labels, np.ones(labels.shape, bool))


def test_contrast_moves_the_backbone_alone(start) -> None:
    network = start.network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    step = FolderContrast(network, [large(1)], 0, 1e-3, holds_norm=True)
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    losses = [step.step(number, 0.0, None) for number in range(3)]
    assert np.isfinite(losses).all()
    after = network.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith("backbone.") for name in moved)
    assert not any("running" in name for name in moved)


def test_too_few_places_are_refused(start) -> None:
    with pytest.raises(InputError, match="too few"):
        FolderContrast(start.network, [discs(1)[0]], 0, 1e-3, holds_norm=True)


def test_a_teacher_is_believed_from_the_score_on_at_which_it_invents_nothing() -> None:
    check = annotated()
    labels = check.labels.copy()
    labels[56:62, 56:62] = len(BOXES) + 1
    scores = np.array([0.95] * len(BOXES) + [0.65])
    assert trusted([(check, labels, scores)]) == Trust(0.5, True)  # 9 of 10 are cells
    scores[:3] = 0.3
    assert trusted([(check, labels, scores)]) == Trust(0.7, True)
    few = np.where(labels < LEAST_RIGHT, labels, 0)
    assert trusted([(check, few, scores)]) == Trust(None, False)
    assert trusted([]) == Trust(None, False)


def test_what_is_sure_teaches_and_what_is_doubtful_does_not() -> None:
    labels = annotated().labels
    scores = np.array([0.9, 0.3] + [0.9] * (len(BOXES) - 2))
    image = np.zeros((64, 64, 3), np.float32)
    sample = taught_by(labels, scores, image, Trust(0.7, True))
    assert sample.labels[8, 8] == 1
    assert not sample.labels[4:12, 24:32].any()
    assert not sample.known[3:13, 23:33].any()  # the doubtful cell and what is next to it
    assert sample.known[16:20, 16:20].all()
    without = taught_by(labels, scores, image, Trust(0.7, False))
    np.testing.assert_array_equal(without.known, without.labels > 0)
    ground = taught_by(labels, scores, image, Trust(None, True))
    assert not ground.labels.any()
    assert not ground.known[labels > 0].any()
    assert ground.known[60, 60]


def test_a_teacher_looks_at_window_after_window_once_it_is_trusted() -> None:
    teacher = MeanTeacher([np.zeros((64, 64, 3), np.float32)] * 2, [annotated()], np.random.default_rng(0))
    assert teacher.look(FindsBoxes([]), None, 1) == []
    seer = FindsBoxes([(box, 0.9) for box in BOXES])
    assert len(teacher.look(seer, None, 1)) == 1
    samples = teacher.look(seer, None, 1)
    assert [len(np.unique(sample.labels)) - 1 for sample in samples] == [len(BOXES)] * 2


def test_images_without_annotation_take_part_and_are_counted_as_what_they_are(start) -> None:
    shots = [shot(0), shot(1), *(Shot.unlabelled(large(seed)) for seed in range(2, 9))]
    run = FinetuneRun(start, shots, settings(steps=3, held_out=0.0))
    events = list(run.events())
    assert any("of 2 images, beside 7 images without annotation" in e.message for e in _notices(events))
    steps = [event for event in events if isinstance(event, StepDone)]
    assert all(step.losses["contrast"] > 0 for step in steps)
    training = run.result.info.training
    assert (training["images"], training["unlabelled"]) == (2, 7)


def test_what_is_switched_off_does_nothing(start) -> None:
    results = []
    for others in ([], [unlabelled(5)]):
        run = FinetuneRun(start, [shot(0), *others], settings(contrast=False, teacher=False))
        list(run.events())
        results.append(run.result.network.state_dict())
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_a_resumed_run_keeps_them_and_does_not_call_them_changed(start, tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    shots = [shot(0), unlabelled(3)]
    list(FinetuneRun(start, shots, settings(steps=2), out).events())
    run = FinetuneRun.resume(out, start, settings(steps=4), digests([shots[0]]))
    events = list(run.events())
    assert any("1 image without annotation" in notice.message for notice in _notices(events))
    assert any("too few or too small" in notice.message for notice in _notices(events))
    assert not any("no longer given" in notice.message for notice in _notices(events))


def _notices(events) -> list[Notice]:
    return [event for event in events if isinstance(event, Notice)]
