"""AMT2's contrastive step on the images of one folder: its backbone learns from images without annotation.

As in pretraining (Liao et al., "CUPre", arXiv 2310.03981), each supervised step is accompanied by a step of
momentum contrast with its own optimiser. Here it is a few dozen steps on the user's own images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from napari_cupre.io.unlabelled import FLAT_DEVIATION, smooth_deviation
from napari_cupre.model.contrast import (
    ContrastSettings,
    MoCoV2,
    OneProcess,
    oldest_sound_key,
    queue_length,
)
from napari_cupre.model.device import autocast, memory_format
from napari_cupre.model.network import MEAN, STD, CellRCNN
from napari_cupre.model.schedule import learning_rate_factor
from napari_cupre.model.views import ViewSettings, make_view

BATCH = 8  # pairs of views per step; a step then costs about a seventh of a supervised one
CONTEXT, VIEW = 160, 96  # side of a crop and of its two views, network px
MOMENTUM = 0.98
UPDATES = 2  # of the key encoder per contrastive step; the supervised step moves the backbone too
# Factor on the backbone's supervised rate: the head starts with random weights, and there are few steps.
BACKBONE_SHARE, HEAD_RATE = 0.25, 1e-3
WARM_UP, CLIP, WEIGHT_DECAY = 15, 5.0, 1e-4
PLACES = 6  # places to try in an image for one that is not flat
_STREAM = 7  # separates its random numbers from those of the supervised step


class FolderContrast:
    """Momentum contrast between the images of a training, beside its supervised steps.

    Parameters
    ----------
    network : CellRCNN
        Its backbone learns, except for frozen parameters.
    images : sequence of numpy.ndarray
        float32 (Y, X, 3), normalised, at network scale.
    seed : int
        Seed of all randomness.
    rate : float
        Learning rate of the backbone in the supervised step.
    holds_norm : bool
        Whether BatchNorm keeps its statistics; otherwise each half of a batch has its own.

    Raises
    ------
    InputError
        If the images contain too few different places.
    """

    def __init__(
        self, network: CellRCNN, images: Sequence[np.ndarray], seed: int, rate: float, holds_norm: bool
    ) -> None:
        self._backbone, self._images, self._seed = network.backbone, images, seed
        places = sum(max(1, h // CONTEXT) * max(1, w // CONTEXT) for h, w, _ in (i.shape for i in images))
        length, _ = queue_length(places, BATCH, oldest=oldest_sound_key(MOMENTUM, UPDATES))
        settings = ContrastSettings(length, momentum=MOMENTUM, bn_splits=1 if holds_norm else 2)
        device = next(network.parameters()).device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            generator = torch.Generator().manual_seed(seed)
            self._objective = MoCoV2(network.backbone, settings, generator).to(device)
        body = [p for p in network.backbone.parameters() if p.requires_grad]
        groups = [
            {"params": body, "rate": BACKBONE_SHARE * rate},
            {"params": list(self._objective.trained()), "rate": HEAD_RATE},
        ]
        self._optimiser = torch.optim.AdamW(groups, lr=rate, weight_decay=WEIGHT_DECAY)

    def step(self, number: int, fraction: float, dtype: torch.dtype | None) -> float:
        """One step of momentum contrast; the network is in training mode.

        Parameters
        ----------
        number : int
            Steps done so far.
        fraction : float
            Used share of the budget.
        dtype : torch.dtype or None
            Data type of autocast.

        Returns
        -------
        float
            The loss.
        """
        rng = np.random.default_rng([self._seed, number, _STREAM])
        query, key = self._views(rng)
        order = torch.from_numpy(rng.permutation(BATCH)).to(query.device)
        self._objective.follow(self._backbone)  # for the supervised step before this one
        with autocast(query.device, dtype):
            result = self._objective.contrast(self._backbone, query, key, order, OneProcess())
        self._optimiser.zero_grad(set_to_none=True)
        result.loss.backward()
        parameters = [p for group in self._optimiser.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        factor = learning_rate_factor(number, fraction, WARM_UP)
        for group in self._optimiser.param_groups:
            group["lr"] = group["rate"] * factor
        if torch.isfinite(norm):
            self._optimiser.step()
        self._objective.enqueue(result.keys)
        self._objective.follow(self._backbone)
        return float(result.loss.item())

    def _views(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return two views each of random places, standardised as for the backbone."""
        settings = ViewSettings(side=VIEW)
        crops = [self._crop(rng) for _ in range(BATCH)]
        query, key = (torch.stack([make_view(crop, rng, settings) for crop in crops]) for _ in range(2))
        device = next(self._backbone.parameters()).device
        standard = [(views.to(device) - MEAN) / STD for views in (query, key)]
        first, second = (x.contiguous(memory_format=memory_format(device)) for x in standard)
        return first, second

    def _crop(self, rng: np.random.Generator) -> np.ndarray:
        """Cut a square that is not flat from an image; grey images have one channel."""
        image = self._images[int(rng.integers(len(self._images)))]
        side = min(CONTEXT, *image.shape[:2])
        for _ in range(PLACES):
            y, x = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
            crop = image[y : y + side, x : x + side]
            if smooth_deviation(crop) >= FLAT_DEVIATION:
                break
        return crop[..., :1] if (crop[..., 1:] == crop[..., :1]).all() else crop
