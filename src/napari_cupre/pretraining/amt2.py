"""AMT2, alternate multi-task pre-training (Liao et al., "CUPre", arXiv 2310.03981).

In every iteration the backbone takes a step of momentum contrast on unlabelled cell images. Then the whole
network takes a step of instance segmentation on the labelled source. These are two updates, each with its own
optimiser. The two baselines of the paper are the same loop with one of the steps left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from napari_cupre.model.contrast import ContrastiveObjective
from napari_cupre.model.network import CellRCNN
from napari_cupre.pretraining.batchnorm import DomainStatistics
from napari_cupre.pretraining.labelled_sources import FieldBatch
from napari_cupre.pretraining.pretrain_optimiser import DomainAverage, cosine
from napari_cupre.pretraining.pretrain_settings import PretrainSettings
from napari_cupre.pretraining.ranks import Ranks
from napari_cupre.pretraining.tasks import ContrastiveTask, Iteration, Moment, SupervisedTask
from napari_cupre.pretraining.view_pairs import ViewBatch


class Amt2:
    """The network with its two tasks, and one iteration of their training.

    Parameters
    ----------
    network : CellRCNN
        The network to train, on its device.
    objective : ContrastiveObjective or None
        The contrastive objective, on the same device; None for the supervised baseline.
    settings : PretrainSettings
        The settings of the run.
    ranks : Ranks
        The processes of the run.

    Attributes
    ----------
    statistics : DomainStatistics
        The BatchNorm statistics of both domains.
    average : DomainAverage
        Running average of weights and statistics; it is saved as the model.
    contrastive : ContrastiveTask or None
        Momentum contrast; None in the supervised baseline.
    supervised : SupervisedTask or None
        Instance segmentation; None in the contrastive baseline.
    """

    def __init__(
        self,
        network: CellRCNN,
        objective: ContrastiveObjective | None,
        settings: PretrainSettings,
        ranks: Ranks,
    ) -> None:
        self.network = network
        self.settings = settings
        self.statistics = DomainStatistics(network, settings.norm, network.backbone)
        self.average = DomainAverage(network, settings.norm, settings.average)
        self.contrastive: ContrastiveTask | None = None
        self.supervised: SupervisedTask | None = None
        if objective is not None:
            self.contrastive = ContrastiveTask(network, objective, self.statistics, settings, ranks)
        if settings.supervised:
            self.supervised = SupervisedTask(network, self.statistics, settings, ranks)

    def iterate(
        self, step: int, fraction: float, views: Iterator[ViewBatch], fields: Iterator[FieldBatch]
    ) -> Iteration:
        """Do one iteration: the contrastive steps, the supervised steps, the average.

        Parameters
        ----------
        step : int
            Iterations done so far.
        fraction : float
            Used share of the budget, for the schedules.
        views : iterator of ViewBatch
            This process's share of the contrastive batches.
        fields : iterator of FieldBatch
            This process's share of the supervised batches.

        Returns
        -------
        Iteration
            Losses and metrics, averaged over all processes.
        """
        done = Iteration()
        gradients = []
        is_measured = self.settings.cosine_every > 0 and step % self.settings.cosine_every == 0
        if self.contrastive is not None:
            for part in range(self.settings.contrastive_steps):
                self.contrastive.step(Moment(step, part, fraction), next(views), done)
            if is_measured:
                gradients.append(self.contrastive.updater.shared_gradient())
        if self.supervised is not None:
            for part in range(self.settings.supervised_steps):
                self.supervised.step(Moment(step, part, fraction), next(fields), done)
                if self.contrastive is not None:
                    # This step moves the query encoder, too. The key encoder follows it here as well;
                    # otherwise it would lag twice as far behind.
                    self.contrastive.follow()
            if is_measured:
                gradients.append(self.supervised.updater.shared_gradient())
        if len(gradients) == 2:
            done.metrics["gradient_cosine"] = cosine(*gradients)
        self.average.take_in(self.network, self.statistics, step + 1)
        done.losses["total"] = sum(done.losses.values())
        return done
