"""AMT2, alternate multi-task pre-training (Liao et al., "CUPre", arXiv 2310.03981).

In every iteration the backbone takes a step of momentum contrast on unlabelled cell images, then the whole
network takes a step of instance segmentation on the labelled source: two updates, one after the other, each
with its own optimiser. The two baselines of the paper are the same loop with one of the steps left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from napari_cupre.model.device import memory_format
from napari_cupre.model.network import MEAN, STD, CellRCNN
from napari_cupre.pretrain.batchnorm import DomainStatistics
from napari_cupre.pretrain.contrast import ContrastiveObjective
from napari_cupre.pretrain.optimise import AveragedWeights, Task, cosine, make_task
from napari_cupre.pretrain.ranks import Ranks
from napari_cupre.pretrain.settings import PretrainSettings
from napari_cupre.pretrain.sources import FieldBatch
from napari_cupre.pretrain.views import ViewBatch

# Names of the random streams of a step; whatever is random in it depends on nothing else.
_ORDER, _SAMPLING = 1, 2


@dataclass
class Iteration:
    """What one iteration of AMT2 did.

    Attributes
    ----------
    losses : of both tasks, by name.
    metrics : contrastive accuracy, learning rates, gradient norms, now and then the cosine of the gradients.
    """

    losses: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


class Amt2:
    """The network, what trains it, and one iteration of that.

    Parameters
    ----------
    network : the network to train, on its device.
    objective : the contrastive objective, on the same device; None for the supervised baseline.
    settings : of the run.
    ranks : the processes of the run.
    """

    def __init__(
        self,
        network: CellRCNN,
        objective: ContrastiveObjective | None,
        settings: PretrainSettings,
        ranks: Ranks,
    ) -> None:
        self.network = network
        self.objective = objective
        self.settings = settings
        self.ranks = ranks
        self.statistics = DomainStatistics(network, settings.norm)
        self.average = AveragedWeights(network, self.statistics.mode, settings.average)
        self.contrastive = self._contrastive_task() if objective is not None else None
        self.supervised = self._supervised_task() if settings.supervised else None

    def iterate(
        self, step: int, fraction: float, views: Iterator[ViewBatch], fields: Iterator[FieldBatch]
    ) -> Iteration:
        """One iteration: the contrastive steps, the supervised steps, the averages.

        Parameters
        ----------
        step : iterations done so far.
        fraction : used share of the budget, for the schedules.
        views, fields : this process's share of the batches.
        """
        done = Iteration()
        every = self.settings.cosine_every
        compare = (
            every > 0 and step % every == 0 and self.contrastive is not None and self.supervised is not None
        )
        gradients: list[Tensor] = []
        for part in range(self.settings.contrastive_steps if self.contrastive is not None else 0):
            self._contrastive_step(step, part, fraction, next(views), done)
            if compare and part == 0:
                gradients.append(self.contrastive.shared_gradient())  # type: ignore[union-attr]
        for part in range(self.settings.supervised_steps if self.supervised is not None else 0):
            self._supervised_step(step, part, fraction, next(fields), done)
            if compare and part == 0:
                gradients.append(self.supervised.shared_gradient())  # type: ignore[union-attr]
        if compare:
            done.metrics["gradient_cosine"] = cosine(*gradients)
        self.average.update(self.network, self.statistics, step)
        done.losses["total"] = sum(done.losses.values())
        return done

    def _contrastive_step(
        self, step: int, part: int, fraction: float, views: ViewBatch, done: Iteration
    ) -> None:
        task, objective = self.contrastive, self.objective
        assert task is not None and objective is not None
        rate = task.set_rate(step, fraction)
        device = self.ranks.fabric.device
        query, key = (_standardised(images, device) for images in (views.query, views.key))
        order = self._permutation(step, part, len(query) * self.ranks.world).to(device)
        task.optimiser.zero_grad(set_to_none=True)
        with self.statistics.training("cells"), self.ranks.fabric.autocast():
            result = objective.contrast(self.network.backbone, query, key, order, self.ranks)
        self.ranks.fabric.backward(result.loss)
        self.ranks.mean_gradients(task.parameters)
        norm = task.step()
        objective.enqueue(result.keys)
        objective.follow(self.network.backbone)
        done.losses["contrast"] = float(self.ranks.mean(result.loss.detach()))
        done.metrics["contrast_accuracy"] = float(self.ranks.mean(result.accuracy))
        done.metrics["contrast_lr"] = rate
        done.metrics["contrast_gradient"] = float(norm)

    def _supervised_step(
        self, step: int, part: int, fraction: float, fields: FieldBatch, done: Iteration
    ) -> None:
        task = self.supervised
        assert task is not None
        rate = task.set_rate(step, fraction)
        device = self.ranks.fabric.device
        groups = self.settings.source_groups // self.ranks.world
        size = len(fields.images) // groups
        task.optimiser.zero_grad(set_to_none=True)
        for group in range(groups):
            own = slice(group * size, (group + 1) * size)
            torch.manual_seed(self._seed(step, part, _SAMPLING, self.ranks.rank * groups + group))
            images = fields.images[own].to(device, memory_format=memory_format(device))
            targets = [target.to(device) for target in fields.targets[own]]
            with self.statistics.training("source"), self.ranks.fabric.autocast():
                losses = self.network(images, targets)
            self.ranks.fabric.backward(torch.stack(list(losses.values())).sum() / groups)
            for name, loss in losses.items():
                done.losses[name] = done.losses.get(name, 0.0) + float(self.ranks.mean(loss.detach())) / (
                    groups * self.settings.supervised_steps
                )
        self.ranks.mean_gradients(task.parameters)
        norm = task.step()
        if self.objective is not None:
            # The supervised step moves the query encoder as well: without this the key encoder would lag
            # twice as far.
            self.objective.follow(self.network.backbone)
        done.metrics["supervised_lr"] = rate
        done.metrics["supervised_gradient"] = float(norm)

    def _contrastive_task(self) -> Task:
        assert self.objective is not None
        settings = self.settings
        backbone = list(self.network.backbone.parameters())
        return make_task(
            [
                (backbone, settings.contrastive_lr * settings.contrastive_weight),
                (self.objective.trained(), settings.contrastive_lr),
            ],
            backbone,
            weight_decay=settings.weight_decay,
            warmup=settings.contrastive_warmup,
            clip=settings.clip,
        )

    def _supervised_task(self) -> Task:
        settings = self.settings
        backbone = list(self.network.backbone.parameters())
        ids = {id(parameter) for parameter in backbone}
        rest = [parameter for parameter in self.network.parameters() if id(parameter) not in ids]
        return make_task(
            [(rest, settings.lr), (backbone, settings.backbone_lr * settings.supervised_weight)],
            backbone,
            weight_decay=settings.weight_decay,
            warmup=settings.warmup,
            clip=settings.clip,
        )

    def _permutation(self, step: int, part: int, size: int) -> Tensor:
        """The order of the global batch of keys, alike in all processes."""
        rng = np.random.default_rng([self.settings.seed, step, part, _ORDER])
        return torch.from_numpy(rng.permutation(size))

    def _seed(self, step: int, part: int, stream: int, group: int) -> int:
        sequence = np.random.SeedSequence([self.settings.seed, step, part, stream, group])
        return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def _standardised(images: Tensor, device: torch.device) -> Tensor:
    """As the network standardises images for its backbone."""
    return ((images.to(device, non_blocking=True) - MEAN) / STD).contiguous(
        memory_format=memory_format(device)
    )
