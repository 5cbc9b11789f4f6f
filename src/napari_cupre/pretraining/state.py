"""Save and restore everything that a pretraining run needs to continue exactly."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_cupre.model.training_state import fitting, moments_of, read_state, restore_moments, write_state
from napari_cupre.pretraining.amt2 import Amt2
from napari_cupre.pretraining.batchnorm import DomainStatistics
from napari_cupre.pretraining.monitor import HeldOutScores

FORMAT = 1


@dataclass
class Counters:
    """Where a run stands: iterations done, seconds computed, files found unreadable, best held-out AP@.5."""

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    best_ap50: float = -1.0


def save_state(path: Path, learner: Amt2, counters: Counters, judgement: HeldOutScores | None = None) -> None:
    """Write everything that the run needs to continue exactly; the file appears completely or not at all.

    Parameters
    ----------
    path : Path
        The file to write.
    learner : Amt2
        The networks, statistics and optimisers.
    counters : Counters
        Where the run stands.
    judgement : HeldOutScores, optional
        The latest scores, for the report and the model's metrics.

    Raises
    ------
    EnvironmentFault
        If the file cannot be written.
    """
    groups: dict[str, dict[str, Tensor]] = {
        name: module.state_dict() for name, module in _modules(learner).items()
    }
    groups |= {name: statistics.state() for name, statistics in _statistics(learner).items()}
    groups |= {name: moments_of(optimiser) for name, optimiser in _optimisers(learner).items()}
    documents: dict[str, Any] = {"format": FORMAT, "counters": asdict(counters)}
    if judgement is not None:
        groups["judgement"] = {"predicted": torch.from_numpy(np.stack(judgement.predicted))}
        documents["judgement"] = asdict(replace(judgement, predicted=[]))
    write_state(path, groups, documents)


def load_state(path: Path, learner: Amt2) -> tuple[Counters, HeldOutScores | None]:
    """Restore what `save_state` wrote.

    Parameters
    ----------
    path : Path
        The file to read.
    learner : Amt2
        A learner made with the same settings; it is changed in place.

    Returns
    -------
    Counters
        Where the run stands.
    HeldOutScores or None
        The latest scores, if there were any.

    Raises
    ------
    ModelFileError
        If the file is damaged or does not fit the settings.
    """
    with fitting(path, "start a new run with another --out"):
        groups, documents = read_state(path)
        counters = Counters(**documents["counters"])
        judgement = None
        if "judgement" in documents:
            judgement = HeldOutScores(**documents["judgement"])
            judgement.predicted = list(groups["judgement"]["predicted"].numpy())
        for name, module in _modules(learner).items():
            module.load_state_dict(groups[name])
        for name, statistics in _statistics(learner).items():
            statistics.load_state(groups.get(name, {}))
        for name, optimiser in _optimisers(learner).items():
            restore_moments(optimiser, groups.get(name, {}))
    return counters, judgement


def _modules(learner: Amt2) -> dict[str, torch.nn.Module]:
    modules: dict[str, torch.nn.Module] = {"network": learner.network, "average": learner.average.network}
    if learner.contrastive is not None:
        modules["objective"] = learner.contrastive.objective
    return modules


def _statistics(learner: Amt2) -> dict[str, DomainStatistics]:
    return {"statistics": learner.statistics, "average_statistics": learner.average.statistics}


def _optimisers(learner: Amt2) -> dict[str, torch.optim.Optimizer]:
    optimisers: dict[str, torch.optim.Optimizer] = {}
    if learner.contrastive is not None:
        optimisers["contrastive"] = learner.contrastive.updater.optimiser
    if learner.supervised is not None:
        optimisers["supervised"] = learner.supervised.updater.optimiser
    return optimisers
