"""The optimiser of the few-shot trainer: which weights learn, and how fast."""

from __future__ import annotations

import torch

from napari_cupre.model.network import CellRCNN
from napari_cupre.model.schedule import learning_rate_factor

# Learning rates of the backbone and of the rest for a start that is good (an AP50 of `GOOD` and more on the
# annotation), and for one that finds nothing. Tried on 5 images and 2 minutes of CPU, one seed: 1e-4 and 3e-4
# for the former gave an AP50 of 0.829 on 24 fluorescence images of BBBC038 outside the test part (0.813
# before), these 0.840, the rates of the latter with learning BatchNorm 0.850; but on 12 histology images
# that last gave 0.529 and 3.6e-4 and 5.9e-4 gave 0.557 (0.502 before).
RATES = ((4e-4, 6e-4), (1e-3, 1e-3))
GOOD = 0.4
# A start that finds less than this (AP50) knows no such cells: its BatchNorm statistics and early layers are
# no more worth keeping than random ones.
FAMILIAR = 0.1
WARM_UP = 15  # steps
WEIGHT_DECAY = 0.01


def make_optimiser(network: CellRCNN, skill: float) -> torch.optim.AdamW:
    """AdamW with two groups, the backbone and the rest.

    For a start that knows the cells, the backbone's first layers are frozen: their maps are the largest, so
    their gradients cost most, and these layers change least.

    Parameters
    ----------
    skill : float
        How well the start finds the annotated cells, AP50 in 0..1; 0 for random weights.
    """
    backbone, rest = rates(skill)
    if skill >= FAMILIAR:
        for parameter in network.backbone.early_parameters():
            parameter.requires_grad_(False)
    body = [p for p in network.backbone.parameters() if p.requires_grad]
    ids = {id(p) for p in network.backbone.parameters()}
    others = [p for p in network.parameters() if id(p) not in ids]
    groups = [{"params": body, "rate": backbone}, {"params": others, "rate": rest}]
    return torch.optim.AdamW(groups, lr=rest, weight_decay=WEIGHT_DECAY)


def rates(skill: float) -> tuple[float, float]:
    """Return the learning rates of the backbone and the rest, between `RATES` on a logarithmic scale."""
    known, unknown = RATES
    share = min(skill / GOOD, 1.0)
    backbone, rest = (low**share * high ** (1 - share) for low, high in zip(known, unknown))
    return backbone, rest


def set_rates(optimiser: torch.optim.Optimizer, step: int, fraction: float) -> None:
    """Set the learning rates of a step; `fraction` is the used share of the budget, 0 to 1."""
    factor = learning_rate_factor(step, fraction, WARM_UP)
    for group in optimiser.param_groups:
        group["lr"] = group["rate"] * factor
