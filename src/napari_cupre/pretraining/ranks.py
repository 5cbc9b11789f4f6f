"""Communication between the processes of a run, through Lightning Fabric."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Ranks:
    """The processes of a run.

    Gradients are averaged in one call per step instead of by DistributedDataParallel: the two tasks update
    overlapping parameters in turn, and two such wrappers cannot share parameters.

    Parameters
    ----------
    fabric : lightning_fabric.Fabric
        It must already be launched.

    Attributes
    ----------
    rank : int
        Number of this process, from 0 on.
    world : int
        Number of processes.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.rank = int(fabric.global_rank)
        self.world = int(fabric.world_size)

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def part(self, size: int) -> range:
        """Return the share of this process in a global batch of `size`, a contiguous range."""
        each = size // self.world
        return range(self.rank * each, (self.rank + 1) * each)

    def gather(self, tensor: Tensor) -> Tensor:
        """Concatenate the tensors (n, ...) of all processes in order of rank, without gradient."""
        if self.world == 1:
            return tensor
        gathered = self.fabric.all_gather(tensor.contiguous())
        if not isinstance(gathered, Tensor):
            raise TypeError("a tensor was gathered into something else")
        return gathered.flatten(0, 1).detach()

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the mean of a tensor over the processes."""
        if self.world == 1:
            return tensor
        reduced = self.fabric.all_reduce(tensor.detach().clone(), reduce_op="mean")
        if not isinstance(reduced, Tensor):
            raise TypeError("a tensor was reduced to something else")
        return reduced

    def mean_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Average the gradients over the processes, in one message."""
        if self.world == 1:
            return
        with_gradient = [p for p in parameters if p.requires_grad]
        for parameter in with_gradient:
            if parameter.grad is None:  # this process's batch did not use it
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in with_gradient if p.grad is not None]
        flat = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients])):
            gradient.copy_(part.view_as(gradient))

    def agree(self, flag: bool) -> bool:
        """Whether any process raised the flag, so that all of them stop at the same step."""
        if self.world == 1:
            return flag
        value = torch.tensor(float(flag), device=self.fabric.device)
        return float(self.mean(value)) > 0

    def same_number(self, value: float) -> float:
        """Return the mean of a number over the processes: clocks may differ, but schedules must not."""
        if self.world == 1:
            return value
        return float(self.mean(torch.tensor(value, dtype=torch.float64, device=self.fabric.device)))
