"""The folder of one run: its training set, settings and state, so that nothing trained is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from napari_cupre.data.shot import Shot
from napari_cupre.errors import InputError, ModelFileError
from napari_cupre.finetuning.finetune_settings import FinetuneSettings
from napari_cupre.io.shot_store import load_shots, save_shots
from napari_cupre.model.checkpoint import Model, save_model, write_bytes

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class RunFolder:
    """`<stem>.run` beside the model file `out`."""

    def __init__(self, out: Path) -> None:
        self.out = Path(out)
        self.path = self.out.with_suffix(".run")
        self.state_path = self.path / "state.safetensors"
        self.settings_path = self.path / "settings.json"

    def create(self, shots: list[Shot], settings: FinetuneSettings) -> None:
        """Write the training set and the settings; done before the first step."""
        save_shots(self.path / "shots", shots)
        write_bytes(self.settings_path, json.dumps(settings.as_dict(), indent=1).encode())

    def read_settings(self) -> FinetuneSettings:
        try:
            return FinetuneSettings(**json.loads(self.settings_path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{self.path} holds no training that can be resumed ({error}): start a new one."
            ) from error

    def read_shots(self) -> list[Shot]:
        return load_shots(self.path / "shots")

    def write_model(self, name: str, model: Model) -> Path:
        return save_model(model, self.path / f"{name}.safetensors")

    def publish(self, model: Model) -> Path:
        """Write the finished model to `out`."""
        return save_model(model, self.out)

    def write_state(
        self,
        counters: dict[str, Any],
        network: torch.nn.Module,
        average: dict[str, torch.Tensor],
        optimiser: torch.optim.Optimizer,
        best: dict[str, torch.Tensor] | None,
    ) -> None:
        """Everything that `read_state` needs, in one file that appears complete or not at all."""
        tensors = {f"network.{key}": value for key, value in network.state_dict().items()}
        tensors |= {f"average.{key}": value for key, value in average.items()}
        tensors |= {f"best.{key}": value for key, value in (best or {}).items()}
        for index, parameter in enumerate(_parameters(optimiser)):
            for moment in MOMENTS:
                if moment in optimiser.state.get(parameter, {}):
                    tensors[f"optimiser.{index}.{moment}"] = optimiser.state[parameter][moment]
        plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        write_bytes(self.state_path, save(plain, metadata={"counters": json.dumps(counters)}))

    def read_state(
        self, network: torch.nn.Module, average: dict[str, torch.Tensor], optimiser: torch.optim.Optimizer
    ) -> tuple[dict[str, Any], dict[str, torch.Tensor] | None]:
        """Put a saved state into `network`, `average` and `optimiser`; return counters and best weights."""
        try:
            with safe_open(self.state_path, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
                counters = json.loads(file.metadata()["counters"])
            network.load_state_dict(_part(tensors, "network."))
            for key, value in _part(tensors, "average.").items():
                average[key].copy_(value)
        except (SafetensorError, OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise ModelFileError(
                f"{self.state_path} is damaged or belongs to another model: start a new training."
            ) from error
        _fill_moments(optimiser, _part(tensors, "optimiser."))
        device = next(network.parameters()).device
        best = {key: value.to(device) for key, value in _part(tensors, "best.").items()}
        return counters, best or None


def _parameters(optimiser: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _fill_moments(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    for index, parameter in enumerate(_parameters(optimiser)):
        if f"{index}.step" in tensors:
            found = {moment: tensors[f"{index}.{moment}"] for moment in MOMENTS}
            # AdamW keeps its step counter on the CPU and its moments beside the parameter.
            moved = {
                key: value if key == "step" else value.to(parameter.device) for key, value in found.items()
            }
            optimiser.state[parameter].update(moved)
