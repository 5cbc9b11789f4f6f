"""Second stage: classify proposals, refine their boxes, and predict their small masks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_cupre.model.box_math import BoxCoder, box_iou, clip_boxes, nms
from napari_cupre.model.config import ModelConfig
from napari_cupre.model.engine import HeadEngine
from napari_cupre.model.geometry import BOXES_AT_ONCE, MASK_SIZE, MASKS_AT_ONCE, MASKS_IN_HEAD, REFINING
from napari_cupre.model.loose import boxes_around_clicks, drawn_boxes
from napari_cupre.model.pool import RoiPool
from napari_cupre.model.pyramid import conv_block
from napari_cupre.model.rpn import KNOWN_SHARE
from napari_cupre.model.suppress import suppress
from napari_cupre.model.targets import Target, known_fraction, mask_targets

# Pairs of proposal and instance compared at once; this limits memory in dense fields.
PAIRS_AT_ONCE = 4_000_000


@dataclass
class Detections:
    """Instances found in one image, best first, on the CPU.

    Attributes
    ----------
    boxes : torch.Tensor
        float32 (N, 4), x1, y1, x2, y2 in input pixels.
    scores : torch.Tensor
        float32 (N,), 0..1.
    classes : torch.Tensor
        int64 (N,), from 1.
    masks : torch.Tensor
        float32 (N, 28, 28), probability inside the box.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.scores)


class BoxHead(nn.Module):
    """The layers from 7 x 7 RoIs to class scores and class-agnostic box offsets."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels = config.fpn_channels
        layers: list[nn.Module] = [
            conv_block(channels, channels, 3, normed=config.fpn_norm) for _ in range(config.box_convs)
        ]
        layers.append(nn.Flatten())
        widths = [channels * 49] + [config.box_hidden] * config.box_layers
        for width_in, width_out in itertools.pairwise(widths):
            layers += [nn.Linear(width_in, width_out), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        _start_convolutions(self.features)
        self.score = nn.Linear(config.box_hidden, len(config.classes) + 1)
        self.offset = nn.Linear(config.box_hidden, 4)
        _start_small(self.score, 0.01)
        _start_small(self.offset, 0.001)

    def forward(self, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores and box offsets of pooled features, in float32."""
        features = self.features(rois)
        return self.score(features).float(), self.offset(features).float()


class MaskHead(nn.Module):
    """The layers from 14 x 14 RoIs to class-agnostic 28 x 28 mask logits.

    A narrow first layer keeps the cost per cell low, since a field has thousands of cells.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.mask_channels
        layers: list[nn.Module] = []
        channels = config.fpn_channels
        if channels != width:
            layers += [nn.Conv2d(channels, width, 1), nn.ReLU(inplace=True)]
        for _ in range(config.mask_convs):
            layers += [
                nn.Conv2d(width, width, 3, padding=1, bias=not config.fpn_norm),
                *([nn.BatchNorm2d(width)] if config.fpn_norm else []),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers)
        self.upsample = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.active = nn.ReLU(inplace=True)
        self.logits = nn.Conv2d(width, 1, 1)
        _start_convolutions(self)
        _start_small(self.logits, 0.01)

    def forward(self, rois: Tensor) -> Tensor:
        """Return mask logits (n, M, M) of pooled features, in float32."""
        x = self.active(self.upsample(self.layers(rois)))
        return self.logits(x.to(self.logits.weight.dtype))[:, 0].float()


class InstanceHeads(nn.Module):
    """Box and mask heads with their training targets and their inference."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.box_pool = RoiPool(7, samples=2)
        self.mask_pool = RoiPool(14, samples=1)
        self.box = BoxHead(config)
        self.mask = MaskHead(config)
        self.coder = BoxCoder(REFINING)

    # -- training ---------------------------------------------------------------------------

    def losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        size: tuple[int, int],
        targets: list[Target],
    ) -> dict[str, Tensor]:
        """Return the losses "score", "box" and "mask" of sampled proposals.

        The box and mask heads learn from prompts too: boxes as people draw them, and boxes around clicks.
        """
        samples = [self._sample(boxes, target) for boxes, target in zip(proposals, targets, strict=True)]
        rois, kinds, matched = (list(parts) for parts in zip(*samples, strict=True))
        scores, offsets = self.box(self.box_pool(features, rois))
        kind = torch.cat(kinds)
        zero = offsets.sum() * 0.0 + scores.sum() * 0.0
        losses = {"score": F.cross_entropy(scores, kind) if len(kind) else zero}
        positive = torch.nonzero(kind > 0)[:, 0]
        truth = [_rows(target.boxes, match) for target, match in zip(targets, matched, strict=True)]
        wanted = self.coder.encode(torch.cat(truth), torch.cat(rois))[positive]
        error = F.smooth_l1_loss(offsets[positive], wanted, beta=1 / 9, reduction="sum")
        error = error + self._prompt_error(features, size, targets)
        losses["box"] = error / max(len(kind), 1) + zero
        losses["mask"] = self._mask_loss(features, rois, kinds, matched, size, targets) + zero
        return losses

    @torch.no_grad()
    def _sample(self, proposals: Tensor, target: Target) -> tuple[Tensor, Tensor, Tensor]:
        """Sample up to `roi_batch` proposals, a quarter of them cells: boxes, classes and matched rows."""
        boxes = torch.cat([proposals, target.boxes])
        matched, iou = _best_match(boxes, target.boxes)
        is_cell = iou >= 0.5
        kind = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
        if len(target):
            kind[is_cell] = target.classes[matched[is_cell]]
        vouched = known_fraction(target.known, boxes) >= KNOWN_SHARE
        cells = _random_rows(is_cell, max(self.config.roi_batch // 4, 1))
        background = _random_rows(~is_cell & vouched, self.config.roi_batch - len(cells))
        chosen = torch.cat([cells, background])
        return boxes[chosen], kind[chosen], matched[chosen]

    def _prompt_error(
        self, features: dict[str, Tensor], size: tuple[int, int], targets: list[Target]
    ) -> Tensor:
        """Return the summed error of boxes around clicks, up to an eighth as many as sampled proposals.

        The score is not trained on these boxes, because they fit badly on purpose.
        """
        limit = max(self.config.roi_batch // 8, 1)
        truth = [t.boxes[_random_rows(torch.ones_like(t.ids, dtype=torch.bool), limit)] for t in targets]
        if not any(len(boxes) for boxes in truth):
            return next(self.box.parameters()).sum() * 0.0
        clicked = [boxes_around_clicks(boxes, size) for boxes in truth]
        _, offsets = self.box(self.box_pool(features, clicked))
        wanted = self.coder.encode(torch.cat(truth), torch.cat(clicked))
        return F.smooth_l1_loss(offsets, wanted, beta=1 / 9, reduction="sum")

    def _mask_loss(
        self,
        features: dict[str, Tensor],
        rois: list[Tensor],
        kinds: list[Tensor],
        matched: list[Tensor],
        size: tuple[int, int],
        targets: list[Target],
    ) -> Tensor:
        limit = self.config.mask_batch
        cells = [torch.nonzero(kind > 0)[:limit, 0] for kind in kinds]
        boxes = [
            _half_drawn(box[rows], target.boxes[match[rows]], size)
            for box, rows, match, target in zip(rois, cells, matched, targets, strict=True)
        ]
        if not any(len(rows) for rows in cells):
            return next(self.mask.parameters()).sum() * 0.0
        logits = self.mask(self.mask_pool(features, boxes))
        pairs = [
            mask_targets(target, box, match[rows], MASK_SIZE)
            for target, box, match, rows in zip(targets, boxes, matched, cells, strict=True)
            if len(rows)
        ]
        masks, weights = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        loss = F.binary_cross_entropy_with_logits(logits, masks, reduction="none") * weights
        return loss.sum() / weights.sum().clamp(min=1.0)

    # -- detection --------------------------------------------------------------------------

    def detect(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        size: tuple[int, int],
        score: float,
        max_detections: int,
        engine: HeadEngine,
    ) -> list[Detections]:
        """Detect cells: boxes, scores and masks; masks are computed only for detected cells.

        `engine` computes the two heads.
        """
        if next(iter(features.values())).device.type == "cpu":
            features = {k: v.contiguous(memory_format=torch.channels_last) for k, v in features.items()}
        scores, offsets = self._scores(features, proposals, engine)
        boxes = self.coder.decode(offsets, torch.cat(proposals))
        counts = [len(p) for p in proposals]
        kept = [
            self._keep(b, s, size, score, max_detections)
            for b, s in zip(boxes.split(counts), scores.softmax(1).split(counts), strict=True)
        ]
        masks = self._masks(features, [k[0] for k in kept], engine)
        return [
            self._best(Detections(box.float().cpu(), value.float().cpu(), kind.cpu(), mask), size)
            for (box, value, kind), mask in zip(kept, masks, strict=True)
        ]

    def mend(
        self, features: dict[str, Tensor], boxes: Tensor, size: tuple[int, int], engine: HeadEngine
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Refine boxes (N, 4) of one image with the box head; return boxes, scores and classes (from 1)."""
        scores, offsets = self._scores(features, [boxes], engine)
        value, kind = scores.softmax(1)[:, 1:].max(dim=1)
        return clip_boxes(self.coder.decode(offsets, boxes), size), value, kind + 1

    def outline(
        self, features: dict[str, Tensor], boxes: Tensor, size: tuple[int, int], engine: HeadEngine
    ) -> Tensor:
        """Return the masks (N, 28, 28) of the cells in boxes (N, 4) of one image, on the processor."""
        return self._masks(features, [boxes], engine)[0]

    def _best(self, found: Detections, size: tuple[int, int]) -> Detections:
        """Keep one detection of each cell."""
        boxes, scores, masks = (part.numpy() for part in (found.boxes, found.scores, found.masks))
        rows = torch.from_numpy(suppress(boxes, scores, masks, size, self.config.mask_nms))
        return Detections(found.boxes[rows], found.scores[rows], found.classes[rows], found.masks[rows])

    def _scores(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        engine: HeadEngine,
    ) -> tuple[Tensor, Tensor]:
        """Return class scores and offsets of all proposals in order, computed a few at a time.

        Pooled features of thousands of proposals would take hundreds of MB, and the memory manager would take
        more time than the arithmetic.
        """
        parts = []
        for image, boxes in enumerate(proposals):
            for chunk in boxes.split(BOXES_AT_ONCE) if len(boxes) else ():
                alone = [chunk if i == image else boxes[:0] for i in range(len(proposals))]
                parts.append(engine.box(self.box_pool(features, alone)))
        if not parts:
            return self.box(self.box_pool(features, [boxes[:0] for boxes in proposals]))
        scores, offsets = zip(*parts, strict=True)
        return torch.cat(scores), torch.cat(offsets)

    def _keep(
        self, boxes: Tensor, scores: Tensor, size: tuple[int, int], threshold: float, limit: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        value, kind = scores[:, 1:].max(dim=1)
        good = value >= threshold
        boxes, value, kind = clip_boxes(boxes[good], size), value[good], kind[good] + 1
        large = ((boxes[:, 2:] - boxes[:, :2]) >= 1.0).all(1)
        boxes, value, kind = boxes[large], value[large], kind[large]
        rows = nms(boxes, value, self.config.box_nms)[:limit]
        return boxes[rows], value[rows], kind[rows]

    def _masks(
        self,
        features: dict[str, Tensor],
        boxes: list[Tensor],
        engine: HeadEngine,
    ) -> list[Tensor]:
        images = torch.cat([torch.full((len(b),), i) for i, b in enumerate(boxes)])
        flat = torch.cat(boxes)
        parts = []
        for start in range(0, len(flat), MASKS_AT_ONCE):
            rows = slice(start, start + MASKS_AT_ONCE)
            per_image = [flat[rows][images[rows] == i] for i in range(len(boxes))]
            for rois in self.mask_pool(features, per_image).split(MASKS_IN_HEAD):
                parts.append(engine.mask(rois).sigmoid().float().cpu())
        masks = torch.cat(parts) if parts else torch.zeros(0, MASK_SIZE, MASK_SIZE)
        return list(masks.split([len(b) for b in boxes]))


def _start_convolutions(part: nn.Module) -> None:
    for module in part.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _start_small(layer: nn.Linear | nn.Conv2d, std: float) -> None:
    """Start a last layer near zero, so that the first steps do not spoil the layers below."""
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _best_match(boxes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the best instance of each box and its IoU; boxes are compared in chunks."""
    if len(truth) == 0:
        return boxes.new_zeros(len(boxes), dtype=torch.int64), boxes.new_zeros(len(boxes))
    chunk = max(PAIRS_AT_ONCE // len(truth), 1)
    best = [box_iou(part, truth).max(dim=1) for part in boxes.split(chunk)]
    return torch.cat([b.indices for b in best]), torch.cat([b.values for b in best])


def _random_rows(mask: Tensor, limit: int) -> Tensor:
    """Choose up to `limit` random rows where `mask` is True."""
    rows = torch.nonzero(mask)[:, 0]
    return rows[torch.randperm(len(rows), device=rows.device)[:limit]]


def _half_drawn(rois: Tensor, truth: Tensor, size: tuple[int, int]) -> Tensor:
    """Replace every second RoI by a box that a person might draw around its cell."""
    boxes = rois.clone()
    boxes[1::2] = drawn_boxes(truth[1::2], size)
    return boxes


def _rows(boxes: Tensor, rows: Tensor) -> Tensor:
    """Return `boxes[rows]`, or unit boxes if there is no instance (their loss does not count)."""
    return boxes[rows] if len(boxes) else boxes.new_tensor([[0.0, 0.0, 1.0, 1.0]]).expand(len(rows), 4)
