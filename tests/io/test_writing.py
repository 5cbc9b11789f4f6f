"""What is written is what the other programs' own readers find."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pandas as pd
import pytest
import shapely
import tifffile
from export_fakes import blobs, discs, stack, two_overlapping
from pycocotools.coco import COCO
from roifile import ROI_TYPE, roiread

from napari_cupre.data.image import CellImage
from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.io.importers import import_annotations
from napari_cupre.io.ownership import RECORD
from napari_cupre.io.tiff import read_tiff
from napari_cupre.io.writers import FORMATS, write
from napari_cupre.io.writers.coco_writer import CocoWriter
from napari_cupre.io.writers.csv_writer import measure
from napari_cupre.io.writers.output_cells import collect


def read_coco(path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_label_tiff_carries_scale_and_axes(tmp_path):
    image = stack()
    labels = np.stack([[blobs(3 * t + z) for z in range(3)] for t in range(2)])
    (path,) = write(labels, tmp_path / "a", image=image)
    assert path == tmp_path / "a.tif"
    back = read_tiff(path)
    assert back.axes == "TZYX"
    assert back.data.dtype == np.int32
    assert np.array_equal(back.data, labels)
    assert (back.scale["Z"], back.scale["X"], back.units["X"]) == (2.0, 0.5, "micrometer")
    assert np.array_equal(tifffile.imread(path), labels)


def test_rois_have_names_positions_and_properties(tmp_path):
    image = stack()
    labels = np.zeros((2, 3, 60, 80), np.int32)
    labels[1, 2, 10:20, 30:50] = 7
    (path,) = write(labels, tmp_path / "a", "roi", image=image)
    (roi,) = roiread(path)
    assert roi.name == "t0002-z0003-0007"
    assert (roi.z_position, roi.t_position, roi.c_position) == (3, 2, 0)
    assert roi.roitype == ROI_TYPE.TRACED
    assert {tuple(c) for c in roi.coordinates()} == {(30, 10), (50, 10), (50, 20), (30, 20)}
    assert "label: 7" in roi.props
    assert "score" not in roi.props


def test_rois_of_a_plain_stack_use_the_stack_position(tmp_path):
    labels = np.zeros((4, 30, 30), np.int32)
    labels[2, 5:9, 5:9] = 1
    (roi,) = roiread(write(labels, tmp_path / "a", "roi")[0])
    assert (roi.position, roi.z_position, roi.t_position) == (3, 0, 0)


def test_holes_and_parts_become_composite_rois(tmp_path):
    labels = np.zeros((20, 20), np.int32)
    labels[2:9, 2:9] = 1
    labels[4:6, 4:6] = 0
    labels[12:15, 12:15] = 1
    (roi,) = roiread(write(labels, tmp_path / "a", "roi")[0])
    assert roi.composite
    assert len(roi.coordinates(multi=True)) == 3
    assert (roi.left, roi.top, roi.right, roi.bottom) == (2, 2, 15, 15)


def test_rois_beyond_sixteen_bits(tmp_path):
    labels = np.zeros((3, 70000), np.int32)
    labels[1, 69990:69995] = 1
    (roi,) = roiread(write(labels, tmp_path / "a", "roi")[0])
    assert roi.coordinates()[:, 0].min() == 69990
    assert roi.coordinates()[:, 0].max() == 69995


def test_coco_keeps_overlaps_scores_boxes_and_hidden_cells(tmp_path):
    predicted = two_overlapping()
    (path,) = write(predicted, tmp_path / "a", "coco", class_names=("nucleus", "debris"))
    coco = read_coco(path)
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [a["score"] for a in annotations] == pytest.approx([0.9, 0.8, 0.6])
    assert [coco.annToMask(a).sum() for a in annotations] == [100, 100, 9]
    assert [a["area"] for a in annotations] == [100, 100, 9]
    assert annotations[1]["bbox"] == [10, 10, 10, 10]
    assert [a.get("label") for a in annotations] == [1, 2, None]
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["nucleus", "debris"]
    assert coco.imgs[1] == {"id": 1, "file_name": "a", "height": 30, "width": 40}


def test_classes_are_named_in_every_format(tmp_path):
    """Read back by the programs that the files are for."""
    names = ("nucleus", "../debris\nlabel: 7")
    paths = write(two_overlapping(), tmp_path / "a", "coco,csv,geojson,roi", class_names=names)
    coco, table, geojson, rois = paths
    categories = {c["id"]: c["name"] for c in json.loads(coco.read_text())["categories"]}
    assert [categories[a["category_id"]] for a in json.loads(coco.read_text())["annotations"]] == [
        names[0],
        names[1],
        names[0],
    ]
    assert pd.read_csv(table)["class"].tolist() == list(names)
    features = json.loads(geojson.read_text())["features"]
    assert [f["properties"]["classification"]["name"] for f in features] == list(names)
    colours = [f["properties"]["classification"]["color"] for f in features]
    assert colours[0] != colours[1]
    named = [(roi.name, roi.group) for roi in roiread(rois)]
    assert named == [("0001-nucleus", 1), ("0002-.._debris_label_ 7", 2)]
    back = import_annotations(rois, (30, 40))["a"]
    np.testing.assert_array_equal(back, two_overlapping().labels)
    assert [roi.name for roi in roiread(write(two_overlapping().labels, tmp_path / "b", "roi")[0])] == [
        "0001",
        "0002",
    ]


def test_geojson_is_valid_and_what_qupath_reads(tmp_path):
    labels = blobs()
    (path,) = write(labels, tmp_path / "a", "geojson")
    document = json.loads(path.read_text())
    features = document["features"]
    assert document["type"] == "FeatureCollection"
    assert len({f["id"] for f in features}) == len(features)
    for feature in features:
        geometry = shapely.geometry.shape(feature["geometry"])
        value = feature["properties"]["measurements"]["label"]
        assert geometry.is_valid
        assert geometry.area == (labels == value).sum()
        assert feature["properties"]["objectType"] == "detection"
        # QuPath reads a class only if it has both.
        assert feature["properties"]["classification"]["name"] == "cell"
        assert len(feature["properties"]["classification"]["color"]) == 3
    assert {f["geometry"]["type"] for f in features} == {"Polygon", "MultiPolygon"}
    scored = json.loads(write(two_overlapping(), tmp_path / "b", "geojson")[0].read_text())
    assert [f["properties"]["measurements"]["score"] for f in scored["features"]] == [0.9, 0.8]


def test_measurements_are_right_in_px_and_in_micrometres(tmp_path):
    image = CellImage(
        np.arange(30 * 40, dtype=np.uint16).reshape(30, 40),
        "YX",
        scale={"Y": 0.25, "X": 0.25},
        units={"Y": "micrometer", "X": "micrometer"},
    )
    labels = np.zeros((30, 40), np.int32)
    labels[10:14, 20:30] = 2**30
    (path,) = write(labels, tmp_path / "a", "csv", image=image)
    (row,) = pd.read_csv(path).to_dict("records")
    assert row["label"] == 2**30
    assert row["class"] == "cell"
    assert "score" not in row
    assert (row["y_px"], row["x_px"], row["area_px"]) == (11.5, 24.5, 40)
    assert (row["x_um"], row["area_um2"]) == pytest.approx((24.5 * 0.25, 40 * 0.0625))
    assert row["intensity_mean"] == pytest.approx(11.5 * 40 + 24.5, rel=1e-5)
    assert (row["intensity_min"], row["intensity_max"]) == (420, 549)
    assert row["solidity"] == 1
    assert row["major_axis_um"] == pytest.approx(row["major_axis_px"] / 4, rel=1e-4)


def test_measurements_by_plane_and_channel():
    image = stack("CZYX")
    table = measure(collect(np.stack([discs()] * 3), image=image))
    assert len(table) == 36
    assert sorted(set(table["z"])) == [0, 1, 2]
    expected = image.data[1, 2][discs() == 5].mean()
    row = table[(table["z"] == 2) & (table["label"] == 5)].iloc[0]
    assert row["intensity_mean_ch2"] == pytest.approx(expected)
    colours = CellImage(np.zeros((60, 80, 3), np.uint8), "YXS")
    assert {"intensity_mean_red", "intensity_max_blue"} <= set(measure(collect(discs(), image=colours)))


def test_micrometres_are_left_out_where_nobody_knows_them():
    oblong = CellImage(np.zeros((60, 80)), "YX", scale={"Y": 1, "X": 2}, units={"Y": "um", "X": "um"})
    for image in (None, oblong, CellImage(np.zeros((60, 80)), "YX")):
        assert not [c for c in measure(collect(discs(), image=image)) if c.endswith(("um", "um2"))]


def test_linked_planes_keep_the_scores_of_their_cells(tmp_path):
    predicted = two_overlapping()
    linked = np.stack([predicted.labels, np.where(predicted.labels == 2, 9, 0)])
    planes = [({"Z": 0}, predicted), ({"Z": 1}, predicted)]
    cells = collect(planes, labels=linked)
    assert cells.axes == "ZYX"
    assert np.array_equal(cells.volume(), linked)
    assert cells.planes[1].ids.tolist() == [9]
    assert cells.planes[1].scores == pytest.approx([0.8])
    coco = read_coco(write(planes, tmp_path / "a", "coco", labels=linked)[0])
    assert [image["file_name"] for image in coco.imgs.values()] == ["a_z0000", "a_z0001"]
    assert [a.get("label") for a in coco.loadAnns(coco.getAnnIds([2]))] == [None, 9, None]


def test_a_cell_that_the_prediction_does_not_have_has_no_score():
    predicted = two_overlapping()
    labels = predicted.labels.copy()
    labels[25:29, 30:38] = 5
    (plane,) = collect(predicted, labels=labels).planes
    assert plane.ids.tolist() == [1, 2, 5]
    assert plane.scores[:2] == pytest.approx([0.9, 0.8])
    assert plane.scores[2] is None


@pytest.mark.parametrize("largest", [9, 2**30])
def test_cells_of_any_number_are_taken_in_order(largest):
    (plane,) = collect(np.array([[0, 5, 5], [largest, 0, 2]], np.int32)).planes
    assert plane.ids.tolist() == [2, 5, largest]


def test_missing_planes_are_empty():
    image = CellImage(np.zeros((3, 30, 40)), "TYX")
    volume = collect([({"T": 1}, two_overlapping())], image=image).volume()
    assert volume.shape == (3, 30, 40)
    assert not volume[0].any()
    assert volume[1].any()


@pytest.mark.parametrize("name", list(FORMATS))
def test_no_cell_at_all_is_no_fault(name, tmp_path):
    (path,) = write(np.zeros((20, 20), np.int32), tmp_path / "a.b", name)
    assert path.name == f"a.b{FORMATS[name].ending}"
    assert path.stat().st_size > 0


def test_many_images_share_one_document(tmp_path):
    path = tmp_path / "out" / "predictions.json"
    with CocoWriter(path) as writer:
        for number, labels in enumerate((discs(), blobs())):
            writer.add(collect(labels, name=f"image{number}"))
        assert not path.exists()
    coco = read_coco(path)
    assert len(coco.imgs) == 2
    assert len(coco.anns) == 12 + len(np.unique(blobs())) - 1
    assert [each for each in path.parent.iterdir() if each.name != RECORD] == [path]


def test_a_killed_run_is_taken_up(tmp_path):
    path = tmp_path / "predictions.json"
    first = CocoWriter(path)
    first.add(collect(discs(), name="a"))
    first.add(collect(discs(), name="b"))
    first._stream.write('{"image": {"file_na')  # killed within a line
    first._stream.close()
    with CocoWriter(path) as second:
        second.add(collect(blobs(), name="b"))
        second.add(collect(discs(), name="c"))
    coco = read_coco(path)
    assert [image["file_name"] for image in coco.imgs.values()] == ["a", "b", "c"]
    assert len(coco.getAnnIds([2])) == len(np.unique(blobs())) - 1
    with CocoWriter(path) as third:
        third.add(collect(np.zeros((60, 80), int), name="a"))
    coco = read_coco(path)
    assert len(coco.imgs) == 3
    assert coco.getAnnIds([1]) == []
    assert len(coco.getAnnIds([3])) == 12
    assert [p.name for p in tmp_path.iterdir() if p.name != RECORD] == ["predictions.json"]


def test_a_foreign_file_is_not_overwritten(tmp_path):
    (tmp_path / "predictions.json").write_text('["mine"]')
    with pytest.raises(InputError, match=r"predictions\.json"):
        CocoWriter(tmp_path / "predictions.json")
    assert (tmp_path / "predictions.json").read_text() == '["mine"]'


def test_unknown_formats_and_unfit_shapes_are_said(tmp_path):
    assert [path.suffix for path in write(discs(), tmp_path / "a", "tif, ROI,tif")] == [".tif", ".zip"]
    for formats in ("png", "", []):
        with pytest.raises(InputError, match="choose from tif, roi, coco, geojson, csv"):
            write(discs(), tmp_path / "a", formats)
    with pytest.raises(InputError, match=r"\(60, 80\).*\(2, 3, 60, 80\)"):
        write(discs(), tmp_path / "a", image=stack())
    with pytest.raises(InputError, match="no predicted plane"):
        write([], tmp_path / "a")


def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    import errno

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("roifile.roiwrite", full)
    with pytest.raises(EnvironmentFault, match="full"):
        write(discs(), tmp_path / "a", "roi")
    assert list(tmp_path.iterdir()) == []
