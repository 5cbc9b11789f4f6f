"""COCO-format JSON of every shape as a labelled source."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from napari_cupre.data.rle import encode_labels
from napari_cupre.errors import InputError
from napari_cupre.io.coco import CocoSource
from napari_cupre.io.coco_index import CocoIndex

DATA = Path(os.environ.get("CUPRE_DATA", Path(__file__).parents[3] / "shared" / "data"))


def square(top, left, side):
    bottom, right = top + side, left + side
    return [left, top, right, top, right, bottom, left, bottom]


def annotation(number, **values):
    return {"id": number, "image_id": 1, "category_id": 7, "segmentation": [square(2, 3, 10)], **values}


@pytest.fixture
def write(tmp_path):
    """Writes a document with a 40 x 30 (y, x) image "a.png" and returns its path and folder."""

    def write(annotations, **more):
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(40, 30).astype(np.uint8)).save(
            folder / "a.png"
        )
        document = {
            "info": {},
            "images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 30}],
            "annotations": annotations,
            "categories": [{"id": 9, "name": "z\u00e9bra"}, {"id": 7, "name": "cell"}],
            **more,
        }
        path = tmp_path / "set.json"
        path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        return path, folder

    return write


def test_polygons_become_labels(write):
    source = CocoSource(
        *write([annotation(1), annotation(2, category_id=9, segmentation=[square(25, 10, 6)])])
    )
    sample = source[0]
    assert len(source) == 1
    assert source.categories == ("cell", "z\u00e9bra")
    assert source.notices == []
    assert sample.image.shape == (40, 30, 3)
    assert sample.image.dtype == np.float32
    assert sample.labels.dtype == np.int32
    assert sample.known.all()
    assert sample.classes == {1: "z\u00e9bra", 2: "cell"}  # the smaller instance comes first
    assert (sample.labels[2:12, 3:13] == 2).all()
    assert (sample.labels == 2).sum() == 100
    assert (sample.labels[25:31, 10:16] == 1).all()
    assert (sample.labels == 1).sum() == 36


def test_a_kept_image_is_the_same_and_cannot_be_changed(write):
    place = write([annotation(1)])
    source = CocoSource(*place, max_bytes=2**20)
    first = source[0]
    assert source[0] is first
    np.testing.assert_array_equal(CocoSource(*place)[0].image, first.image)
    with pytest.raises(ValueError, match="read-only"):
        first.labels[0, 0] = 1


def test_small_instances_lie_on_top_whatever_the_order(write):
    large, small = (
        annotation(1, segmentation=[square(0, 0, 20)]),
        annotation(2, segmentation=[square(5, 5, 4)]),
    )
    for order in ([large, small], [small, large]):
        labels = CocoSource(*write(order))[0].labels
        assert (labels == labels[6, 6]).sum() == 16
        assert (labels == labels[0, 0]).sum() == 400 - 16


def test_hidden_instances_have_no_class(write):
    same = [annotation(1), annotation(2, category_id=9)]
    sample = CocoSource(*write(same))[0]
    assert set(np.unique(sample.labels)) == {0, *sample.classes}
    assert len(sample.classes) == 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), compressed=st.booleans(), parts=st.integers(1, 3))
def test_masks_are_those_of_pycocotools(tmp_path_factory, seed, compressed, parts):
    rng = np.random.default_rng(seed)
    polygons = [rng.uniform(-5, 45, 2 * rng.integers(3, 9)).round(2).tolist() for _ in range(parts)]
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, 40, 30))).astype(bool)
    mask = rng.random((40, 30)) < 0.3
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    rle["counts"] = rle["counts"].decode()
    if not compressed:
        edges = np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=False, append=not mask[-1, -1]))
        rle["counts"] = np.diff(edges, prepend=0).tolist()
    for segmentation, wanted in ((polygons, expected), (rle, mask)):
        document = {
            "images": [{"id": "a", "file_name": "a.png", "height": 40, "width": 30}],
            "annotations": [{"image_id": "a", "segmentation": segmentation}],
        }
        path = tmp_path_factory.mktemp("set") / "a.json"
        path.write_text(json.dumps(document))
        np.testing.assert_array_equal(CocoIndex(path).paint(0).labels > 0, wanted)


def test_crowds_and_bare_boxes_are_unknown(write):
    crowd = annotation(2, iscrowd=1, segmentation=[square(20, 0, 20)])
    crowd_over_cell = annotation(3, iscrowd=1, segmentation=[square(0, 0, 5)])
    box = annotation(4, segmentation=[], bbox=[20, 0, 8, 6])
    sample = CocoSource(*write([annotation(1), crowd, crowd_over_cell, box]))[0]
    assert sample.labels.max() == 1
    assert not sample.known[20:40, :20].any()
    assert not sample.known[:6, 20:28].any()
    assert sample.known[2:12, 3:13].all()
    assert not sample.known[0, 0]
    assert sample.known.sum() == 1200 - 400 - 48 - (25 - 6)


def test_unusable_annotations_are_counted(write):
    path, folder = write(
        [
            annotation(1),
            annotation(2, segmentation=[[1, 1, 5, 5]]),
            annotation(3, segmentation=[[1, 1, 5, 1, 9, 1]]),
            annotation(4, segmentation=[[1, 1, 5, float("nan"), 9, 3]]),
            annotation(5, segmentation=[["a"] * 6]),
            annotation(6, image_id=99),
            annotation(7, category_id=99),
            annotation(8, segmentation={"size": [3, 3], "counts": [9]}),
            annotation(9, segmentation=None),
            annotation(10, image_id=[1]),
            "junk",
            annotation(11, mood="good"),
        ],
        extra=1,
    )
    source = CocoSource(path, folder)
    assert len(np.unique(source[0].labels)) == 2  # annotations 1 and 11 lie on each other
    assert set(source.notices) == {
        "Left out: 2 annotations that are not COCO annotations.",
        "Left out: 1 annotation of a category that is not listed.",
        "Left out: 1 annotation of an image that is not listed.",
        "Left out: 1 annotation without mask.",
        "Left out: 4 polygons with fewer than three points or no area.",
        "Left out: 1 run-length mask that does not match its image.",
        "Unknown keys are ignored: extra, mood.",
    }


def test_good_parts_of_a_bad_outline_are_kept(write):
    parts = [[1, 1, 5, 5], square(2, 3, 10)]
    assert (CocoSource(*write([annotation(1, segmentation=parts)]))[0].labels > 0).sum() == 100


def test_far_corners_cost_no_memory(write):
    far = annotation(1, segmentation=[[0, 0, 1e12, 0, 1e12, 1e12, 0, 1e12]])
    assert (CocoSource(*write([far]))[0].labels == 1).all()


def test_missing_images_are_counted(write):
    images = [
        {"id": i, "file_name": name, "height": 40, "width": 30} for i, name in ((1, "a.png"), (2, "b.png"))
    ]
    images += [{"id": 3, "file_name": ""}, {"id": 4, "file_name": "d.png", "height": 4, "width": 4}]
    path, folder = write([annotation(1), annotation(2, image_id=2)], images=images)
    source = CocoSource(path, folder)
    assert len(source) == 1
    assert source[0].labels.shape == (40, 30)
    assert source.notices == [
        "Left out: 1 image without id, file name or sensible size.",
        "Left out: 1 image without annotation.",
        f'1 of the 2 images that "{path}" annotates are not in "{folder}", such as b.png; '
        "the others are used.",
    ]
    (folder / "a.png").unlink()
    with pytest.raises(InputError, match=r"None of the 2 images.*a\.png"):
        CocoSource(path, folder)
    with pytest.raises(InputError, match="There is no folder"):
        CocoSource(path, folder / "nowhere")


def test_images_are_found_in_subfolders_but_not_outside(write, tmp_path):
    entry = {"id": 1, "height": 40, "width": 30}
    path, folder = write([annotation(1)], images=[{**entry, "file_name": "a.png"}])
    (folder / "line").mkdir()
    (folder / "a.png").rename(folder / "line" / "a.png")
    assert CocoSource(path, folder)[0].labels.any()
    write([annotation(1)], images=[{**entry, "file_name": "line/a.png"}])
    assert CocoSource(path, folder)[0].labels.any()
    (folder / "line" / "a.png").rename(tmp_path / "outside.png")
    write([annotation(1)], images=[{**entry, "file_name": "../outside.png"}])
    with pytest.raises(InputError, match="None of the 1 images"):
        CocoSource(path, folder)


def test_images_of_another_size_are_refused(write):
    path, folder = write([annotation(1)])
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "a.png")
    with pytest.raises(InputError, match=r"a\.png.*\(9, 9\).*\(40, 30\)"):
        CocoSource(path, folder)[0]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "no json",
        '{"images": [], "annotations": 3}',
        '{"images": {}, "annotations": []}',
        "\x00",
    ],
)
def test_what_is_no_coco_is_refused(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"a\.json"):
        CocoIndex(path)


@settings(max_examples=40, deadline=None)
@given(cut=st.floats(0, 0.999))
def test_truncated_json_is_refused(tmp_path_factory, cut):
    whole = json.dumps({"images": [{"id": 1, "file_name": "a"}], "annotations": [annotation(1)] * 3})
    path = tmp_path_factory.mktemp("set") / "a.json"
    path.write_text(whole[: int(len(whole) * cut)])
    with pytest.raises(InputError, match=r"a\.json.*(not COCO JSON|empty)"):
        CocoIndex(path)


def test_nothing_usable_is_said(write):
    with pytest.raises(InputError, match=r"no usable annotation.*1 annotation without mask"):
        CocoIndex(write([annotation(1, segmentation=[])])[0])
    with pytest.raises(InputError, match="cannot be read"):
        CocoIndex("missing.json")


def test_a_corrupt_mask_names_its_image(write):
    index = CocoIndex(write([annotation(1, segmentation={"size": [40, 30], "counts": "\x7f\x7f"})])[0])
    with pytest.raises(InputError, match=r"set\.json.*a\.png"):
        index.paint(0)


def test_run_lengths_are_painted_as_they_were_encoded(write):
    labels = np.zeros((40, 30), np.int32)
    labels[3:9, 4:9], labels[20:30, 9:20] = 5, 2
    entries = [annotation(i, segmentation=rle) for i, rle in enumerate(encode_labels(labels)[1])]
    painted = CocoIndex(write(entries)[0]).paint(0).labels
    pairs = np.unique(np.stack([painted.ravel(), labels.ravel()]), axis=1)
    assert pairs.shape[1] == 3  # the same cells, whatever their numbers


def test_sources_can_be_sent_to_workers(write):
    source = CocoSource(*write([annotation(1)]))
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy[0].labels, source[0].labels)


def test_real_photos():
    folder = DATA / "coco_mini"
    if not folder.is_dir():
        pytest.skip("the COCO subset is not there")
    source = CocoSource(folder / "instances.json", folder / "images")
    assert len(source) == 640
    assert len(source.categories) == 80
    assert len(source.categories) == 80
    crowded = 0
    for number in range(0, 640, 16):
        sample = source[number]
        assert set(np.unique(sample.labels)) - {0} == set(sample.classes)
        assert set(sample.classes.values()) <= set(source.categories)
        assert sample.known[sample.labels > 0].all()
        crowded += not sample.known.all()
    assert crowded


def test_annotations_by_id_as_in_livecell(write):
    entries = [annotation(1), annotation(2, segmentation=[square(25, 10, 6)])]
    listed = CocoIndex(write(entries)[0]).paint(0)
    by_id = CocoIndex(write({"1": entries[0], "2": entries[1]})[0]).paint(0)
    np.testing.assert_array_equal(listed.labels, by_id.labels)
    assert by_id.labels.max() == 2
    assert listed.classes == by_id.classes


def test_images_without_annotation_are_kept_on_request(write):
    images = [
        {"id": 1, "file_name": "a.png", "height": 40, "width": 30},
        {"id": 2, "file_name": "empty.png", "height": 20, "width": 10},
    ]
    path, _ = write([annotation(1)], images=images)
    index = CocoIndex(path)
    assert [image.file_name for image in index.images] == ["a.png"]
    assert "1 image without annotation" in " ".join(index.notices)
    kept = CocoIndex(path, keep_empty=True)
    assert [image.file_name for image in kept.images] == ["a.png", "empty.png"]
    assert not kept.notices
    empty = kept.paint(1)
    assert empty.labels.shape == (20, 10)
    assert not empty.labels.any()
    assert empty.known.all()
    np.testing.assert_array_equal(kept.paint(0).labels, index.paint(0).labels)
