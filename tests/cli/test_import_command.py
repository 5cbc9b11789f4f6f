from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_cupre.io.writers import write

Command = Callable[..., Any]


@pytest.fixture
def labels() -> np.ndarray:
    marked = np.zeros((40, 60), np.int32)
    marked[5:15, 5:20] = 1
    marked[20:36, 30:50] = 2
    return marked


def same_cells(path: Path, labels: np.ndarray) -> bool:
    """Whether a label image shows the same cells, whatever their numbers."""
    read = tifffile.imread(path)
    pairs = np.unique(np.stack([read.ravel(), labels.ravel()]), axis=1)
    return read.shape == labels.shape and pairs.shape[1] == len(np.unique(labels)) == len(np.unique(read))


@pytest.mark.parametrize(("kind", "file"), [("roi", "a_rois.zip"), ("geojson", "a.geojson")])
def test_outlines_come_back_to_the_pixel(
    command: Command, tmp_path: Path, labels: np.ndarray, kind: str, file: str
) -> None:
    write(labels, tmp_path / "a", kind)
    tifffile.imwrite(tmp_path / "a.tif", labels.astype(np.uint8))
    for size in (["--shape", "40x60"], ["--images", tmp_path / "a.tif"]):
        ran = command("import", tmp_path / file, *size, "--out", tmp_path / "out", "--json")
        assert ran.code == 0, ran.err
        assert ran.figures["written"] == [str(tmp_path / "out" / "a.tif")]
        assert same_cells(tmp_path / "out" / "a.tif", labels)


def test_outlines_need_a_size(command: Command, tmp_path: Path, labels: np.ndarray) -> None:
    write(labels, tmp_path / "a", "roi")
    ran = command("import", tmp_path / "a_rois.zip", "--out", tmp_path / "out")
    assert ran.code == 2
    assert "a_rois.zip" in ran.err
    assert ran.err.count("\n") == 1


def test_one_bad_file_of_a_folder(command: Command, tmp_path: Path, labels: np.ndarray) -> None:
    folder = tmp_path / "labels"
    folder.mkdir()
    for stem in "ab":
        tifffile.imwrite(folder / f"{stem}.tif", labels)
    (folder / "b.tif").write_bytes((folder / "b.tif").read_bytes()[:300])
    (folder / ".DS_Store").write_bytes(b"junk")
    ran = command("import", folder, "--out", tmp_path / "out", "--json")
    assert ran.code == 2
    assert "b.tif" in ran.err
    assert len(ran.figures["left_out"]) == 1
    assert same_cells(tmp_path / "out" / "a.tif", labels)


@pytest.mark.parametrize("size", ["40", "0x4", "4x", "-4x4"])
def test_a_size_that_is_none(command: Command, tmp_path: Path, size: str) -> None:
    ran = command("import", tmp_path, "--out", tmp_path, "--shape", size)
    assert ran.code == 2
    assert ran.err.count("\n") == 1


def test_images_without_annotation_are_empty_on_request(
    command: Command, tmp_path: Path, labels: np.ndarray
) -> None:
    write(labels, tmp_path / "a", "coco")
    document = json.loads((tmp_path / "a.json").read_text())
    document["images"].append({"id": 2, "file_name": "nothing.tif", "height": 30, "width": 20})
    (tmp_path / "a.json").write_text(json.dumps(document))
    assert (
        len(command("import", tmp_path / "a.json", "--out", tmp_path / "few", "--json").figures["written"])
        == 1
    )
    ran = command("import", tmp_path / "a.json", "--out", tmp_path / "all", "--keep-empty", "--json")
    assert ran.code == 0, ran.err
    assert len(ran.figures["written"]) == 2
    empty = tifffile.imread(tmp_path / "all" / "nothing.tif")
    assert empty.shape == (30, 20)
    assert not empty.any()


def save_regions(path: Path, *polygons: list[list[int]]) -> Path:
    features = [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [polygon]}} for polygon in polygons
    ]
    features.append({"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[1, 1], [9, 9]]}})
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_what_was_left_out_is_said_and_makes_the_result_partial(command: Command, tmp_path: Path) -> None:
    inside, outside = [[5, 5], [15, 5], [15, 10], [5, 10]], [[90, 90], [99, 90], [99, 99]]
    path = save_regions(tmp_path / "a.geojson", inside, outside)
    ran = command("import", path, "--shape", "40x60", "--out", tmp_path / "out", "--json")
    assert ran.code == 2
    assert (tifffile.imread(tmp_path / "out" / "a.tif") > 0).sum() == 50
    assert ran.figures["partial"] == ['"a.geojson": 1 of 3 shapes became cells: 1 lies outside, 1 is a line.']
    assert ran.figures["partial"][0] in ran.err


def test_nothing_usable_is_an_error(command: Command, tmp_path: Path) -> None:
    path = save_regions(tmp_path / "a.geojson", [[90, 90], [99, 90], [99, 99]])
    ran = command("import", path, "--shape", "40x60", "--out", tmp_path / "out")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert "0 of 2 shapes became cells" in ran.err
    assert not (tmp_path / "out").exists()


def test_one_set_and_one_image_whatever_their_names(command: Command, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "image.tif", np.zeros((40, 60), np.uint8))
    write(np.eye(40, 60, dtype=np.int32), tmp_path / "x", "roi")
    (tmp_path / "x_rois.zip").rename(tmp_path / "RoiSet.zip")
    ran = command(
        "import", tmp_path / "RoiSet.zip", "--images", tmp_path / "image.tif", "--out", tmp_path / "o"
    )
    assert ran.code == 0
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["image.tif"]
