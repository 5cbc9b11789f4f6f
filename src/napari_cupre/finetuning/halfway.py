"""The mean of the start's and the trained weights, for starts that forget.

A good start forgets in a few minutes what it learned from many images. The mean of both is often better than
either: Wortsman et al., "Robust fine-tuning of zero-shot models", 2022.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from napari_cupre.finetuning.judge import Judge, Judgement
from napari_cupre.model.average import approach
from napari_cupre.model.network import CellRCNN

KEPT = (
    "A mix of the new model and the one it started from does as well on the held-out cells, and forgets "
    "less: the mix is kept."
)

CLEARLY = 0.01
"""Trained weights are clearly better only if they score more than this above the mean; chosen on images
outside the test part (docs/accuracy.md)."""


def judged_halfway(
    start: CellRCNN, trained: Mapping[str, Tensor], judge: Judge, dtype: torch.dtype | None
) -> tuple[Judgement, dict[str, Tensor]]:
    """Judge the mean of two networks' weights.

    Parameters
    ----------
    start : CellRCNN
        The start; it is not changed, and may be on another device.
    trained : mapping of str to torch.Tensor
        The state after a training.
    judge : Judge
        The judge of the training.
    dtype : torch.dtype or None
        Data type of autocast.

    Returns
    -------
    Judgement
        Of the mean.
    dict of str to torch.Tensor
        The mean.
    """
    device = next(iter(trained.values())).device
    network = copy.deepcopy(start).to(device).eval()
    approach(network.state_dict(), trained, 0.5)
    return judge(network, dtype), network.state_dict()
