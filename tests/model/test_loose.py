"""Boxes as people give them, and that the heads learn from them."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import box_iou

from napari_cupre.model.config import preset
from napari_cupre.model.loose import CENTRE_OFF, SIDE_OFF, SIZE_OFF, boxes_around_clicks, drawn_boxes
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.targets import target_from_labels

TRUTH = torch.tensor([[40.0, 30.0, 60.0, 70.0]]).repeat(500, 1)


def test_drawn_sides_are_off_by_a_share_of_their_own_length() -> None:
    torch.manual_seed(0)
    off = (drawn_boxes(TRUTH, (100, 100)) - TRUTH).abs() / torch.tensor([20.0, 40.0, 20.0, 40.0])
    assert off.max() <= SIDE_OFF + 1e-6
    assert (off.amax(0) > 0.9 * SIDE_OFF).all()


def test_boxes_around_clicks_hold_the_middle_of_the_cell_roughly() -> None:
    torch.manual_seed(0)
    boxes = boxes_around_clicks(TRUTH, (200, 200))
    lengths = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert (
        (centre - torch.tensor([50.0, 50.0])).abs() <= CENTRE_OFF * torch.tensor([20.0, 40.0]) + 1e-3
    ).all()
    # the square ones have the mean length of the cell's box
    assert lengths.max() <= 40 * SIZE_OFF + 1e-3
    assert lengths.min() >= 20 / SIZE_OFF - 1e-3
    assert 0.3 < ((lengths[:, 0] - lengths[:, 1]).abs() < 1e-3).float().mean() < 0.7


@pytest.mark.parametrize("make", [drawn_boxes, boxes_around_clicks])
def test_they_stay_in_the_image_and_none_of_none_are_made(make) -> None:
    torch.manual_seed(0)
    boxes = make(TRUTH, (71, 61))
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 61
    assert boxes[:, 3].max() <= 71
    assert make(torch.zeros(0, 4), (71, 61)).shape == (0, 4)


def test_the_box_head_learns_to_mend_boxes_around_clicks() -> None:
    torch.manual_seed(0)
    labels = torch.zeros(96, 96, dtype=torch.int32)
    for label, (row, column) in enumerate([(8, 10), (10, 60), (52, 20), (60, 62)], start=1):
        labels[row : row + 24, column : column + 20] = label
    images = (labels > 0).float().expand(1, 3, 96, 96).contiguous()
    target = target_from_labels(labels.numpy())
    network = CellRCNN(preset("tiny"))

    @torch.no_grad()
    def mended() -> float:
        network.eval()
        clicked = boxes_around_clicks(target.boxes.repeat(20, 1), (96, 96))
        pooled = network.heads.box_pool(network.features(images), [clicked])
        boxes = network.heads.coder.decode(network.heads.box(pooled)[1], clicked)
        network.train()
        return float(box_iou(boxes, target.boxes.repeat(20, 1)).diagonal().mean())

    before = mended()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(40):
        optimiser.zero_grad()
        network.heads._prompt_error(network.features(images), (96, 96), [target]).backward()
        optimiser.step()
    assert mended() > before + 0.1
