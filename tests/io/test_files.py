"""Listing, pairing and writing files."""

from __future__ import annotations

import errno
import os
import unicodedata
from pathlib import Path

import pytest

from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.io.files import atomic_write, image_stem, list_images
from napari_cupre.io.pairing import pair_by_stem, pair_notice


@pytest.fixture
def folder(tmp_path):
    for name in (
        "t10.tif",
        "t2.PNG",
        "t1.ome.tiff",
        "Thumbs.db",
        ".DS_Store",
        "._t1.tif",
        "desktop.ini",
        "notes.txt",
    ):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "plate.zarr").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "other.png").write_bytes(b"x")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "zarr.json").write_text("{}")
    return tmp_path


def names(paths):
    return [path.name for path in paths]


def test_folders_are_listed_in_natural_order_without_junk(folder):
    assert names(list_images(folder)) == ["plain", "plate.zarr", "t1.ome.tiff", "t2.PNG", "t10.tif"]


def test_globs_files_and_zarr_folders(folder):
    assert names(list_images(str(folder / "*.tif*"))) == ["t1.ome.tiff", "t10.tif"]
    assert names(list_images(str(folder / "**" / "*.png"))) == ["other.png"]
    assert names(list_images([folder / "t10.tif", folder / "plate.zarr", folder])) == [
        "t10.tif",
        "plate.zarr",
        "plain",
        "t1.ome.tiff",
        "t2.PNG",
    ]


def test_what_is_no_image_is_named(folder):
    (folder / "sub" / "other.png").unlink()
    with pytest.raises(InputError, match=r"sub.*contains no image"):
        list_images(folder / "sub")
    for path, sentence in [
        (folder / "missing.tif", "no file or folder"),
        (folder / "*.jpg", "No image matches"),
        (folder / "notes.txt", "not an image that can be read"),
        (folder / "Thumbs.db", "not an image that can be read"),
    ]:
        with pytest.raises(InputError, match=sentence):
            list_images(str(path))
    with pytest.raises(InputError, match="No image was given"):
        list_images([])


@pytest.mark.parametrize(
    ("name", "stem"), [("a.tif", "a"), ("a.b.ome.tif", "a.b"), ("dir/a.OME.zarr", "a"), ("a", "a")]
)
def test_stems(name, stem):
    assert image_stem(name) == stem


def test_files_pair_by_stem():
    images = ["i/a.tif", "i/b.png", "i/c.ome.tif", "i/d.tif", "i/e.zarr"]
    labels = ["l/c.tif", "l/b_mask.tif", "l/a_cp_masks.png", "l/e_Labels.tif", "l/x.tif"]
    assert pair_by_stem(images, labels) == [
        (Path("i/a.tif"), Path("l/a_cp_masks.png")),
        (Path("i/b.png"), Path("l/b_mask.tif")),
        (Path("i/c.ome.tif"), Path("l/c.tif")),
        (Path("i/e.zarr"), Path("l/e_Labels.tif")),
    ]


def test_images_and_labels_may_share_a_folder():
    files = ["a.png", "a_masks.tif", "b.png", "b_seg.tif"]
    assert pair_by_stem(files, files) == [
        (Path("a.png"), Path("a_masks.tif")),
        (Path("b.png"), Path("b_seg.tif")),
    ]


def test_an_exact_name_goes_before_an_ending():
    for labels in (["l/a_mask.tif", "l/a.tif"], ["l/a.tif", "l/a_mask.tif"]):
        assert pair_by_stem(["a.png", "b.png"], labels)[0] == (Path("a.png"), Path("l/a.tif"))


def test_one_image_and_one_label_file_belong_together():
    assert pair_by_stem(["cells.png"], ["drawn.tif"]) == [(Path("cells.png"), Path("drawn.tif"))]


def test_unpaired_and_ambiguous_files_are_named():
    with pytest.raises(InputError, match=r"a\.tif, b\.tif.*x\.tif, y\.tif"):
        pair_by_stem(["a.tif", "b.tif"], ["x.tif", "y.tif"])
    with pytest.raises(InputError, match=r"a\.tif.*a_mask\.tif.*a_labels\.tif"):
        pair_by_stem(["a.tif", "b.tif"], ["a_mask.tif", "a_labels.tif"])


def test_writing_is_all_or_nothing(tmp_path):
    target = tmp_path / "new" / "file.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("one")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.suffix == ".txt"
    with pytest.raises(RuntimeError), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "one"
    assert names(target.parent.iterdir()) == ["file.txt"]


@pytest.mark.parametrize(
    ("code", "sentence"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "access is denied")]
)
def test_disk_faults_name_the_file(tmp_path, code, sentence):
    with (
        pytest.raises(EnvironmentFault, match=rf"out\.bin.*{sentence}"),
        atomic_write(tmp_path / "out.bin") as temporary,
    ):
        temporary.write_bytes(b"some")
        raise OSError(code, "fault")
    assert not list(tmp_path.iterdir())


def test_other_faults_are_not_taken_for_the_disk(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "out.bin"):
        (tmp_path / "missing").read_bytes()


def pair_names(images, labels):
    return [(image.name, label.name) for image, label in pair_by_stem(images, labels)]


def test_accents_are_the_same_however_a_system_writes_them():
    apart, together = (unicodedata.normalize(form, "Zellé_1.tif") for form in ("NFD", "NFC"))
    assert pair_names([apart, "b.tif"], [f"x/{together}", "x/b.tif"]) == [
        (apart, together),
        ("b.tif", "b.tif"),
    ]


def test_capital_letters_tell_files_apart_only_where_they_must():
    images, labels = ["A1.tif", "b2.tif", "c.tif", "C.tif"], ["a1.TIF", "B2_Mask.tif", "c.png", "C.png"]
    assert pair_names(images, labels) == list(zip(images, labels))
    assert pair_names(["a.tif", "A.tif"], ["x/a.tif"]) == [("a.tif", "a.tif")]


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("t00{}.tif", "man_seg00{}.tif"),  # Cell Tracking Challenge
        ("w{}.tif", "w{}_Nuclei.tiff"),  # CellProfiler
        ("w{}.tif", "Label Image w{}.tif"),
        ("w{}.tif", "w{}.tif.png"),
        ("a{}_input.tif", "a{}_target.tif"),
        ("w{}.tif", "w{}-images-Object Identities.tif"),  # ilastik
        ("w{}.tif", "w{}-lbl.tif"),  # MorphoLibJ
    ],
)
def test_names_pair_by_what_differs_in_them(image, label):
    images, labels = ([name.format(n) for n in (1, 2, 10)] for name in (image, label))
    pairs = pair_by_stem(images, labels[:2])
    assert [(str(one), str(other)) for one, other in pairs] == list(zip(images, labels))[:2]
    assert ("-lbl" in label) != ("is paired with" in pair_notice(pairs))


@pytest.mark.parametrize(
    "labels",
    [
        ["day2_a_x.tif", "day2_b_x.tif"],  # of another day
        ["xa.tif", "xb.tif"],  # no words of their own
        ["a_x.tif", "c_x.tif"],
        ["a_x.tif", "a_x.png"],
        ["c2_a.tif", "c2_b.tif"],
    ],
)
def test_names_that_contradict_do_not_pair(labels):
    with pytest.raises(InputError, match="No label file"):
        pair_by_stem(["day1_a.tif", "day1_b.tif"], labels)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="such a system has no pipes")
def test_a_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "a.tif")
    (tmp_path / "b.tif").write_bytes(b"x")
    assert names(list_images(tmp_path)) == ["b.tif"]


def test_images_in_subfolders_are_told(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.tif").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no image: choose one of its subfolders, or give "):
        list_images(tmp_path)
    assert names(list_images(str(tmp_path / "**" / "*"))) == ["a.tif"]
