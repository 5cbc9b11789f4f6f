"""Momentum contrast: query and key encoders, the queue, and the objectives MoCo v2 and DenseCL.

Sources: He et al., "Momentum Contrast", CVPR 2020; Chen et al., "Improved Baselines with Momentum Contrastive
Learning", arXiv 2003.04297 (v2: MLP head, temperature 0.2); Wang et al., "Dense Contrastive Learning for
Self-Supervised Visual Pre-Training", CVPR 2021.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_cupre.errors import InputError

LONG_QUEUE, SHORT_QUEUE = 65_536, 4_096
"""Longest queue: MoCo's own, and that of its official settings for a few thousand images."""

MANY_CROPS = 20_000

LEAST_BATCHES = 4
"""Shortest queue in batches; with fewer negatives the network only memorises the images."""


class RankGroup(Protocol):
    """The processes that share a batch."""

    world: int

    def part(self, size: int) -> range:
        """Return the share of this process in a global batch."""

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the shares of all processes, in order."""


class OneProcess:
    """A single process that has the whole batch."""

    world = 1

    def part(self, size: int) -> range:
        """Return the whole batch."""
        return range(size)

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the tensor itself."""
        return tensor


@dataclass(frozen=True)
class ContrastSettings:
    """Queue length, embedding size, temperature, momentum, and parts of a batch for BatchNorm."""

    queue: int
    dim: int = 128
    temperature: float = 0.2
    momentum: float = 0.99
    bn_splits: int = 4


@dataclass
class Contrasted:
    """The loss with its gradient, the share of queries that found their key, and all processes' keys."""

    loss: Tensor
    accuracy: Tensor
    keys: list[Tensor]


class ContrastiveObjective(nn.Module, ABC):
    """The objective of AMT2's first step, which trains the backbone; new ones are registered in `OBJECTIVES`.

    Its state dict contains key encoder, heads and queue, but not the query backbone, which belongs to the
    network.
    """

    @abstractmethod
    def contrast(
        self, backbone: nn.Module, query: Tensor, key: Tensor, order: Tensor, ranks: RankGroup
    ) -> Contrasted:
        """Compute the loss of a batch of view pairs.

        Parameters
        ----------
        backbone : torch.nn.Module
            The query backbone.
        query, key : torch.Tensor
            (B, 3, H, W), standardised; this process's share of the global batch.
        order : torch.Tensor
            Permutation of the global batch, in which the keys are encoded.
        """

    @abstractmethod
    def enqueue(self, keys: list[Tensor]) -> None:
        """Replace the oldest keys in the queue by the keys of all processes."""

    @abstractmethod
    def follow(self, backbone: nn.Module) -> None:
        """Move the key encoder towards the query encoder."""

    @abstractmethod
    def trained(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that the optimiser updates in addition to the backbone's."""


def oldest_sound_key(momentum: float, updates: int) -> int:
    """Return how many iterations a key may stay in the queue: half the memory of the key encoder.

    Older keys come from a noticeably different encoder. Then the network learns to recognise a query's own
    key because it is fresh, not because of what it shows. MoCo v1, v2 and the official small-data settings
    all obey this limit; a queue of 4,096 with a batch of 16 and a momentum of 0.99 does not.

    Parameters
    ----------
    momentum : float
        Momentum of one update of the key encoder.
    updates : int
        Updates of the key encoder in one iteration.
    """
    return max(LEAST_BATCHES, round(0.5 / (1.0 - momentum**updates)))


def queue_length(
    distinct: int, batch: int, asked: int | None = None, oldest: int = LONG_QUEUE
) -> tuple[int, str]:
    """Return the length of a queue that contains no crop twice and no key that is too old.

    Parameters
    ----------
    distinct : int
        Number of crops that do not overlap.
    batch : int
        Global batch; the length is a multiple of it.
    asked : int, optional
        Wanted length; None = 65,536, or 4,096 where there are fewer than 20,000 crops, and no key older than
        `oldest`.
    oldest : int, optional
        See `oldest_sound_key`.

    Returns
    -------
    int
        The length.
    str
        A remark if the queue is shorter than wanted, or if the wanted length is too long to be sound; else
        "".

    Raises
    ------
    InputError
        If there are too few images for any queue.
    """
    usual = min(LONG_QUEUE if distinct >= MANY_CROPS else SHORT_QUEUE, oldest * batch)
    wanted = (asked if asked is not None else usual) // batch * batch
    length = min(wanted, LONG_QUEUE, distinct - batch) // batch * batch
    if length < LEAST_BATCHES * batch:
        raise InputError(
            f"The unlabelled images contain about {distinct} distinct crops, too few for contrast in "
            f"batches of {batch}: add images until there are {(LEAST_BATCHES + 1) * batch}, or lower "
            "contrastive_batch."
        )
    if length >= wanted:
        if length > oldest * batch:
            return length, (
                f"The queue of {length} keys is longer than recommended: keys stay in it for "
                f"{length // batch} iterations, but the key encoder is stable for only "
                f"{oldest}, so their age gives them away."
            )
        return length, ""
    return length, (
        f"The queue has {length} keys instead of {wanted}, because the unlabelled images contain about "
        f"{distinct} distinct crops."
    )


class Queue(nn.Module):
    """The last `length` keys, float32 (length, dim), unit vectors; new keys replace the oldest."""

    keys: Tensor
    place: Tensor

    def __init__(self, length: int, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(length, dim, generator=generator), dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def put(self, keys: Tensor) -> None:
        """Replace the oldest keys by new ones."""
        start = int(self.place)
        self.keys[start : start + len(keys)] = keys
        self.place.fill_((start + len(keys)) % len(self.keys))


class MoCoV2(ContrastiveObjective):
    """MoCo v2: one embedding per image against a queue of keys.

    Parameters
    ----------
    backbone : torch.nn.Module
        The query backbone; the key encoder starts as its copy. It is not part of this module.
    settings : ContrastSettings
        Of the objective.
    generator : torch.Generator
        For the queue's first content.
    """

    queue_count: ClassVar[int] = 1

    def __init__(self, backbone: nn.Module, settings: ContrastSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        self.head = self._make_head(_last_channels(backbone), settings.dim)
        self.key_backbone = copy.deepcopy(backbone).requires_grad_(False)
        self.key_head = copy.deepcopy(self.head).requires_grad_(False)
        self.queues = nn.ModuleList(
            Queue(settings.queue, settings.dim, generator) for _ in range(self.queue_count)
        )

    def _make_head(self, channels: int, dim: int) -> nn.Module:
        return GlobalHead(channels, dim)

    def _negatives(self, number: int) -> Tensor:
        return cast(Queue, self.queues[number]).keys

    def contrast(
        self, backbone: nn.Module, query: Tensor, key: Tensor, order: Tensor, ranks: RankGroup
    ) -> Contrasted:
        """See `ContrastiveObjective.contrast`."""
        groups = self.settings.bn_splits // ranks.world
        features = in_groups(backbone, query, groups)[-1]
        with torch.no_grad():
            self.key_backbone.train(any(m.training for m in backbone.modules() if _is_norm(m)))
            shuffled = ranks.gather(key)[order][ranks.part(len(order)).start :][: len(key)]
            shuffled_features = in_groups(self.key_backbone, shuffled, groups)[-1]
            back = torch.argsort(order)
            key_features = ranks.gather(shuffled_features)[back][ranks.part(len(order)).start :][: len(key)]
        return self._contrasted(features, key_features, ranks)

    def _contrasted(self, features: Tensor, key_features: Tensor, ranks: RankGroup) -> Contrasted:
        query = self.head(features)
        with torch.no_grad():
            key = self.key_head(key_features)
        loss, accuracy = info_nce(query, key, self._negatives(0), self.settings.temperature)
        return Contrasted(loss, accuracy, [ranks.gather(key)])

    def enqueue(self, keys: list[Tensor]) -> None:
        """See `ContrastiveObjective.enqueue`."""
        for queue, new in zip(self.queues, keys, strict=True):
            cast(Queue, queue).put(new)

    @torch.no_grad()
    def follow(self, backbone: nn.Module) -> None:
        """See `ContrastiveObjective.follow`: exponential moving average of all parameters."""
        for slow, fast in ((self.key_backbone, backbone), (self.key_head, self.head)):
            keys: list[Tensor] = list(slow.parameters())
            queries: list[Tensor] = list(fast.parameters())
            torch._foreach_lerp_(keys, queries, 1.0 - self.settings.momentum)

    def trained(self) -> Iterator[nn.Parameter]:
        """See `ContrastiveObjective.trained`."""
        return self.head.parameters()


class DenseCL(MoCoV2):
    """DenseCL: half of the loss is MoCo v2's, the other half contrasts places of the feature map.

    Each place of the query's map is pulled towards the key's place with the most similar backbone feature,
    and away from a queue of the other images' mean dense keys.
    """

    queue_count: ClassVar[int] = 2

    def _make_head(self, channels: int, dim: int) -> nn.Module:
        return BothHeads(channels, dim)

    def _contrasted(self, features: Tensor, key_features: Tensor, ranks: RankGroup) -> Contrasted:
        query, dense = self.head(features)
        with torch.no_grad():
            key, dense_key = self.key_head(key_features)
            alike = F.normalize(features.float().flatten(2), dim=1).transpose(1, 2) @ F.normalize(
                key_features.float().flatten(2), dim=1
            )
            partner = alike.argmax(2)
            positive = torch.gather(dense_key, 1, partner[..., None].expand(-1, -1, dense_key.shape[2]))
            mean_key = F.normalize(dense_key.mean(1), dim=1)
        temperature = self.settings.temperature
        loss, accuracy = info_nce(query, key, self._negatives(0), temperature)
        dense_loss, _ = info_nce(dense.flatten(0, 1), positive.flatten(0, 1), self._negatives(1), temperature)
        return Contrasted((loss + dense_loss) / 2, accuracy, [ranks.gather(key), ranks.gather(mean_key)])


class _Perceptron(nn.Module):
    """Two layers from features (..., channels) to unit vectors (..., dim), float32."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, dim)

    def forward(self, features: Tensor) -> Tensor:
        """Return one unit vector for each vector of features."""
        return F.normalize(self.out(F.relu(self.hidden(features))).float(), dim=-1)


class GlobalHead(_Perceptron):
    """The mean over the map, then a perceptron: (B, C, H, W) -> unit vectors (B, dim), float32."""

    def forward(self, features: Tensor) -> Tensor:
        """Return one unit vector per image, (B, dim)."""
        return super().forward(features.mean((2, 3)))


class DenseHead(_Perceptron):
    """A perceptron at every place of the map: (B, C, H, W) -> unit vectors (B, H * W, dim), float32."""

    def forward(self, features: Tensor) -> Tensor:
        """Return one unit vector per place of the feature map, (B, places, dim)."""
        return super().forward(features.flatten(2).transpose(1, 2))


class BothHeads(nn.Module):
    """Both heads: an embedding of the whole image, and embeddings of its places."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.whole = GlobalHead(channels, dim)
        self.dense = DenseHead(channels, dim)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors of whole images and of their places."""
        return self.whole(features), self.dense(features)


def info_nce(query: Tensor, key: Tensor, negatives: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the InfoNCE loss of unit vectors, and the share of queries closest to their own key.

    Parameters
    ----------
    query, key : torch.Tensor
        (B, dim).
    negatives : torch.Tensor
        (K, dim).
    """
    with torch.autocast(query.device.type, enabled=False):
        own = (query * key).sum(1, keepdim=True)
        logits = torch.cat([own, query @ negatives.clone().T], dim=1) / temperature
        loss = F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.int64))
    return loss, (logits.argmax(1) == 0).float().mean().detach()


OBJECTIVES: dict[str, Callable[[nn.Module, ContrastSettings, torch.Generator], ContrastiveObjective]] = {
    "mocov2": MoCoV2,
    "densecl": DenseCL,
}


def make_objective(
    name: str, backbone: nn.Module, settings: ContrastSettings, generator: torch.Generator
) -> ContrastiveObjective:
    """Make the objective registered under `name` (mocov2 or densecl)."""
    return OBJECTIVES[name](backbone, settings, generator)


def _last_channels(backbone: nn.Module) -> int:
    channels = backbone.channels
    return int(channels[-1])  # type: ignore[index]


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm)


def in_groups(encode: Callable[[Tensor], Sequence[Tensor]], images: Tensor, groups: int) -> list[Tensor]:
    """Encode a batch in equal parts, so that BatchNorm sees each part separately.

    A query and its key must not share batch statistics. Otherwise the network uses these to tell them from
    the negatives ("cheats", He et al., CVPR 2020, section 3.3). Keys in shuffled order are in different
    parts.

    Parameters
    ----------
    encode : callable
        Maps (b, 3, H, W) to a sequence of maps.
    images : torch.Tensor
        (B, 3, H, W), B a multiple of `groups`.

    Returns
    -------
    list of Tensor
        The same as `encode` returns for a whole batch.
    """
    parts = [encode(part) for part in images.chunk(groups)]
    return [torch.cat(maps) for maps in zip(*parts)]
