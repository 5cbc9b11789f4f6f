"""Read and write models: one safetensors file with half-precision tensors, and JSON in its header.

Besides the weights, a file may contain the network converted for a faster runtime, as bytes.

Nothing is ever unpickled, so that a model from a stranger is safe to open.
"""

from __future__ import annotations

import json
import os
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from napari_cupre.errors import InputError, ModelFileError
from napari_cupre.io.files import atomic_write
from napari_cupre.model.config import preset
from napari_cupre.model.device import choose_device, prediction_dtype
from napari_cupre.model.engine import Engine, TorchEngine
from napari_cupre.model.model_info import FORMAT_VERSION, GRAPH, HEADER_KEY, ModelInfo, read_info
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.openvino import OpenVinoEngine, openvino_is_there

__all__ = [
    "FORMAT_VERSION",
    "HEADER_KEY",
    "Model",
    "ModelInfo",
    "new_model",
    "read_info",
    "read_model",
    "save_model",
    "write_bytes",
]


@dataclass
class Model:
    """A network and what is known about it.

    Attributes
    ----------
    network : CellRCNN
        See `CellRCNN`.
    info : ModelInfo
        See `ModelInfo`.
    graphs : dict of str to bytes
        The network's layers converted for another runtime, by file name (see `model.openvino`); they are not
        used, and not saved, once the network's weights have changed.
    """

    network: CellRCNN
    info: ModelInfo
    graphs: dict[str, bytes] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._converted = _weights_state(self.network) if self.graphs else ()
        self._engines: dict[bool, tuple[object, Engine]] = {}

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return next(self.network.parameters()).device

    @property
    def valid_graphs(self) -> dict[str, bytes]:
        """Return `graphs`, or nothing if the weights have changed since."""
        return self.graphs if self.graphs and self._converted == _weights_state(self.network) else {}

    def to(self, device: str | torch.device) -> Model:
        """Move the network, in place."""
        self.network.to(choose_device(device) if isinstance(device, str) else device)
        return self

    def copy(self, **changes: Any) -> Model:
        """Return a copy that shares no tensor with this model; `changes` replace fields of `info`."""
        # a new network would draw random weights first, which takes longer
        network = deepcopy(self.network).to(memory_format=torch.contiguous_format)
        network.requires_grad_(True).train()
        return Model(network, replace(self.info, config=self.network.config, **changes))

    def engine(self, *, exact: bool = False) -> Engine | None:
        """Return the fastest engine for the present weights; None if that is the network itself.

        It is made once, and again after the weights have changed.

        Parameters
        ----------
        exact : bool, optional
            Compute in float32, even if the processor is faster in bfloat16.
        """
        if self.device.type != "cpu":
            return None
        if exact and prediction_dtype(self.device) is None:
            exact = False  # there is no difference
        state = (_weights_state(self.network), torch.get_num_threads())
        if exact not in self._engines or self._engines[exact][0] != state:
            self._engines[exact] = (state, self._make_engine(exact))
        return self._engines[exact][1]

    def _make_engine(self, exact: bool) -> Engine:
        graphs = self.valid_graphs
        if graphs and openvino_is_there():
            return OpenVinoEngine(graphs)
        return TorchEngine(self.network, None if exact else prediction_dtype(self.device))


def _weights_state(network: CellRCNN) -> tuple[int, ...]:
    """Return numbers that change whenever a weight is written to: torch's counter of each tensor."""
    return tuple(tensor._version for tensor in network.state_dict(keep_vars=True).values())


def new_model(preset_name: str = "compact", seed: int = 0) -> Model:
    """Make a model with random weights, the same for the same seed."""
    config = preset(preset_name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CellRCNN(config)
    training = {"objective": "none (random weights)", "seed": seed}
    return Model(network, ModelInfo(name="scratch", config=config, training=training))


def save_model(model: Model, path: str | os.PathLike[str]) -> Path:
    """Write `model` to one file, in half precision; the file appears complete or not at all.

    Raises
    ------
    EnvironmentFault
        If the file cannot be written (full disk, no permission).
    """
    tensors = {}
    for key, value in model.network.state_dict().items():
        value = value.detach().cpu()
        tensors[key] = (_half(value, key) if value.is_floating_point() else value).contiguous()
    for name, content in model.valid_graphs.items():
        tensors[GRAPH + name] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    info = replace(model.info, config=model.network.config)
    data = save(tensors, metadata={HEADER_KEY: json.dumps(info.as_dict())})
    return write_bytes(path, data)


def _half(value: Tensor, key: str) -> Tensor:
    """Convert to float16; values beyond its range are clipped (running variances can exceed it)."""
    if not torch.isfinite(value).all():
        raise ModelFileError(
            f"The weights {key} contain NaN or infinity: this training diverged, start it again."
        )
    return value.clamp(-65504.0, 65504.0).half()


def write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write a complete file or nothing; the data are on the disk before the file gets its name.

    Raises
    ------
    EnvironmentFault
        As `napari_cupre.io.files.atomic_write`.
    """
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    return Path(path)


def read_model(path: str | os.PathLike[str], device: str = "auto") -> Model:
    """Read a model file; see `zoo.find_model` for names instead of paths.

    Raises
    ------
    ModelFileError
        As `read_info`, or if the tensors are damaged or do not fit the settings.
    """
    path = Path(path)
    info = read_info(path)
    where = choose_device(device)
    try:
        network = CellRCNN(info.config)
    except InputError as error:
        raise ModelFileError(f"{path} describes a network that cannot be built ({error})") from error
    try:
        tensors = load_file(str(path))
        graphs = {
            key.removeprefix(GRAPH): tensors.pop(key).numpy().tobytes()
            for key in list(tensors)
            if key.startswith(GRAPH)
        }
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()})
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelFileError(
            f"{path} is damaged or does not fit its own settings: copy or download it again."
        ) from error
    return Model(network.to(where).eval(), info, graphs)
