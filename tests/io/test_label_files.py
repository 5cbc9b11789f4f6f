"""Label images and Cellpose's text: what is no label image, and outlines of pixels."""

from __future__ import annotations

from itertools import pairwise

import imageio.v3 as iio
import numpy as np
import pytest
from export_fakes import blobs, discs

from napari_cupre.errors import InputError
from napari_cupre.io.importers import import_annotations, iterate_annotations
from napari_cupre.io.samples import SAMPLES, load_sample


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
    labels = dict(iterate_annotations(path, (40, 40), on_partial=said.append))["a"]
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
    assert dict(iterate_annotations(tmp_path / "a_mask.png", on_note=notes.append))
    assert len(notes) == 1
    assert '"a_mask.png": the label 255 is shared by 12' in notes[0]


def test_an_empty_label_image_alone_is_an_error_and_one_of_many_is_noted(tmp_path):
    for name in ("a_mask.png", "b_mask.png"):
        empty = name.startswith("b")
        iio.imwrite(tmp_path / name, np.zeros((9, 9), np.uint8) if empty else discs().astype(np.uint8))
    with pytest.raises(InputError, match="contains no cells"):
        import_annotations(tmp_path / "b_mask.png")
    notes = []
    assert len(dict(iterate_annotations(tmp_path, on_note=notes.append))) == 2
    assert notes == ['"b_mask.png" contains no cells: all of it is background.']
