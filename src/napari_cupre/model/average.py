"""Averaged weights: an exponential moving average that predicts better than the last step's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from napari_cupre.model.network import CellRCNN


class WeightAverage(AveragedModel):
    """Moving average of a network's weights and BatchNorm statistics.

    Polyak averaging with the warm-up of "Exponential moving average" in TensorFlow: the average forgets its
    first steps quickly, so that neither the start nor random weights hold back a short training.

    Parameters
    ----------
    network : CellRCNN
        The average starts with its weights.
    decay : float, optional
        Weight of the past once warmed up.

    Attributes
    ----------
    decay : float
        As given.
    """

    def __init__(self, network: CellRCNN, decay: float = 0.97) -> None:
        super().__init__(network, multi_avg_fn=self._take_in, use_buffers=True)
        self.decay = decay
        self.module.requires_grad_(False).eval()

    @property
    def network(self) -> CellRCNN:
        """Return the network with the averaged weights, in evaluation mode and without gradients."""
        return cast(CellRCNN, self.module)

    def update(self, network: CellRCNN, step: int) -> None:
        """Take in the weights after `step` steps, counted from 1."""
        self.n_averaged.fill_(step)
        self.update_parameters(network)

    def share_of(self, step: int) -> float:
        """Return the share of the weights after `step` steps in the updated average."""
        return 1.0 - min(self.decay, (1.0 + step) / (10.0 + step))

    @torch.no_grad()
    def _take_in(self, mine: Sequence[Tensor], theirs: Sequence[Tensor], step: Tensor | int) -> None:
        approach(dict(enumerate(mine)), dict(enumerate(theirs)), self.share_of(int(step)))


@torch.no_grad()
def approach(mine: Mapping[Any, Tensor], theirs: Mapping[Any, Tensor], share: float) -> None:
    """Move tensors a share of the way towards others, in place; counters are copied."""
    floats = [key for key, tensor in mine.items() if tensor.is_floating_point()]
    if floats:
        torch._foreach_lerp_([mine[key] for key in floats], [theirs[key] for key in floats], share)
    for key in mine.keys() - set(floats):
        mine[key].copy_(theirs[key])
