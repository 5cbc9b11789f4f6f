"""Optimisers, schedules and the average of the weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_cupre.model.average import WeightAverage, approach
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.schedule import learning_rate_factor
from napari_cupre.pretraining.batchnorm import DomainStatistics
from napari_cupre.pretraining.pretrain_settings import Mode


@dataclass
class Updater:
    """The optimiser and schedule of one task; the two tasks share parameters, but not momentum.

    Attributes
    ----------
    optimiser : torch.optim.Optimizer
        Its parameter groups hold their peak learning rate as "peak".
    parameters : list of nn.Parameter
        All parameters that it updates.
    shared : list of nn.Parameter
        The parameters of the backbone, which both tasks update.
    warmup : int
        Iterations of linear warm-up.
    clip : float
        Largest gradient norm.
    """

    optimiser: torch.optim.Optimizer
    parameters: list[nn.Parameter]
    shared: list[nn.Parameter]
    warmup: int
    clip: float

    def set_rate(self, step: int, fraction: float) -> float:
        """Set the learning rates of this step, and return that of the first group."""
        factor = learning_rate_factor(step, fraction, self.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        return float(self.optimiser.param_groups[0]["lr"])

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.optimiser.zero_grad(set_to_none=True)

    def step(self) -> Tensor:
        """Clip the gradients, update, and return the norm before clipping."""
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip)
        if torch.isfinite(norm):  # one bad batch must not end a run of several days
            self.optimiser.step()
        return norm

    def shared_gradient(self) -> Tensor:
        """Return the gradient of the backbone as one vector, with zeros where there is none."""
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.shared]
        return torch.cat([part.detach().flatten() for part in parts])


def make_updater(
    groups: Iterable[tuple[Iterable[nn.Parameter], float]],
    shared: Iterable[nn.Parameter],
    *,
    weight_decay: float,
    warmup: int,
    clip: float,
) -> Updater:
    """Make an updater with AdamW; biases and norm layers are not decayed.

    Parameters
    ----------
    groups : iterable of tuple
        Parameters, with the peak learning rate of each group.
    shared : iterable of nn.Parameter
        The parameters of the backbone.
    weight_decay : float
        Weight decay of all parameters with more than one dimension.
    warmup : int
        Iterations of linear warm-up.
    clip : float
        Largest gradient norm.
    """
    options = []
    everything: list[nn.Parameter] = []
    for parameters, rate in groups:
        trained = [p for p in parameters if p.requires_grad]
        everything += trained
        for decay, members in (
            (weight_decay, [p for p in trained if p.ndim > 1]),
            (0.0, [p for p in trained if p.ndim <= 1]),
        ):
            if members:
                options.append({"params": members, "lr": rate, "peak": rate, "weight_decay": decay})
    optimiser = torch.optim.AdamW(options, foreach=True)
    return Updater(optimiser, everything, [p for p in shared if p.requires_grad], warmup, clip)


def cosine(a: Tensor, b: Tensor) -> float:
    """Return the cosine of the angle between two gradients; 0 if one of them is zero."""
    norm = float(a.norm() * b.norm())
    return float(a @ b) / norm if norm > 0 else 0.0


class DomainAverage(WeightAverage):
    """Running average of the weights and of both domains' BatchNorm statistics; it becomes the model.

    Parameters
    ----------
    network : CellRCNN
        The average starts with its weights.
    mode : {"dual", "shared", "frozen"}
        See `DomainStatistics`.
    decay : float
        Weight of the past after the first steps.

    Attributes
    ----------
    statistics : DomainStatistics
        The statistics of `network`, which is in the domain "cells".
    """

    def __init__(self, network: CellRCNN, mode: Mode, decay: float) -> None:
        super().__init__(network, decay)
        self.statistics = DomainStatistics(self.network, mode, self.network.backbone)

    def take_in(self, network: CellRCNN, statistics: DomainStatistics, step: int) -> None:
        """Update the average with the weights and statistics after `step` steps, counted from 1."""
        self.update(network, step)
        approach(self.statistics.state(), statistics.state(), self.share_of(step))
