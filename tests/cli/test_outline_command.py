from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_cupre.prediction import drawn as drawn_module

Command = Callable[..., Any]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    path = tmp_path / "boxes.csv"
    path.write_text("x0,y0,x1,y1\n4,5,30,31\n40,20,70,60\n")
    return path


@pytest.mark.parametrize("ending", [".tif", ".TIFF", ".zip", ".json", ".geojson", ".csv"])
def test_the_ending_chooses_the_format(
    ending: str, command: Command, tiny_model: Path, image: Path, boxes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / f"outlines{ending}"
    ran = command("outline", tiny_model, image, boxes, "--out", out, "--json")
    assert ran.code == 0, ran.err
    assert ran.figures["outlines"] == len(ran.figures["scores"]) == 2
    assert out.is_file()
    if ending.lower().startswith(".tif"):
        labels = tifffile.imread(out)
        assert labels.dtype == np.int32
        assert labels.shape == (64, 80)
        assert set(np.unique(labels)) <= {0, 1, 2}
    if ending == ".json":
        document = json.loads(out.read_text())
        assert len(document["annotations"]) == 2


def test_points_and_planes_of_a_stack(command: Command, tiny_model: Path, tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 255, (3, 64, 80), np.uint8)
    tifffile.imwrite(tmp_path / "s.tif", stack, metadata={"axes": "ZYX"}, ome=True)
    (tmp_path / "p.csv").write_text("y;x\n20;30\n")
    options = (tmp_path / "s.tif", tmp_path / "p.csv", "--out", tmp_path / "o.tif", "--diameter", 20)
    ran = command("outline", tiny_model, *options)
    assert ran.code == 2
    assert "--plane Z=0" in ran.err
    ran = command("outline", tiny_model, *options, "--plane", "z=1", "--json")
    assert ran.code == (2 if ran.figures["empty"] else 0), ran.err  # nothing found is no success
    labels = tifffile.imread(tmp_path / "o.tif")
    assert labels.shape == (3, 64, 80)
    assert not labels[[0, 2]].any()
    assert bool(labels[1].any()) == (ran.figures["empty"] == [])


def test_a_large_plane_is_written_tile_by_tile(
    command: Command, tiny_model: Path, image: Path, boxes: Path, tmp_path: Path, monkeypatch
) -> None:
    given = ("outline", tiny_model, image, boxes, "--out")
    assert command(*given, tmp_path / "small.tif").code == 0
    monkeypatch.setattr(drawn_module, "BIG_PIXELS", 100)
    assert command(*given, tmp_path / "large.tif").code == 0
    small, large = (tifffile.imread(tmp_path / f"{name}.tif") for name in ("small", "large"))
    assert large.dtype == np.int32
    assert (small == large).all()
    refused = command(*given, tmp_path / "large.csv")
    assert refused.code == 2
    assert ".tif" in refused.err


@pytest.mark.parametrize(
    ("content", "out", "sentence"),
    [
        ("x0,y0,x1,y1\n4,5,4,31\n", "o.tif", "Box 1"),
        ("x0,y0,x1,y1\n400,5,440,31\n", "o.tif", "outside the image"),
        ("y,x\nnan,3\n", "o.tif", "not finite"),
        ("a,b\n1,2\n", "o.tif", "no columns"),
        ("y,x\n1,2\n", "o.png", "no suffix"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_no_file(
    content: str, out: str, sentence: str, command: Command, tiny_model: Path, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.csv").write_text(content)
    ran = command("outline", tiny_model, image, tmp_path / "p.csv", "--out", tmp_path / out)
    assert ran.code == 2
    assert sentence in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / out).exists()


@pytest.mark.parametrize("plane", ["3", "Y=2", "Z=-1", "Z=a", "Z"])
def test_a_plane_is_an_axis_and_a_number(plane: str, command: Command, image: Path) -> None:
    ran = command("outline", "cupre", image, "p.csv", "--out", "o.tif", "--plane", plane)
    assert ran.code == 2
    assert "is not a plane such as" in ran.err
