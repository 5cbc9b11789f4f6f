"""What detects faster finds the same cells."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter
from torch import Tensor
from torchvision.ops import box_iou

from napari_cupre.errors import ModelFileError
from napari_cupre.model import checkpoint
from napari_cupre.model.bfloat16 import FastReLU, clipped_at_6
from napari_cupre.model.checkpoint import Model, new_model, read_model, save_model
from napari_cupre.model.config import preset
from napari_cupre.model.convert import FIELDS, calibration_images
from napari_cupre.model.engine import TorchEngine
from napari_cupre.model.geometry import DETECT_OBJECTNESS
from napari_cupre.model.network import CellRCNN, Detections
from napari_cupre.model.openvino import OpenVinoEngine, convert
from napari_cupre.model.zoo import open_model
from napari_cupre.prediction import detector as detector_module
from napari_cupre.prediction.detector import Detector


def lively(network: CellRCNN) -> CellRCNN:
    """Random weights with statistics and scores that are not all alike, as after a training."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    for layer in (network.rpn.head.cls_logits, network.rpn.head.bbox_pred, network.heads.box.score):
        torch.nn.init.normal_(layer.weight, std=0.1, generator=generator)
    return network.eval()


@pytest.fixture(scope="module", params=["tiny", "resnest14d"])
def network(request: pytest.FixtureRequest) -> CellRCNN:
    torch.manual_seed(0)
    changes = {} if request.param == "tiny" else {"backbone": request.param}
    return lively(CellRCNN(preset("tiny", **changes)))


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 90, 150, generator=torch.Generator().manual_seed(1))


def assert_same(found: list[Detections], wanted: list[Detections], atol: float) -> None:
    for mine, theirs in zip(found, wanted, strict=True):
        assert len(mine) == len(theirs) > 10
        torch.testing.assert_close(mine.scores, theirs.scores, atol=atol, rtol=0)
        torch.testing.assert_close(mine.boxes, theirs.boxes, atol=100 * atol, rtol=0)
        torch.testing.assert_close(mine.masks, theirs.masks, atol=atol, rtol=0)


def test_rewritten_layers_find_what_the_network_finds(network: CellRCNN, images: Tensor) -> None:
    before = copy.deepcopy(network.state_dict())
    engine = TorchEngine(network)
    wanted = network.detect(images, score=0.3, max_detections=60)
    assert_same(network.detect(images, score=0.3, max_detections=60, engine=engine), wanted, 1e-4)
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def test_bfloat16_finds_the_same_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is shown is computed in it: the scale of an image is chosen in float32."""
    monkeypatch.setattr(checkpoint, "prediction_dtype", lambda device: torch.bfloat16)
    model = open_model("cupre", "cpu")
    image = calibration_images(model.network.config.diameter)[FIELDS]  # sample nuclei
    exact, fast = model.engine(exact=True), model.engine()
    assert exact is not fast
    assert model.engine() is fast
    wanted = model.network.detect(image, engine=exact)[0]
    found = model.network.detect(image, engine=fast)[0]
    assert not torch.equal(wanted.scores, found.scores)
    overlap = box_iou(wanted.boxes, found.boxes)
    same = int((overlap.max(dim=1).values > 0.5).sum())
    assert 2 * same / (len(wanted) + len(found)) >= 0.98
    looks = []
    detector = Detector(model)
    monkeypatch.setattr(model.network, "detect", lambda *a, engine, **k: looks.append(engine) or [wanted])
    detector.look(np.zeros((64, 64, 3), np.float32), 1.0, 0.5)
    detector([np.zeros((64, 64, 3), np.float32)], 1.0, 0.5)
    assert looks == [exact, fast]


def test_detectors_do_not_lower_the_precision_of_exact_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast of trainings is on by default on some processors, and once it changed looks, too."""
    monkeypatch.setattr(detector_module, "training_dtype", lambda device: torch.bfloat16)
    model = open_model("cupre", "cpu")
    seen, detect = [], model.network.detect
    monkeypatch.setattr(
        model.network,
        "detect",
        lambda *a, **k: seen.append(torch.is_autocast_enabled("cpu")) or detect(*a, **k),
    )
    detector = Detector(model)
    detector.look(np.zeros((64, 64, 3), np.float32), 1.0, 0.5)
    detector([np.zeros((64, 64, 3), np.float32)], 1.0, 0.5)
    assert seen == [False, False]


@given(bits=st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=40))
def test_clipping_bits_clips_numbers(bits: list[int]) -> None:
    numbers = torch.tensor(bits, dtype=torch.int16).view(torch.bfloat16)
    numbers = numbers[~numbers.isnan()]
    assert torch.equal(clipped_at_6(numbers.clone()), numbers.clamp(0, 6))
    assert torch.equal(FastReLU()(numbers.clone()), numbers.relu())
    whole = numbers.float()
    assert torch.equal(clipped_at_6(whole.clone()), whole.clamp(0, 6))
    assert torch.equal(FastReLU()(whole.clone()), whole.relu())


def test_channelwise_convolutions_are_trained_in_float32() -> None:
    """Their gradients are slow in bfloat16; all other layers follow autocast."""
    network = CellRCNN(preset("compact")).train()
    kinds = {}
    for name, layer in network.backbone.named_modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(
                lambda layer, seen, out, name=name: kinds.setdefault(layer.groups > 1, set()).add(out.dtype)
            )
    with torch.autocast("cpu", torch.bfloat16):
        maps = network.backbone(torch.rand(1, 3, 64, 64))
    assert kinds == {True: {torch.float32}, False: {torch.bfloat16}}
    sum(level.float().sum() for level in maps).backward()
    # A detector made meanwhile, as for a preview, computes in the types of its engine.
    with torch.autocast("cpu", torch.bfloat16):
        engine = TorchEngine(network)
    assert engine.maps(torch.rand(1, 3, 64, 64)).scores[0].dtype == torch.float32


@torch.no_grad()
def test_proposals_are_those_of_torchvision(network: CellRCNN) -> None:
    """All anchors decoded and then sorted, as torchvision does, leave the same boxes at the local peaks."""
    # So small that no level has more peaks than are looked at.
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    maps = network.maps(images)
    # No two scores alike, since the order of equal ones is nobody's promise.
    logits_by_level = [score.double() + 1e-6 * torch.rand(score.shape).double() for score in maps.scores]
    offsets = [offset.double() for offset in maps.offsets]
    found = network.rpn.propose(logits_by_level, offsets, (60, 90))
    anchors = network.rpn.anchors(list(maps.features.values())).double()
    for image in range(2):
        boxes, scores, levels = [], [], []
        first = 0
        for level, (score, offset) in enumerate(zip(logits_by_level, offsets, strict=True)):
            kinds = score.shape[1]
            logits = score[image].permute(1, 2, 0).reshape(-1)
            shifts = offset[image].unflatten(0, (kinds, 4)).permute(2, 3, 0, 1).reshape(-1, 4)
            here = anchors[first : first + len(logits)]
            first += len(logits)
            neighbourhood = maximum_filter(score[image].numpy(), (1, 3, 3), mode="nearest")
            highest = torch.from_numpy(neighbourhood).permute(1, 2, 0).reshape(-1)
            kept = (logits > math.log(DETECT_OBJECTNESS / (1 - DETECT_OBJECTNESS))) & (logits == highest)
            boxes.append(network.rpn.coder.decode(shifts, here)[kept])
            scores.append(logits[kept].sigmoid())
            levels.append(torch.full((int(kept.sum()),), level))
        wanted, _ = network.rpn._suppressed(
            torch.cat(boxes), torch.cat(scores), torch.cat(levels), (60, 90), 10**6
        )
        assert len(wanted) > 10
        torch.testing.assert_close(found[image], wanted)


def test_an_engine_follows_the_weights() -> None:
    model = new_model("tiny")
    engine = model.engine()
    assert model.engine() is engine
    with torch.no_grad():
        model.network.neck.inner_blocks[0][0].weight.mul_(2)
    assert model.engine() is not engine


@pytest.mark.timeout(1200)  # quantising takes half a minute of processor time
def test_converted_layers_find_what_the_network_finds(tmp_path: Path) -> None:
    """Quantised to 8 bits, the bundled network finds the same cells; the file is an ordinary model too."""
    pytest.importorskip("nncf")
    pytest.importorskip("openvino")
    model = open_model("cupre", "cpu")
    image = calibration_images(model.network.config.diameter)[FIELDS]  # sample nuclei
    graphs = convert(model.network, [image])
    path = save_model(Model(model.network, model.info, graphs), tmp_path / "light.safetensors")
    loaded = read_model(path, "cpu")
    assert loaded.graphs == graphs
    assert isinstance(loaded.engine(), OpenVinoEngine)
    wanted = model.network.detect(image)[0]
    found = loaded.network.detect(image, engine=loaded.engine())[0]
    assert len(wanted) > 5
    overlap = box_iou(wanted.boxes, found.boxes)
    same = int((overlap.max(dim=1).values > 0.5).sum())
    assert 2 * same / (len(wanted) + len(found)) >= 0.95


def test_graphs_are_dropped_when_the_weights_change(tmp_path: Path) -> None:
    model = Model(new_model("tiny").network, new_model("tiny").info, {"trunk.xml": b"<net/>"})
    assert model.valid_graphs
    with torch.no_grad():
        model.network.neck.inner_blocks[0][0].weight.mul_(2)
    assert not model.valid_graphs
    assert read_model(save_model(model, tmp_path / "changed.safetensors"), "cpu").graphs == {}


def test_damaged_graphs_are_named() -> None:
    pytest.importorskip("openvino")
    with pytest.raises(ModelFileError, match=r"OpenVINO graph 'trunk' .* export the model again"):
        OpenVinoEngine({"trunk.xml": b"<net", "trunk.bin": b""})
