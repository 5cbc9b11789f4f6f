"""RoIAlign over the feature pyramid, with a fast implementation for processors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_cupre.model.box_math import box_area
from napari_cupre.model.geometry import BAND, CANONICAL, ROIS_AT_ONCE, STRIDES


class RoiPool(nn.Module):
    """Resample RoIs of the pyramid to side x side (He et al., "Mask R-CNN", 2017, section 3).

    torchvision's kernel for processors runs on one thread and reads one channel after the other. On
    processors this class computes the same weighted sums with `embedding_bag`, which runs on all threads and
    reads all channels of a position together; its gradient takes a third of the time. Features in
    channels-last layout are not copied. Boxes get no gradient.

    Parameters
    ----------
    side : int
        Number of samples of the result along each axis.
    samples : int
        Number of positions along each axis that are averaged for one sample.
    """

    def __init__(self, side: int, samples: int) -> None:
        super().__init__()
        self.side, self.samples = side, samples

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor]) -> Tensor:
        """Return float (N, C, side, side) for the N boxes (x1, y1, x2, y2) of all images, in order."""
        levels = [x[str(number)] for number in range(len(STRIDES))]
        first = levels[0]
        flat = torch.cat(boxes).detach()
        image = torch.cat([torch.full((len(b),), i, device=flat.device) for i, b in enumerate(boxes)])
        level = _levels(flat)
        if first.device.type != "cpu" or first.dtype != torch.float32:
            return self._aligned(levels, torch.cat([image[:, None].to(flat), flat], dim=1), level)
        order = _reading_order(flat, image, level)
        pooled = _Rows(len(flat), self.side, first.shape[1], first.requires_grad)
        done = 0
        for number, features in enumerate(levels):
            table = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
            for rows in order[done : done + int((level == number).sum())].split(ROIS_AT_ONCE):
                grid = (features.shape[2], features.shape[3])
                pooled.put(rows, self._pooled(table, flat[rows] / STRIDES[number], image[rows], grid))
                done += len(rows)
        return pooled.all().permute(0, 3, 1, 2)

    def _aligned(self, levels: list[Tensor], rois: Tensor, level: Tensor) -> Tensor:
        """Do the same with torchvision's kernel; RoIs (N, 5) begin with the number of their image."""
        from torchvision.ops import roi_align

        pooled = levels[0].new_zeros((len(rois), levels[0].shape[1], self.side, self.side))
        for number, features in enumerate(levels):
            rows = torch.nonzero(level == number)[:, 0]
            part = roi_align(features, rois[rows], self.side, 1 / STRIDES[number], self.samples)
            pooled[rows] = part.to(pooled.dtype)
        return pooled

    def _pooled(self, table: Tensor, boxes: Tensor, image: Tensor, grid: tuple[int, int]) -> Tensor:
        """Resample the RoIs of one level.

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
        side = self.side
        rows, row_weights = _positions(boxes[:, 1], boxes[:, 3], side, self.samples, grid[0])
        columns, column_weights = _positions(boxes[:, 0], boxes[:, 2], side, self.samples, grid[1])
        rows = (rows + image[:, None, None] * grid[0]) * grid[1]
        index = rows[:, :, None, :, None] + columns[:, None, :, None, :]
        weight = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
        count, taps = len(boxes) * side * side, (2 * self.samples) ** 2
        pooled = F.embedding_bag(
            index.reshape(count, taps), table, mode="sum", per_sample_weights=weight.reshape(count, taps)
        )
        return pooled.view(len(boxes), side, side, table.shape[1])


def _levels(boxes: Tensor) -> Tensor:
    """Return the level int64 (N,) that each box (N, 4) is pooled from."""
    side, number = CANONICAL
    wanted = torch.floor(number + torch.log2(torch.sqrt(box_area(boxes)) / side) + 1e-6)
    return wanted.clamp(0, len(STRIDES) - 1).to(torch.int64)


class _Rows:
    """Assembles a float (N, side, side, C) tensor from some rows at a time.

    Without gradients each row is copied to its place at once; with gradients the parts are kept as they are.
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
    """Sort RoIs by level, image, band of rows and column, so that consecutive ones share cached memory."""
    band = (boxes[:, 1].clamp(min=0) / BAND).long()
    column = boxes[:, 0].clamp(min=0).long()
    return torch.argsort((((level << 16) + image << 16) + band << 20) + column)


def _positions(low: Tensor, high: Tensor, side: int, samples: int, length: int) -> tuple[Tensor, Tensor]:
    """Return grid positions and weights along one axis; their weighted sum is one sample of the result.

    As in torchvision's `roi_align` with `aligned=False`, a RoI is at least one grid cell long. Samples beyond
    the centre of the first or last cell take the value of that cell; samples more than a whole cell outside
    are zero.

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
