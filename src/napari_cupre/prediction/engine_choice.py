"""Choose the library for a prediction: PyTorch, or ONNX Runtime, which starts in a tenth of the time.

torch takes seconds and some 600 MB to import, and is needed for GPUs, for networks without graphs and for
training. It is also faster in large jobs on processors that multiply bfloat16 at twice the speed.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from safetensors import safe_open

from napari_cupre.errors import InputError
from napari_cupre.model.graph_file import has_graphs
from napari_cupre.model.hardware import gains_from_bf16, may_have_gpu
from napari_cupre.model.model_info import GRAPH, ModelInfo, read_info
from napari_cupre.model.zoo import find_model

if TYPE_CHECKING:
    from napari_cupre.data.image import CellImage
    from napari_cupre.prediction.detecting import CellFinder
    from napari_cupre.prediction.predict_options import PredictOptions

TORCH, ONNX = "torch", "onnx"

VARIABLE = "NAPARI_CUPRE_ENGINE"
"""Environment variable that names an engine; if empty, this module chooses."""

SMALL_JOB = 4.0
"""Network megapixels up to which importing torch does not pay, even if it is fast in bfloat16."""

LOOKS = 2.0
"""Approximate number of passes for an image whose cell size is estimated."""

_log = logging.getLogger(__name__)


class EngineChoice(NamedTuple):
    """One of `TORCH` and `ONNX`, and why."""

    name: str
    reason: str


def choose_engine(model: str, device: str, megapixels: float) -> EngineChoice:
    """Choose the better engine for a model by name or path; import neither, and log the choice.

    Parameters
    ----------
    model : str
        Name or path.
    device : str
        "auto", "cpu", "cuda" or "mps".
    megapixels : float
        Size of the job at the network's scale (see `job_size`).

    Raises
    ------
    InputError
        If `VARIABLE` names no engine, or one that cannot serve this model.
    ModelFileError
        If there is no such model, or its file cannot be read.
    """
    engine = _chosen(model, device, megapixels)
    _log.info("Computing with %s: %s.", engine.name, engine.reason)
    return engine


def make_finder(model: str, device: str, seed: int = 0, megapixels: float = math.inf) -> CellFinder:
    """Make a model ready with the suitable engine; parameters as for `choose_engine`.

    Raises
    ------
    InputError, ModelFileError
        As `choose_engine`.
    EnvironmentFault
        If the requested device does not exist.
    """
    return finder_by(choose_engine(model, device, megapixels), model, device, seed)


def finder_by(engine: EngineChoice, model: str, device: str, seed: int = 0) -> CellFinder:
    """Make a model ready with `engine`, or with torch if ONNX Runtime turns out not to work."""
    path = find_model(model).path
    if engine.name == ONNX and path is not None:
        from napari_cupre.prediction.graph_detector import GraphDetector

        try:
            return GraphDetector(path)
        except ImportError as error:
            _log.warning("ONNX Runtime cannot be used (%s): computing with torch.", error)
    from napari_cupre.model.device import check_torchvision
    from napari_cupre.model.zoo import open_model
    from napari_cupre.prediction.detector import Detector

    check_torchvision()
    return Detector(open_model(model, device, seed))


def may_serve_without_torch() -> bool:
    """Whether this computer can do small jobs without torch, given a model with graphs."""
    asked = _asked()
    if asked == TORCH or find_spec("onnxruntime") is None:
        return False
    return asked == ONNX or not may_have_gpu()


def check_engine(engine: EngineChoice, device: str) -> None:
    """Raise errors that would affect every file: torch does not work, or the device does not exist."""
    if engine.name == TORCH:
        from napari_cupre.model.device import check_torchvision, choose_device

        check_torchvision()
        choose_device(device)


def job_size(image: CellImage, info: ModelInfo, options: PredictOptions) -> float:
    """Estimate the megapixels of all planes of an image at the network's scale, before looking at it."""
    diameter = options.diameter or info.diameter
    factor, passes = (info.config.diameter / diameter, 1.0) if diameter else (1.0, LOOKS)
    pixels = math.prod(image.plane_shape) * sum(1 for _ in image.plane_indices())
    return pixels * factor * factor * passes / 1e6


def _chosen(model: str, device: str, megapixels: float) -> EngineChoice:
    """See `choose_engine`."""
    asked = _asked()
    if asked not in ("", TORCH, ONNX):
        raise InputError(f"{VARIABLE}={asked} is not an engine: choose {TORCH} or {ONNX}, or leave it empty.")
    if asked == TORCH:
        return EngineChoice(TORCH, f"{VARIABLE} asks for it")
    hindrance = _hindrance(model, device)
    if asked == ONNX:
        if hindrance:
            raise InputError(f"{VARIABLE}={ONNX} cannot be used: {hindrance}. Leave it empty.")
        return EngineChoice(ONNX, f"{VARIABLE} asks for it")
    reason = hindrance or _better_with_torch(device, megapixels)
    return (
        EngineChoice(TORCH, reason)
        if reason
        else EngineChoice(ONNX, "the job is small, or float32 is as fast here")
    )


def _asked() -> str:
    """Return the engine named by the environment."""
    return os.environ.get(VARIABLE, "").strip().lower()


def _hindrance(model: str, device: str) -> str:
    """Return why only torch is possible; "" if ONNX Runtime is possible too."""
    path = find_model(model).path
    if path is None:
        return "the model has random weights, and only torch makes those"
    if device not in ("auto", "cpu"):
        return f"the device {device} was asked for"
    if not has_graphs(read_info(path).config):
        return "this kind of network has no ONNX graphs"
    if find_spec("onnxruntime") is None:
        return "the package onnxruntime is missing"
    if find_spec("openvino") is not None and _has_own_graphs(path):
        return "the model contains OpenVINO layers"
    return ""


def _better_with_torch(device: str, megapixels: float) -> str:
    """Return why torch is the better choice; "" if it is not."""
    if is_torch_loaded():
        return "it is already loaded"
    if device == "auto" and may_have_gpu():
        return "this computer may have a GPU"
    if megapixels > SMALL_JOB and gains_from_bf16() is not False:
        return f"the job has {megapixels:.0f} megapixels, and this processor may be fast in bfloat16"
    return ""


def is_torch_loaded() -> bool:
    """Whether this process has imported torch already."""
    return "torch" in sys.modules


def _has_own_graphs(path: Path) -> bool:
    with safe_open(path, framework="np") as file:
        return any(key.startswith(GRAPH) for key in file.keys())  # noqa: SIM118
