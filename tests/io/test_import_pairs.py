"""Which annotation belongs to which image, and what of the image its labels keep."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import tifffile
from export_fakes import discs
from roifile import ImagejRoi, roiwrite

from napari_cupre.errors import InputError
from napari_cupre.io.images import read_image
from napari_cupre.io.importers import ImageShapes, import_annotations, import_to_folder, read_for_image
from napari_cupre.io.importers.folders import label_names
from napari_cupre.io.importers.frames import Frame

SQUARE = [(10, 20), (30, 20), (30, 50), (10, 50)]


def save_image(path, shape=(60, 80)):
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, np.zeros(shape, np.uint8), photometric="minisblack")
    return path


def save_rois(path, position=0):
    roi = ImagejRoi.frompoints(np.array(SQUARE))
    roi.position = position
    roiwrite(path, roi if path.suffix == ".roi" else [roi], mode="w")
    return path


def coco(path, *names):
    ring = [float(number) for corner in SQUARE for number in corner]
    images = [{"id": i, "file_name": name, "height": 60, "width": 80} for i, name in enumerate(names)]
    annotations = [{"id": i, "image_id": i, "segmentation": [ring]} for i in range(len(names))]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def imported(path, images, folder, **more):
    skipped, notes = [], []
    written = list(
        import_to_folder(
            path, folder, ImageShapes(images), on_skip=skipped.append, on_note=notes.append, **more
        )
    )
    return [file.relative_to(folder).as_posix() for file in written], skipped, notes


@pytest.mark.parametrize(
    "name", ["RoiSet.zip", "b_rois.zip", "0001-0002.roi", "anything.geojson", "x_mask.tif", "y.json"]
)
def test_one_annotation_and_one_image_belong_together(name, tmp_path):
    image = save_image(tmp_path / "im" / "image.ome.tif")
    path = tmp_path / name
    if name.endswith((".zip", ".roi")):
        save_rois(path)
    elif name.endswith(".geojson"):
        path.write_text(json.dumps({"type": "Polygon", "coordinates": [[*SQUARE, SQUARE[0]]]}))
    elif name.endswith(".tif"):
        tifffile.imwrite(path, discs().astype(np.uint8))
    else:
        coco(path, "else.png")
    assert imported(path, [image], tmp_path / "out") == (["image.tif"], [], [])


@pytest.mark.parametrize(
    "name",
    [
        "a_rois.zip",
        "a.zip",
        "a_RoiSet.zip",
        "RoiSet_a.zip",
        "a.tif_rois.zip",
        "a.ome.tif.zip",
        "a.ome.zip",
        "a-RoiSet.zip",
    ],
)
@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
def test_several_pair_by_the_stem(name, suffix, tmp_path):
    images = [save_image(tmp_path / "im" / f"{stem}{suffix}") for stem in ("b", "a")]
    written, skipped, notes = imported(save_rois(tmp_path / name), images, tmp_path / "out")
    assert written == ["a.tif"]
    assert not skipped
    assert notes == [f"No annotation belongs to the image b{suffix}."]


def test_what_does_not_pair_is_named(tmp_path):
    images = [save_image(tmp_path / "im" / f"{stem}.tif") for stem in "ab"]
    (tmp_path / "sets").mkdir()
    for stem in ("a_rois", "c_rois"):
        save_rois(tmp_path / "sets" / f"{stem}.zip")
    written, (said,), notes = imported(tmp_path / "sets", images, tmp_path / "out")
    assert written == ["a.tif"]
    assert "b.tif" in notes[0]
    assert "c_rois.zip" in said
    assert '"c"' in said
    assert "a.tif, b.tif" in said
    with pytest.raises(InputError, match=r"RoiSet\.zip.*a\.tif, b\.tif"):
        imported(save_rois(tmp_path / "RoiSet.zip"), images, tmp_path / "out")


def test_label_files_beside_the_images_are_no_images(tmp_path):
    images = [save_image(tmp_path / name) for name in ("a.tif", "a_masks.tif")]
    assert imported(save_rois(tmp_path / "RoiSet.zip"), images, tmp_path / "out")[0] == ["a.tif"]


def test_two_images_of_one_stem_are_told(tmp_path):
    images = [save_image(tmp_path / name / "a.tif") for name in ("x", "y")]
    with pytest.raises(InputError, match='Two images are called "a"'):
        imported(save_rois(tmp_path / "a_rois.zip"), images, tmp_path / "out")


def test_labels_have_the_axes_and_sizes_of_their_image(tmp_path):
    tifffile.imwrite(
        tmp_path / "t.tif",
        np.zeros((3, 60, 80), np.uint8),
        imagej=True,
        resolution=(1 / 0.325, 1 / 0.325),
        metadata={"axes": "TYX", "unit": "micron", "finterval": 30},
    )
    imported(save_rois(tmp_path / "t_rois.zip", position=2), [tmp_path / "t.tif"], tmp_path / "out")
    labels = read_image(tmp_path / "out" / "t.tif")
    assert labels.axes == "TYX"
    assert np.asarray(labels.data)[1].sum() == 600
    assert labels.scale == pytest.approx({"T": 30, "Y": 0.325, "X": 0.325})
    assert labels.units == {"T": "second", "Y": "micrometer", "X": "micrometer"}


def test_a_label_image_keeps_its_own_sizes(tmp_path):
    imported_labels = np.stack([discs(), discs()]).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "a_mask.tif",
        imported_labels,
        imagej=True,
        resolution=(2, 2),
        metadata={"axes": "TYX", "unit": "micron"},
    )
    list(import_to_folder(tmp_path / "a_mask.tif", tmp_path / "out"))
    labels = read_image(tmp_path / "out" / "a.tif")
    assert labels.axes == "TYX"
    assert labels.scale["X"] == pytest.approx(0.5)
    assert np.array_equal(labels.data, imported_labels)


def test_annotation_of_another_size_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "x_mask.tif", discs().astype(np.uint8))
    image = save_image(tmp_path / "im" / "a.tif", (50, 50))
    with pytest.raises(InputError, match=r"x_mask\.tif.*\(60, 80\).*a\.tif.*\(50, 50\)"):
        imported(tmp_path / "x_mask.tif", [image], tmp_path / "out")


def test_images_and_other_labels_are_not_written_over(tmp_path):
    image = save_image(tmp_path / "a.tif")
    before = image.read_bytes()
    with pytest.raises(InputError, match="nothing was written"):
        imported(save_rois(tmp_path / "RoiSet.zip"), [image], tmp_path)
    assert image.read_bytes() == before
    (tmp_path / "out").mkdir()
    tifffile.imwrite(tmp_path / "out" / "a.tif", discs())
    with pytest.raises(InputError, match="nothing was written"):
        imported(tmp_path / "RoiSet.zip", [image], tmp_path / "out")
    assert np.array_equal(tifffile.imread(tmp_path / "out" / "a.tif"), discs())
    for _ in range(2):  # the same again is no loss
        assert imported(tmp_path / "RoiSet.zip", [image], tmp_path / "new")[0] == ["a.tif"]


@pytest.mark.parametrize(
    "name",
    [
        r"images\p.png",
        r"C:\data\p.png",
        "https://host/x/p.png?v=1",
        "./p.png",
        "/abs/p.png",
        "/data/local-files/?d=set%2Fp.png",
    ],
)
def test_names_of_other_systems(name, tmp_path):
    assert list(import_annotations(coco(tmp_path / "a.json", name, "q.png"))) == ["p", "q"]


def test_two_plates_with_equal_names(tmp_path):
    path = coco(tmp_path / "a.json", "plateA/img1.png", r"plateB\img1.png", "plateB/img2.png")
    written = [file.relative_to(tmp_path / "o").as_posix() for file in import_to_folder(path, tmp_path / "o")]
    assert written == ["plateA/img1.tif", "plateB/img1.tif", "img2.tif"]
    images = [
        save_image(tmp_path / plate / "img1.png.tif").rename(tmp_path / plate / "img1.tif")
        for plate in ("plateA", "plateB")
    ]
    assert imported(path, images, tmp_path / "p")[0] == written


def test_one_image_of_many_is_read_by_itself(tmp_path, monkeypatch):
    from napari_cupre.io.coco_index import CocoIndex

    painted = []
    paint = CocoIndex.paint
    monkeypatch.setattr(
        CocoIndex, "paint", lambda self, number, size=None: painted.append(number) or paint(self, number)
    )
    path = coco(tmp_path / "a.json", "x.png", "y.png", "z.png")
    assert read_for_image(path, Frame((60, 80)), "y").any()
    assert painted == [1]
    with pytest.raises(InputError, match=r'none called "w"'):
        read_for_image(path, Frame((60, 80)), "w")


@pytest.mark.parametrize(("name", "is_said"), [("x", False), ("x.png", False), ("y", True)])
def test_annotations_of_another_image_are_read_and_it_is_said(tmp_path, name, is_said):
    said = []
    path = coco(tmp_path / "a.json", "x.png")
    assert read_for_image(path, Frame((60, 80)), name, on_partial=said.append).any()
    expected = 'They are of an image called "x", not "y": undo if these are not the same.'
    assert said == [expected] * is_said


def test_names_that_an_image_may_have():
    assert label_names("a_cp_masks.png") == ("a", "a_cp_masks")
    assert label_names("a.b_rois.zip")[0] == "a.b"
    assert label_names("masks.png") == ("masks",)
    assert label_names("x.geojson.gz") == ("x",)


@pytest.mark.parametrize("names", [["0001-0020", "0050-0060", "0003-0001-0009"], ["nucleus 1", "big", "x"]])
def test_regions_one_by_one_in_a_folder_are_those_of_its_one_image(names, tmp_path):
    image = save_image(tmp_path / "im" / "a.tif")
    (tmp_path / "set").mkdir()
    for number, name in enumerate(names):
        roi = ImagejRoi.frompoints(np.array([(10, 10), (16, 10), (16, 16), (10, 16)]) + 20 * number)
        roiwrite(tmp_path / "set" / f"{name}.roi", roi, mode="w")
    assert imported(tmp_path / "set", [image], tmp_path / "o") == (["a.tif"], [], [])
    assert len(np.unique(tifffile.imread(tmp_path / "o" / "a.tif"))) == 4
    by_size = import_annotations(tmp_path / "set", (60, 80))
    together = [3] if names[0][0] == "0" else [1, 1, 1]  # without an image nothing but such names tells
    assert [len(np.unique(labels)) - 1 for labels in by_size.values()] == together


def test_a_region_called_as_another_image_is_not_put_into_this_one(tmp_path):
    image = save_image(tmp_path / "im" / "a.tif")
    (tmp_path / "set").mkdir()
    for name in "ab":
        save_rois(tmp_path / "set" / f"{name}.roi")
    written, (skipped,), _ = imported(tmp_path / "set", [image], tmp_path / "o")
    assert written == ["a.tif"]
    assert "b.roi" in skipped


def test_an_overlay_inside_an_imagej_file_is_read(tmp_path):
    rois = [ImagejRoi.frompoints(np.array(SQUARE) + shift).tobytes() for shift in ((0, 0), (40, 0))]
    image = np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8)
    overlays: dict[str, dict[str, Any]] = {"a": {"Overlays": rois}, "b": {"ROI": rois[0]}}
    for name, kept in overlays.items():
        metadata = {"unit": "um", **kept}
        tifffile.imwrite(tmp_path / f"{name}.tif", image, imagej=True, metadata=metadata, resolution=(2, 2))
    for name, count in (("a", 2), ("b", 1)):
        path = tmp_path / f"{name}.tif"
        written, _, (note,) = imported(path, [], tmp_path / "o")
        assert "overlay" in note
        labels = read_image(tmp_path / "o" / written[0])
        assert (len(np.unique(labels.data)) - 1, labels.pixel_size_um) == (count, 0.5)


@pytest.mark.parametrize("pattern", ["ROI {}.zip", "{}_cells.zip", "{}.rois.zip"])
def test_annotations_pair_by_what_differs_in_the_names(pattern, tmp_path):
    images = [save_image(tmp_path / "im" / f"w{number}.tif") for number in (1, 2, 3)]
    (tmp_path / "rois").mkdir()
    for number in (1, 3):
        save_rois(tmp_path / "rois" / pattern.format(f"w{number}"))
    written, skipped, notes = imported(tmp_path / "rois", images, tmp_path / "o")
    assert (written, skipped) == (["w1.tif", "w3.tif"], [])
    assert "by what differs in the names" in notes[0]
    assert notes[1] == "No annotation belongs to the image w2.tif."


def test_annotation_without_its_image_is_told(tmp_path):
    images = [save_image(tmp_path / "im" / f"{name}.tif") for name in "ab"]
    written, _, notes = imported(coco(tmp_path / "x.json", "A.TIF", "z.png"), images, tmp_path / "o")
    assert written == ["a.tif", "z.tif"]
    assert notes[0] == 'No image belongs to "z": such labels have no pixel size.'
