"""The two tasks of AMT2: momentum contrast on cells, and instance segmentation on the source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from napari_cupre.model.contrast import ContrastiveObjective
from napari_cupre.model.device import memory_format
from napari_cupre.model.network import MEAN, STD, CellRCNN
from napari_cupre.pretraining.batchnorm import DomainStatistics
from napari_cupre.pretraining.labelled_sources import FieldBatch
from napari_cupre.pretraining.pretrain_optimiser import Updater, make_updater
from napari_cupre.pretraining.pretrain_settings import PretrainSettings
from napari_cupre.pretraining.ranks import Ranks
from napari_cupre.pretraining.view_pairs import ViewBatch

_Groups = list[tuple[Iterable[Parameter], float]]
"""Parameters of each group with their peak learning rate."""

# Numbers of the random streams of a step.
_ORDER, _SAMPLING = 1, 2


@dataclass
class Iteration:
    """What one iteration of AMT2 did.

    Attributes
    ----------
    losses : dict of str to float
        Losses of both tasks by name, averaged over steps, groups and processes.
    metrics : dict of str to float
        Contrastive accuracy, learning rates, gradient norms and, now and then, the cosine of the gradients.
    """

    losses: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Moment:
    """Where a step stands in the run.

    Attributes
    ----------
    iteration : int
        Number of the iteration, from 0 on.
    part : int
        Number of the task's step within the iteration, from 0 on.
    fraction : float
        Used share of the budget, 0 to 1.
    """

    iteration: int
    part: int
    fraction: float


class _Task:
    """The common parts of both tasks: settings, processes, and how their optimisers are made."""

    def __init__(self, statistics: DomainStatistics, settings: PretrainSettings, ranks: Ranks) -> None:
        self.statistics, self.settings, self.ranks = statistics, settings, ranks

    def _updater(self, groups: _Groups, backbone: list[Parameter], warmup: int) -> Updater:
        settings = self.settings
        return make_updater(
            groups, backbone, weight_decay=settings.weight_decay, warmup=warmup, clip=settings.clip
        )


class ContrastiveTask(_Task):
    """Momentum contrast: trains the backbone and the heads of the objective on pairs of views.

    Parameters
    ----------
    network : CellRCNN
        Its backbone is the query encoder.
    objective : ContrastiveObjective
        The objective, on the network's device.
    statistics : DomainStatistics
        Those of the network's BatchNorm layers.
    """

    def __init__(
        self,
        network: CellRCNN,
        objective: ContrastiveObjective,
        statistics: DomainStatistics,
        settings: PretrainSettings,
        ranks: Ranks,
    ) -> None:
        super().__init__(statistics, settings, ranks)
        self.backbone = network.backbone
        self.objective = objective
        backbone = list(network.backbone.parameters())
        groups: _Groups = [
            (backbone, settings.contrastive_lr * settings.contrastive_weight),
            (objective.trained(), settings.contrastive_lr),
        ]
        self.updater = self._updater(groups, backbone, settings.contrastive_warmup)

    def step(self, moment: Moment, views: ViewBatch, done: Iteration) -> None:
        """Make one update on this process's share of a batch of view pairs."""
        rate = self.updater.set_rate(moment.iteration, moment.fraction)
        device = self.ranks.fabric.device
        query, key = (_standardised(images, device) for images in (views.query, views.key))
        order = self._permutation(moment, len(query) * self.ranks.world).to(device)
        self.updater.zero_grad()
        with self.statistics.training("cells"), self.ranks.fabric.autocast():
            result = self.objective.contrast(self.backbone, query, key, order, self.ranks)
        self.ranks.fabric.backward(result.loss)
        self.ranks.mean_gradients(self.updater.parameters)
        norm = self.updater.step()
        self.objective.enqueue(result.keys)
        self.follow()
        loss, accuracy = self.ranks.mean(torch.stack([result.loss.detach(), result.accuracy])).tolist()
        _add(done.losses, "contrast", loss / self.settings.contrastive_steps)
        done.metrics |= {
            "contrast_accuracy": accuracy,
            "contrast_lr": rate,
            "contrast_gradient": float(norm),
        }

    def follow(self) -> None:
        """Move the key encoder towards the query encoder."""
        self.objective.follow(self.backbone)

    def _permutation(self, moment: Moment, size: int) -> Tensor:
        """Return the order of the keys in the global batch, the same in all processes."""
        rng = np.random.default_rng([self.settings.seed, moment.iteration, moment.part, _ORDER])
        return torch.from_numpy(rng.permutation(size))


class SupervisedTask(_Task):
    """Instance segmentation on the source: trains the whole network.

    Parameters
    ----------
    statistics : DomainStatistics
        Those of the network's BatchNorm layers.
    """

    def __init__(
        self, network: CellRCNN, statistics: DomainStatistics, settings: PretrainSettings, ranks: Ranks
    ) -> None:
        super().__init__(statistics, settings, ranks)
        self.network = network
        backbone = list(network.backbone.parameters())
        ids = {id(parameter) for parameter in backbone}
        rest = [parameter for parameter in network.parameters() if id(parameter) not in ids]
        groups: _Groups = [
            (rest, settings.lr),
            (backbone, settings.backbone_lr * settings.supervised_weight),
        ]
        self.updater = self._updater(groups, backbone, settings.warmup)

    def step(self, moment: Moment, fields: FieldBatch, done: Iteration) -> None:
        """Make one update on this process's share of a batch of fields."""
        rate = self.updater.set_rate(moment.iteration, moment.fraction)
        groups = self.settings.source_groups // self.ranks.world
        size = len(fields.images) // groups
        self.updater.zero_grad()
        sums: dict[str, Tensor] = {}
        for group in range(groups):
            torch.manual_seed(self._seed(moment, self.ranks.rank * groups + group))
            losses = self._losses(fields, slice(group * size, (group + 1) * size))
            self.ranks.fabric.backward(torch.stack(list(losses.values())).sum() / groups)
            sums = {name: sums.get(name, 0.0) + loss.detach() for name, loss in losses.items()}
        self.ranks.mean_gradients(self.updater.parameters)
        norm = self.updater.step()
        means = self.ranks.mean(torch.stack(list(sums.values())) / groups).tolist()
        for name, loss in zip(sums, means):
            _add(done.losses, name, loss / self.settings.supervised_steps)
        done.metrics |= {"supervised_lr": rate, "supervised_gradient": float(norm)}

    def _losses(self, fields: FieldBatch, part: slice) -> dict[str, Tensor]:
        device = self.ranks.fabric.device
        images = fields.images[part].to(device, memory_format=memory_format(device))
        targets = [target.to(device) for target in fields.targets[part]]
        with self.statistics.training("source"), self.ranks.fabric.autocast():
            return self.network(images, targets)

    def _seed(self, moment: Moment, group: int) -> int:
        """Return the seed for sampling anchors and RoIs in a group, whichever process has the group."""
        words = [self.settings.seed, moment.iteration, moment.part, _SAMPLING, group]
        return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]) >> 1


def _add(values: dict[str, float], name: str, value: float) -> None:
    values[name] = values.get(name, 0.0) + value


def _standardised(images: Tensor, device: torch.device) -> Tensor:
    """Standardise images as the network does for its backbone."""
    standard = (images.to(device, non_blocking=True) - MEAN) / STD
    return standard.contiguous(memory_format=memory_format(device))
