"""BatchNorm over two domains.

The contrastive step shows the backbone cells, the supervised step the source. A single set of running
statistics would be a mixture that suits neither. There are three modes:

frozen
    Both steps use the statistics of the start and leave them unchanged (for a well-trained start).
shared
    One set for both domains, as in a plain training loop.
dual
    One set for each domain; affine weights are shared (domain-specific statistics: Chang et al., CVPR 2019,
    who split the affine weights as well). A setting decides which set the finished model gets.

Neck and heads see only the source and have one set in every mode.

The sets are swapped in the buffers of the BatchNorm layers themselves. So any backbone works unchanged, and
its state dict keeps its names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from napari_cupre.pretraining.pretrain_settings import Domain, Mode

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class DomainStatistics:
    """The running statistics of a network's BatchNorm layers, one set per domain.

    Parameters
    ----------
    network : torch.nn.Module
        The network with the BatchNorm layers; its domain is "cells" at first.
    mode : {"dual", "shared", "frozen"}
        See above.
    both : torch.nn.Module, optional
        The part of the network that both domains pass through, which has two sets in mode "dual"; by default
        the whole network.
    """

    def __init__(self, network: nn.Module, mode: Mode, both: nn.Module | None = None) -> None:
        self.mode = mode
        self.domain: Domain = "cells"
        self._layers = {name: m for name, m in network.named_modules() if isinstance(m, _BATCH_NORMS)}
        self._network = network
        self._two: dict[str, nn.Module] = {}
        if mode == "dual":
            passed = set((network if both is None else both).modules())
            self._two = {name: layer for name, layer in self._layers.items() if layer in passed}
        self._other = {name: tensor.clone() for name, tensor in _buffers(self._two)}

    @contextmanager
    def training(self, domain: Domain) -> Iterator[None]:
        """Put the network in training mode with the statistics of `domain`, within a context."""
        with self.standing_in(domain):
            self._network.train()
            if self.mode == "frozen":
                for layer in self._layers.values():
                    layer.eval()
            yield

    @contextmanager
    def standing_in(self, domain: Domain) -> Iterator[None]:
        """Give the network the statistics of `domain`, within a context."""
        before = self.domain
        self._switch(domain)
        try:
            yield
        finally:
            self._switch(before)

    def _switch(self, domain: Domain) -> None:
        if domain != self.domain:
            for prefix, layer in self._two.items():
                for key in [key for key, _ in layer.named_buffers(recurse=False)]:
                    # Tensors are swapped, not values, because a pending backward pass refers to the tensors.
                    name = f"{prefix}.{key}"
                    layer._buffers[key], self._other[name] = self._other[name], layer._buffers[key]  # type: ignore
        self.domain = domain

    def state(self) -> dict[str, Tensor]:
        """Return the set that is not in the network, usually the source's; empty unless `mode` is "dual"."""
        return self._other

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Restore the statistics of a saved run, as `state` returned them."""
        for name, tensor in self._other.items():
            tensor.copy_(tensors[name])

    def average_over(self, mean: Callable[[Tensor], Tensor]) -> None:
        """Average the statistics over all processes; each has seen only its own parts of the batches.

        Parameters
        ----------
        mean : callable
            Returns the mean of a tensor over the processes.
        """
        for _, tensor in _buffers(self._layers):
            _average(tensor, mean)
        for tensor in self._other.values():
            _average(tensor, mean)


def _buffers(layers: Mapping[str, nn.Module]) -> Iterator[tuple[str, Tensor]]:
    """Yield the statistics of all layers, by name."""
    for name, layer in layers.items():
        for key, tensor in layer.named_buffers(recurse=False):
            yield f"{name}.{key}", tensor


def _average(tensor: Tensor, mean: Callable[[Tensor], Tensor]) -> None:
    if tensor.is_floating_point():
        tensor.copy_(mean(tensor))
