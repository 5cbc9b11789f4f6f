"""COCO documents as programs write them: ids, forms of outlines, entries that repeat, and what is no cell."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from pycocotools import mask as coco_mask

from napari_cupre.errors import InputError
from napari_cupre.io.annotated import collect_shots
from napari_cupre.io.coco import CocoSource, FileFinder
from napari_cupre.io.coco_index import CocoIndex
from napari_cupre.io.file_names import parts_of, unique_stems
from napari_cupre.io.importers import import_annotations

SQUARE = [10, 10, 20, 10, 20, 20, 10, 20]
OTHER = [30, 10, 40, 10, 40, 20, 30, 20]


def image(number=1, name="a.png", **more):
    return {"id": number, "file_name": name, "height": 40, "width": 60, **more}


def document(annotations, images=None, **more):
    return {"images": images or [image()], "annotations": annotations, **more}


def read(folder, content, encoding="utf-8"):
    path = folder / "set.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding=encoding)
    lost, notes = [], []
    found = import_annotations(path, on_partial=lost.append, on_note=notes.append)
    return found, lost, notes


@pytest.mark.parametrize("first", [1, "1", 1.0, "img-1"])
@pytest.mark.parametrize("second", [1, "1", 1.0, "img-1"])
def test_ids_may_be_text(first, second, tmp_path):
    content = document(
        [{"image_id": second, "category_id": second, "segmentation": [SQUARE]}],
        [image(first)],
        categories=[{"id": first, "name": "cell"}],
    )
    if ("img-1" in (first, second)) and first != second:
        with pytest.raises(InputError, match="not listed"):
            read(tmp_path, content)
    else:
        labels, lost, _ = read(tmp_path, content)
        assert (labels["a"] > 0).sum() == 100
        assert not lost


def rle(kind):
    mask = np.zeros((40, 60), np.uint8, order="F")
    mask[10:20, 10:20] = 1
    compressed = coco_mask.encode(mask)
    if kind == "text":
        return {"size": [40, 60], "counts": compressed["counts"].decode()}
    edges = np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=0))
    counts = np.diff(edges, prepend=0).tolist() + [40 * 60 - int(edges[-1])]
    return {"size": ["40", "60"] if kind == "numbers, sizes as text" else [40, 60], "counts": counts}


@pytest.mark.parametrize(
    "segmentation",
    [
        [SQUARE],
        SQUARE,
        [[[10, 10], [20, 10], [20, 20], [10, 20]]],
        rle("text"),
        rle("numbers"),
        rle("numbers, sizes as text"),
        [rle("text")],
        [rle("numbers"), rle("text")],
        [[], SQUARE],
    ],
    ids=str,
)
def test_forms_of_an_outline(segmentation, tmp_path):
    labels, lost, _ = read(tmp_path, document([{"image_id": 1, "segmentation": segmentation}]))
    assert (labels["a"] > 0).sum() == 100
    assert not lost


def test_entries_of_one_file_are_one_image(tmp_path):
    images = [image(1, "im/a.png"), image(2, r"im\a.png"), image(3, "./im/a.png")]
    annotations = [
        {"image_id": 1, "segmentation": [SQUARE]},
        {"image_id": 2, "segmentation": [OTHER]},
    ]
    labels, lost, notes = read(tmp_path, document(annotations, images))
    assert list(labels) == ["a"]
    assert labels["a"].max() == 2
    assert not lost
    assert any("2 were merged" in note for note in notes)
    assert len(CocoIndex(tmp_path / "set.json").images) == 1


def test_entries_that_contradict_each_other_are_left_out(tmp_path):
    images = [image(1), image(2, height=50), image(3, "b.png"), image(3, "c.png"), image(4, "d.png")]
    annotations = [{"image_id": number, "segmentation": [SQUARE]} for number in (1, 2, 3, 4)]
    labels, lost, _ = read(tmp_path, document(annotations, images))
    assert list(labels) == ["a", "d"]
    said = " ".join(lost)
    assert "1 image listed again with another size" in said
    assert "1 image with an id used before" in said
    assert "2 annotations of images that are not listed" in said


@pytest.mark.parametrize("size", [{}, {"height": None, "width": None}, {"height": 0, "width": 0}], ids=str)
class TestEntriesWithoutSize:
    def content(self, size, segmentation=SQUARE):
        entry = {"id": 1, "file_name": "a.png", **size}
        return document([{"image_id": 1, "segmentation": [segmentation]}], [entry])

    def test_the_image_tells_it(self, size, tmp_path):
        (tmp_path / "set.json").write_text(json.dumps(self.content(size)))
        labels = import_annotations(tmp_path / "set.json", (40, 60))["a"]
        assert labels.shape == (40, 60)
        assert labels.sum() == 100

    def test_a_run_length_mask_tells_it(self, size, tmp_path):
        content = self.content(size)
        content["annotations"].append({"image_id": 1, "segmentation": rle("text")})
        content["annotations"][0]["segmentation"] = [OTHER]
        labels, lost, _ = read(tmp_path, content)
        assert labels["a"].shape == (40, 60)
        assert labels["a"].max() == 2
        assert not lost

    def test_without_both_the_image_is_asked_for(self, size, tmp_path):
        with pytest.raises(InputError, match=r"set\.json.*size of its image \"a\".*give the image"):
            read(tmp_path, self.content(size))

    def test_training_reads_it_from_the_file(self, size, tmp_path):
        Image.fromarray(np.arange(2400, dtype=np.uint8).reshape(40, 60)).save(tmp_path / "a.png")
        (tmp_path / "set.json").write_text(json.dumps(self.content(size)))
        (shot,) = collect_shots(str(tmp_path), str(tmp_path / "set.json")).shots
        assert shot.labels.shape == (40, 60)
        assert (shot.labels > 0).sum() == 100
        assert CocoSource(tmp_path / "set.json", tmp_path)[0].labels.sum() == 100

    def test_another_entry_of_the_file_tells_it(self, size, tmp_path):
        content = self.content(size)
        content["images"].append(image(2))
        labels, lost, _ = read(tmp_path, content)
        assert labels["a"].shape == (40, 60)
        assert not lost


def test_sizes_that_are_none_are_said(tmp_path):
    entries = [image(2), image(3, "b.png", height=-4), image(4, "c.png", height="tall")]
    _, lost, _ = read(tmp_path, document([{"image_id": 2, "segmentation": [SQUARE]}], entries))
    assert "2 images without id, file name or sensible size" in lost[0]


def write_scenes(folder, **named):
    with tifffile.TiffWriter(folder / "a.ome.tif", ome=True) as writer:
        for name, rows in named.items():
            pixels = np.arange(rows * 60, dtype=np.uint16).reshape(rows, 60)
            writer.write(pixels, metadata={"axes": "YX", "Name": name})


def test_the_scene_of_its_size_is_meant(tmp_path):
    write_scenes(tmp_path, one=50, two=40)
    content = document([{"image_id": 1, "segmentation": [SQUARE]}], [image(name="a.ome.tif")])
    (tmp_path / "set.json").write_text(json.dumps(content))
    (shot,) = collect_shots(str(tmp_path), str(tmp_path / "set.json")).shots
    assert shot.image.shape[:2] == (40, 60)
    assert CocoSource(tmp_path / "set.json", tmp_path)[0].image.shape[:2] == (40, 60)


def test_a_scene_that_nothing_tells_is_asked_for(tmp_path):
    write_scenes(tmp_path, one=40, two=40)
    content = document([{"image_id": 1, "segmentation": [SQUARE]}], [image(name="a.ome.tif")])
    (tmp_path / "set.json").write_text(json.dumps(content))
    given = str(tmp_path), str(tmp_path / "set.json")
    with pytest.raises(InputError, match=r"contains 2 images.*--series"):
        collect_shots(*given)
    assert len(collect_shots(*given, series="two").shots) == 1
    content["images"][0]["file_name"] = "a_two.tif"  # as our own results call it
    (tmp_path / "set.json").write_text(json.dumps(content))
    assert len(collect_shots(*given).shots) == 1


def test_what_is_no_cell_is_said(tmp_path):
    annotations = [
        {"image_id": 1, "segmentation": [SQUARE]},
        {"image_id": 1, "segmentation": [SQUARE]},
        {"image_id": 1, "segmentation": [[200, 200, 210, 200, 210, 210]]},
        {"image_id": 1, "bbox": [5, 5, 10, 10]},
        {"image_id": 1, "segmentation": [OTHER], "iscrowd": "1"},
    ]
    labels, (said,), _ = read(tmp_path, document(annotations))
    assert len(np.unique(labels["a"])) == 2
    assert said == (
        '"set.json": 1 of 5 annotations of "a.png" became cells: 1 lies outside, 1 is hidden under others, '
        "1 is a box without a mask, 1 is a crowd."
    )


@pytest.mark.parametrize("segmentation", [{}, {"segmentation": []}, {"segmentation": [[]]}], ids=str)
def test_boxes_alone_are_said_in_one_sentence(segmentation, tmp_path):
    content = document([{"image_id": 1, "bbox": [5, 5, 10, 10], **segmentation}])
    with pytest.raises(InputError, match=r"set\.json.*boxes without masks") as error:
        read(tmp_path, content)
    assert "images without annotation" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"annotations": []}, 'no "images"'),
        ({"images": []}, 'no "annotations"'),
        ([{"image_id": 1, "segmentation": [SQUARE]}], "bare list of COCO annotations"),
        ({"images": [image()], "annotations": []}, "lists none for its 1 image"),
    ],
)
def test_documents_that_lack_something(content, words, tmp_path):
    with pytest.raises(InputError, match=words):
        read(tmp_path, content)


def test_a_byte_order_mark_does_no_harm(tmp_path):
    content = document([{"image_id": 1, "segmentation": [SQUARE]}], [image(name="ü.png")])
    text = json.dumps(content, ensure_ascii=False)
    assert list(read(tmp_path, text, "utf-8-sig")[0]) == ["ü"]
    with pytest.raises(InputError, match="UTF-16"):
        read(tmp_path, text, "utf-16")


def test_files_are_found_by_names_of_other_systems(tmp_path):
    for plate in ("plateA", "plateB"):
        (tmp_path / plate).mkdir()
        (tmp_path / plate / "img1.png").write_bytes(b"x")
    (tmp_path / "plateB" / "only.png").write_bytes(b"x")
    finder = FileFinder(tmp_path)
    for name in (
        "plateA/img1.png",
        r"plateA\img1.png",
        r"C:\set\plateA\img1.png",
        "https://h/plateA/img1.png",
    ):
        assert finder.find(name) == tmp_path / "plateA" / "img1.png"
    assert finder.find("img1.png") is None  # nobody can tell which
    assert finder.find("elsewhere/only.png") == tmp_path / "plateB" / "only.png"


@pytest.mark.parametrize(
    "name", ["../../x.png", "/etc/x.png", r"C:\x.png", r"\\server\share\x.png", "file:///x.png"]
)
def test_names_stay_below_one_folder(name):
    parts = parts_of(name)
    assert parts[-1] == "x.png"
    assert not {"..", "/", "C:"} & set(parts)


def test_stems_are_told_apart_by_as_few_folders_as_needed():
    names = ["d/1/p/a.png", "d/2/p/a.png", "d/2/q/a.png", "b.png", "x/b.tif"]
    assert unique_stems(names) == ["1/p/a", "2/p/a", "q/a", "b", "x/b"]


def test_suffixes_alone_do_not_tell_images_apart(tmp_path):
    annotations = [{"image_id": number, "segmentation": [SQUARE]} for number in (1, 2)]
    content = document(annotations, [image(1, "a.png"), image(2, "a.tif")])
    (tmp_path / "set.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match='two images called "a"'):
        import_annotations(tmp_path / "set.json")


@pytest.mark.parametrize("counts", ["~~~", [-3, 5], [3, 5_000_000_000], [5] * 999])
def test_corrupt_masks_among_several_are_refused(counts, tmp_path):
    masks = [rle("text"), {"size": [40, 60], "counts": counts}]
    with pytest.raises(InputError, match=r"set\.json.*a\.png"):
        read(tmp_path, document([{"image_id": 1, "segmentation": masks}]))


@pytest.mark.parametrize("is_escaped", [True, False])
@pytest.mark.parametrize("name", ["Zellé", "細胞", "🔬 ü"])
def test_names_beyond_ascii_are_read_however_they_are_written(name, is_escaped, tmp_path):
    content = document(
        [{"image_id": name, "category_id": name, "segmentation": [SQUARE]}],
        [image(name, f"{name}.png")],
        categories=[{"id": name, "name": name}],
    )
    text = json.dumps(content, ensure_ascii=is_escaped)
    assert list(read(tmp_path, text)[0]) == [name]
    assert CocoIndex(tmp_path / "set.json").categories == (name,)


def test_an_empty_mask_beside_a_box_is_a_box(tmp_path):
    box = {"image_id": 1, "segmentation": {}, "bbox": [30, 10, 10, 10]}
    _, lost, _ = read(tmp_path, document([{"image_id": 1, "segmentation": [SQUARE]}, box]))
    assert lost == ['"set.json": 1 of 2 annotations of "a.png" became cells: 1 is a box without a mask.']


def test_a_polygon_of_less_than_a_pixel_does_not_lie_outside(tmp_path):
    shapes = [SQUARE, [number / 60 for number in SQUARE], [number + 500 for number in SQUARE]]
    content = document([{"image_id": 1, "segmentation": [shape]} for shape in shapes])
    _, lost, _ = read(tmp_path, content)
    said = '"set.json": 1 of 3 annotations of "a.png" became cells: 1 lies outside, 1 covers no pixel.'
    assert lost == [said]
    (tmp_path / "im").mkdir()
    Image.fromarray(np.eye(40, 60, dtype=np.uint8)).save(tmp_path / "im" / "a.png")
    assert collect_shots(str(tmp_path / "im"), str(tmp_path / "set.json")).left_out == [said]


def test_boxes_that_are_taken_as_unknown_are_told_in_training(tmp_path, capsys):
    box = {"image_id": 1, "bbox": [30, 10, 10, 10]}
    content = document([{"image_id": 1, "segmentation": [SQUARE]}, box])
    (tmp_path / "set.json").write_text(json.dumps(content))
    Image.fromarray(np.eye(40, 60, dtype=np.uint8)).save(tmp_path / "a.png")
    collected = collect_shots(str(tmp_path / "a.png"), str(tmp_path / "set.json"))
    assert collected.left_out == []
    assert "1 box without a mask is taken as unknown" in capsys.readouterr().err


def test_an_image_of_boxes_alone_is_not_one_without_annotation(tmp_path):
    images = [image(1, "a.png"), image(2, "b.png"), image(3, "c.png")]
    annotations = [{"image_id": 1, "segmentation": [SQUARE]}, {"image_id": 2, "bbox": [30, 10, 10, 10]}]
    labels, lost, notes = read(tmp_path, document(annotations, images))
    assert list(labels) == ["a"]
    assert lost == ['"set.json": left out: 1 image with boxes or crowds alone.']
    assert notes == ['"set.json": left out: 1 image without annotation.']
