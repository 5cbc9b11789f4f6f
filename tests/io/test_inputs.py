"""Which files of a folder are images, each once, and which labels belong to them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from ome_sets import write_set
from PIL import Image

from napari_cupre.data.labels import scattered_parts
from napari_cupre.errors import InputError
from napari_cupre.io.annotated import collect_shots
from napari_cupre.io.files import atomic_write, list_images
from napari_cupre.io.images import read_image
from napari_cupre.io.inputs import find_inputs
from napari_cupre.io.pairing import pair_by_stem

RNG = np.random.default_rng(0)
GREY = {"photometric": "minisblack"}


def touch(folder, *names):
    folder.mkdir(exist_ok=True, parents=True)
    for name in names:
        Image.fromarray(RNG.integers(0, 255, (8, 9), np.uint8)).save(folder / name)


def names(paths):
    return [path.name for path in paths]


@pytest.mark.parametrize("target", ["..", ".", "../../up"])
def test_a_link_to_a_folder_above_is_no_new_folder(tmp_path, target):
    touch(tmp_path / "up" / "set", "a.png")
    touch(tmp_path / "up", "b.png")
    for link in ("again", "once_more"):
        (tmp_path / "up" / "set" / link).symlink_to(target, target_is_directory=True)
    assert sorted(names(list_images(tmp_path / "up", subfolders=True))) == ["a.png", "b.png"]
    assert sorted(names(list_images(str(tmp_path / "up" / "**" / "*.png")))) == ["a.png", "b.png"]


def test_links_to_folders_elsewhere_are_followed(tmp_path):
    touch(tmp_path / "disk", "a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "disk", target_is_directory=True)
    assert names(list_images(tmp_path / "set", subfolders=True)) == ["a.png"]
    assert names(list_images(str(tmp_path / "set" / "**" / "a.*"))) == ["a.png"]


def test_globs_match_as_ever(tmp_path, monkeypatch):
    touch(tmp_path / "x" / "y", "a.png", "b.jpg")
    touch(tmp_path, "c.png")
    assert names(list_images(str(tmp_path / "**" / "y" / "*.png"))) == ["a.png"]
    assert sorted(names(list_images(str(tmp_path / "**" / "*")))) == ["a.png", "b.jpg", "c.png"]
    monkeypatch.chdir(tmp_path)
    assert sorted(map(str, list_images("**/*.png"))) == ["c.png", str(Path("x/y/a.png"))]


def test_one_file_under_two_names_is_read_once(tmp_path):
    touch(tmp_path, "a.png")
    (tmp_path / "b.png").symlink_to("a.png")
    inputs = find_inputs([tmp_path, tmp_path / "." / "a.png", os.path.relpath(tmp_path / "a.png")])
    assert names(inputs.paths) == ["a.png"]
    assert "read once" in inputs.notices[0]


def test_label_files_beside_their_images_are_no_images(tmp_path):
    touch(
        tmp_path,
        *("a.png", "a_mask.png", "b_img.png", "b_masks.png", "img_3.png", "mask_3.png", "x_mask.png"),
        *("a-lbl.tif", "a_nuclei_mask.tif", "a mask.tif", "a_segm.npz.tif"),
    )
    inputs = find_inputs(tmp_path)
    assert names(inputs.paths) == ["a.png", "a_segm.npz.tif", "b_img.png", "img_3.png", "x_mask.png"]
    assert len(inputs.notices) == 1
    assert inputs.notices[0].startswith("6 files")
    assert names(find_inputs([tmp_path / "a.png", tmp_path / "a_mask.png"]).paths) == ["a.png", "a_mask.png"]


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("{}_img.png", "{}_masks.png"),
        ("{}.tif", "{}_cp_masks.png"),
        ("{}.tif", "{}_segmentation.tif"),
        ("img_{}.png", "mask_{}.png"),
        ("image_{}.tif", "label_{}.tif"),
        ("{}.jpg", "{}-mask.png"),
        ("{}_raw.tif", "{}_labels.tif"),
        ("{}.png", "{}_Mask.PNG"),
    ],
)
def test_the_names_of_other_programs_pair(image, label):
    files = [pattern.format(number) for number in ("000", "001") for pattern in (image, label)]
    assert pair_by_stem(files, files) == [
        (Path(image.format(number)), Path(label.format(number))) for number in ("000", "001")
    ]
    # what was predicted from the images pairs with the labels, too
    predicted = [f"o/{Path(image.format(number)).stem}.tif" for number in ("000", "001")]
    truth = [label.format(number) for number in ("000", "001")]
    assert [p.as_posix() for _, p in pair_by_stem(truth, predicted)] == predicted


def test_a_name_as_long_as_the_disk_allows_can_be_written(tmp_path):
    with atomic_write(tmp_path / ("n" * 251 + ".tif")) as temporary:
        temporary.write_text("x")
    with pytest.raises(InputError, match="shorter name"), atomic_write(tmp_path / ("n" * 252 + ".tif")):
        pass
    with pytest.raises(InputError, match="no file or folder"):
        list_images("n" * 300)


# --- annotated images ---------------------------------------------------------------------------------


def disks(*shape):
    labels = np.zeros(shape, np.uint16)
    labels[..., 2:6, 2:6] = 1
    labels[..., 10:14, 10:14] = 2
    return labels


def test_labels_of_each_plane_tell_that_the_image_is_a_stack(tmp_path):
    tifffile.imwrite(tmp_path / "z.tif", RNG.integers(0, 99, (3, 20, 20), np.uint16), **GREY)
    tifffile.imwrite(tmp_path / "z_mask.tif", disks(3, 20, 20), **GREY)
    shots = collect_shots(str(tmp_path / "z.tif"), str(tmp_path / "z_mask.tif")).shots
    assert len(shots) == 3
    assert all(shot.labels.max() == 2 for shot in shots)
    with pytest.raises(InputError, match=r"differ in size.*CYX.*--axes"):
        collect_shots(str(tmp_path / "z.tif"), str(tmp_path / "z_mask.tif"), axes="CYX")


@pytest.mark.parametrize(("shape", "labels"), [((4, 3, 20, 20), (4, 20, 20)), ((4, 3, 20, 20), (3, 20, 20))])
def test_labels_tell_which_dimension_is_channels(tmp_path, shape, labels):
    tifffile.imwrite(tmp_path / "a.tif", RNG.integers(0, 99, shape, np.uint16), photometric="minisblack")
    tifffile.imwrite(tmp_path / "b.tif", disks(*labels), photometric="minisblack")
    assert len(collect_shots(str(tmp_path / "a.tif"), str(tmp_path / "b.tif")).shots) == labels[0]


def test_axes_name_the_dimensions_of_image_and_labels(tmp_path):
    image, labels = RNG.integers(0, 99, (20, 22, 7), np.uint16), np.moveaxis(disks(7, 20, 22), 0, -1)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack")
    tifffile.imwrite(tmp_path / "b.tif", labels, photometric="minisblack")
    shots = collect_shots(str(tmp_path / "a.tif"), str(tmp_path / "b.tif"), axes="YXZ").shots
    assert len(shots) == 7
    assert all(np.array_equal(shot.labels, labels[..., 0]) for shot in shots)


def test_one_number_in_many_parts_is_told(tmp_path, capsys):
    labels = np.zeros((40, 40), np.uint8)
    labels[2::10, 2::10] = labels[3::10, 2::10] = 7
    assert scattered_parts(labels) == {7: 16}
    Image.fromarray(labels).save(tmp_path / "b.png")
    touch(tmp_path, "a.png")
    Image.fromarray(RNG.integers(0, 255, (40, 40), np.uint8)).save(tmp_path / "a.png")
    collect_shots(str(tmp_path / "a.png"), str(tmp_path / "b.png"))
    assert "1 label is shared by 16 parts" in capsys.readouterr().err


def test_small_parts_beside_large_ones_count_as_well():
    labels = np.zeros((40, 40), np.int32)
    labels[2:12, 2:12] = labels[22:32, 22:32] = labels[36:38, 36:38] = 7
    assert scattered_parts(labels) == {7: 3}
    labels[22:32, 22:32] = 0
    assert scattered_parts(labels) == {}  # one cell, and a slip of the brush


def test_scenes_pair_with_labels_named_like_results(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        for name, rows in (("one", 20), ("two", 30)):
            array = RNG.integers(0, 99, (rows, 20), np.uint16)
            writer.write(array, metadata={"axes": "YX", "Name": name})
    (tmp_path / "labels").mkdir()
    for name, rows in (("one", 20), ("two", 30)):
        tifffile.imwrite(tmp_path / "labels" / f"a_{name}.tif", disks(rows, 20))
    given = str(tmp_path / "a.ome.tif"), str(tmp_path / "labels")
    assert [shot.labels.shape for shot in collect_shots(*given).shots] == [(20, 20), (30, 20)]
    only = str(tmp_path / "labels" / "a_two.tif")
    assert collect_shots(given[0], only, series="two").shots[0].labels.shape == (30, 20)


def test_labels_of_each_file_of_a_set(tmp_path):
    (tmp_path / "i").mkdir()
    (tmp_path / "l").mkdir()
    write_set(tmp_path / "i", RNG.integers(0, 99, (2, 20, 20), dtype=np.uint8))
    for number in range(2):
        tifffile.imwrite(tmp_path / "l" / f"t{number}.tif", disks(20, 20))
    assert len(collect_shots(str(tmp_path / "i"), str(tmp_path / "l")).shots) == 2
    (tmp_path / "l" / "t1.tif").unlink()
    tifffile.imwrite(tmp_path / "l" / "t0.tif", disks(2, 20, 20), metadata={"axes": "TYX"})
    assert len(collect_shots(str(tmp_path / "i"), str(tmp_path / "l")).shots) == 2


def test_images_of_other_formats_are_not_passed_over(tmp_path):
    touch(tmp_path, "a.tif", "b.png")
    for name in ("b.czi", "c.nd2", "._d.czi", "readme.txt"):
        (tmp_path / name).write_bytes(b"x")
    inputs = find_inputs(tmp_path)
    assert names(inputs.paths) == ["a.tif", "b.png", "c.nd2"]  # b was saved as something that is read
    with pytest.raises(InputError, match=r"c\.nd2.*save it as OME-TIFF"):
        read_image(inputs.paths[-1])
    with pytest.raises(InputError, match=r"c\.nd2.*save it as OME-TIFF"):
        find_inputs(tmp_path / "c.nd2")
