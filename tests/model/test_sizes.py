"""Images whose sides do not divide by the strides are looked at as they are, without a border of zeros."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_cupre.finetuning.judge import losses_without_learning
from napari_cupre.model.checkpoint import new_model
from napari_cupre.model.engine import TorchEngine
from napari_cupre.model.targets import target_from_labels


@pytest.mark.parametrize("shape", [(33, 65), (100, 117), (64, 96), (31, 32), (1, 1), (5, 190)])
@pytest.mark.parametrize("preset", ["tiny", "compact"])
def test_anchors_lie_at_the_true_strides(preset: str, shape: tuple[int, int]) -> None:
    network = new_model(preset).network.eval()
    with torch.no_grad():
        maps = network.maps(torch.rand(1, 3, *shape))
    for level, (score, offset) in enumerate(zip(maps.scores, maps.offsets)):
        stride = 4 * 2**level
        assert tuple(score.shape[-2:]) == (-(-shape[0] // stride), -(-shape[1] // stride))
        rows, columns = score.shape[-2:]
        # A box right at the anchor of the last place: no offset, sure there, unsure elsewhere.
        sure = torch.full_like(score[0], -20.0)
        sure[0, -1, -1] = 20.0
        boxes, _, _ = network.rpn._candidates(level, sure, torch.zeros_like(offset[0]), 10**6)
        centre = (boxes[0, :2] + boxes[0, 2:]) / 2
        expected = torch.tensor([(columns - 1) * stride, (rows - 1) * stride], dtype=torch.float32)
        assert torch.allclose(centre, expected, atol=0.6)


@pytest.mark.parametrize("shape", [(70, 90), (64, 64), (1, 1)])
def test_any_size_is_detected_and_gives_losses(shape: tuple[int, int]) -> None:
    network = new_model("tiny").network
    image = torch.rand(1, 3, *shape)
    for found in network.detect(image, score=0.0, engine=TorchEngine(network)):
        assert (found.boxes[:, 2] <= shape[1]).all()
        assert (found.boxes[:, 3] <= shape[0]).all()
    labels = np.zeros(shape, np.int32)
    labels[shape[0] // 2 :, shape[1] // 2 :] = 1
    with losses_without_learning(network):
        losses = network(image, [target_from_labels(labels, np.ones(shape, bool))])
    assert len(losses) == 5
    assert all(torch.isfinite(value) for value in losses.values())


def test_matching_finds_the_anchors_of_a_cell_at_the_far_border() -> None:
    """With strides guessed from the rounded-up maps, anchors far from the origin were off by several px."""
    network = new_model("tiny").network.train()
    labels = np.zeros((301, 333), np.int32)
    labels[280:300, 310:330] = 1
    seen = {}
    assign = network.rpn.assign_targets_to_anchors

    def spy(anchors, targets):
        labels_, boxes = assign(anchors, targets)
        seen["anchors"], seen["labels"] = anchors[0], labels_[0]
        return labels_, boxes

    network.rpn.assign_targets_to_anchors = spy
    network(torch.rand(2, 3, 301, 333), [target_from_labels(labels, np.ones(labels.shape, bool))] * 2)
    positive = seen["anchors"][seen["labels"] == 1]
    assert len(positive)
    centres = (positive[:, :2] + positive[:, 2:]) / 2
    assert ((centres - torch.tensor([320.0, 290.0])).abs() < 10).all()
