"""Put the weights of a model file into the graphs that ship for prediction without torch.

A graph is a network's structure as ONNX, a protocol-buffers message, without weights;
`tools/export_graphs.py` makes it. Two such messages written one after the other are read as one with the
lists of both. So the weights are appended as a second message, and no ONNX library is needed to write it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from napari_cupre.errors import ModelFileError
from napari_cupre.model.config import ModelConfig, preset
from napari_cupre.model.model_info import GRAPH

FOLDER = Path(__file__).parent / "graphs"

GRAPHED = ("compact",)
"""Presets whose graphs ship."""

TRUNK, BOX, MASK, SUPPRESSION = "trunk", "box", "mask", "suppression"

_PARTS = {BOX: "heads.box.", MASK: "heads.mask."}
"""Prefixes of the names of each part's weights; all other weights belong to the trunk."""

COUNTERS = "num_batches_tracked"
"""Endings of tensors that only training reads."""

# Numbers of fields and types in onnx.proto.
_MODEL_GRAPH, _GRAPH_INITIALIZER = 7, 5
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9
_FLOAT = 1

Weights = Mapping[str, np.ndarray]


def graph_path(part: str, preset_name: str = "") -> Path:
    """Return the file of one part of a preset's network."""
    return FOLDER / (f"{preset_name}_{part}.onnx" if preset_name else f"{part}.onnx")


def names_path(preset_name: str) -> Path:
    """Return the file that lists names and shapes of a preset's weights."""
    return FOLDER / f"{preset_name}.json"


def has_graphs(config: ModelConfig) -> bool:
    """Whether graphs ship for a network with these settings, whatever its classes."""
    if config.preset not in GRAPHED:
        return False
    shipped = preset(config.preset)
    return replace(config, classes=shipped.classes, diameter=shipped.diameter) == shipped


def read_tensors(path: Path, config: ModelConfig) -> dict[str, np.ndarray]:
    """Read the tensors of a model file by name: float32, or whole numbers as they are.

    Raises
    ------
    ModelFileError
        If they cannot be read or do not belong to the preset.
    """
    fault = f"{path} is damaged or does not fit its own settings: copy or download it again."
    try:
        with safe_open(path, framework="np") as file:
            found = {key: file.get_tensor(key) for key in file.keys() if not key.startswith(GRAPH)}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelFileError(fault) from error
    wanted = json.loads(names_path(config.preset).read_text(encoding="utf-8"))
    classes = len(config.classes) + 1
    for key, shape in wanted.items():
        if key not in found or found[key].shape != tuple(classes if side is None else side for side in shape):
            raise ModelFileError(fault)
    if set(found) != set(wanted):
        raise ModelFileError(fault)
    return {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in found.items()}


def filled_graph(preset_name: str, part: str, weights: Weights) -> bytes:
    """Return one part of a network as ONNX, with its weights."""
    tensors = [_tensor(*each) for each in _of_part(part, weights)]
    initializers = b"".join(_field(_GRAPH_INITIALIZER, tensor) for tensor in tensors)
    return graph_path(part, preset_name).read_bytes() + _field(_MODEL_GRAPH, initializers)


def _of_part(part: str, weights: Weights) -> Iterator[tuple[str, np.ndarray]]:
    for name, value in weights.items():
        owner = next((head for head, start in _PARTS.items() if name.startswith(start)), TRUNK)
        if owner == part and not name.endswith(COUNTERS):
            yield name, value


def _tensor(name: str, value: np.ndarray) -> bytes:
    """Encode a TensorProto."""
    little = np.ascontiguousarray(value, dtype="<f4")
    return b"".join(
        (
            _field(_DIMS, b"".join(map(_varint, little.shape))),
            _varint(_DATA_TYPE << 3) + _varint(_FLOAT),
            _field(_NAME, name.encode()),
            _field(_RAW_DATA, little.tobytes()),
        )
    )


def _field(number: int, content: bytes) -> bytes:
    """Encode a field with its length."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Encode a whole number with seven bits per byte, the lowest first."""
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)
