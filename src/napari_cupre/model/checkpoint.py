"""One safetensors file per model: half-precision tensors, and a JSON document in its header.

A file may hold the network converted for a faster runtime beside its weights, as bytes.

Nothing is ever unpickled, so that a model from a stranger is safe to open.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from napari_cupre.errors import InputError, ModelFileError, reason_of, system_reason
from napari_cupre.io.files import atomic_write
from napari_cupre.model.config import ModelConfig, preset
from napari_cupre.model.device import choose_device, prediction_dtype
from napari_cupre.model.engine import Engine, TorchEngine
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.openvino import OpenVinoEngine, openvino_is_there

FORMAT_VERSION = 1
HEADER_KEY = "napari_cupre"
GRAPH = "graph/"
"""Tensors whose names begin so hold the bytes of `Model.graphs`."""

NORMALISATION = "percentiles 1-99.8 to 0-1"


@dataclass(frozen=True)
class ModelInfo:
    """What is known about a model beside its weights; the JSON document in its file.

    Attributes
    ----------
    name : str
        How the model is called in lists.
    config : ModelConfig
        Settings of the network.
    diameter : float or None
        Cell diameter in px of the images it was trained for; None = estimate it from each image.
    diameter_um : float or None
        The same in micrometres, where the pixel size was known.
    normalisation : str
        How pixel values become the network's input.
    training : dict of str to Any
        How it came about: objective, data, steps, seconds, seed, code version, parent, ...
    metrics : dict of str to Any
        Figures measured while it was trained.
    licence : str
        Terms under which the weights may be used.
    format_version : int
        Of this document.
    """

    name: str
    config: ModelConfig
    diameter: float | None = None
    diameter_um: float | None = None
    normalisation: str = NORMALISATION
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    format_version: int = FORMAT_VERSION

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the network tells apart."""
        return self.config.classes

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelInfo:
        """Inverse of `as_dict`; settings of a later minor revision that are not known are left out."""
        known = {f.name for f in fields(cls)}
        chosen = {key: value for key, value in values.items() if key in known}
        try:
            return cls(**{**chosen, "config": ModelConfig.from_dict(chosen["config"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise ModelFileError(
                f"The model's description is incomplete ({error!r}): export it again."
            ) from error


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
        """The device that holds the weights."""
        return next(self.network.parameters()).device

    @property
    def valid_graphs(self) -> dict[str, bytes]:
        """`graphs`, or nothing if the weights are others by now."""
        return self.graphs if self.graphs and self._converted == _weights_state(self.network) else {}

    def to(self, device: str | torch.device) -> Model:
        """Move the network, in place."""
        self.network.to(choose_device(device) if isinstance(device, str) else device)
        return self

    def copy(self, **changes: Any) -> Model:
        """A copy that shares no tensor with this one; `changes` replace fields of `info`."""
        network = CellRCNN(self.network.config).to(self.device)
        network.load_state_dict(self.network.state_dict())
        return Model(network, replace(self.info, config=self.network.config, **changes))

    def engine(self, *, exact: bool = False) -> Engine | None:
        """What detects fastest with the weights as they are; None where that is the network itself.

        Made once, and again when the weights have changed.

        Parameters
        ----------
        exact : bool, optional
            In float32, also where the processor is faster in bfloat16.
        """
        if self.device.type != "cpu":
            return None
        if exact and prediction_dtype(self.device) is None:
            exact = False  # it is the same
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
    """Changes whenever a weight is written to: torch counts that for every tensor."""
    return tuple(tensor._version for tensor in network.state_dict(keep_vars=True).values())


def new_model(preset_name: str = "compact", seed: int = 0) -> Model:
    """A model with random weights, the same for the same seed."""
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
    """float16 with values beyond its range held at the border (running variances can exceed it)."""
    if not torch.isfinite(value).all():
        raise ModelFileError(
            f"The weights {key} contain NaN or infinity: this training diverged, start it again."
        )
    return value.clamp(-65504.0, 65504.0).half()


def write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write a whole file or nothing; it is on the disk itself before it takes its name.

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


def read_info(path: str | os.PathLike[str]) -> ModelInfo:
    """What a model file says about itself, without reading its tensors.

    Raises
    ------
    ModelFileError
        If the file is missing, not a safetensors file, not ours, or of another format version.
    """
    path = Path(path)
    metadata = _metadata(path)
    if HEADER_KEY not in metadata:
        raise ModelFileError(
            f"{path} is a safetensors file, but not a napari-cupre model: choose one made by napari-cupre."
        )
    try:
        values = json.loads(metadata[HEADER_KEY])
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"{path} has a damaged description: copy or export it again.") from error
    version = values.get("format_version") if isinstance(values, dict) else None
    if version != FORMAT_VERSION:
        raise ModelFileError(
            f"{path} has model format version {version}, but this napari-cupre reads {FORMAT_VERSION}: "
            "update napari-cupre, or export the model again."
        )
    return ModelInfo.from_dict(values)


def _metadata(path: Path) -> dict[str, str]:
    """The string-to-string map in the header of a safetensors file, read without the tensors."""
    if not path.is_file():
        raise ModelFileError(
            f"There is no model file {path}: check the name, or see `napari-cupre models list`."
        )
    try:
        path.open("rb").close()
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {system_reason(error)}.") from error
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"{path} is not a complete safetensors file ({reason_of(error)}): copy or download it again."
        ) from error


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
