"""Label images and Cellpose's text: what is no label image, and outlines of pixels."""

from __future__ import annotations

from itertools import pairwise

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from export_fakes import blobs, discs

from napari_cupre.errors import InputError
from napari_cupre.io.annotated import collect_shots
from napari_cupre.io.images import read_labels
from napari_cupre.io.importers import import_annotations
from napari_cupre.io.importers.suspects import check_label_image
from napari_cupre.io.samples import SAMPLES, load_sample

RNG = np.random.default_rng(0)


def save_outlines(path, labels):
    """As Cellpose does it: the pixels along each cell's edge, in order."""
    from napari_cupre.io.writers.outlines import trace

    lines = []
    for value, (part, *_) in trace(labels).items():
        inside = labels == value
        pixels = []
        corners = np.vstack([part.exterior, part.exterior[:1]])
        for start, end in pairwise(corners):
            step = np.sign(end - start)
            right = np.array([-step[1], step[0]])
            for place in range(int(np.abs(end - start).max())):
                centre = start + place * step + (step + right) / 2
                x, y = np.floor(centre).astype(int)
                assert inside[y, x]
                pixels += [x, y]
        lines.append(",".join(map(str, pixels)))
    path.write_text("\n".join(lines) + "\n")


def test_outlines_of_cellpose_give_its_masks_back(tmp_path):
    labels = discs()
    save_outlines(tmp_path / "a_cp_outlines.txt", labels)
    assert np.array_equal(import_annotations(tmp_path / "a_cp_outlines.txt", labels.shape)["a"], labels)


def test_lines_that_are_no_outline_are_counted(tmp_path):
    path = tmp_path / "a_cp_outlines.txt"
    path.write_text("10,10,20,10,20,20,10,20\n\n1,2,3\nx,y\n5,5\n")
    said = []
    labels = import_annotations(path, (40, 40), on_partial=said.append)["a"]
    assert (labels == 1).sum() == 121
    assert (labels == 2).sum() == 1
    assert said == ['"a_cp_outlines.txt": 2 of 5 shapes became cells: 1 covers no pixel, 2 are damaged.']


def test_cellposes_outlines_are_a_copy_of_its_masks(tmp_path):
    iio.imwrite(tmp_path / "a_cp_masks.png", discs().astype(np.uint16))
    (tmp_path / "a_cp_outlines.txt").write_text("1,1,2,2,3,3\n")
    assert np.array_equal(import_annotations(tmp_path)["a"], discs())


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_a_picture_is_no_label_image(suffix, tmp_path):
    picture = np.random.default_rng(0).poisson(60, (80, 90)).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    np.save(path, picture) if suffix == ".npy" else iio.imwrite(path, picture)
    with pytest.raises(InputError, match=f"a{suffix}.*is a picture, not a label image"):
        import_annotations(path)


def test_samples_are_pictures(tmp_path):
    for name in (info.name for info in SAMPLES):
        image = load_sample(name).image
        plane = np.asarray(image.plane())
        grey = plane if plane.ndim == 2 else plane[..., 0]
        np.save(tmp_path / "a.npy", grey)
        with pytest.raises(InputError, match="picture"):
            import_annotations(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "labels", [discs(), blobs(1), np.kron(np.arange(1, 401).reshape(20, 20), np.ones((4, 3)))]
)
def test_label_images_are_no_pictures(labels, tmp_path):
    np.save(tmp_path / "a.npy", labels.astype(np.int32))
    assert np.array_equal(import_annotations(tmp_path / "a.npy")["a"], labels)


def test_a_number_of_many_parts_is_noted(tmp_path):
    iio.imwrite(tmp_path / "a_mask.png", (discs() > 0).astype(np.uint8) * 255)
    notes = []
    assert import_annotations(tmp_path / "a_mask.png", on_note=notes.append)
    assert len(notes) == 1
    assert '"a_mask.png": the label 255 is shared by 12' in notes[0]


def test_an_empty_label_image_alone_is_an_error_and_one_of_many_is_noted(tmp_path):
    for name in ("a_mask.png", "b_mask.png"):
        empty = name.startswith("b")
        iio.imwrite(tmp_path / name, np.zeros((9, 9), np.uint8) if empty else discs().astype(np.uint8))
    with pytest.raises(InputError, match="contains no cells"):
        import_annotations(tmp_path / "b_mask.png")
    notes = []
    assert len(import_annotations(tmp_path, on_note=notes.append)) == 2
    assert notes == ['"b_mask.png" contains no cells: all of it is background.']


def test_planes_of_a_series_that_were_written_as_colours_train_without_axes(tmp_path):
    """tifffile writes three planes of each time as the samples of a colour picture."""
    image, labels = RNG.integers(0, 255, (2, 3, 40, 50), np.uint8), np.zeros((2, 3, 40, 50), np.uint8)
    for t, z in np.ndindex(2, 3):
        labels[t, z, 5 + z : 15, 5 + t : 15] = 1
    for name, array in (("im", image), ("lab", labels)):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "a.tif", array)
    np.testing.assert_array_equal(read_labels(tmp_path / "lab" / "a.tif"), labels)
    shots = collect_shots(str(tmp_path / "im"), str(tmp_path / "lab")).shots
    assert [int(shot.labels.sum()) for shot in shots] == [100, 90, 80, 90, 81, 72]


def test_a_channel_of_length_one_behind_the_labels_is_dropped(tmp_path):
    labels = np.eye(20, 30, dtype=np.uint16)[..., None]
    for number, array in enumerate((labels, labels[None])):
        tifffile.imwrite(tmp_path / f"{number}.tif", array)
        np.testing.assert_array_equal(read_labels(tmp_path / f"{number}.tif"), labels[..., 0])


def test_a_background_with_a_label_is_refused(tmp_path):
    labels = np.ones((2, 40, 50), np.uint16)
    labels[:, 10:20, 10:20] = 2
    (tmp_path / "im").mkdir()
    tifffile.imwrite(tmp_path / "im" / "a.tif", RNG.integers(0, 255, (40, 50), np.uint8))
    tifffile.imwrite(tmp_path / "a.tif", labels[0])
    with pytest.raises(InputError, match=r'"a\.tif" has no background: its label 1 covers 95% of the image'):
        collect_shots(str(tmp_path / "im"), str(tmp_path / "a.tif"))
    with pytest.raises(InputError, match="has no background"):
        import_annotations(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "labels", [np.ones((8, 9)), np.arange(1, 73).reshape(8, 9).repeat(4, 0).repeat(4, 1)]
)
def test_cells_that_fill_an_image_are_cells(labels):
    check_label_image(labels.astype(np.int32), "a.tif")


@pytest.mark.parametrize("name", ["a_seg.npy", "a_rois.zip", "a.geojson", "a_cp_outlines.txt"])
def test_annotation_that_must_be_imported_first_is_told_so(name, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    tifffile.imwrite(tmp_path / "a.tif", RNG.integers(0, 255, (40, 50), np.uint8))
    for labels in (tmp_path, tmp_path / name):
        with pytest.raises(InputError, match=f"{name}.*napari-cupre import"):
            collect_shots(str(tmp_path / "a.tif"), str(labels))
