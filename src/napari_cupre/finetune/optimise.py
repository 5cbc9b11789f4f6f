"""The optimiser of the few-shot trainer: which weights learn, and how fast."""

from __future__ import annotations

from math import cos, pi

import torch

from napari_cupre.model.network import CellRCNN

# Learning rates of the backbone and of the rest, from pretrained and from random weights. A pretrained
# backbone already knows cells; few crops must not pull it away.
RATES = {"pretrained": (1e-4, 3e-4), "scratch": (1e-3, 1e-3)}
WARM_UP = 15  # steps
LAST_RATE = 0.02  # of the first, at the end of the cosine
WEIGHT_DECAY = 0.01


def make_optimiser(network: CellRCNN, scratch: bool) -> torch.optim.AdamW:
    """AdamW with two groups, the backbone and the rest.

    From pretrained weights the backbone's first layers are frozen: theirs are the largest maps, which
    cost most to compute gradients for, and they change least.
    """
    backbone, rest = RATES["scratch" if scratch else "pretrained"]
    if not scratch:
        for parameter in network.backbone.early_parameters():
            parameter.requires_grad_(False)
    body = [p for p in network.backbone.parameters() if p.requires_grad]
    ids = {id(p) for p in network.backbone.parameters()}
    others = [p for p in network.parameters() if id(p) not in ids]
    groups = [{"params": body, "rate": backbone}, {"params": others, "rate": rest}]
    return torch.optim.AdamW(groups, lr=rest, weight_decay=WEIGHT_DECAY)


def set_rates(optimiser: torch.optim.Optimizer, step: int, fraction: float) -> None:
    """Linear warm-up over the first steps, then a cosine over the used share of the budget, 0 to 1."""
    warm = min(1.0, (step + 1) / WARM_UP)
    curve = LAST_RATE + (1 - LAST_RATE) * (1 + cos(pi * min(fraction, 1.0))) / 2
    for group in optimiser.param_groups:
        group["lr"] = group["rate"] * warm * curve
