"""Prediction without torch finds what torch finds."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from napari_cupre.data.image import CellImage, normalise
from napari_cupre.errors import InputError, ModelFileError
from napari_cupre.evaluation.report import evaluate
from napari_cupre.io.samples import SAMPLES, load_sample
from napari_cupre.model import checkpoint
from napari_cupre.model.checkpoint import Model, new_model, save_model
from napari_cupre.model.config import preset
from napari_cupre.model.model_info import read_info
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.zoo import bundled_path, open_model
from napari_cupre.prediction import engine_choice
from napari_cupre.prediction.detector import Detector, resized
from napari_cupre.prediction.engine_choice import (
    ONNX,
    TORCH,
    EngineChoice,
    choose_engine,
    finder_by,
    job_size,
)
from napari_cupre.prediction.fingerprint import labels_depend_on
from napari_cupre.prediction.graph_detector import GraphDetector, stretched
from napari_cupre.prediction.plane import predict_plane
from napari_cupre.prediction.predict_options import PredictOptions
from napari_cupre.prediction.reader import PlaneReader
from napari_cupre.prediction.tiles import Window
from napari_cupre.synthetic import draw_field

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def graph() -> GraphDetector:
    return GraphDetector(bundled_path("cells"))


@pytest.fixture(scope="module")
def reference() -> Iterator[Detector]:
    with pytest.MonkeyPatch.context() as patch:  # float32 on every processor
        patch.setattr(checkpoint, "prediction_dtype", lambda device: None)
        detector = Detector(open_model("cells", "cpu"))
        detector.look(np.zeros((8, 8, 3), np.float32), 1.0, 0.5)  # makes its engine
        yield detector


def drawn(shape: tuple[int, int], seed: int = 0, diameter: float = 24.0) -> np.ndarray:
    field = draw_field(np.random.default_rng(seed), max(64, *shape), diameter=diameter).image
    return np.ascontiguousarray(field[: shape[0], : shape[1]])


@pytest.mark.parametrize(
    ("image", "factor"),
    [
        (drawn((201, 157)), 1.0),
        (drawn((130, 250), 1, 40.0), 0.6),
        (drawn((97, 120), 2, 14.0), 1.7),
        (drawn((150, 150), 3) * np.array([1.0, 0.6, 0.2], np.float32), 1.0),
        (drawn((9, 33)), 1.0),
        (drawn((1, 1)), 1.0),
        (np.zeros((64, 64, 3), np.float32), 1.0),
    ],
    ids=["odd", "shrunk", "stretched", "rgb", "narrow", "pixel", "empty"],
)
def test_a_piece_holds_the_same_cells(
    graph: GraphDetector, reference: Detector, image: np.ndarray, factor: float
) -> None:
    found, wanted = (each.look(image, factor, 0.4) for each in (graph, reference))
    assert len(found) == len(wanted)
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=2e-3)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
    np.testing.assert_array_equal(found.kinds, wanted.kinds)
    np.testing.assert_allclose(found.masks, wanted.masks, atol=2e-3)


def test_the_fields_above_hold_cells(reference: Detector) -> None:
    assert len(reference.look(drawn((201, 157)), 1.0, 0.4)) > 5


@pytest.mark.parametrize("tile", [None, 128])
def test_a_plane_of_several_tiles_is_the_same(graph: GraphDetector, reference: Detector, tile: int) -> None:
    image = drawn((260, 300), 4)
    found, wanted = (predict_plane(each, image, diameter=24.0, tile=tile) for each in (graph, reference))
    assert len(wanted) > 10
    assert evaluate([found.labels], [wanted.labels]).f1 >= 0.99


@pytest.mark.parametrize("name", [info.name for info in SAMPLES][:3])
def test_shipped_samples_are_the_same(graph: GraphDetector, reference: Detector, name: str) -> None:
    image = PlaneReader(load_sample(name).image, {})(Window(0, 0, 300, 300))
    found, wanted = (predict_plane(each, image, diameter=20.0) for each in (graph, reference))
    assert len(wanted) > 2
    assert len(found) == len(wanted)
    assert evaluate([found.labels], [wanted.labels]).f1 >= 0.99


def test_boxes_are_mended_and_outlined_alike(graph: GraphDetector, reference: Detector) -> None:
    image = drawn((120, 140), 5)
    boxes = np.array([[10, 12, 36, 35], [60.5, 40, 92, 77], [0, 0, 140, 120], [5, 5, 6, 6]], np.float32)
    mine, theirs = (each.features(image, 1.3) for each in (graph, reference))
    assert mine.size == theirs.size
    assert mine.bytes == theirs.bytes
    for found, wanted in zip(graph.mended(mine, boxes), reference.mended(theirs, boxes)):
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, atol=2e-3)
    np.testing.assert_allclose(graph.outlined(mine, boxes), reference.outlined(theirs, boxes), atol=2e-3)
    assert len(graph.outlined(mine, boxes[:0])) == len(graph.mended(mine, boxes[:0])[0]) == 0


@pytest.mark.parametrize("factor", [0.13, 0.5, 0.77, 0.999, 1.0, 1.01, 1.5, 2.3])
@pytest.mark.parametrize("shape", [(37, 53), (1, 1), (5, 200)])
@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "colours"])
def test_images_are_stretched_as_torch_does(shape: tuple[int, int], factor: float, channels: int) -> None:
    image = np.random.default_rng(0).random((*shape, channels), dtype=np.float32)
    image = np.broadcast_to(image, (*shape, 3)).copy()
    wanted = resized(torch.from_numpy(image).permute(2, 0, 1)[None], factor)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(stretched(image, factor), wanted, atol=1e-4)


def test_a_model_of_two_classes_made_by_the_user(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = CellRCNN(preset("compact", classes=("small", "large"))).eval()
    torch.nn.init.normal_(network.heads.box.score.weight, std=0.3)
    path = save_model(Model(network, new_model("compact").info), tmp_path / "two.safetensors")
    image = drawn((64, 64))
    boxes = np.random.default_rng(0).uniform(0, 30, (20, 4)).astype(np.float32)
    boxes[:, 2:] += boxes[:, :2] + 4
    results = []
    for each in (GraphDetector(path), Detector(open_model(path, "cpu"))):
        assert each.info.classes == ("small", "large")
        results.append(each.mended(each.features(image, 1.0), boxes))
    assert set(results[1][2]) <= {1, 2}
    for found, wanted in zip(*results):
        np.testing.assert_allclose(found, wanted, atol=0.02)  # torch may compute the features in bfloat16


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    whole = bundled_path("cells").read_bytes()
    (tmp_path / "short.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match="short"):
        GraphDetector(tmp_path / "short.safetensors")
    network = CellRCNN(preset("compact"))
    del network.heads.mask.logits
    path = save_model(Model(network, new_model("compact").info), tmp_path / "less.safetensors")
    with pytest.raises(ModelFileError, match="does not fit"):
        GraphDetector(path)


def test_an_interrupted_slide_goes_on_with_either(graph: GraphDetector, reference: Detector) -> None:
    image, options = CellImage.from_array(np.zeros((8, 8)), "YX"), PredictOptions()
    assert labels_depend_on(graph, image, options) == labels_depend_on(reference, image, options)


# -- who computes ---------------------------------------------------------------------------------------


@pytest.fixture
def plain_computer(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No GPU, torch not loaded, slow in bfloat16, nothing asked for."""
    monkeypatch.delenv(engine_choice.VARIABLE, raising=False)
    monkeypatch.setattr(engine_choice, "is_torch_loaded", lambda: False)
    monkeypatch.setattr(engine_choice, "may_have_gpu", lambda: False)
    monkeypatch.setattr(engine_choice, "gains_from_bf16", lambda: False)
    return monkeypatch


def test_small_jobs_need_no_torch(plain_computer: pytest.MonkeyPatch) -> None:
    assert choose_engine("cells", "auto", 1e6).name == ONNX
    for fast in (True, None):
        plain_computer.setattr(engine_choice, "gains_from_bf16", lambda fast=fast: fast)
        assert choose_engine("cells", "cpu", 3.9).name == ONNX
        assert choose_engine("cells", "cpu", 4.1).name == TORCH


def test_what_only_torch_can_do(plain_computer: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tiny = save_model(new_model("tiny"), tmp_path / "tiny.safetensors")
    assert choose_engine(str(tiny), "cpu", 1).name == TORCH
    assert choose_engine("scratch", "cpu", 1).name == TORCH
    assert choose_engine("cells", "cuda", 1).name == TORCH
    plain_computer.setattr(engine_choice, "may_have_gpu", lambda: True)
    assert choose_engine("cells", "auto", 1).name == TORCH
    assert choose_engine("cells", "cpu", 1).name == ONNX
    plain_computer.setattr(engine_choice, "is_torch_loaded", lambda: True)
    assert "loaded" in choose_engine("cells", "cpu", 1).reason


def test_the_variable_decides(plain_computer: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "napari_cupre")
    plain_computer.setenv(engine_choice.VARIABLE, "torch")
    assert choose_engine("cells", "cpu", 1).name == TORCH
    assert "Computing with torch" in caplog.text
    plain_computer.setenv(engine_choice.VARIABLE, "ONNX")
    assert choose_engine("cells", "cpu", 1e6).name == ONNX
    with pytest.raises(InputError, match="random weights"):
        choose_engine("scratch", "cpu", 1)
    plain_computer.setenv(engine_choice.VARIABLE, "fast")
    with pytest.raises(InputError, match="torch or onnx"):
        choose_engine("cells", "cpu", 1)


def test_without_onnxruntime_torch_computes(
    plain_computer: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain_computer.setitem(sys.modules, "onnxruntime", None)
    assert choose_engine("cells", "cpu", 1).name == TORCH
    assert isinstance(finder_by(EngineChoice(ONNX, ""), "cells", "cpu"), Detector)
    assert "cannot be used" in caplog.text


def test_the_size_of_a_job() -> None:
    image = CellImage.from_array(np.zeros((3, 500, 1000), np.uint8), "ZYX")
    info = read_info(bundled_path("cells"))
    assert job_size(image, info, PredictOptions(diameter=48.0)) == pytest.approx(1.5 / 4)
    assert job_size(image, info, PredictOptions()) == pytest.approx(3.0)


PREDICTING = """
import sys
from napari_cupre.cli.main import main
code = main(sys.argv[1:])
print([name for name in ("torch", "torchvision", "timm", "zarr", "pandas", "napari") if name in sys.modules])
sys.exit(code)
"""
OPENING = """
import sys
from importlib import import_module
from napari_cupre.service.server import libraries
for name in libraries(is_urgent=True):
    import_module(name)
print([name for name in ("torch", "torchvision", "timm") if name in sys.modules])
"""


def run_child(code: str, *arguments: object, engine: str = ONNX) -> str:
    environment = {**os.environ, engine_choice.VARIABLE: engine, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commands_import_no_torch(tmp_path: Path) -> None:
    picture = (np.clip(drawn((128, 128)).mean(axis=2), 0, 1) * 255).astype(np.uint8)
    iio.imwrite(tmp_path / "a.png", picture)
    run = run_child(PREDICTING, "predict", "cells", tmp_path / "a.png", "--out", tmp_path / "out")
    assert run.splitlines()[-1] == "[]"
    wanted = predict_plane(finder_by(EngineChoice(TORCH, ""), "cells", "cpu"), normalise(picture)).labels
    labels = iio.imread(tmp_path / "out" / "a.tif")
    assert evaluate([labels], [wanted]).f1 >= 0.99
    (tmp_path / "points.csv").write_text("y,x\n64,64\n")
    prompts = (tmp_path / "points.csv", "--out", tmp_path / "o.tif", "--diameter", "24")
    run = run_child(PREDICTING, "outline", "cells", tmp_path / "a.png", *prompts)
    assert run.splitlines()[-1] == "[]"


def test_the_urgent_child_of_the_window_imports_no_torch() -> None:
    assert run_child(OPENING).strip() == "[]"
