"""RoIAlign over the feature pyramid, with a fast implementation for processors."""

from __future__ import annotations

from math import log2

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import initLevelMapper

from napari_cupre.model.backbone import STRIDES

ROIS_AT_ONCE = 512
"""RoIs whose sample positions are in memory at once, about 20 MB."""


BAND = 32
"""Height of the bands in which RoIs are processed from left to right, px."""


class RoiPool(MultiScaleRoIAlign):
    """RoIs of the pyramid resampled to side x side (He et al., "Mask R-CNN", 2017, section 3).

    torchvision guesses the strides from the first image it sees and keeps them; a small image,
    whose maps are rounded up, misleads it, so they are set here. Its kernel for processors runs on one
    thread and reads one channel after the other. There the same weighted sums are taken by
    `embedding_bag`, which reads all channels of a position together, on all threads, and whose gradient
    takes a third of the time; features in channels-last layout are read where they are. Boxes get none.

    Parameters
    ----------
    side : int
        Samples of the result along each axis.
    samples : int
        Positions along each axis that are averaged for one of them.
    """

    def __init__(self, side: int, samples: int) -> None:
        super().__init__([str(level) for level in range(len(STRIDES))], side, samples)
        self.scales = [1 / stride for stride in STRIDES]
        self.map_levels = initLevelMapper(int(log2(STRIDES[0])), int(log2(STRIDES[-1])))

    def forward(
        self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> Tensor:
        """Float (N, C, side, side) for the N boxes of all images, in their order."""
        first = x[self.featmap_names[0]]
        if first.device.type != "cpu" or first.dtype != torch.float32:
            return super().forward(x, boxes, image_shapes)
        side = self.output_size[0]
        flat = torch.cat(boxes).detach()
        image = torch.repeat_interleave(
            torch.arange(len(boxes)), torch.tensor([len(of_image) for of_image in boxes])
        )
        level = self.map_levels(boxes) if len(flat) else flat.new_zeros(0, dtype=torch.int64)
        order = _reading_order(flat, image, level)
        pooled = _Rows(len(flat), side, first.shape[1], first.requires_grad)
        done = 0
        for number, name in enumerate(self.featmap_names):
            features = x[name]
            table = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
            for rows in order[done : done + int((level == number).sum())].split(ROIS_AT_ONCE):
                grid = (features.shape[2], features.shape[3])
                pooled.put(rows, self._pooled(table, flat[rows] * self.scales[number], image[rows], grid))
                done += len(rows)
        return pooled.all().permute(0, 3, 1, 2)

    def _pooled(self, table: Tensor, boxes: Tensor, image: Tensor, grid: tuple[int, int]) -> Tensor:
        """RoIs of one level.

        Parameters
        ----------
        table : torch.Tensor
            (images * rows * columns, C), the features of one level.
        boxes : torch.Tensor
            (N, 4) in px of that level.
        image : torch.Tensor
            (N,), the image of each box.
        grid : tuple of int
            Rows and columns of the level.
        """
        side = self.output_size[0]
        rows, row_weights = _positions(boxes[:, 1], boxes[:, 3], side, self.sampling_ratio, grid[0])
        columns, column_weights = _positions(boxes[:, 0], boxes[:, 2], side, self.sampling_ratio, grid[1])
        rows = (rows + image[:, None, None] * grid[0]) * grid[1]
        index = rows[:, :, None, :, None] + columns[:, None, :, None, :]
        weight = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
        count, taps = len(boxes) * side * side, (2 * self.sampling_ratio) ** 2
        pooled = F.embedding_bag(
            index.reshape(count, taps), table, mode="sum", per_sample_weights=weight.reshape(count, taps)
        )
        return pooled.view(len(boxes), side, side, table.shape[1])


class _Rows:
    """Float (N, side, side, C), assembled from some rows at a time.

    Without gradients each row is copied once, to its place; a gradient wants the parts as they are.
    """

    def __init__(self, count: int, side: int, channels: int, has_gradient: bool) -> None:
        self._whole = torch.empty((0 if has_gradient else count, side, side, channels))
        self._parts: list[tuple[Tensor, Tensor]] | None = [] if has_gradient else None

    def put(self, rows: Tensor, values: Tensor) -> None:
        if self._parts is None:
            self._whole[rows] = values
        else:
            self._parts.append((rows, values))

    def all(self) -> Tensor:
        if not self._parts:
            return self._whole
        rows, values = zip(*self._parts, strict=True)
        return torch.cat(values)[torch.argsort(torch.cat(rows))]


def _reading_order(boxes: Tensor, image: Tensor, level: Tensor) -> Tensor:
    """Order by level, image, band of rows and column, so that consecutive RoIs share cached memory."""
    band = (boxes[:, 1].clamp(min=0) / BAND).long()
    column = boxes[:, 0].clamp(min=0).long()
    return torch.argsort((((level << 16) + image << 16) + band << 20) + column)


def _positions(low: Tensor, high: Tensor, side: int, samples: int, length: int) -> tuple[Tensor, Tensor]:
    """Grid positions and weights whose sum is one sample of the result, along one axis.

    As in torchvision's `roi_align` with `aligned=False`: a RoI is at least one grid cell long, samples
    beyond the first or last cell's centre take that cell, and those a whole cell outside count zero.

    Returns
    -------
    positions : torch.Tensor
        int64 (N, side, 2 * samples).
    weights : torch.Tensor
        float32, of the same shape.
    """
    extent = (high - low).clamp(min=1.0)
    steps = (torch.arange(side * samples) + 0.5) / (side * samples)
    place = low[:, None] + steps * extent[:, None]
    inside = ((place >= -1) & (place <= length)).to(low.dtype) / samples
    place = place.clamp(0, length - 1)
    below = place.floor()
    share = place - below
    index = below.long()
    positions = torch.stack([index, (index + 1).clamp(max=length - 1)], dim=-1)
    weights = torch.stack([(1 - share) * inside, share * inside], dim=-1)
    shape = (len(low), side, 2 * samples)
    return positions.view(shape), weights.view(shape)
