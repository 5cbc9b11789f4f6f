"""Imprecise boxes as people give them: drawn by hand, or placed around a click."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from napari_cupre.model.box_math import clip_boxes

SIDE_OFF = 0.2
"""Largest error of a side drawn by hand, as a share of the box's length."""

SIZE_OFF = 2.0
"""Largest factor by which a box around a click is larger or smaller than the cell."""

CENTRE_OFF = 0.3
"""Largest error of the centre of a box around a click, as a share of the cell's length."""


def drawn_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Imitate boxes drawn by hand: each side is off by up to `SIDE_OFF`.

    Parameters
    ----------
    boxes : torch.Tensor
        float (N, 4), x1, y1, x2, y2 in px.
    size : tuple of int
        (H, W) of the image, to which the boxes are clipped.
    """
    off = torch.empty_like(boxes).uniform_(-SIDE_OFF, SIDE_OFF)
    return clip_boxes(boxes + off * _lengths(boxes).repeat(1, 2), size)


def boxes_around_clicks(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Imitate boxes around a click in each cell: size and place are roughly those of the true boxes."""
    lengths, centres = _lengths(boxes), (boxes[:, :2] + boxes[:, 2:]) / 2
    centres = centres + lengths * torch.empty_like(centres).uniform_(-CENTRE_OFF, CENTRE_OFF)
    stretch = torch.empty_like(lengths).uniform_(-log(SIZE_OFF), log(SIZE_OFF)).exp()
    # A click says nothing about the shape, so half of these boxes are square.
    square = torch.rand(len(boxes), 1, device=boxes.device) < 0.5
    sides = torch.where(square, lengths.mean(1, keepdim=True) * stretch[:, :1], lengths * stretch)
    return clip_boxes(torch.cat([centres - sides / 2, centres + sides / 2], dim=1), size)


def _lengths(boxes: Tensor) -> Tensor:
    return boxes[:, 2:] - boxes[:, :2]
