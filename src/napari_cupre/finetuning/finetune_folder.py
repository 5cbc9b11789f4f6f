"""The folder of one run: its training set, settings and state, so that nothing trained is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from napari_cupre.data.shot import Shot
from napari_cupre.errors import InputError, ModelFileError, system_reason, unwritable
from napari_cupre.finetuning.finetune_settings import FinetuneSettings
from napari_cupre.io.shot_store import load_shots, save_shots, shot_digest
from napari_cupre.model.checkpoint import Model, load_model, save_model, write_bytes
from napari_cupre.model.runs import REQUEST, SETTINGS, STATE, run_path

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


SAVED = {"step", "elapsed", "batch", "crop", "history", "best"}


class RunFolder:
    """`<stem>.run` beside the model file `out`.

    To continue, a training needs all weights and the optimiser's moments; a finished one keeps only
    the averaged weights, in half precision, since the best ones are the model itself.
    """

    def __init__(self, out: Path) -> None:
        self.out = Path(out)
        self.path = run_path(self.out)
        self.state_path = self.path / STATE
        self.settings_path = self.path / SETTINGS

    def create(self, shots: list[Shot], settings: FinetuneSettings, start: str | None = None) -> None:
        """Write the training set, the settings and what the start is called, before the first step.

        Of an earlier run nothing is left, lest its weights be resumed with this annotation.
        """
        try:
            self.state_path.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self.state_path, error) from error
        save_shots(self.path / "shots", shots)
        if start is not None:
            write_bytes(self.path / REQUEST, json.dumps({"start": start}).encode())
        self.write_settings(settings)

    def write_settings(self, settings: FinetuneSettings) -> None:
        """Write the settings, which say that a run is there that can be resumed."""
        write_bytes(self.settings_path, json.dumps(settings.as_dict(), indent=1).encode())

    def read_start(self) -> str:
        """Name or path of the model that the run was started from.

        Raises
        ------
        InputError
            If the run does not say.
        """
        try:
            start = json.loads((self.path / REQUEST).read_text(encoding="utf-8"))["start"]
            if not isinstance(start, str):
                raise TypeError("no name")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.path} does not say which model it started from: start a new training."
            ) from error
        return start

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
        return load_shots(self.path / "shots")

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
        tensors |= {f"best.{key}": _half(value) for key, value in (best or {}).items()}
        for index, parameter in enumerate(_parameters(optimiser)):
            for moment in MOMENTS:
                if moment in optimiser.state.get(parameter, {}):
                    tensors[f"optimiser.{index}.{moment}"] = optimiser.state[parameter][moment]
        self._write(counters, tensors)

    def write_end(self, counters: dict[str, Any], average: dict[str, torch.Tensor]) -> None:
        """What a training that came to its end needs to go on; its best weights are the model `out`."""
        self._write(counters, {f"average.{key}": _half(value) for key, value in average.items()})

    def _write(self, counters: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        write_bytes(self.state_path, save(plain, metadata={"counters": json.dumps(counters)}))

    def read_state(
        self, network: torch.nn.Module, average: dict[str, torch.Tensor], optimiser: torch.optim.Optimizer
    ) -> tuple[dict[str, Any], dict[str, torch.Tensor] | None]:
        """Put a saved state into `network`, `average` and `optimiser`; return counters and best weights.

        Raises
        ------
        ModelFileError
            If it is damaged or belongs to another network.
        """
        try:
            with safe_open(self.state_path, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
                counters = json.loads(file.metadata()["counters"])
            if not counters.keys() >= SAVED:
                raise KeyError(*(SAVED - counters.keys()))
            averaged = _part(tensors, "average.")
            network.load_state_dict(_part(tensors, "network.") or averaged)
            for key, value in average.items():
                value.copy_(averaged[key])
            _fill_moments(optimiser, _part(tensors, "optimiser."))
            best = self._best(counters, tensors)
        except (
            SafetensorError,
            OSError,
            RuntimeError,
            KeyError,
            ValueError,
            TypeError,
            AttributeError,
        ) as error:
            raise ModelFileError(
                f"{self.state_path} is damaged or belongs to another model: start a new training."
            ) from error
        device = next(network.parameters()).device
        return counters, {key: value.to(device) for key, value in best.items()} or None

    def _best(self, counters: dict[str, Any], tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The best weights; of a training that came to its end, those of the model."""
        kept = {
            key: value.float() if value.is_floating_point() else value
            for key, value in _part(tensors, "best.").items()
        }
        if kept or not counters["best"] or not self.out.is_file():
            return kept
        model = load_model(self.out, "cpu")
        is_it = model.info.training.get("steps") == counters["best"]["step"]
        return model.network.state_dict() if is_it else {}


def annotation_of(shots: list[Shot]) -> list[str]:
    """Tells the annotation of one run from that of another: a short text for each shot."""
    return [shot_digest(shot) for shot in shots]


def difference(kept: list[Shot], given: list[Shot]) -> str:
    """One sentence on how an annotation differs from the one of a run; "" if it does not."""
    before, now = ({shot.name: shot_digest(shot) for shot in shots} for shots in (kept, given))
    kinds = {
        "changed": [name for name in now if name in before and before[name] != now[name]],
        "new": [name for name in now if name not in before],
        "no longer given": [name for name in before if name not in now],
    }
    words = "; ".join(
        f"{what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        for what, names in kinds.items()
        if names
    )
    return words and (
        f"The annotation is not the one that this training was started with ({words}): it continues with the "
        "earlier one; start a new training to use the new one."
    )


def _half(value: torch.Tensor) -> torch.Tensor:
    """As model files hold weights; values beyond half precision's range stay as they are."""
    if not value.is_floating_point() or value.abs().max() > torch.finfo(torch.float16).max:
        return value
    return value.half()


def _parameters(optimiser: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _fill_moments(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    for index, parameter in enumerate(_parameters(optimiser)):
        if f"{index}.step" in tensors:
            found = {moment: tensors[f"{index}.{moment}"] for moment in MOMENTS}
            if any(found[moment].shape != parameter.shape for moment in MOMENTS if moment != "step"):
                raise ValueError("the moments belong to another network")
            # AdamW keeps its step counter on the CPU and its moments beside the parameter.
            moved = {
                key: value if key == "step" else value.to(parameter.device) for key, value in found.items()
            }
            optimiser.state[parameter].update(moved)
