"""Averaged weights: an exponential moving average that judges better than the last step's."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Moving average of a network's parameters and BatchNorm statistics.

    Polyak averaging with the warm-up of "Exponential moving average" in TensorFlow: the first steps
    count little, so that a short training is not held back by its start.

    Parameters
    ----------
    network : nn.Module
        Its present weights begin the average.
    decay : float, optional
        Weight of the past once warmed up.
    """

    def __init__(self, network: nn.Module, decay: float = 0.97) -> None:
        self.decay = decay
        self.tensors = {key: value.detach().clone() for key, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after `step` (from 1)."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for key, value in network.state_dict().items():
            average = self.tensors[key]
            if average.is_floating_point():
                average.lerp_(value, 1 - keep)
            else:
                average.copy_(value)


class swapped_weights:
    """Context in which a network has other weights than its own."""

    def __init__(self, network: nn.Module, tensors: dict[str, Tensor]) -> None:
        self.network, self.tensors = network, tensors

    def __enter__(self) -> None:
        self.own = {key: value.detach().clone() for key, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.tensors)

    def __exit__(self, *_: object) -> None:
        self.network.load_state_dict(self.own)
