"""Save what a training needs to continue: a safetensors file of tensors in groups, with JSON in its header.

Both fine-tuning and pretraining use it. The file appears complete or not at all, and nothing in it is ever
unpickled.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_cupre.errors import ModelFileError, reason_of
from napari_cupre.io.files import atomic_write

Groups = Mapping[str, Mapping[str, Tensor]]

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def write_state(path: Path, groups: Groups, documents: Mapping[str, Any]) -> None:
    """Write a state completely, or leave the old one as it was.

    Parameters
    ----------
    path : Path
        Of the file.
    groups : mapping of str to mapping of str to torch.Tensor
        Tensors by group and name. No group has a "/" or "." in its name.
    documents : mapping of str to Any
        Plain values for JSON, by name.

    Raises
    ------
    EnvironmentFault
        If the file cannot be written (full disk, no permission).
    """
    tensors = {
        f"{group}/{name}": tensor.detach().cpu().contiguous().clone()
        for group, members in groups.items()
        for name, tensor in members.items()
    }
    header = {name: json.dumps(document) for name, document in documents.items()}
    with atomic_write(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=header)
        except SafetensorError as error:
            raise _of_the_system(error, temporary) from error
        with temporary.open("r+b") as handle:
            os.fsync(handle.fileno())


def _of_the_system(error: SafetensorError, path: Path) -> OSError:
    """Recover the system's error from safetensors' text, since the error gives the user a better message."""
    number = re.search(r"os error (\d+)", str(error))
    code = int(number[1]) if number else 0
    return OSError(code, os.strerror(code) if code else str(error), str(path))


def read_state(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read what `write_state` wrote; call it within `fitting`.

    Returns
    -------
    groups : dict of str to dict of str to torch.Tensor
        Empty groups are left out.
    documents : dict of str to Any
        By name.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    with safe_open(path, framework="pt") as file:
        documents = {name: json.loads(text) for name, text in (file.metadata() or {}).items()}
        for key in file.keys():  # noqa: SIM118 (no mapping)
            # states of earlier versions have a "." between group and name
            group, name = key.split("/" if "/" in key else ".", 1)
            groups.setdefault(group, {})[name] = file.get_tensor(key)
    return groups, documents


@contextmanager
def fitting(path: Path, advice: str) -> Iterator[None]:
    """Context for reading and restoring a state.

    Parameters
    ----------
    path : Path
        Of the file.
    advice : str
        What to do if it cannot be used; it ends the error's sentence.

    Raises
    ------
    ModelFileError
        If the file is damaged, or belongs to another network or version.
    """
    try:
        yield
    except (
        SafetensorError,
        OSError,
        RuntimeError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        raise ModelFileError(
            f"{path} is damaged or belongs to another model or version ({reason_of(error)}): {advice}."
        ) from error


def moments_of(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the moments of AdamW as named tensors; none before the first step."""
    return {
        f"{number}/{moment}": torch.as_tensor(values[moment])
        for number, values in optimiser.state_dict()["state"].items()
        for moment in _MOMENTS
    }


def restore_moments(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore moments from `moments_of` in an optimiser with the same parameters.

    Raises
    ------
    ValueError
        If they belong to another network.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, moment = re.split(r"[/.]", key, maxsplit=1)
        state.setdefault(int(number), {})[moment] = tensor
    parameters = _parameters(optimiser)
    for number, found in state.items():
        if any(found[moment].shape != parameters[number].shape for moment in _MOMENTS if moment != "step"):
            raise ValueError("the moments belong to another network")
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _parameters(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]
