"""A run's state in one safetensors file: tensors, and counters in its header. Nothing is pickled."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_cupre.errors import InputError
from napari_cupre.io.files import atomic_write
from napari_cupre.pretraining.amt2 import Amt2
from napari_cupre.pretraining.batchnorm import DomainStatistics
from napari_cupre.pretraining.monitor import Judgement

FORMAT = 1

_PREDICTED = "judgement/predicted"


@dataclass
class Counters:
    """Where a run stands: iterations done, seconds computed, files found unreadable, best held-out AP@.5."""

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    best_ap50: float = -1.0


def save_state(path: Path, learner: Amt2, counters: Counters, judgement: Judgement | None = None) -> None:
    """Write everything that the run needs to continue exactly, completely or not at all.

    Parameters
    ----------
    judgement : Judgement, optional
        The last one, which the report and the model's metrics show.
    """
    from safetensors.torch import save_file

    tensors = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in _tensors(learner).items()}
    header = {"format": str(FORMAT), "counters": json.dumps(asdict(counters))}
    if judgement is not None:
        tensors[_PREDICTED] = torch.from_numpy(np.stack(judgement.predicted))
        header["judgement"] = json.dumps(asdict(replace(judgement, predicted=[])))
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata=header)
        with temporary.open("r+b") as handle:
            os.fsync(handle.fileno())


def load_state(path: Path, learner: Amt2) -> tuple[Counters, Judgement | None]:
    """Inverse of `save_state`, into a learner made with the same settings.

    Raises
    ------
    InputError
        If the file is damaged or does not fit the settings.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no dict)
        counters = Counters(**json.loads(header["counters"]))
        judgement = None
        if "judgement" in header:
            judgement = Judgement(**json.loads(header["judgement"]))
            judgement.predicted = list(tensors[_PREDICTED].numpy())
        _load_tensors(learner, tensors)
    except (SafetensorError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise InputError(
            f"The checkpoint {path} is damaged or of another version ({error}); start a new run with "
            "another --out."
        ) from error
    return counters, judgement


def _modules(learner: Amt2) -> dict[str, torch.nn.Module]:
    modules: dict[str, torch.nn.Module] = {"network": learner.network, "average": learner.average.network}
    if learner.contrastive is not None:
        modules["objective"] = learner.contrastive.objective
    return modules


def _statistics(learner: Amt2) -> dict[str, DomainStatistics]:
    return {"statistics": learner.statistics, "average_statistics": learner.average.statistics}


def _optimisers(learner: Amt2) -> dict[str, torch.optim.Optimizer]:
    tasks = {"contrastive": learner.contrastive, "supervised": learner.supervised}
    return {name: task.updater.optimiser for name, task in tasks.items() if task is not None}


def _tensors(learner: Amt2) -> dict[str, Tensor]:
    tensors = {
        f"{prefix}/{key}": tensor
        for prefix, module in _modules(learner).items()
        for key, tensor in module.state_dict().items()
    }
    for prefix, statistics in _statistics(learner).items():
        tensors |= {f"{prefix}/{key}": tensor for key, tensor in statistics.state().items()}
    for prefix, optimiser in _optimisers(learner).items():
        for number, values in optimiser.state_dict()["state"].items():
            tensors |= {f"{prefix}/{number}/{key}": torch.as_tensor(value) for key, value in values.items()}
    return tensors


def _load_tensors(learner: Amt2, tensors: Mapping[str, Tensor]) -> None:
    for prefix, module in _modules(learner).items():
        module.load_state_dict(_below(tensors, prefix))
    for prefix, statistics in _statistics(learner).items():
        statistics.load_state(_below(tensors, prefix))
    for prefix, optimiser in _optimisers(learner).items():
        state: dict[int, dict[str, Any]] = {}
        for key, tensor in _below(tensors, prefix).items():
            number, name = key.split("/", 1)
            state.setdefault(int(number), {})[name] = tensor
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) + 1 :]: tensor for key, tensor in tensors.items() if key.startswith(prefix + "/")}
