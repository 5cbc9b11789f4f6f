"""Region proposals for dense fields: local anchor matching, unknown area, few candidates."""

from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import batched_nms, clip_boxes_to_image

from napari_cupre.model.backbone import STRIDES
from napari_cupre.model.config import ModelConfig
from napari_cupre.model.targets import Target, known_fraction

# Least known share of a box that counts as background in training.
KNOWN_SHARE = 0.7
# Anchors further than this many grid cells from an instance's centre cannot reach the negative
# threshold of IoU with it (the anchors of a level are at most 5 grid cells wide).
WINDOW = 4
# Proposals with a lower objectness are dropped during detection.
DETECT_OBJECTNESS = 0.1
# Side in px of the field for which the configuration sets the number of candidates during detection;
# larger fields get proportionally more.
CANDIDATE_FIELD = 1024


class _Anchors(AnchorGenerator):
    """Anchors at the true strides of the maps.

    torchvision guesses strides from the maps' sizes, which are rounded up if the sides of the image are not
    multiples of 32.
    """

    def grid_anchors(self, grid_sizes: list[list[int]], strides: list[list[Tensor]]) -> list[Tensor]:
        true = [[strides[0][0].new_tensor(_stride(level))] * 2 for level in range(len(grid_sizes))]
        return super().grid_anchors(grid_sizes, true)


def _stride(level: int) -> int:
    """Stride of a map in px; each level doubles that of the one before."""
    return STRIDES[0] * 2**level


class _Float32Head(RPNHead):
    """Scores and offsets in float32, since boxes of hundreds of px do not fit bfloat16's 8 bits."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        scores, offsets = super().forward(x)
        return [s.float() for s in scores], [o.float() for o in offsets]


class ProposalNetwork(RegionProposalNetwork):
    """torchvision's region proposal network with targets that fit thousands of small instances."""

    def __init__(self, config: ModelConfig) -> None:
        anchors = _Anchors(config.anchor_sizes, (config.aspect_ratios,) * len(config.anchor_sizes))
        before, after = config.rpn_candidates
        detect_before, detect_after = config.detect_candidates
        super().__init__(
            anchors,
            _Float32Head(
                config.fpn_channels, anchors.num_anchors_per_location()[0], conv_depth=config.rpn_convs
            ),
            fg_iou_thresh=config.rpn_iou[1],
            bg_iou_thresh=config.rpn_iou[0],
            batch_size_per_image=config.rpn_batch,
            positive_fraction=0.5,
            pre_nms_top_n={"training": before, "testing": detect_before},
            post_nms_top_n={"training": after, "testing": detect_after},
            nms_thresh=config.rpn_nms,
        )
        self._grids: list[tuple[int, int]] = []

    def forward(self, images, features, targets=None):  # type: ignore[no-untyped-def]
        """As torchvision's; remembers the grid, from which anchors are matched locally."""
        self._grids = [tuple(feature.shape[-2:]) for feature in features.values()]
        return super().forward(images, features, targets)

    @torch.no_grad()
    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[Target]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Label of every anchor (1 cell, 0 background, -1 ignored) and its instance's box."""
        labels, matched_boxes = [], []
        low, high = self.proposal_matcher.low_threshold, self.proposal_matcher.high_threshold
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
        """Instance of every positive anchor (else -1) and every anchor's best IoU.

        Only the anchors around an instance are compared with it, so that time and memory grow with
        the number of instances and not with instances x anchors.
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
        # An anchor belongs to the instance that it fits best; the best anchor of an instance is
        # positive however badly it fits, so that every shape is learned.
        high = self.proposal_matcher.high_threshold
        fits = (iou >= high) & (iou >= best[index])
        matched = matched.scatter_reduce(0, index[fits], instance[fits], "amax")
        only = (iou >= best_of_instance[instance]) & (iou > 0.05)
        best_only = torch.full_like(matched, -1).scatter_reduce(0, index[only], instance[only], "amax")
        return torch.where(best_only >= 0, best_only, matched), best

    def _pairs(self, boxes: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """Flat anchor index, instance row and IoU of all near pairs of one level."""
        rows, columns = self._grids[level]
        cell = self.anchor_generator.cell_anchors[level].to(boxes.device)
        stride = _stride(level)
        offset = sum(r * c for r, c in self._grids[:level]) * len(cell)
        around = torch.arange(-WINDOW, WINDOW + 1, device=boxes.device)
        centre_x = ((boxes[:, 0] + boxes[:, 2]) / 2 / stride).round().long()
        centre_y = ((boxes[:, 1] + boxes[:, 3]) / 2 / stride).round().long()
        grid_x = (centre_x[:, None, None] + around[None, None, :]).expand(-1, len(around), -1).flatten(1)
        grid_y = (centre_y[:, None, None] + around[None, :, None]).expand(-1, -1, len(around)).flatten(1)
        inside = (grid_x >= 0) & (grid_x < columns) & (grid_y >= 0) & (grid_y < rows)
        instance, place = torch.nonzero(inside, as_tuple=True)
        grid_x, grid_y = grid_x[instance, place], grid_y[instance, place]
        shift = torch.stack([grid_x * stride, grid_y * stride] * 2, dim=1).to(boxes.dtype)
        iou = _paired_iou(shift[:, None, :] + cell[None], boxes[instance][:, None, :])
        first = offset + (grid_y * columns + grid_x) * len(cell)
        index = first[:, None] + torch.arange(len(cell), device=boxes.device)
        near = iou > 0
        return index[near], instance[:, None].expand_as(index)[near], iou[near]

    def compute_loss(
        self,
        objectness: Tensor,
        pred_bbox_deltas: Tensor,
        labels: list[Tensor],
        regression_targets: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Losses of sampled anchors, means over the sample; zero where nothing is known."""
        positive, negative = (torch.cat(s).bool() for s in self.fg_bg_sampler(labels))
        sampled = torch.nonzero(positive | negative)[:, 0]
        count = max(len(sampled), 1)
        wanted, truth = torch.cat(regression_targets), torch.cat(labels)
        box = F.smooth_l1_loss(pred_bbox_deltas[positive], wanted[positive], beta=1 / 9, reduction="sum")
        score = F.binary_cross_entropy_with_logits(objectness[sampled, 0], truth[sampled], reduction="sum")
        return score / count, box / count

    def filter_proposals(
        self, proposals: Tensor, objectness: Tensor, image_shapes: list[tuple[int, int]], counts: list[int]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The best proposals of each image after non-maximum suppression within each level, for training."""
        images = proposals.shape[0]
        scores = objectness.detach().reshape(images, -1).sigmoid()
        levels = torch.repeat_interleave(
            torch.arange(len(counts), device=scores.device), torch.tensor(counts, device=scores.device)
        )
        top = self._top_n(scores.split(counts, 1))
        pairs = [
            self._suppressed(
                proposals[image, chosen],
                scores[image, chosen],
                levels[chosen],
                image_shapes[image],
            )
            for image, chosen in enumerate(top)
        ]
        return [boxes for boxes, _ in pairs], [score for _, score in pairs]

    def _top_n(self, scores_by_level: tuple[Tensor, ...]) -> Tensor:
        """Indices (images, n) of the best anchors of each level."""
        chosen, offset = [], 0
        for scores in scores_by_level:
            count = min(self.pre_nms_top_n(), scores.shape[1])
            chosen.append(scores.topk(count, dim=1).indices + offset)
            offset += scores.shape[1]
        return torch.cat(chosen, dim=1)

    @torch.no_grad()
    def propose(self, scores: list[Tensor], offsets: list[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """Boxes (N, 4) of each image that may be cells, for detection, best first.

        Only anchors that the network does not take for background are ever made, decoded and compared:
        in a field of nuclei some thousands of the hundreds of thousands.

        Parameters
        ----------
        scores : list of torch.Tensor
            Logits (B, A, Y, X) of each level, as the head gives them.
        offsets : list of torch.Tensor
            (B, 4 * A, Y, X) of each level.
        size : tuple of int
            (Y, X) of the image, to which boxes are cut.
        """
        most, _ = self._room(size)
        result = []
        for image in range(len(scores[0])):
            parts = [
                self._candidates(level, score[image], offset[image], most)
                for level, (score, offset) in enumerate(zip(scores, offsets, strict=True))
            ]
            boxes, score, level = (torch.cat(each) for each in zip(*parts, strict=True))
            result.append(self._suppressed(boxes, score.sigmoid(), level, size)[0])
        return result

    def _room(self, size: tuple[int, int]) -> tuple[int, int]:
        """Number of candidates per level, and of proposals, in an image of `size`."""
        share = 1.0 if self.training else max(1.0, size[0] * size[1] / CANDIDATE_FIELD**2)
        return int(share * self.pre_nms_top_n()), int(share * self.post_nms_top_n())

    def _candidates(
        self, level: int, scores: Tensor, offsets: Tensor, most: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The `most` best local maxima among one level's anchors in one image: boxes, logits and level.

        Every clear cell has many high-scoring anchors. Without the local maximum, none would be left for
        faint cells in dense fields (100 of 1,230 nuclei in a field of 1,700 px were lost), and finding a
        cell would depend on what else is in the image or tile.
        """
        kinds, rows, columns = scores.shape
        is_peak = scores == F.max_pool2d(scores, 3, 1, 1)
        is_likely = scores > log(DETECT_OBJECTNESS / (1 - DETECT_OBJECTNESS))
        flat = scores.reshape(-1)
        chosen = torch.nonzero((is_peak & is_likely).reshape(-1))[:, 0]
        if len(chosen) > most:  # on a flat background every place equals its neighbours
            chosen = chosen[flat[chosen].topk(most).indices]
        kind, y, x = chosen // (rows * columns), chosen // columns % rows, chosen % columns
        corner = torch.stack([x, y] * 2, dim=1) * _stride(level)
        shapes = self.anchor_generator.cell_anchors[level].to(scores)
        shift = offsets.view(kinds, 4, rows, columns)[kind, :, y, x]
        boxes = self.box_coder.decode_single(shift, shapes[kind] + corner)
        return boxes, flat[chosen], torch.full_like(chosen, level)

    def _suppressed(
        self, boxes: Tensor, score: Tensor, level: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Boxes and scores after cutting to the image and suppression within each level, best first."""
        boxes = clip_boxes_to_image(boxes, size)
        large = ((boxes[:, 2:] - boxes[:, :2]) >= 1.0).all(1)
        boxes, score, level = boxes[large], score[large], level[large]
        keep = batched_nms(boxes, score, level, self.nms_thresh)[: self._room(size)[1]]
        return boxes[keep], score[keep]


def _paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes that broadcast against each other, (..., 4) -> (...)."""
    inter = (
        (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    )
    area_a, area_b = (a[..., 2:] - a[..., :2]).prod(-1), (b[..., 2:] - b[..., :2]).prod(-1)
    return inter / (area_a + area_b - inter).clamp(min=1e-6)
