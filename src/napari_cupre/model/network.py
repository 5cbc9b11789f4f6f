"""CellRCNN: a Mask R-CNN for dense fields of small instances.

It follows He et al., "Mask R-CNN", 2017, with torchvision's layout and box coding. Targets, unknown area and
masks are handled differently, so that no tensor has the size instances x image height x image width.
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor, nn

from napari_cupre.errors import InputError
from napari_cupre.model.backbone import Backbone
from napari_cupre.model.config import ModelConfig
from napari_cupre.model.engine import MEAN, STD, Engine, Maps, feature_pyramid
from napari_cupre.model.geometry import PROPOSALS_A_DETECTION, STRIDES
from napari_cupre.model.heads import Detections, InstanceHeads
from napari_cupre.model.pyramid import FeaturePyramid
from napari_cupre.model.rpn import ProposalNetwork
from napari_cupre.model.targets import Target

__all__ = ["MEAN", "STD", "CellRCNN", "Detections"]


class CellRCNN(nn.Module):
    """Instance segmentation network: `forward` gives training losses, `detect` gives instances.

    Parameters
    ----------
    config : ModelConfig
        Settings of the network; `napari_cupre.model.config.preset` returns presets.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone)
        levels = len(config.anchor_sizes)
        if levels not in (len(STRIDES), len(STRIDES) + 1):
            raise InputError(
                f"anchor_sizes has {levels} levels, but the feature pyramid has 4, or 5 with a top level."
            )
        self.neck = FeaturePyramid(
            self.backbone.channels,
            config.fpn_channels,
            normed=config.fpn_norm,
            has_top=levels > len(STRIDES),
        )
        self.rpn = ProposalNetwork(config)
        self.heads = InstanceHeads(config)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Compute the feature pyramid of (B, 3, H, W) images, float32, finest level first."""
        return feature_pyramid(self.backbone, self.neck, images)

    def forward(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Parameters
        ----------
        images : torch.Tensor
            float (B, 3, H, W) in about [0, 1].
        targets : list of Target
            One per image.

        Returns
        -------
        dict
            Scalars "rpn_score", "rpn_box", "score", "box", "mask", float32.
        """
        size = (images.shape[-2], images.shape[-1])
        features = self.features(images)
        proposals, score, box = self.rpn(features, size, targets)
        result = {"rpn_score": score, "rpn_box": box}
        return result | self.heads.losses(features, proposals, size, targets)

    def maps(self, images: Tensor) -> Maps:
        """Compute the maps of whole (B, 3, H, W) images."""
        features = self.features(images)
        scores, offsets = self.rpn.head(list(features.values()))
        return Maps(features, scores, offsets)

    @torch.no_grad()
    def detect(
        self,
        images: Tensor,
        *,
        score: float = 0.5,
        max_detections: int = 3000,
        engine: Engine | None = None,
    ) -> list[Detections]:
        """Detect the instances of each image, best first.

        Parameters
        ----------
        images : torch.Tensor
            float (B, 3, H, W) in about [0, 1].
        score : float, optional
            Instances with a lower score are left out.
        max_detections : int, optional
            Largest number of instances per image.
        engine : Engine, optional
            Used instead of the network's own layers (see `model.engine`).
        """
        was_training = self.training
        if was_training:  # only if needed: switching hundreds of modules takes milliseconds
            self.eval()
        try:
            size = (images.shape[-2], images.shape[-1])
            maps = (engine or self).maps(images)
            most = PROPOSALS_A_DETECTION * max_detections
            proposals = [best[:most] for best in self.rpn.propose(maps.scores, maps.offsets, size)]
            return self.heads.detect(
                maps.features, proposals, size, score, max_detections, engine or self.heads
            )
        finally:
            if was_training:
                self.train()

    @torch.no_grad()
    def score_as_any_object(self, name: str) -> None:
        """Make an untrained class score whatever the other classes score, in place.

        Its row becomes the mean of theirs, and the log of their number is added to its bias. If all are
        equal, its probability is the sum of theirs.

        Raises
        ------
        InputError
            If there is no such class.
        """
        row = self._row(name)
        score = self.heads.box.score
        others = [other for other in range(1, score.out_features) if other != row]
        if others:
            score.weight[row] = score.weight[others].mean(0)
            score.bias[row] = score.bias[others].mean() + log(len(others))

    def _row(self, name: str) -> int:
        """Return the row of a class in the scores; background has row 0."""
        if name not in self.config.classes:
            raise InputError(f"The model has no class {name!r}: it knows {', '.join(self.config.classes)}.")
        return self.config.classes.index(name) + 1

    def keep_classes(self, names: tuple[str, ...] | list[str]) -> None:
        """Keep only the scores of the classes `names`, in place; boxes and masks have no classes."""
        from dataclasses import replace

        rows = [0] + [self._row(name) for name in names]
        old = self.heads.box.score
        new = nn.Linear(old.in_features, len(rows)).to(old.weight.device)
        with torch.no_grad():
            new.weight.copy_(old.weight[rows])
            new.bias.copy_(old.bias[rows])
        self.heads.box.score = new
        self.config = replace(self.config, classes=tuple(names))
        self.heads.config = self.config
