"""Write the graphs with which a preset predicts without torch: `model/graphs/` of the package.

    python tools/export_graphs.py          # needs the package onnx, beside the project's own

Run it after a change of the network, and commit what it writes. A graph is the structure alone:
`model.graph_file` puts the weights of any model file of the preset into it. `PRESET.json` lists the names and
shapes of those weights, so that tests notice a change of the network without onnx.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_cupre.model.config import preset
from napari_cupre.model.engine import standardised
from napari_cupre.model.geometry import LEAST_LOGIT
from napari_cupre.model.graph_file import (
    BOX,
    COUNTERS,
    FOLDER,
    GRAPHED,
    MASK,
    SUPPRESSION,
    TRUNK,
    graph_path,
    names_path,
)
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.rpn import is_peak

OPSET = 17
"""What ONNX Runtime reads since 1.12."""


class _Trunk(nn.Module):
    """Images (1, Y, X, 3) to features with channels last, scores of peaks (else very low), and offsets."""

    def __init__(self, network: CellRCNN) -> None:
        super().__init__()
        self.backbone, self.neck, self.rpn = network.backbone, network.neck, network.rpn

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        pyramid = self.neck(self.backbone(standardised(images.permute(0, 3, 1, 2))))
        scores, offsets = self.rpn.head(list(pyramid.values()))
        peaks = [torch.where(is_peak(level), level, 2 * LEAST_LOGIT) for level in scores]
        return (*(level.permute(0, 2, 3, 1) for level in pyramid.values()), *peaks, *offsets)


class _Head(nn.Module):
    """One of the two heads, under the name that it has in the network."""

    def __init__(self, network: CellRCNN, name: str) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({name: getattr(network.heads, name)})
        self._name = name

    def forward(self, rois: Tensor) -> Any:
        """Probabilities of classes and offsets, or of masks, of RoIs (N, side, side, C)."""
        found = self.heads[self._name](rois.permute(0, 3, 1, 2))
        return (found[0].softmax(1), found[1]) if self._name == BOX else found.sigmoid()


def exported(name: str) -> dict[str, bytes]:
    """The graphs of a preset without weights, by part."""
    network = CellRCNN(preset(name)).eval()
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1)  # the exporter would take weights that are alike for one
    levels, channels = len(network.config.anchor_sizes), network.config.fpn_channels
    maps = [f"{kind}{level}" for kind in ("features", "peaks", "offsets") for level in range(levels)]
    image = {"image": {1: "height", 2: "width"}}
    free = {"rois": {0: "count"}, "scores": {0: "count", 1: "classes"}}
    return {
        TRUNK: _graph(_Trunk(network), torch.rand(1, 96, 128, 3), maps, image),
        BOX: _graph(_Head(network, BOX), torch.rand(8, 7, 7, channels), ["scores", "offsets"], free),
        MASK: _graph(
            _Head(network, MASK), torch.rand(8, 14, 14, channels), ["masks"], {"rois": {0: "count"}}
        ),
    }


def _graph(module: nn.Module, example: Tensor, outputs: list[str], axes: dict[str, dict[int, str]]) -> bytes:
    """A module as ONNX without its weights."""
    import onnx

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that this exporter is the older one: it keeps the names of weights
        path = Path(folder) / "graph.onnx"
        torch.onnx.export(
            module.eval(),
            (example,),
            str(path),
            input_names=[next(iter(axes))],
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,  # else BatchNorm is folded, and its weights are gone
        )
        model = onnx.load(str(path))
    names = {each.name for each in model.graph.initializer}
    wanted = {name for name in module.state_dict() if not name.endswith(COUNTERS)}
    if names != wanted:
        raise RuntimeError(f"the graph's weights are not the network's: {names ^ wanted}")
    del model.graph.initializer[:]
    del model.graph.value_info[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for each in model.graph.output:
        each.type.tensor_type.ClearField("shape")
    return model.SerializeToString()


def suppression() -> bytes:
    """The graph of box suppression, the same for all presets."""
    from onnx import TensorProto, helper

    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou"], ["chosen"])
    inputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, "count", 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, "count"]),
        helper.make_tensor_value_info("most", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("iou", TensorProto.FLOAT, [1]),
    ]
    outputs = [helper.make_tensor_value_info("chosen", TensorProto.INT64, ["rows", 3])]
    graph = helper.make_graph([node], "suppression", inputs, outputs)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8
    ).SerializeToString()


def weight_shapes(name: str) -> dict[str, list[int | None]]:
    """Names and shapes of a preset's weights; None where it depends on the number of classes."""
    state = CellRCNN(preset(name)).state_dict()
    return {
        key: [
            None if axis == 0 and key.startswith("heads.box.score.") else side
            for axis, side in enumerate(value.shape)
        ]
        for key, value in sorted(state.items())
    }


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    graph_path(SUPPRESSION).write_bytes(suppression())
    for name in GRAPHED:
        for part, content in exported(name).items():
            graph_path(part, name).write_bytes(content)
        names_path(name).write_text(json.dumps(weight_shapes(name), indent=0) + "\n", encoding="utf-8")
    for path in sorted(FOLDER.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1e3:.1f} KB")


if __name__ == "__main__":
    main()
