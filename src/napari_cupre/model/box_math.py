"""Boxes compared, coded, cut and thinned out, as torchvision does it.

The package torchvision takes over a second of processor time and 160 MB to import, most of it for what no
detector needs. Of all that it brings, only its compiled suppression is used here; that is loaded by itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from napari_cupre.model.geometry import LARGEST_LOG

_LIBRARIES = ("_C_stable.*", "_C.*")


def box_area(boxes: Tensor) -> Tensor:
    """Areas (N,) of boxes (N, 4), x1, y1, x2, y2."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union (N, M) of every pair of boxes (N, 4) and (M, 4)."""
    low = torch.max(boxes[:, None, :2], others[None, :, :2])
    extent = (torch.min(boxes[:, None, 2:], others[None, :, 2:]) - low).clamp(min=0)
    inter = extent[..., 0] * extent[..., 1]
    return inter / (box_area(boxes)[:, None] + box_area(others)[None, :] - inter)


def clip_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (..., 4) cut to an image of `size` (Y, X)."""
    x, y = boxes[..., 0::2].clamp(0, size[1]), boxes[..., 1::2].clamp(0, size[0])
    return torch.stack([x, y], dim=-1).flatten(-2)


class BoxCoder:
    """Boxes as offsets from others: shift in parts of their size, and log of the stretch.

    Girshick et al., "Rich feature hierarchies", 2014, appendix C.

    Parameters
    ----------
    weights : tuple of float
        Factors of the offsets of x, y, width and height.
    """

    def __init__(self, weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)) -> None:
        self._weights = weights

    def encode(self, wanted: Tensor, boxes: Tensor) -> Tensor:
        """Offsets (N, 4) that lead from `boxes` (N, 4) to the `wanted` ones."""
        size, target = boxes[:, 2:] - boxes[:, :2], wanted[:, 2:] - wanted[:, :2]
        shift = (wanted[:, :2] + 0.5 * target - boxes[:, :2] - 0.5 * size) / size
        return torch.cat([shift, torch.log(target / size)], dim=1) * boxes.new_tensor(self._weights)

    def decode(self, offsets: Tensor, boxes: Tensor) -> Tensor:
        """The boxes (N, 4) to which offsets (N, 4) from `boxes` (N, 4) lead."""
        boxes = boxes.to(offsets.dtype)
        offsets = offsets / offsets.new_tensor(self._weights)
        size = boxes[:, 2:] - boxes[:, :2]
        centre = offsets[:, :2] * size + boxes[:, :2] + 0.5 * size
        half = 0.5 * torch.exp(offsets[:, 2:].clamp(max=LARGEST_LOG)) * size
        return torch.cat([centre - half, centre + half], dim=1)


def nms(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Rows of boxes (N, 4) that no better one overlaps by more than `iou`, best first.

    Raises
    ------
    ImportError, RuntimeError, NotImplementedError
        If torchvision is missing or does not fit torch.
    """
    return _compiled()(boxes, scores, iou)


def level_nms(boxes: Tensor, scores: Tensor, level: Tensor, levels: int, iou: float) -> Tensor:
    """`nms` within each level by itself; `level` int64 (N,) is below `levels`."""
    kept = []
    for number in range(levels):
        rows = torch.nonzero(level == number)[:, 0]
        if len(rows):
            kept.append(rows[nms(boxes[rows], scores[rows], iou)])
    if not kept:
        return level.new_zeros(0)
    rows = torch.cat(kept)
    return rows[scores[rows].sort(descending=True, stable=True).indices]


@functools.cache
def _compiled() -> Callable[[Tensor, Tensor, float], Tensor]:
    """torchvision's suppression, from its library alone where that can be loaded."""
    for path in _libraries():
        try:
            torch.ops.load_library(str(path))
            return torch.ops.torchvision.nms
        except (OSError, RuntimeError, AttributeError):
            continue  # what is wrong with it, torchvision itself says best
    from torchvision.ops import nms as suppress

    return suppress


def _libraries() -> Sequence[Path]:
    """Where torchvision's compiled operators may lie."""
    found = find_spec("torchvision")
    folders = [] if found is None else [Path(place) for place in found.submodule_search_locations or ()]
    paths = [path for folder in folders for name in _LIBRARIES for path in sorted(folder.glob(name))]
    return [path for path in paths if path.suffix in (".so", ".pyd", ".dylib")]
