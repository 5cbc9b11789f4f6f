"""Region proposals for dense fields: local anchor matching, unknown area, few candidates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_cupre.model.box_math import BoxCoder, clip_boxes, level_nms
from napari_cupre.model.config import ModelConfig
from napari_cupre.model.geometry import LEAST_LOGIT, anchor_shapes, candidate_counts, stride
from napari_cupre.model.pyramid import conv_block
from napari_cupre.model.targets import Target, known_fraction

# To count as background in training, at least this share of a box must be known.
KNOWN_SHARE = 0.7
# Anchors further than this many grid cells from an instance's centre cannot reach the negative
# threshold of IoU with it (the anchors of a level are at most 5 grid cells wide).
WINDOW = 4


class Anchors:
    """Boxes with fixed shapes around every place of the maps, at the maps' true strides.

    Parameters
    ----------
    config : ModelConfig
        `anchor_sizes` and `aspect_ratios` are used.

    Attributes
    ----------
    shapes : list of torch.Tensor
        float32 (A, 4) for each level: the anchors around (0, 0).
    """

    def __init__(self, config: ModelConfig) -> None:
        self.shapes = [
            torch.from_numpy(anchor_shapes(sizes, config.aspect_ratios)) for sizes in config.anchor_sizes
        ]

    def __call__(self, features: list[Tensor]) -> Tensor:
        """Return all anchors, float (N, 4), by level, row, column, then shape."""
        parts = []
        for level, feature in enumerate(features):
            rows, columns = feature.shape[-2:]
            y, x = torch.meshgrid(
                torch.arange(rows, device=feature.device) * stride(level),
                torch.arange(columns, device=feature.device) * stride(level),
                indexing="ij",
            )
            corner = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
            parts.append((corner + self.shapes[level].to(feature)).reshape(-1, 4))
        return torch.cat(parts)


class ProposalHead(nn.Module):
    """The layers, the same at every level, that give scores and offsets of the anchors.

    Both are float32, since the 8 bits of bfloat16 are too few for boxes of hundreds of px.
    """

    def __init__(self, channels: int, anchors: int, depth: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(*(conv_block(channels, channels, 3) for _ in range(depth)))
        self.cls_logits = nn.Conv2d(channels, anchors, 1)
        self.bbox_pred = nn.Conv2d(channels, 4 * anchors, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return logits (B, A, Y, X) and offsets (B, 4 * A, Y, X) of each level."""
        seen = [self.conv(feature).to(self.cls_logits.weight.dtype) for feature in features]
        return [self.cls_logits(x).float() for x in seen], [self.bbox_pred(x).float() for x in seen]


class ProposalNetwork(nn.Module):
    """Proposes boxes; its training targets suit thousands of small instances.

    Ren et al., "Faster R-CNN", 2015.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.anchors = Anchors(config)
        self.head = ProposalHead(config.fpn_channels, len(self.anchors.shapes[0]), config.rpn_convs)
        self.coder = BoxCoder()
        self._grids: list[tuple[int, int]] = []

    def forward(
        self, features: dict[str, Tensor], size: tuple[int, int], targets: list[Target]
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return each image's proposals for training, and the losses of scores and of boxes.

        Parameters
        ----------
        features : dict of str to torch.Tensor
            (B, C, Y, X) by level, finest first.
        size : tuple of int
            (Y, X) of the images.
        targets : list of Target
            One per image.
        """
        levels = list(features.values())
        self._grids = [(level.shape[2], level.shape[3]) for level in levels]
        logits, offsets = (_by_anchor(maps, kinds) for maps, kinds in zip(self.head(levels), (1, 4)))
        anchors = self.anchors(levels)
        boxes = self.coder.decode(offsets.detach().flatten(0, 1), anchors.repeat(len(targets), 1))
        proposals = self._proposals(boxes.view(len(targets), -1, 4), logits[..., 0].detach(), size)
        labels, matched = self.assign_targets_to_anchors([anchors] * len(targets), targets)
        wanted = self.coder.encode(torch.cat(matched), anchors.repeat(len(targets), 1))
        return proposals, *self.losses(logits.flatten(), offsets.flatten(0, 1), labels, wanted)

    @torch.no_grad()
    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[Target]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the label of every anchor (1 cell, 0 background, -1 ignored) and the box of its instance."""
        labels, matched_boxes = [], []
        low, high = self.config.rpn_iou
        for boxes, target in zip(anchors, targets, strict=True):
            matched, iou = self._match(len(boxes), target)
            label = torch.full((len(boxes),), -1.0, device=boxes.device)
            label[iou < low] = 0.0
            label[matched >= 0] = 1.0
            label[(iou < high) & (iou >= low) & (matched < 0)] = -1.0
            background = torch.nonzero(label == 0)[:, 0]
            unknown = known_fraction(target.known, boxes[background]) < KNOWN_SHARE
            label[background[unknown]] = -1.0
            labels.append(label)
            known_boxes = target.boxes if len(target) else boxes.new_zeros((1, 4))
            matched_boxes.append(known_boxes[matched.clamp(min=0)])
        return labels, matched_boxes

    def _match(self, count: int, target: Target) -> tuple[Tensor, Tensor]:
        """Return the instance of every positive anchor (else -1) and the best IoU of every anchor.

        An instance is compared only with the anchors around it, so that time and memory grow with the number
        of instances and not with instances x anchors.
        """
        device = target.boxes.device
        best = torch.zeros(count, device=device)
        matched = torch.full((count,), -1, dtype=torch.int64, device=device)
        if len(target) == 0:
            return matched, best
        pairs = [self._pairs(target.boxes, level) for level in range(len(self._grids))]
        index, instance, iou = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        best = best.scatter_reduce(0, index, iou, "amax")
        best_of_instance = torch.zeros(len(target), device=device).scatter_reduce(0, instance, iou, "amax")
        # An anchor belongs to the instance that it fits best. The best anchor of an instance is positive
        # however badly it fits, so that every shape is learned.
        high = self.config.rpn_iou[1]
        fits = (iou >= high) & (iou >= best[index])
        matched = matched.scatter_reduce(0, index[fits], instance[fits], "amax")
        only = (iou >= best_of_instance[instance]) & (iou > 0.05)
        best_only = torch.full_like(matched, -1).scatter_reduce(0, index[only], instance[only], "amax")
        return torch.where(best_only >= 0, best_only, matched), best

    def _pairs(self, boxes: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the flat anchor index, instance row and IoU of all near pairs on one level."""
        rows, columns = self._grids[level]
        cell = self.anchors.shapes[level].to(boxes.device)
        step = stride(level)
        offset = sum(r * c for r, c in self._grids[:level]) * len(cell)
        around = torch.arange(-WINDOW, WINDOW + 1, device=boxes.device)
        centre_x = ((boxes[:, 0] + boxes[:, 2]) / 2 / step).round().long()
        centre_y = ((boxes[:, 1] + boxes[:, 3]) / 2 / step).round().long()
        grid_x = (centre_x[:, None, None] + around[None, None, :]).expand(-1, len(around), -1).flatten(1)
        grid_y = (centre_y[:, None, None] + around[None, :, None]).expand(-1, -1, len(around)).flatten(1)
        inside = (grid_x >= 0) & (grid_x < columns) & (grid_y >= 0) & (grid_y < rows)
        instance, place = torch.nonzero(inside, as_tuple=True)
        grid_x, grid_y = grid_x[instance, place], grid_y[instance, place]
        shift = torch.stack([grid_x * step, grid_y * step] * 2, dim=1).to(boxes.dtype)
        iou = _paired_iou(shift[:, None, :] + cell[None], boxes[instance][:, None, :])
        first = offset + (grid_y * columns + grid_x) * len(cell)
        index = first[:, None] + torch.arange(len(cell), device=boxes.device)
        near = iou > 0
        return index[near], instance[:, None].expand_as(index)[near], iou[near]

    def losses(
        self, logits: Tensor, offsets: Tensor, labels: list[Tensor], wanted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the mean losses of scores and boxes of sampled anchors; zero if nothing is known.

        Parameters
        ----------
        logits, offsets : torch.Tensor
            (N,) and (N, 4); the images follow one another.
        labels : list of torch.Tensor
            Labels of each image, see `assign_targets_to_anchors`.
        wanted : torch.Tensor
            (N, 4), the offsets that lead to the cells.
        """
        positive, negative = (torch.cat(parts) for parts in zip(*map(self._sampled, labels)))
        chosen = torch.nonzero(positive | negative)[:, 0]
        count = max(len(chosen), 1)
        truth = torch.cat(labels)
        box = F.smooth_l1_loss(offsets[positive], wanted[positive], beta=1 / 9, reduction="sum")
        score = F.binary_cross_entropy_with_logits(logits[chosen], truth[chosen], reduction="sum")
        return score / count, box / count

    def _sampled(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Sample anchors of one image, cells and background; up to half of them are cells."""
        result, room = [], self.config.rpn_batch // 2
        for rows in (torch.nonzero(labels >= 1)[:, 0], torch.nonzero(labels == 0)[:, 0]):
            chosen = rows[torch.randperm(len(rows), device=rows.device)[:room]]
            mask = torch.zeros_like(labels, dtype=torch.bool)
            mask[chosen] = True
            result.append(mask)
            room = self.config.rpn_batch - len(chosen)
        return result[0], result[1]

    def _proposals(self, boxes: Tensor, logits: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """Return each image's best proposals for training, after suppression within each level.

        `boxes` are (B, N, 4) and `logits` (B, N).
        """
        counts = [
            rows * columns * len(shapes) for (rows, columns), shapes in zip(self._grids, self.anchors.shapes)
        ]
        parts, offset = [], 0
        for scores in logits.split(counts, 1):
            best = scores.topk(min(self.config.rpn_candidates[0], scores.shape[1]), dim=1).indices
            parts.append(best + offset)
            offset += scores.shape[1]
        level = torch.cat([torch.full_like(part[0], number) for number, part in enumerate(parts)])
        top = torch.cat(parts, dim=1)
        most = self.config.rpn_candidates[1]
        return [
            self._suppressed(boxes[image, chosen], logits[image, chosen].sigmoid(), level, size, most)[0]
            for image, chosen in enumerate(top)
        ]

    @torch.no_grad()
    def propose(self, scores: list[Tensor], offsets: list[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """Return each image's boxes (N, 4) that may be cells, for detection, best first.

        Only anchors that the network does not take for background are made, decoded and compared: in a field
        of nuclei a few thousand out of hundreds of thousands.

        Parameters
        ----------
        scores : list of torch.Tensor
            Logits (B, A, Y, X) of each level, from the head.
        offsets : list of torch.Tensor
            (B, 4 * A, Y, X) of each level.
        size : tuple of int
            (Y, X) of the image, to which boxes are clipped.
        """
        most, after = candidate_counts(self.config.detect_candidates, size)
        result = []
        for image in range(len(scores[0])):
            parts = [
                self._candidates(level, score[image], offset[image], most)
                for level, (score, offset) in enumerate(zip(scores, offsets, strict=True))
            ]
            boxes, score, level = (torch.cat(each) for each in zip(*parts, strict=True))
            result.append(self._suppressed(boxes, score.sigmoid(), level, size, after)[0])
        return result

    def _candidates(
        self, level: int, scores: Tensor, offsets: Tensor, most: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes, logits and level of the `most` best local maxima among one level's anchors.

        Every clear cell has many anchors with high scores. If all of them counted, no candidates would be
        left for faint cells in dense fields (100 of 1,230 nuclei in a field of 1,700 px were lost), and
        finding a cell would depend on what else is in the image or tile.
        """
        kinds, rows, columns = scores.shape
        flat = scores.reshape(-1)
        chosen = torch.nonzero((is_peak(scores) & (scores > LEAST_LOGIT)).reshape(-1))[:, 0]
        if len(chosen) > most:  # on a flat background all neighbours are equal
            chosen = chosen[flat[chosen].topk(most).indices]
        kind, y, x = chosen // (rows * columns), chosen // columns % rows, chosen % columns
        corner = torch.stack([x, y] * 2, dim=1) * stride(level)
        shapes = self.anchors.shapes[level].to(scores)
        shift = offsets.view(kinds, 4, rows, columns)[kind, :, y, x]
        boxes = self.coder.decode(shift, shapes[kind] + corner)
        return boxes, flat[chosen], torch.full_like(chosen, level)

    def _suppressed(
        self, boxes: Tensor, score: Tensor, level: Tensor, size: tuple[int, int], most: int
    ) -> tuple[Tensor, Tensor]:
        """Return the `most` best boxes and scores after clipping to the image and suppression per level."""
        boxes = clip_boxes(boxes, size)
        large = ((boxes[:, 2:] - boxes[:, :2]) >= 1.0).all(1)
        boxes, score, level = boxes[large], score[large], level[large]
        keep = level_nms(boxes, score, level, len(self.anchors.shapes), self.config.rpn_nms)[:most]
        return boxes[keep], score[keep]


def is_peak(scores: Tensor) -> Tensor:
    """Find where no neighbour of the same anchor has a higher score, as a mask of logits (..., Y, X)."""
    return scores == F.max_pool2d(scores, 3, 1, 1)


def _by_anchor(maps: list[Tensor], kinds: int) -> Tensor:
    """Turn maps (B, A * kinds, Y, X) into values (B, N, kinds) of all anchors, in the order of `Anchors`."""
    parts = [level.unflatten(1, (-1, kinds)).permute(0, 3, 4, 1, 2).flatten(1, 3) for level in maps]
    return torch.cat(parts, dim=1)


def _paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the IoU of boxes that broadcast against each other, (..., 4) -> (...)."""
    inter = (
        (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    )
    area_a, area_b = (a[..., 2:] - a[..., :2]).prod(-1), (b[..., 2:] - b[..., :2]).prod(-1)
    return inter / (area_a + area_b - inter).clamp(min=1e-6)
