"""Files whose names, metadata or forms say something else than they hold, and what is said of them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_cupre.errors import EnvironmentFault, InputError, reason_of
from napari_cupre.io.annotated import collect_shots
from napari_cupre.io.files import is_zarr, list_images
from napari_cupre.io.images import read_image, read_labels, scenes
from napari_cupre.io.importers import import_annotations, import_to_folder
from napari_cupre.io.inputs import find_inputs
from napari_cupre.io.ownership import owned_write
from napari_cupre.io.pairing import pair_by_stem


@pytest.fixture
def plane() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8)


def cells(count: int = 6, shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    labels = np.zeros(shape, np.int32)
    for number in range(count):
        labels[4 + 12 * (number // 3) :, 4 + 14 * (number % 3) :][:8, :8] = number + 1
    return labels


# --- what a file says of itself ------------------------------------------------------------------------


def test_a_picture_is_read_by_what_it_is(tmp_path: Path, plane: np.ndarray) -> None:
    Image.fromarray(plane).save(tmp_path / "x.png")
    (tmp_path / "a.tif").write_bytes((tmp_path / "x.png").read_bytes())
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, plane)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), plane)
    tifffile.imwrite(tmp_path / "s.tif", np.stack([plane] * 3), imagej=True, metadata={"axes": "TYX"})
    (tmp_path / "s.png").write_bytes((tmp_path / "s.tif").read_bytes())
    assert read_image(tmp_path / "s.png").axes == "TYX"


def test_an_imagej_stack_with_planes_missing_keeps_its_axes(tmp_path: Path, plane: np.ndarray) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([plane] * 4), imagej=True, metadata={"axes": "TYX"})
    path.write_bytes(path.read_bytes().replace(b"frames=4", b"frames=7").replace(b"images=4", b"images=7"))
    image = read_image(path, partial=True)
    assert (image.axes, image.data.shape) == ("TYX", (4, 40, 50))
    assert "4 of the 7 planes" in image.lacks
    with pytest.raises(InputError, match="4 of the 7"):
        read_image(path)


def test_oddities_are_told_without_names_of_objects(tmp_path: Path, plane: np.ndarray) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.stack([plane] * 4), metadata={"axes": "TYX"})
    path.write_bytes(path.read_bytes().replace(b'SizeT="4"', b'SizeT="2"'))
    (notice,) = read_image(path).notices
    assert "<" not in notice
    assert "expected 2 frames" in notice


def test_what_a_file_does_not_say_is_named_as_a_guess(tmp_path: Path, plane: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([plane] * 5), metadata=None, photometric="minisblack")
    assert "5 channels (CYX)" in read_image(tmp_path / "a.tif").guess
    assert read_image(tmp_path / "a.tif", "ZYX").guess == ""
    tifffile.imwrite(tmp_path / "b.tif", np.stack([plane] * 5), imagej=True, metadata={"axes": "TYX"})
    assert read_image(tmp_path / "b.tif").guess == ""


def test_one_row_of_numbers_is_no_image(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.arange(50, dtype=np.uint8))
    with pytest.raises(InputError, match="Y and X are needed"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("pages", [0, 1])
def test_a_tiff_without_a_picture_is_told_in_words(pages: int, tmp_path: Path) -> None:
    first = 8 if pages else 0
    (tmp_path / "a.tif").write_bytes(b"II*\x00" + struct.pack("<IHI", first, 0, 0))
    with pytest.raises(InputError, match=r"a\.tif.*damaged or not an image"):
        read_image(tmp_path / "a.tif")


def test_a_key_that_is_not_there_is_called_missing() -> None:
    assert reason_of(KeyError("Y")) == '"Y" is missing'


def test_a_picture_has_no_other_image(tmp_path: Path, plane: np.ndarray) -> None:
    Image.fromarray(plane).save(tmp_path / "a.png")
    (path,) = find_inputs(tmp_path / "a.png", "second").paths
    with pytest.raises(InputError, match=r'"a\.png" has no image called "second"'):
        read_image(path)


# --- label images --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_three_planes_of_labels_are_planes(tmp_path: Path, dtype: Any) -> None:
    """tifffile writes an array of three planes as red, green and blue unless it is told otherwise."""
    planes = np.stack([np.roll(cells(), shift, 1) for shift in range(3)]).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", planes)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), planes)
    alike = np.stack([cells()] * 3).astype(dtype)
    tifffile.imwrite(tmp_path / "b.tif", alike)
    assert read_labels(tmp_path / "b.tif").shape == (40, 50)  # grey as colours
    assert read_labels(tmp_path / "b.tif", "ZYX").shape == (3, 40, 50)


def test_three_planes_train_without_axes(tmp_path: Path, plane: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([plane, plane[::-1], plane[:, ::-1]]))
    tifffile.imwrite(tmp_path / "a_mask.tif", np.stack([cells(), cells()[::-1], cells()[:, ::-1]]))
    shots = collect_shots(str(tmp_path / "a.tif"), str(tmp_path / "a_mask.tif")).shots
    assert [int(shot.labels.max()) for shot in shots] == [6, 6, 6]


def test_a_picture_is_not_taken_for_labels(tmp_path: Path) -> None:
    """Also a smooth one, in which many pixels are like the one beside them."""
    rows, columns = np.mgrid[:200, :200]
    smooth = (
        100 + 60 * np.sin(rows / 9) * np.sin(columns / 11) + np.random.default_rng(0).normal(0, 1, (200, 200))
    )
    tifffile.imwrite(tmp_path / "a.tif", (smooth // 3).astype(np.uint8))
    tifffile.imwrite(tmp_path / "image.tif", smooth.astype(np.float32))
    with pytest.raises(InputError, match="is a picture, not a label image"):
        import_annotations(tmp_path / "a.tif")
    with pytest.raises(InputError, match="is a picture, not a label image"):
        collect_shots(str(tmp_path / "image.tif"), str(tmp_path / "a.tif"))


def test_many_cells_that_are_cut_in_two_are_still_labels(tmp_path: Path) -> None:
    labels = np.kron(np.arange(1, 101).reshape(10, 10), np.ones((12, 12), int)).astype(np.int32)
    labels[6::12] = 0
    tifffile.imwrite(tmp_path / "a.tif", labels)
    assert len(np.unique(import_annotations(tmp_path / "a.tif")["a"])) == 101


def test_label_files_without_an_image_are_named(
    tmp_path: Path, plane: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for stem in "ab":
        tifffile.imwrite(tmp_path / "images" / f"{stem}.tif", plane)
    for name in ("a.tif", "B_final.tif"):
        tifffile.imwrite(tmp_path / "labels" / name, cells())
    assert len(collect_shots(str(tmp_path / "images"), str(tmp_path / "labels")).shots) == 1
    said = capsys.readouterr().err
    assert "1 label file belongs to none of the images" in said
    assert "B_final.tif" in said


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("a.tif", "mask-a.tif"),
        ("img-a.tif", "mask-a.tif"),
        ("a.tif", "a_Object Identities.tiff"),
        ("img7.png", "mask7.png"),
        ("image07.png", "gt07.png"),
    ],
)
def test_names_that_belong_together(image: str, labels: str) -> None:
    images, files = [Path(image), Path("other.tif")], [Path(labels), Path("other.png")]
    assert pair_by_stem(images, files) == list(zip(images, files, strict=True))


def test_names_of_images_stay_images() -> None:
    with pytest.raises(InputError):
        pair_by_stem([Path("x.tif"), Path("y.tif")], [Path("gtx.tif"), Path("masky.tif")])


def test_a_series_that_no_file_has_is_named(tmp_path: Path, plane: np.ndarray) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for name in ("one", "two"):
            file.write(plane, metadata={"axes": "YX", "Name": name})
    for name in ("one", "two"):
        tifffile.imwrite(tmp_path / f"a_{name}_mask.tif", cells())
    with pytest.raises(InputError, match='no image called "three": choose from one, two'):
        collect_shots(str(tmp_path / "a.ome.tif"), str(tmp_path / "*_mask.tif"), series="three")


# --- OME-Zarr ------------------------------------------------------------------------------------------


def zarr_image(group: Any, data: np.ndarray) -> None:
    array = group.create_array("0", shape=data.shape, dtype=data.dtype, chunks=data.shape)
    array[...] = data
    axes = [{"name": name, "type": "space"} for name in "yx"]
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": axes,
            "datasets": [
                {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}
            ],
        }
    ]


def test_a_well_that_a_plate_lists_and_lacks_is_named(tmp_path: Path, plane: np.ndarray) -> None:
    plate = zarr.open_group(tmp_path / "p.zarr", mode="w", zarr_format=2)
    plate.attrs["plate"] = {"wells": [{"path": "A/1"}, {"path": "B/2"}]}
    well = plate.create_group("A/1")
    well.attrs["well"] = {"images": [{"path": "0"}]}
    zarr_image(well.create_group("0"), plane)
    found, lacking = find_inputs(tmp_path / "p.zarr").paths
    np.testing.assert_array_equal(np.asarray(read_image(found).data), plane)
    with pytest.raises(InputError, match='no image called "B/2"'):
        read_image(lacking)


def test_an_empty_folder_called_zarr_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(InputError, match="metadata are missing") as caught:
        read_image(tmp_path / "a.zarr")
    assert "Store" not in str(caught.value)


def test_an_ome_zarr_with_its_labels_trains_by_itself(tmp_path: Path, plane: np.ndarray) -> None:
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    zarr_image(root, plane)
    labels = root.create_group("labels")
    labels.attrs["labels"] = ["cells"]
    zarr_image(labels.create_group("cells"), cells())
    (shot,) = collect_shots(str(tmp_path / "a.zarr"), str(tmp_path / "a.zarr")).shots
    np.testing.assert_array_equal(shot.labels, cells())


@pytest.mark.parametrize("name", ["a.zarr.zip", "a.ozx", "a.tar"])
def test_what_is_packed_has_to_be_unpacked(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(InputError, match="unpack it first"):
        list_images(tmp_path / name)


# --- COCO ----------------------------------------------------------------------------------------------


def coco(
    folder: Path, annotations: list[dict[str, Any]], names: tuple[str, ...] = ("a.tif", "b.tif")
) -> Path:
    images = [{"id": n, "file_name": name, "height": 40, "width": 50} for n, name in enumerate(names)]
    every = [{"id": n, "category_id": 1, "iscrowd": 0, **each} for n, each in enumerate(annotations)]
    document = {"images": images, "annotations": every, "categories": [{"id": 1, "name": "cell"}]}
    (folder / "c.json").write_text(json.dumps(document))
    return folder / "c.json"


def square(image: int, at: float, **more: Any) -> dict[str, Any]:
    corners = [at, at, at + 8, at, at + 8, at + 8, at, at + 8]
    return {"image_id": image, "segmentation": [corners], "bbox": [at, at, 8, 8], "area": 64, **more}


@pytest.mark.parametrize(
    "bad", [square(1, 500), square(1, 4, iscrowd=1), {"image_id": 1, "segmentation": [[1, 2, 3]]}]
)
@pytest.mark.parametrize("keep_empty", [False, True])
def test_an_image_of_which_nothing_can_be_used_is_not_empty(
    tmp_path: Path, bad: dict[str, Any], keep_empty: bool
) -> None:
    said: list[str] = []
    path = coco(tmp_path, [square(0, 4), bad])
    written = import_to_folder(
        path,
        tmp_path / "o",
        keep_empty=keep_empty,
        on_skip=said.append,
        on_partial=said.append,
        on_note=said.append,
    )
    assert [each.name for each in written] == ["a.tif"]
    assert said


def test_images_outside_of_which_all_lies_do_not_train_as_empty(tmp_path: Path, plane: np.ndarray) -> None:
    for stem in "ab":
        tifffile.imwrite(tmp_path / f"{stem}.tif", plane)
    found = collect_shots(str(tmp_path), str(coco(tmp_path, [square(0, 4), square(1, 500)])))
    assert len(found.shots) == 1
    assert [Path(path).name for path in found.left_out] == ["b.tif"]


def test_two_images_of_one_stem_are_not_called_two_annotations(tmp_path: Path) -> None:
    said: list[str] = []
    path = coco(tmp_path, [square(0, 4), square(1, 20)], ("a.tif", "a.png"))
    assert len(list(import_to_folder(path, tmp_path / "o", on_skip=said.append))) == 1
    assert "two images called" in said[0]
    assert "remove" not in said[0]


# --- disks ---------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_named_and_no_hidden_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(tmp_path / ".abc"))

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with (
        pytest.raises(EnvironmentFault, match=r'"[^"]*a\.tif" could not be written'),
        owned_write(tmp_path / "a.tif"),
    ):
        pass


def test_a_file_where_a_folder_should_be_is_the_one_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("x")
    with (
        pytest.raises(EnvironmentFault, match=r'notes" could not be written'),
        owned_write(tmp_path / "notes" / "a.tif"),
    ):
        pass


def test_a_folder_that_cannot_be_read_is_no_zarr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to look into it, asking for a file in it is an error of the system."""

    def refuse(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", refuse)
    assert not is_zarr(tmp_path)


def test_scenes_of_an_image_by_its_content(tmp_path: Path, plane: np.ndarray) -> None:
    Image.fromarray(plane).save(tmp_path / "x.png")
    (tmp_path / "a.tif").write_bytes((tmp_path / "x.png").read_bytes())
    (scene,) = scenes(tmp_path / "a.tif")
    assert scene.shape == (40, 50)
