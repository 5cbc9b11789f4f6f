"""What is written comes back to the pixel."""

from __future__ import annotations

import numpy as np
import pytest
from export_fakes import blobs, discs, stack
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_cupre.data.image import CellImage
from napari_cupre.evaluation.coco_ap import coco_evaluate
from napari_cupre.io.files import image_stem
from napari_cupre.io.importers import Frame, ImageShapes, import_annotations, import_to_folder
from napari_cupre.io.writers import write

#: Formats that keep the cells' values, and the ending of what each writes.
KEEP_VALUES = ("tif", "roi", "geojson")


@pytest.mark.parametrize("name", KEEP_VALUES)
@pytest.mark.parametrize("labels", [discs(), blobs(1), blobs(2)], ids=["discs", "blobs", "more blobs"])
def test_values_and_pixels_come_back(name, labels, tmp_path):
    (path,) = write(labels, tmp_path / "field", name)
    (stem, back) = next(iter(import_annotations(path, labels.shape).items()))
    assert stem == "field"
    assert back.dtype == np.int32
    assert np.array_equal(back, labels)


@pytest.mark.parametrize("labels", [discs(), blobs(1)], ids=["discs", "blobs"])
def test_coco_cells_come_back(labels, tmp_path):
    (path,) = write(labels, tmp_path / "field", "coco")
    (back,) = import_annotations(path).values()
    assert back.shape == labels.shape
    for value in np.unique(labels)[1:]:
        (renamed,) = np.unique(back[labels == value])
        assert renamed
        assert np.array_equal(back == renamed, labels == value)
    assert ((back > 0) == (labels > 0)).all()


@given(hnp.arrays(np.int32, (7, 8), elements=st.integers(0, 3)).filter(np.any))
@settings(deadline=None, max_examples=20)
@pytest.mark.parametrize("name", ["roi", "geojson"])
def test_any_label_image_comes_back_from_outlines(name, tmp_path_factory, labels):
    (path,) = write(labels, tmp_path_factory.mktemp("any") / "a", name)
    assert np.array_equal(import_annotations(path, labels.shape)["a"], labels)


@pytest.mark.parametrize("name", KEEP_VALUES)
def test_planes_come_back_in_their_place(name, tmp_path):
    image = stack()
    labels = np.stack([[blobs(3 * t + z) for z in range(3)] for t in range(2)])
    (path,) = write(labels, tmp_path / "a", name, image=image)
    assert np.array_equal(import_annotations(path, labels.shape)["a"], labels)


@pytest.mark.parametrize("axes", ["T", "Z"])
@pytest.mark.parametrize("name", ["roi", "geojson"])
def test_planes_of_one_kind_come_back(name, axes, tmp_path):
    image = stack(axes + "YX")
    labels = np.stack([blobs(seed) for seed in range(image.sizes[axes])])
    (path,) = write(labels, tmp_path / "a", name, image=image)
    assert np.array_equal(import_annotations(path, labels.shape)["a"], labels)


def test_a_folder_of_results_is_read_with_the_images_sizes(tmp_path):
    fields = {"one": discs(), "two": blobs()[:50]}
    for stem, labels in fields.items():
        write(labels, tmp_path / "roi" / stem, "roi")
        write(labels, tmp_path / "images" / stem, "tif")
    shapes = ImageShapes((tmp_path / "images").iterdir())
    written = list(import_to_folder(tmp_path / "roi", tmp_path / "labels", shapes))
    assert [image_stem(path) for path in written] == ["one", "two"]
    back = import_annotations(tmp_path / "labels")
    assert all(np.array_equal(back[stem], labels) for stem, labels in fields.items())


def test_what_was_written_is_evaluated(tmp_path):
    (path,) = write(discs(), tmp_path / "a", "coco")
    assert coco_evaluate(path, path).ap == 1


@given(
    hnp.arrays(np.int32, (2, 3, 5, 6), elements=st.integers(0, 2)).filter(np.any),
    st.sampled_from(["TZCYX", "TZYX", "ZTYX"]),
)
@settings(deadline=None, max_examples=20)
@pytest.mark.parametrize("name", ["roi", "geojson"])
def test_any_stack_comes_back_to_its_planes(name, tmp_path_factory, labels, axes):
    """Also through the files and frames that the command line uses, with the image's axes."""
    folder = tmp_path_factory.mktemp("any")
    if axes.startswith("Z"):
        labels = labels.transpose(1, 0, 2, 3)
    sizes = {**dict(zip(axes.replace("C", ""), labels.shape)), "C": 2}
    image = CellImage(np.zeros([sizes[axis] for axis in axes], np.uint8), axes)
    (path,) = write(labels, folder / "a", name, image=image)
    assert np.array_equal(import_annotations(path, Frame.of(image))["a"], labels)


@given(hnp.arrays(np.int32, (7, 8), elements=st.integers(0, 3)).filter(np.any))
@settings(deadline=None, max_examples=20)
def test_any_label_image_comes_back_from_coco(tmp_path_factory, labels):
    (path,) = write(labels, tmp_path_factory.mktemp("any") / "a", "coco")
    (back,) = import_annotations(path).values()
    pairs = np.unique(np.stack([back.ravel(), labels.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(labels)) == len(np.unique(back))
