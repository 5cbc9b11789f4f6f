"""The graphs that ship are those of the network as it is."""

from __future__ import annotations

import json
from types import ModuleType

import numpy as np
import pytest
import torch
from scripts import load_script

from napari_cupre.model.box_math import nms
from napari_cupre.model.config import preset
from napari_cupre.model.graph_boxes import pooled
from napari_cupre.model.graph_file import (
    BOX,
    COUNTERS,
    GRAPHED,
    MASK,
    SUPPRESSION,
    TRUNK,
    graph_path,
    has_graphs,
    names_path,
)
from napari_cupre.model.pool import RoiPool

REMEDY = "the network has changed: run tools/export_graphs.py and commit what it writes"


def tool() -> ModuleType:
    return load_script("tools/export_graphs.py")


@pytest.mark.parametrize("name", GRAPHED)
def test_names_and_shapes_of_weights_are_those_of_the_network(name: str) -> None:
    listed = json.loads(names_path(name).read_text(encoding="utf-8"))
    assert listed == tool().weight_shapes(name), REMEDY
    graphs = b"".join(graph_path(part, name).read_bytes() for part in (TRUNK, BOX, MASK))
    unused = [key for key in listed if not key.endswith(COUNTERS) and key.encode() not in graphs]
    assert unused == [], REMEDY


@pytest.mark.parametrize("name", GRAPHED)
def test_graphs_are_what_the_network_exports(name: str) -> None:
    onnx = pytest.importorskip("onnx")

    def nodes(content: bytes) -> list[tuple[object, ...]]:
        graph = onnx.load_model_from_string(content).graph
        return [(node.op_type, list(node.input), str(list(node.attribute))) for node in graph.node]

    for part, content in tool().exported(name).items():
        assert nodes(content) == nodes(graph_path(part, name).read_bytes()), REMEDY
    assert nodes(tool().suppression()) == nodes(graph_path(SUPPRESSION).read_bytes())


def test_only_networks_of_that_shape_have_graphs() -> None:
    assert has_graphs(preset("compact", classes=("a", "b"), diameter=40.0))
    assert not has_graphs(preset("compact", fpn_channels=64))
    assert not has_graphs(preset("tiny"))


def test_the_files_tell_nothing_of_the_machine_that_made_them() -> None:
    for path in graph_path(SUPPRESSION).parent.iterdir():
        content = path.read_bytes()
        assert len(content) < 200_000
        assert b"/home" not in content
        assert b".py" not in content


@pytest.mark.parametrize(("side", "samples"), [(7, 2), (14, 1)])
def test_regions_are_pooled_as_torch_does(side: int, samples: int) -> None:
    rng = np.random.default_rng(0)
    maps = [rng.random((1, 6, 40 // 2**n, 56 // 2**n), dtype=np.float32) for n in range(4)]
    boxes = rng.uniform(-10, 200, (300, 4)).astype(np.float32)
    boxes[:, 2:] = boxes[:, :2] + rng.uniform(0.5, 300, (300, 2))
    tensors = {str(n): torch.from_numpy(level) for n, level in enumerate(maps)}
    wanted = RoiPool(side, samples)(tensors, [torch.from_numpy(boxes)]).permute(0, 2, 3, 1).numpy()
    given = [np.ascontiguousarray(level[0].transpose(1, 2, 0)) for level in maps]
    np.testing.assert_allclose(pooled(given, boxes, side, samples), wanted, atol=1e-5)
    assert pooled(given, boxes[:0], side, samples).shape == (0, side, side, 6)


def test_boxes_are_suppressed_as_torchvision_does() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 100, (500, 4)).astype(np.float32)
    boxes[:, 2:] = boxes[:, :2] + rng.uniform(5, 40, (500, 2))
    scores = rng.integers(0, 50, 500).astype(np.float32) / 50  # many are equal
    session = onnxruntime.InferenceSession(
        graph_path(SUPPRESSION).read_bytes(), providers=["CPUExecutionProvider"]
    )
    most, iou = np.array([500], np.int64), np.array([0.6], np.float32)
    given = {"boxes": boxes[None], "scores": scores[None, None], "most": most, "iou": iou}
    found = session.run(None, given)[0][:, 2]
    assert found.tolist() == nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.6).tolist()
