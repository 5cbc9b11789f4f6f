"""Read a model's description, the JSON document in its file's header, without torch."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from napari_cupre.errors import ModelFileError, reason_of, system_reason
from napari_cupre.model.config import ModelConfig

FORMAT_VERSION = 1
HEADER_KEY = "napari_cupre"
GRAPH = "graph/"
"""Tensors whose names begin with this contain the bytes of `Model.graphs`."""

NORMALISATION = "percentiles 1-99.8 to 0-1"


@dataclass(frozen=True)
class ModelInfo:
    """What is known about a model besides its weights: the JSON document in its file.

    Attributes
    ----------
    name : str
        Name of the model in lists.
    config : ModelConfig
        Settings of the network.
    diameter : float or None
        Cell diameter in px of the images it was trained for; None = estimate it from each image.
    diameter_um : float or None
        The same in micrometres, where the pixel size was known.
    normalisation : str
        How pixel values become the network's input.
    training : dict of str to Any
        How the model was made: objective, data, steps, seconds, seed, code version, parent, ...
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
        """Return the names of the classes that the network tells apart."""
        return self.config.classes

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelInfo:
        """Inverse of `as_dict`; unknown settings from a later minor revision are left out."""
        known = {f.name for f in fields(cls)}
        chosen = {key: value for key, value in values.items() if key in known}
        try:
            return cls(**{**chosen, "config": ModelConfig.from_dict(chosen["config"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise ModelFileError(
                f"The model's description is incomplete ({error!r}): export it again."
            ) from error


def read_info(path: str | os.PathLike[str]) -> ModelInfo:
    """Read the description in a model file, without its tensors.

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
    """Read the map of strings in the header of a safetensors file, without the tensors."""
    if not path.is_file():
        raise ModelFileError(
            f"There is no model file {path}: check the name, or see `napari-cupre models list`."
        )
    try:
        path.open("rb").close()
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {system_reason(error)}.") from error
    try:
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"{path} is not a complete safetensors file ({reason_of(error)}): copy or download it again."
        ) from error
