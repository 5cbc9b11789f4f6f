"""Run a network's layers in OpenVINO, Intel's runtime for processors: the extra `fast` (experimental).

There are three graphs, as `model.engine` needs them: the trunk, the box head and the mask head. Candidates,
suppression and RoI pooling stay in PyTorch. `convert` makes the graphs in 8-bit integers with NNCF; the
model's file contains them as bytes. In floating point OpenVINO is no faster than `TorchEngine`, and in
bfloat16 slower where the processor has no matrix units (AVX512-BF16, 2 cores).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_cupre.errors import EnvironmentFault, ModelFileError
from napari_cupre.model.engine import Maps, Trunk, rewritten

if TYPE_CHECKING:
    from napari_cupre.model.network import CellRCNN

TRUNK, BOX, MASK = "trunk", "box", "mask"
ROIS_AT_ONCE = 256
"""Largest number of RoIs per calibration image for the heads."""


def openvino_is_there() -> bool:
    """Whether the runtime is installed, without importing it."""
    return find_spec("openvino") is not None


class OpenVinoEngine:
    """An engine that runs converted graphs on as many threads as PyTorch uses (experimental).

    One engine must not be shared between threads.

    Parameters
    ----------
    graphs : dict of str to bytes
        The result of `convert`.

    Raises
    ------
    ModelFileError
        If they are damaged, or the installed OpenVINO cannot read their version.
    """

    def __init__(self, graphs: dict[str, bytes]) -> None:
        self._trunk, self._box, self._mask = (_compiled(graphs, name) for name in (TRUNK, BOX, MASK))
        self._levels = (len(self._trunk.model_outputs)) // 3

    def maps(self, images: Tensor) -> Maps:
        """Run the first stage on (B, 3, H, W) images."""
        # The results stay in OpenVINO's memory and are valid until the next images.
        outputs = self._trunk.infer([images.contiguous().numpy()], share_inputs=True, share_outputs=True)
        tensors = [torch.from_numpy(outputs[number]) for number in range(3 * self._levels)]
        features = {str(i): tensors[i].permute(0, 3, 1, 2) for i in range(self._levels)}
        return Maps(features, tensors[self._levels : 2 * self._levels], tensors[2 * self._levels :])

    def box(self, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores and box offsets of pooled features."""
        outputs = self._box.infer([rois.contiguous().numpy()], share_inputs=True)
        return torch.from_numpy(outputs[0]), torch.from_numpy(outputs[1])

    def mask(self, rois: Tensor) -> Tensor:
        """Return mask logits of pooled features."""
        outputs = self._mask.infer([rois.contiguous().numpy()], share_inputs=True)
        return torch.from_numpy(outputs[0])


def _compiled(graphs: dict[str, bytes], name: str) -> Any:
    """Make an inference request for one graph, in the precision that it was written in."""
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    try:
        graph = core.read_model(graphs[f"{name}.xml"], graphs[f"{name}.bin"])
        return core.compile_model(graph, "CPU", options).create_infer_request()
    except (KeyError, RuntimeError) as error:
        raise ModelFileError(
            f"The model's OpenVINO graph {name!r} cannot be used by OpenVINO {openvino.__version__}: "
            "export the model again with this version."
        ) from error


class _FlatTrunk(nn.Module):
    """A trunk that returns one flat list; features have channels last, as RoI pooling needs them."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = self.trunk(images)
        return (*(f.permute(0, 2, 3, 1) for f in maps.features.values()), *maps.scores, *maps.offsets)


class _Recorder:
    """The network as an engine that records the input of each part."""

    def __init__(self, network: CellRCNN) -> None:
        self._network = network
        self.seen: dict[str, list[np.ndarray]] = {TRUNK: [], BOX: [], MASK: []}

    def maps(self, images: Tensor) -> Maps:
        self.seen[TRUNK].append(images.numpy())
        return self._network.maps(images)

    def box(self, rois: Tensor) -> tuple[Tensor, Tensor]:
        self.seen[BOX].append(rois[:ROIS_AT_ONCE].contiguous().numpy())
        return self._network.heads.box(rois)

    def mask(self, rois: Tensor) -> Tensor:
        self.seen[MASK].append(rois.contiguous().numpy())
        return self._network.heads.mask(rois)


def check_converter() -> None:
    """Raise `EnvironmentFault` if OpenVINO or NNCF is not installed."""
    for package in ("openvino", "nncf"):
        if find_spec(package) is None:
            raise EnvironmentFault(
                f"OpenVINO graphs need the package {package}, which is missing: "
                'run "pip install napari-cupre[fast]".'
            )


def convert(network: CellRCNN, images: Sequence[Tensor]) -> dict[str, bytes]:
    """Convert a network to OpenVINO graphs in 8-bit integers (experimental).

    Parameters
    ----------
    network : CellRCNN
        In evaluation mode, on the processor.
    images : sequence of torch.Tensor
        float32 (1, 3, Y, X) in about [0, 1], at the network's scale, with cells. The values inside the
        network for these images set the 8-bit ranges.

    Returns
    -------
    dict
        File name to content: "trunk.xml", "trunk.bin" and the same of "box" and "mask".

    Raises
    ------
    EnvironmentFault
        If OpenVINO or NNCF is not installed.
    """
    check_converter()
    recorder = _Recorder(network)
    with torch.no_grad():
        for image in images:
            network.detect(image, engine=recorder)
    trunk = _FlatTrunk(rewritten(Trunk(network.backbone, network.neck, network.rpn.head)))
    parts = {TRUNK: trunk, BOX: network.heads.box, MASK: network.heads.mask}
    files: dict[str, bytes] = {}
    for name, module in parts.items():
        files |= _written(_graph(module, recorder.seen[name], name == TRUNK), name)
    return files


def _graph(module: nn.Module, seen: list[np.ndarray], any_size: bool) -> Any:
    """Convert one module to a quantised OpenVINO model that takes any number of images or RoIs."""
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    example = torch.from_numpy(seen[0])
    shape = [-1, 3, -1, -1] if any_size else [-1, *example.shape[1:]]
    with torch.no_grad():
        graph = openvino.convert_model(module, example_input=example, input=[shape])
    mixed = nncf.QuantizationPreset.MIXED
    return nncf.quantize(graph, nncf.Dataset(seen), preset=mixed, subset_size=len(seen))


def _written(graph: Any, name: str) -> dict[str, bytes]:
    """Write a graph as the two files that OpenVINO reads."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.xml"
        openvino.save_model(graph, path)
        return {file.name: file.read_bytes() for file in (path, path.with_suffix(".bin"))}
