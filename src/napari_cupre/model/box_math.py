"""Compare, encode, clip and suppress boxes, as torchvision does.

Importing torchvision takes over a second of processor time and 160 MB, most of it for things that a detector
does not need. Only its compiled suppression is used here, and it is loaded by itself.
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
    """Return the areas (N,) of boxes (N, 4), x1, y1, x2, y2."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the intersection over union (N, M) of every pair of boxes (N, 4) and (M, 4)."""
    low = torch.max(boxes[:, None, :2], others[None, :, :2])
    extent = (torch.min(boxes[:, None, 2:], others[None, :, 2:]) - low).clamp(min=0)
    inter = extent[..., 0] * extent[..., 1]
    return inter / (box_area(boxes)[:, None] + box_area(others)[None, :] - inter)


def clip_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Clip boxes (..., 4) to an image of `size` (Y, X)."""
    x, y = boxes[..., 0::2].clamp(0, size[1]), boxes[..., 1::2].clamp(0, size[0])
    return torch.stack([x, y], dim=-1).flatten(-2)


class BoxCoder:
    """Encode boxes as offsets from other boxes: a shift relative to their size, and the log of the stretch.

    Girshick et al., "Rich feature hierarchies", 2014, appendix C.

    Parameters
    ----------
    weights : tuple of float
        Factors of the offsets of x, y, width and height.
    """

    def __init__(self, weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)) -> None:
        self._weights = weights

    def encode(self, wanted: Tensor, boxes: Tensor) -> Tensor:
        """Return the offsets (N, 4) that lead from `boxes` (N, 4) to the `wanted` boxes."""
        size, target = boxes[:, 2:] - boxes[:, :2], wanted[:, 2:] - wanted[:, :2]
        shift = (wanted[:, :2] + 0.5 * target - boxes[:, :2] - 0.5 * size) / size
        return torch.cat([shift, torch.log(target / size)], dim=1) * boxes.new_tensor(self._weights)

    def decode(self, offsets: Tensor, boxes: Tensor) -> Tensor:
        """Return the boxes (N, 4) to which offsets (N, 4) from `boxes` (N, 4) lead."""
        boxes = boxes.to(offsets.dtype)
        offsets = offsets / offsets.new_tensor(self._weights)
        size = boxes[:, 2:] - boxes[:, :2]
        centre = offsets[:, :2] * size + boxes[:, :2] + 0.5 * size
        half = 0.5 * torch.exp(offsets[:, 2:].clamp(max=LARGEST_LOG)) * size
        return torch.cat([centre - half, centre + half], dim=1)


def nms(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Return the rows of boxes (N, 4) that no better box overlaps by more than `iou`, best first.

    Raises
    ------
    ImportError, RuntimeError, NotImplementedError
        If torchvision is missing or does not fit torch.
    """
    return _compiled()(boxes, scores, iou)


def level_nms(boxes: Tensor, scores: Tensor, level: Tensor, levels: int, iou: float) -> Tensor:
    """Apply `nms` to each level separately; `level` int64 (N,) is below `levels`."""
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
    """Return torchvision's suppression, from its compiled library alone if that can be loaded."""
    for path in _libraries():
        try:
            torch.ops.load_library(str(path))
            return torch.ops.torchvision.nms
        except (OSError, RuntimeError, AttributeError):
            continue  # importing torchvision gives the best error message
    from torchvision.ops import nms as suppress

    return suppress


def _libraries() -> Sequence[Path]:
    """Return where torchvision's compiled operators may be."""
    found = find_spec("torchvision")
    folders = [] if found is None else [Path(place) for place in found.submodule_search_locations or ()]
    paths = [path for folder in folders for name in _LIBRARIES for path in sorted(folder.glob(name))]
    return [path for path in paths if path.suffix in (".so", ".pyd", ".dylib")]
