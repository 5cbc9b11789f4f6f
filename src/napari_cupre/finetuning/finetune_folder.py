"""The folder of one run: its training set, settings and state, so that nothing trained is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from napari_cupre.data.shot import Shot
from napari_cupre.errors import EnvironmentFault, InputError, system_reason, writing
from napari_cupre.finetuning.finetune_settings import FinetuneSettings
from napari_cupre.io.shot_store import digests, load_shots, save_shots, shot_digest
from napari_cupre.model.average import WeightAverage
from napari_cupre.model.checkpoint import Model, read_model, save_model, write_bytes
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.runs import REQUEST, SETTINGS, SHOTS, STATE, run_path
from napari_cupre.model.training_state import (
    Groups,
    fitting,
    moments_of,
    read_state,
    restore_moments,
    write_state,
)
from napari_cupre.words import some_of

SAVED = {"step", "elapsed", "batch", "crop", "history", "best"}


class RunFolder:
    """`<stem>.run` beside the model file `out`.

    To continue, a training needs all weights and the optimiser's moments. A finished one keeps only the
    averaged weights, in half precision, because the best weights are the model itself.
    """

    def __init__(self, out: Path) -> None:
        self.out = Path(out)
        self.path = run_path(self.out)
        self.state_path = self.path / STATE
        self.settings_path = self.path / SETTINGS

    def check_room(self, network: CellRCNN) -> None:
        """Raise `EnvironmentFault` if the disk has no room for the model that is to come."""
        there = next(each for each in self.path.absolute().parents if each.exists())
        free, wanted = shutil.disk_usage(there).free, sum(2 * each.numel() for each in network.parameters())
        if free < wanted:
            raise EnvironmentFault(
                f'The disk of "{there}" has {free // 10**6} MB left, and the model needs '
                f"{-(-wanted // 10**6)} MB: free some space or choose another folder."
            )

    def create(self, shots: list[Shot], settings: FinetuneSettings, start: str | None = None) -> None:
        """Write the training set, the settings and the name of the start, before the first step.

        Images that the window already wrote into the folder are not written again. All files of an earlier
        run are removed, so that its weights are never resumed with this annotation.
        """
        with writing(self.state_path):
            self.state_path.unlink(missing_ok=True)
        save_shots(self.path / SHOTS, shots)
        if start is not None:
            write_bytes(self.path / REQUEST, json.dumps({"start": start}).encode())
        self.write_settings(settings)

    def write_settings(self, settings: FinetuneSettings) -> None:
        """Write the settings; their presence marks a run that can be resumed."""
        write_bytes(self.settings_path, json.dumps(settings.as_dict(), indent=1).encode())

    def discard(self) -> None:
        """Remove what marks a run that can be resumed, because nothing was learned in it."""
        for path in (self.settings_path, self.path / REQUEST):
            path.unlink(missing_ok=True)

    def read_settings(self) -> FinetuneSettings:
        """Read the settings that the run was started with."""
        try:
            return FinetuneSettings(**json.loads(self.settings_path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            reason = system_reason(error) if isinstance(error, OSError) else "its settings are damaged"
            raise InputError(
                f"{self.path} contains no training that can be resumed ({reason}): start a new one."
            ) from error

    def read_shots(self) -> list[Shot]:
        """Read the annotated images that the run learns from."""
        return load_shots(self.path / SHOTS)

    def publish(self, model: Model) -> Path:
        """Write the finished model to `out`."""
        return save_model(model, self.out)

    def write_state(
        self,
        counters: dict[str, Any],
        network: CellRCNN,
        average: WeightAverage,
        optimiser: torch.optim.Optimizer,
        best: dict[str, torch.Tensor] | None,
    ) -> str:
        """Write everything that `read_state` needs; if that is impossible, return why, else ""."""
        groups = {
            "network": network.state_dict(),
            "average": average.network.state_dict(),
            "optimiser": moments_of(optimiser),
            "best": _halved(best or {}),
        }
        return self._write(groups, counters)

    def write_end(self, counters: dict[str, Any], average: WeightAverage) -> str:
        """Write what a finished training needs to continue; its best weights are the model `out`.

        Returns why that is impossible, or "".
        """
        return self._write({"average": _halved(average.network.state_dict())}, counters)

    def _write(self, groups: Groups, counters: dict[str, Any]) -> str:
        """Write a state. A full disk costs no more than that: the model, which is smaller, may still fit."""
        try:
            write_state(self.state_path, groups, {"counters": counters})
        except EnvironmentFault as error:
            return str(error)
        return ""

    def read_state(
        self, network: CellRCNN, average: WeightAverage, optimiser: torch.optim.Optimizer
    ) -> tuple[dict[str, Any], dict[str, torch.Tensor] | None]:
        """Put a saved state into `network`, `average` and `optimiser`; return counters and best weights.

        Raises
        ------
        ModelFileError
            If it is damaged or belongs to another network.
        """
        with fitting(self.state_path, "start a new training"):
            groups, documents = read_state(self.state_path)
            counters = documents["counters"]
            if not counters.keys() >= SAVED:
                raise KeyError(*(SAVED - counters.keys()))
            average.network.load_state_dict(groups["average"])
            network.load_state_dict(groups.get("network", groups["average"]))
            restore_moments(optimiser, groups.get("optimiser", {}))
            best = self._best(counters, groups.get("best", {}))
        device = next(network.parameters()).device
        return counters, {key: value.to(device) for key, value in best.items()} or None

    def _best(self, counters: dict[str, Any], tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the best weights; for a finished training, those of the model."""
        kept = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
        if kept or not counters["best"] or not self.out.is_file():
            return kept
        model = read_model(self.out, "cpu")
        is_it = model.info.training.get("steps") == counters["best"]["step"]
        return model.network.state_dict() if is_it else {}


def annotation_of(shots: list[Shot]) -> list[str]:
    """Return a short text for each shot that identifies the annotation of a run."""
    return [shot_digest(shot) for shot in shots]


def difference(kept: list[Shot], now: Mapping[str, str]) -> str:
    """Say in one sentence how an annotation differs from that of a run; "" if it does not.

    Parameters
    ----------
    kept : list of Shot
        The shots that the run learns from.
    now : mapping of str to str
        `napari_cupre.io.shot_store.digests` of the present annotation.
    """
    before = digests(shot for shot in kept if not shot.is_unlabelled)
    kinds = {
        "changed": [name for name in now if name in before and before[name] != now[name]],
        "new": [name for name in now if name not in before],
        "no longer given": [name for name in before if name not in now],
    }
    words = "; ".join(f"{what}: {some_of(names, 3)}" for what, names in kinds.items() if names)
    return words and (
        f"The annotation has changed since this training started ({words}): it continues with the earlier "
        "annotation; start a new training to use the current one."
    )


def _halved(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Convert weights as in model files; values beyond the range of half precision stay as they are."""
    return {
        key: value
        if not value.is_floating_point() or value.abs().max() > torch.finfo(torch.float16).max
        else value.half()
        for key, value in tensors.items()
    }
