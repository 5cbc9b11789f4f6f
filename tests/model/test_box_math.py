"""Boxes are compared, coded and thinned out as torchvision does it."""

from __future__ import annotations

import torch
from torchvision.models.detection._utils import BoxCoder as Theirs
from torchvision.ops import batched_nms, clip_boxes_to_image
from torchvision.ops import box_iou as their_iou

from napari_cupre.model.box_math import BoxCoder, box_iou, clip_boxes, level_nms, nms


def some_boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 120 - 10
    return torch.cat([corner, corner + 1 + torch.rand(count, 2, generator=generator) * 40], dim=1)


def test_overlap_and_cutting() -> None:
    boxes, others = some_boxes(50, 0), some_boxes(60, 1)
    torch.testing.assert_close(box_iou(boxes, others), their_iou(boxes, others))
    torch.testing.assert_close(clip_boxes(boxes, (70, 90)), clip_boxes_to_image(boxes, (70, 90)))
    assert clip_boxes(torch.zeros(0, 4), (5, 5)).shape == (0, 4)


def test_coding_there_and_back() -> None:
    weights = (10.0, 10.0, 5.0, 5.0)
    boxes, wanted = some_boxes(50, 2), some_boxes(50, 3)
    ours, theirs = BoxCoder(weights), Theirs(weights)
    offsets = ours.encode(wanted, boxes)
    torch.testing.assert_close(offsets, theirs.encode([wanted], [boxes])[0])
    torch.testing.assert_close(ours.decode(offsets, boxes), wanted, atol=1e-3, rtol=1e-3)
    wild = offsets * 30
    torch.testing.assert_close(ours.decode(wild, boxes), theirs.decode_single(wild, boxes))
    assert ours.decode(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0, 4)


def test_each_level_is_thinned_out_by_itself() -> None:
    boxes = some_boxes(2000, 4)
    scores = torch.rand(2000, generator=torch.Generator().manual_seed(5))
    level = torch.arange(2000) % 3
    kept = level_nms(boxes, scores, level, 3, 0.5)
    assert 0 < len(kept) < 2000
    torch.testing.assert_close(kept, batched_nms(boxes, scores, level, 0.5))
    assert (scores[kept].diff() <= 0).all()
    assert len(level_nms(boxes[:0], scores[:0], level[:0], 3, 0.5)) == 0
    assert nms(boxes[:1].repeat(2, 1), scores[:2], 0.5).tolist() == [int(scores[1] > scores[0])]
