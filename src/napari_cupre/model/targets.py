"""The training target for one image, kept as a label image.

There are never N full-size masks for N instances. A target consists of boxes, the label image and the known
area; the small mask of a RoI is cut out of the label image when it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass
class Target:
    """The truth about one training image of H x W pixels.

    Attributes
    ----------
    instances : torch.Tensor
        int32 (H, W), 0 = not an instance.
    known : torch.Tensor
        bool (H, W), False where the truth is unknown.
    boxes : torch.Tensor
        float32 (N, 4), x1, y1, x2, y2 at pixel edges (x2 and y2 exclusive).
    ids : torch.Tensor
        int64 (N,), the value of each instance in `instances`.
    classes : torch.Tensor
        int64 (N,), from 1; 0 is the background class.
    """

    instances: Tensor
    known: Tensor
    boxes: Tensor
    ids: Tensor
    classes: Tensor

    def to(self, device: torch.device) -> Target:
        """Copy the target to a device."""
        return Target(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.ids)


def target_from_labels(
    labels: np.ndarray,
    known: np.ndarray | None = None,
    classes: dict[int, int] | None = None,
    min_side: int = 2,
) -> Target:
    """Make a target from a label image.

    Parameters
    ----------
    labels : numpy.ndarray
        integer (H, W), 0 = background.
    known : numpy.ndarray, optional
        bool (H, W); None if everything is known.
    classes : dict of int to int, optional
        Class (from 1) of each label; 1 if None.
    min_side : int, optional
        An instance with a shorter box is not a target: its pixels become unknown.
    """
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    known = np.ones(labels.shape, bool) if known is None else np.array(known, dtype=bool)
    ids, boxes = label_boxes(labels)
    large = ((boxes[:, 2:] - boxes[:, :2]) >= min_side).all(axis=1)
    if not large.all():
        known &= ~np.isin(labels, ids[~large])
    ids, boxes = ids[large], boxes[large]
    kinds = np.ones(len(ids), np.int64) if classes is None else np.array([classes[i] for i in ids], np.int64)
    return Target(
        instances=torch.from_numpy(labels),
        known=torch.from_numpy(known),
        boxes=torch.from_numpy(boxes.astype(np.float32)).reshape(-1, 4),
        ids=torch.from_numpy(ids.astype(np.int64)),
        classes=torch.from_numpy(kinds.reshape(-1)),
    )


def label_boxes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels in an image (N,) and their boxes x1, y1, x2, y2, int64 (N, 4), in one pass."""
    y, x = np.nonzero(labels)
    if len(y) == 0:
        return np.zeros(0, np.int64), np.zeros((0, 4), np.int64)
    ids, index = np.unique(labels[y, x], return_inverse=True)
    boxes = np.empty((len(ids), 4), np.int64)
    boxes[:, :2] = np.iinfo(np.int64).max
    boxes[:, 2:] = -1
    for column, values, reduce in (
        (0, x, np.minimum),
        (1, y, np.minimum),
        (2, x, np.maximum),
        (3, y, np.maximum),
    ):
        reduce.at(boxes[:, column], index, values)
    boxes[:, 2:] += 1
    return ids.astype(np.int64), boxes


def known_fraction(known: Tensor, boxes: Tensor) -> Tensor:
    """Return the share of known pixels in each box, computed from one integral image.

    Parameters
    ----------
    known : torch.Tensor
        bool (H, W).
    boxes : torch.Tensor
        float (N, 4), x1, y1, x2, y2; the part outside the image does not count.

    Returns
    -------
    Tensor
        float32 (N,); 0 for a box that lies outside the image.
    """
    if bool(known.all()):
        return torch.ones(len(boxes), device=boxes.device)
    height, width = known.shape
    integral = torch.zeros((height + 1, width + 1), dtype=torch.int32, device=known.device)
    integral[1:, 1:] = known.to(torch.int32).cumsum(0).cumsum(1).to(torch.int32)
    x1, y1, x2, y2 = boxes.round().to(torch.int64).unbind(1)
    x1, x2 = x1.clamp(0, width), x2.clamp(0, width)
    y1, y2 = y1.clamp(0, height), y2.clamp(0, height)
    inside = integral[y2, x2] - integral[y1, x2] - integral[y2, x1] + integral[y1, x1]
    return inside.to(torch.float32) / ((x2 - x1) * (y2 - y1)).clamp(min=1).to(torch.float32)


def mask_targets(target: Target, rois: Tensor, matched: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Sample the small target masks of RoIs from the label image.

    Every target pixel is the majority of 2 x 2 nearest samples; it counts in the loss only where it is known.

    Parameters
    ----------
    rois : torch.Tensor
        float (R, 4) boxes in image px.
    matched : torch.Tensor
        int64 (R,) row of the target instance of each RoI.
    size : int
        Side length of the small masks.

    Returns
    -------
    masks, weights : torch.Tensor
        float32 (R, size, size) each, of zeros and ones.
    """
    height, width = target.instances.shape
    steps = (torch.arange(2 * size, device=rois.device, dtype=torch.float32) + 0.5) / (2 * size)
    x = (rois[:, 0:1] + steps * (rois[:, 2] - rois[:, 0])[:, None]).long().clamp(0, width - 1)
    y = (rois[:, 1:2] + steps * (rois[:, 3] - rois[:, 1])[:, None]).long().clamp(0, height - 1)
    rows, columns = y[:, :, None], x[:, None, :]
    own = target.instances[rows, columns] == target.ids[matched].to(torch.int32)[:, None, None]
    known = target.known[rows, columns] | own
    pool = torch.nn.functional.avg_pool2d
    masks = pool(own.float()[:, None], 2)[:, 0] >= 0.5
    weights = pool(known.float()[:, None], 2)[:, 0] >= 0.5
    return masks.float(), weights.float()
