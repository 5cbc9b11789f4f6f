"""Annotations of other programs, and what is no annotation."""

from __future__ import annotations

import json
import time
import unicodedata
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from export_fakes import discs
from roifile import ROI_TYPE, ImagejRoi, roiwrite

from napari_cupre.errors import InputError
from napari_cupre.io.importers import Frame, import_annotations, read_for_images, sheets_of
from napari_cupre.io.importers.sheet import Sheet
from napari_cupre.io.tiff import write_labels


def save_seg(path, **more):
    """A `_seg.npy` as Cellpose writes it: np.save of a dict."""
    content = {
        "masks": discs().astype(np.uint16),
        "outlines": np.zeros((60, 80), np.uint16),
        "filename": "field.tif",
        "flows": [np.zeros((1, 60, 80, 3), np.uint8), np.asfortranarray(np.zeros((60, 80), np.float32))],
        "ismanual": np.zeros(12, bool),
        "est_diam": np.float64(17.5),
        "chan_choose": [0, 0],
        "model_path": 0,
        **more,
    }
    np.save(path, content)


def test_cellpose_masks_are_read(tmp_path):
    save_seg(tmp_path / "field_seg.npy", model_path=Path("models/cyto"))
    labels = import_annotations(tmp_path / "field_seg.npy")["field"]
    assert labels.dtype == np.int32
    assert np.array_equal(labels, discs())


@pytest.mark.parametrize(
    "masks",
    [
        np.asfortranarray(discs()),
        discs().astype(">u4"),
        np.stack([discs(), discs()]).astype(np.int64),
        discs().astype(np.float32),
    ],
    ids=["fortran", "big endian", "stack", "float"],
)
def test_cellpose_masks_of_any_layout(masks, tmp_path):
    save_seg(tmp_path / "a_seg.npy", masks=masks)
    assert np.array_equal(import_annotations(tmp_path / "a_seg.npy")["a"], masks)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_cellpose_masks_of_any_pickle_protocol(protocol, tmp_path):
    import pickle

    save_seg(tmp_path / "a_seg.npy")
    raw = (tmp_path / "a_seg.npy").read_bytes()
    header = raw[: 10 + int.from_bytes(raw[8:10], "little")]
    content = {"masks": discs().astype(np.uint16)}
    (tmp_path / "a_seg.npy").write_bytes(header + pickle.dumps(content, protocol=protocol))
    if protocol == 2:
        # Protocol 2 has no bytes, so that arrays need a call to decode them: refused, not guessed.
        with pytest.raises(InputError):
            import_annotations(tmp_path / "a_seg.npy")
    else:
        assert np.array_equal(import_annotations(tmp_path / "a_seg.npy")["a"], discs())


def test_a_plain_array_is_read_too(tmp_path):
    np.save(tmp_path / "a.npy", discs())
    assert np.array_equal(import_annotations(tmp_path / "a.npy")["a"], discs())


def test_mask_folders_of_bbbc038(tmp_path):
    for stem, count in (("id1", 3), ("id2", 1)):
        (tmp_path / stem / "images").mkdir(parents=True)
        (tmp_path / stem / "masks").mkdir()
        iio.imwrite(tmp_path / stem / "images" / f"{stem}.png", np.zeros((60, 80), np.uint8))
        for value in range(1, count + 1):
            mask = (discs() == value).astype(np.uint8) * 255
            iio.imwrite(tmp_path / stem / "masks" / f"{value}.png", mask)
    (tmp_path / "id1" / "masks" / "Thumbs.db").write_bytes(b"junk")
    labels = import_annotations(tmp_path)
    assert list(labels) == ["id1", "id2"]
    assert np.array_equal(labels["id1"], np.where(discs() <= 3, discs(), 0))
    assert np.array_equal(import_annotations(tmp_path / "id2")["id2"], (discs() == 1).astype(int))
    iio.imwrite(tmp_path / "id2" / "masks" / "9.png", np.zeros((5, 5), np.uint8))
    with pytest.raises(InputError, match=r"9\.png.*\(5, 5\)"):
        import_annotations(tmp_path / "id2")


def test_stardist_folders_and_labels_beside_images(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        for stem in ("t10", "t2"):
            iio.imwrite(tmp_path / "set" / folder / f"{stem}.tif", discs().astype(np.uint16))
    assert list(import_annotations(tmp_path / "set")) == ["t2", "t10"]
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    iio.imwrite(mixed / "a.png", np.full((60, 80, 3), 90, np.uint8))
    iio.imwrite(mixed / "a_masks.png", discs().astype(np.uint8))
    (labels,) = import_annotations(mixed).items()
    assert labels[0] == "a"
    assert np.array_equal(labels[1], discs())


def test_livecell_json(tmp_path):
    document: dict[str, Any] = {
        "images": [{"id": 9, "file_name": "A172_1.tif", "height": 60, "width": 80, "url": "x"}],
        "annotations": {
            "1": {
                "id": 1,
                "image_id": 9,
                "category_id": 1,
                "segmentation": [[10, 10, 30, 10, 30, 20, 10, 20]],
            }
        },
        "categories": [{"id": 1, "name": "cell"}],
    }
    (tmp_path / "val.json").write_text(
        json.dumps(document | {"annotations": [*document["annotations"].values()]})
    )
    labels = import_annotations(tmp_path / "val.json")["A172_1"]
    assert labels.shape == (60, 80)
    assert (labels > 0).sum() == 200


def test_rois_of_other_kinds(tmp_path):
    rois = [ImagejRoi() for _ in range(2)]
    for roi, kind in zip(rois, (ROI_TYPE.RECT, ROI_TYPE.OVAL)):
        roi.roitype, roi.left, roi.top, roi.right, roi.bottom = kind, 10, 20, 30, 40
        roi.name = kind.name
    rois[1].left, rois[1].right = 40, 60
    free = ImagejRoi.frompoints(np.array([(1.0, 1.0), (9.0, 1.0), (9.0, 9.0)]), name="free")
    point = ImagejRoi.frompoints(np.array([(5, 5)]), name="point")
    point.roitype = ROI_TYPE.POINT
    roiwrite(tmp_path / "a_RoiSet.zip", [*rois, free, point])
    labels = import_annotations(tmp_path / "a_RoiSet.zip", (60, 80))["a"]
    areas = np.bincount(labels.ravel())[1:]
    assert areas.tolist() == [400, 316, 28]
    roiwrite(tmp_path / "b.roi", rois[0])
    assert import_annotations(tmp_path / "b.roi", (60, 80))["b"].sum() == 400


def test_geojson_children_of_qupath(tmp_path):
    """Objects within their parents: an annotation around others is no cell, nor is a part of a cell."""

    def feature(kind, left, side, **more):
        ring = [[left, 2], [left + side, 2], [left + side, 2 + side], [left, 2 + side], [left, 2]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        return {"type": "Feature", "geometry": geometry, "properties": {"objectType": kind}, **more}

    cells = [feature("detection", 2, 3), feature("cell", 8, 6, childObjects=[feature("detection", 9, 2)])]
    whole = {"type": "FeatureCollection", "features": cells}
    nested = feature("annotation", 1, 15, childObjects=whole)
    in_properties = feature("annotation", 1, 15)
    in_properties["properties"]["childObjects"] = cells
    for document in (nested, in_properties, [nested]):
        (tmp_path / "a.geojson").write_text(json.dumps(document))
        labels = import_annotations(tmp_path / "a.geojson", (20, 20))["a"]
        assert np.bincount(labels.ravel())[1:].tolist() == [9, 36]
    (tmp_path / "alone.geojson").write_text(json.dumps(feature("annotation", 1, 15)))
    assert (import_annotations(tmp_path / "alone.geojson", (20, 20))["alone"] == 1).sum() == 225


def test_geojson_of_qupath(tmp_path):
    def feature(*polygons, **plane):
        return {
            "type": "Feature",
            "geometry": {"type": "MultiPolygon", "coordinates": polygons, "plane": plane},
            "properties": {"objectType": "annotation", "measurements": [{"name": "Area", "value": 3}]},
        }

    outer, inner = [[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]], [[3, 3], [6, 3], [6, 6], [3, 6], [3, 3]]
    small, point = [[1, 1], [6, 1], [6, 2], [1, 2], [1, 1]], {"type": "Point", "coordinates": [4, 4]}
    document = [feature([small]), feature([outer, inner]), {"type": "Feature", "geometry": point}]
    (tmp_path / "a.geojson").write_text(json.dumps(document))
    labels = import_annotations(tmp_path / "a.geojson", (12, 12))["a"]
    assert (labels == 1).sum() == 5
    assert (labels == 2).sum() == 81 - 9 - 5
    (tmp_path / "b.geojson").write_text(json.dumps(feature([outer], z=2)))
    assert import_annotations(tmp_path / "b.geojson", (3, 12, 12))["b"][2].sum() == 81
    with pytest.raises(InputError, match=r"b\.geojson.*1 lies on a plane that the image does not have"):
        import_annotations(tmp_path / "b.geojson", (12, 12))


def test_outlines_need_a_size(tmp_path):
    roiwrite(tmp_path / "a.zip", [ImagejRoi.frompoints([(1, 1), (5, 1), (5, 5)])])
    with pytest.raises(InputError, match="size of its image"):
        import_annotations(tmp_path / "a.zip")
    with pytest.raises(InputError, match='"a"'):
        import_annotations(tmp_path / "a.zip", {"b": (10, 10), "c": (10, 10)})


def test_bad_files_of_a_folder_are_named_and_the_rest_goes_on(tmp_path):
    iio.imwrite(tmp_path / "a_masks.tif", discs())
    (tmp_path / "b_masks.tif").write_bytes(b"II*\0 cut")
    (tmp_path / "c_seg.npy").write_bytes(b"")
    said: list[str] = []
    labels = import_annotations(tmp_path, on_skip=said.append)
    assert list(labels) == ["a"]
    assert len(said) == 2
    assert all(any(name in sentence for sentence in said) for name in ("b_masks.tif", "c_seg.npy"))
    with pytest.raises(InputError, match=r"b_masks\.tif|c_seg\.npy"):
        import_annotations(tmp_path)


def test_two_annotations_of_one_image_are_not_merged(tmp_path):
    iio.imwrite(tmp_path / "a_masks.tif", discs())
    save_seg(tmp_path / "a_seg.npy")
    with pytest.raises(InputError, match="two annotations"):
        import_annotations(tmp_path)


@pytest.mark.parametrize("name", ["nothing", "empty", "readme.txt"])
def test_what_is_no_annotation_is_said(name, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(InputError, match=name):
        import_annotations(tmp_path / name)


def test_annotations_of_several_images_are_matched_by_name(tmp_path: Path) -> None:
    """Names of two images are said to be doubtful; capitals and accents may be written in another way."""
    labels = np.zeros((8, 9), np.int32)
    labels[2:6, 2:6] = 1
    accented = unicodedata.normalize("NFD", "Zelle é")
    for name in ("a", "b", "WELL_1", accented, "nowhere"):
        write_labels(tmp_path / f"{name}_masks.tif", labels)
    images = [
        ("a", "b.tif", "b"),
        ("b_2", "b.tif", "b"),
        ("well_1",),
        (unicodedata.normalize("NFC", accented),),
    ]
    said: list[str] = []
    sheets = sheets_of(sorted(tmp_path.iterdir()), said.append)
    found = read_for_images(sheets, images, lambda number: Frame(labels.shape), said.append)
    assert sorted(number for number, _, _ in found) == [0, 2, 3]
    assert [sentence.split(":")[0] for sentence in said] == ['"nowhere_masks.tif"', '"b_masks.tif"']
    assert "no image here is called nowhere" in said[0]
    assert "more than one image here is called b; show the right one" in said[1]


def test_thousands_of_annotations_are_matched_at_once() -> None:
    count = 5_000
    sheets = [Sheet((f"image {n}",), Path("many.json"), lambda frame, told: None) for n in range(count)]
    images = [(f"image {n}.tif", f"image {n}") for n in range(count, 2 * count)]
    began = time.process_time()
    assert not list(read_for_images(sheets, images, lambda number: Frame((1, 1)), lambda sentence: None))
    assert time.process_time() - began < 2
