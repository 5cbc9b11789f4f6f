"""Files of several images on the command line, and what is partial or left out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from ome_sets import write_set
from PIL import Image

Command = Callable[..., Any]
RNG = np.random.default_rng(0)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        for name, rows in (("one", 40), ("two", 50)):
            array = RNG.integers(0, 255, (rows, 44), np.uint8)
            writer.write(array, metadata={"axes": "YX", "Name": name})
    return tmp_path / "a.ome.tif"


@pytest.fixture
def predict(command: Command, tiny_model: Path, tmp_path: Path) -> Command:
    def run(*more: object) -> Any:
        return command("predict", tiny_model, *more, "--out", tmp_path / "o", "--diameter", 24, "--json")

    return run


def results(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "o").glob("*.tif"))


def test_every_scene_has_a_result(predict: Command, scenes: Path, tmp_path: Path) -> None:
    ran = predict(scenes, "--format", "tif,coco")
    assert ran.code == 0, ran.err
    assert "contains 2 images" in ran.err
    assert results(tmp_path) == ["a_one.tif", "a_two.tif"]
    assert tifffile.imread(tmp_path / "o" / "a_two.tif").shape == (50, 44)
    assert predict(scenes, "--format", "tif,coco").figures["skipped"] == 2
    assert "a_two.tif" in (tmp_path / "o" / "predictions.json").read_text()


def test_a_scene_is_chosen(predict: Command, scenes: Path, tmp_path: Path) -> None:
    assert predict(scenes, "--series", "two").code == 0
    assert results(tmp_path) == ["a_two.tif"]
    ran = predict(scenes, "--series", "three")
    assert ran.code == 2
    assert "choose from one, two" in ran.out


def test_a_folder_with_labels_and_a_set_that_is_not_whole(predict: Command, tmp_path: Path) -> None:
    folder = tmp_path / "i"
    folder.mkdir()
    for name in ("p.png", "p_mask.png"):
        Image.fromarray(RNG.integers(0, 255, (40, 44), np.uint8)).save(folder / name)
    write_set(folder, RNG.integers(0, 255, (3, 40, 44), np.uint8))
    assert predict(folder).code == 0
    assert results(tmp_path) == ["p.tif", "t0.tif"]
    (folder / "t1.ome.tif").unlink()
    shutil.rmtree(tmp_path / "o")
    ran = predict(folder)
    assert ran.code == 2
    assert "1 of the 3 files of its set" in ran.err
    assert ran.figures["partial"] == [str(folder / "t0.ome.tif")]


def test_long_names_and_a_file_as_out(predict: Command, command: Command, tmp_path: Path) -> None:
    image = tmp_path / f"{'n' * 247}.png"
    Image.fromarray(RNG.integers(0, 255, (40, 44), np.uint8)).save(image)
    assert predict(image).code == 0
    ran = predict(image, "--format", "roi")
    assert ran.code == 2
    assert "report" not in ran.out + ran.err
    assert "name" in ran.out + ran.err
    (tmp_path / "file").write_text("x")
    ran = command("predict", "cupre", image, "--out", tmp_path / "file")
    assert ran.code == 2
    assert "report" not in ran.err
    assert ran.err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "x"


def test_every_scene_is_compared_and_suggested(
    command: Command, tiny_model: Path, scenes: Path, tmp_path: Path
) -> None:
    Image.fromarray(RNG.integers(0, 255, (40, 44), np.uint8)).save(tmp_path / "p.png")
    given = (tmp_path, "--model", tiny_model, "--json")
    ran = command("diversity", *given)
    assert ran.code == 0
    assert ran.figures["images"] == 3
    assert "contains 2 images" in ran.err
    assert list(ran.figures["folders"]) == [str(tmp_path)]
    ran = command("diversity", scenes, "--series", "two", "--model", tiny_model, "--json")
    assert ran.code == 0
    assert ran.figures["images"] == 1
    (tmp_path / "labels").mkdir()
    Image.fromarray(np.eye(40, dtype=np.uint8)).save(tmp_path / "labels" / "a_one.png")
    ran = command("suggest", *given, "--diameter", 24, "--labelled", tmp_path / "labels")
    assert ran.code == 0, ran.err
    assert "contains 2 images" in ran.err
    assert (ran.figures["candidates"], ran.figures["labelled"]) == (2, 1)
    assert {Path(each["image"]).name for each in ran.figures["suggestions"]} == {"two", "p.png"}


def test_planes_that_are_not_looked_at_are_told(command: Command, tiny_model: Path, tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "z.tif", RNG.integers(0, 255, (3, 40, 44), np.uint8), imagej=True, metadata={"axes": "ZYX"}
    )
    for name in ("diversity", "suggest"):
        ran = command(name, tmp_path, "--model", tiny_model)
        assert ran.code == 0, ran.err
        assert '"z.tif" has several planes' in ran.err


def test_channels_that_are_not_looked_at_are_told(command: Command, tiny_model: Path, tmp_path: Path) -> None:
    planes = RNG.integers(0, 255, (5, 40, 44), np.uint8)
    image, labels = tmp_path / "im" / "c.ome.tif", np.zeros((40, 44), np.uint8)
    image.parent.mkdir()
    tifffile.imwrite(image, planes, photometric="minisblack", metadata={"axes": "CYX"})
    labels[5:20, 5:20] = 1
    tifffile.imwrite(tmp_path / "c.tif", labels)
    rows = tmp_path / "rows.csv"
    rows.write_text("y,x\n9,9\n")
    sizes = ("--diameter", 15)
    runs = [
        ("predict", tiny_model, image, "--out", tmp_path / "o", *sizes),
        ("outline", tiny_model, image, rows, "--out", tmp_path / "o.tif", *sizes),
        ("finetune", image, tmp_path / "c.tif", "--out", tmp_path / "m.safetensors", "--steps", 1),
        ("suggest", image, "--model", tiny_model, *sizes),
        ("diversity", image, "--model", tiny_model),
    ]
    for run in runs:
        assert "only the first three are used" in command(*run).err, run[0]
    chosen = command(*runs[0][:-2], "--channels", "3", "--out", tmp_path / "p")
    assert "first three" not in chosen.err


def test_evaluate_and_import_read_one_scene(command: Command, scenes: Path, tmp_path: Path) -> None:
    labels = np.zeros((50, 44), np.int32)
    labels[4:20, 4:20] = 1
    tifffile.imwrite(tmp_path / "a_two.tif", labels)
    with tifffile.TiffWriter(tmp_path / "t.ome.tif", ome=True) as writer:
        for name in ("one", "two"):
            writer.write(labels.astype(np.uint8), metadata={"axes": "YX", "Name": name})
    ran = command("evaluate", tmp_path / "t.ome.tif", tmp_path / "a_two.tif", "--series", "two", "--json")
    assert ran.code == 0, ran.err
    assert ran.figures["mean"]["ap"] == 1
    rois = tmp_path / "r.geojson"
    ring = [[4, 4], [20, 4], [20, 20], [4, 20], [4, 4]]
    rois.write_text(
        f'{{"type": "FeatureCollection", "features": [{{"type": "Feature", "properties": {{}}, '
        f'"geometry": {{"type": "Polygon", "coordinates": [{ring}]}}}}]}}'
    )
    ran = command("import", rois, "--images", scenes, "--series", "two", "--out", tmp_path / "l")
    assert ran.code == 0, ran.err
    (written,) = (tmp_path / "l").glob("*.tif")
    assert tifffile.imread(written).shape == (50, 44)
    assert command("import", rois, "--shape", "50x44", "--axes", "YX", "--out", tmp_path / "m").code == 2
