"""Outlines of LabelMe and of the VGG Image Annotator (VIA)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from export_fakes import blobs, discs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from napari_cupre.cli.main import main
from napari_cupre.data.rle import encode_labels
from napari_cupre.errors import InputError
from napari_cupre.io.annotated import collect_shots
from napari_cupre.io.images import read_image, read_labels
from napari_cupre.io.importers import Frame, import_annotations, read_for_image
from napari_cupre.io.writers.outlines import trace

PROPERTY = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def labelme(shapes: list[Any], size: tuple[int, int] | None = (60, 80), image: str = "a.jpg") -> dict:
    said = {} if size is None else {"imageHeight": size[0], "imageWidth": size[1]}
    return {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None, **said}


def shape(kind: str, points: Any, label: str = "cell", group: int | None = None, **more: Any) -> dict:
    return {"label": label, "points": points, "group_id": group, "shape_type": kind, "flags": {}, **more}


def as_polygons(labels: np.ndarray) -> list[dict]:
    """The parts of each cell as polygons of one group; for cells without holes."""
    return [
        shape("polygon", part.exterior.tolist(), group=number)
        for number, parts in trace(labels).items()
        for part in parts
    ]


def as_masks(labels: np.ndarray) -> list[dict]:
    """Each cell as a mask, as LabelMe's assistants write them."""
    found = []
    for number in np.unique(labels[labels > 0]):
        rows, columns = np.nonzero(labels == number)
        top, left, bottom, right = rows.min(), columns.min(), rows.max(), columns.max()
        mask = (labels[top : bottom + 1, left : right + 1] == number).astype(np.uint8)
        png = base64.b64encode(iio.imwrite("<bytes>", mask * 255, extension=".png")).decode()
        corners = [[int(left), int(top)], [int(right), int(bottom)]]
        found.append(shape("mask", corners, mask=png))
    return found


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def filled(labels: np.ndarray) -> np.ndarray:
    """The cells without their holes and without pixels that others cover."""
    from scipy.ndimage import binary_fill_holes

    whole = np.zeros_like(labels)
    for number in sorted(np.unique(labels[labels > 0]), key=lambda n: -(labels == n).sum()):
        whole[binary_fill_holes(labels == number)] = number
    return whole


def same_cells(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two label images hold the same cells, whatever their numbers."""
    pairs = set(zip(first.ravel().tolist(), second.ravel().tolist()))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@PROPERTY
@given(seed=st.integers(0, 2**16))
def test_masks_of_labelme_come_back_to_the_pixel(seed: int, tmp_path: Path) -> None:
    labels = blobs(seed)
    path = write(tmp_path / "a.json", labelme(as_masks(labels)))
    assert same_cells(import_annotations(path)["a"], labels)


@PROPERTY
@given(seed=st.integers(0, 2**16))
def test_polygons_of_labelme_come_back_to_the_pixel(seed: int, tmp_path: Path) -> None:
    labels = filled(blobs(seed))
    path = write(tmp_path / "a.json", labelme(as_polygons(labels)))
    assert same_cells(import_annotations(path)["a"], labels)


@PROPERTY
@given(seed=st.integers(0, 2**16), numbered=st.booleans(), project=st.booleans())
def test_polygons_of_via_come_back_to_the_pixel(
    seed: int, numbered: bool, project: bool, tmp_path: Path
) -> None:
    labels = filled(blobs(seed))
    first = [parts[0].exterior for parts in trace(labels).values()]  # VIA has no groups
    regions: Any = [
        {
            "shape_attributes": {
                "name": "polygon",
                "all_points_x": ring[:, 0].tolist(),
                "all_points_y": ring[:, 1].tolist(),
            },
            "region_attributes": {},
        }
        for ring in first
    ]
    if numbered:
        regions = {str(number): region for number, region in enumerate(regions)}
    listed = {"a.jpg123": {"filename": "a.jpg", "size": 123, "regions": regions, "file_attributes": {}}}
    document = {"_via_settings": {}, "_via_img_metadata": listed} if project else listed
    found = import_annotations(write(tmp_path / "via.json", document), (60, 80))["a"]
    assert (found > 0).sum() <= (labels > 0).sum()
    for number, parts in trace(labels).items():
        if len(parts) == 1:
            assert len(set(found[labels == number].tolist()) - {0}) == 1
            assert found[labels == number].all()


def via3(regions: dict[str, list[Any]], **files: Any) -> dict[str, Any]:
    """A project of VIA 3: its images by name, each with rows of a shape's number and its coordinates."""
    names = {str(number): name for number, name in enumerate(regions, start=1)}
    file = {key: {"fid": key, "fname": name, "type": 2, "loc": 1, "src": ""} for key, name in names.items()}
    rows = [(vid, row) for vid, name in names.items() for row in regions[name]]
    return {
        "project": {"pid": "x", "data_format_version": "3.1.1", "vid_list": list(names)},
        "config": {},
        "attribute": {},
        "file": {**file, **files},
        "view": {key: {"fid_list": [key]} for key in file} | {key: {"fid_list": [key]} for key in files},
        "metadata": {
            f"{vid}_{number}": {"vid": vid, "flg": 0, "z": [], "xy": row, "av": {}}
            for number, (vid, row) in enumerate(rows)
        },
    }


def test_regions_of_via_3_are_those_of_via_2(tmp_path: Path) -> None:
    rim = [[30 + 9 * np.cos(a), 20 + 9 * np.sin(a)] for a in (0.3, 2.0, 4.0)]
    kinds = {
        "polygon": ([7, 5, 5, 15.5, 5, 15, 16, 5, 15], [5, 15.5, 15, 5], [5, 5, 16, 15]),
        "circle": ([3, 30, 20, 9], 30, 20, 9),
        "ellipse": ([4, 40.5, 30, 12, 6], 40.5, 30, 12, 6),
        "rim": ([9, *np.ravel(rim)], 30, 20, 9),
    }
    names = {
        "polygon": ("all_points_x", "all_points_y"),
        "circle": ("cx", "cy", "r"),
        "ellipse": ("cx", "cy", "rx", "ry"),
        "rim": ("cx", "cy", "r"),
    }
    old = {
        kind: {
            "filename": f"{kind}.png",
            "regions": [
                {
                    "shape_attributes": {
                        "name": kind.replace("rim", "circle"),
                        **dict(zip(names[kind], values)),
                    }
                }
            ],
        }
        for kind, (_, *values) in kinds.items()
    }
    new = via3({f"{kind}.png": [row] for kind, (row, *_) in kinds.items()})
    expected = import_annotations(write(tmp_path / "2.json", old), (60, 80))
    found = import_annotations(write(tmp_path / "3.json", new), (60, 80))
    assert found.keys() == expected.keys() == kinds.keys()
    for kind in kinds:
        assert expected[kind].any()
        assert (found[kind] != expected[kind]).sum() <= 1, kind  # where rounding moves a rim over a pixel


def test_what_via_3_holds_beside_outlines_is_told_or_does_not_belong_to_an_image(tmp_path: Path) -> None:
    square = [7, 5, 5, 15, 5, 15, 15, 5, 15]
    others = [[1, 3, 3], [2, 1, 1, 9, 9], [5, 0, 0, 9, 9], [9, 1, 1, 2, 2, 3, 3], [7, 1, 2, 3], ["?"], None]
    document = via3(
        {"a.png": [square, [], *others], "b.png": [[]]}, v={"fid": "v", "fname": "c.mp4", "type": 4}
    )
    document["metadata"]["film"] = {"vid": "v", "z": [1.5], "xy": square}
    document["metadata"]["lost"] = {"vid": "9", "xy": square}
    said: list[str] = []
    found = import_annotations(write(tmp_path / "via.json", document), (60, 80), on_partial=said.append)
    assert list(found) == ["a"], "nobody marked anything in b, and c is a film"
    assert found["a"].max() == 1
    assert found["a"][10, 10]
    words = " ".join(said)
    assert "1 of 8" in words, words
    for reason in ("is a point", "is a box without a mask", "is a line", "covers no pixel", "3 are damaged"):
        assert reason in words, words


@PROPERTY
@given(
    place=st.tuples(st.floats(15, 45), st.floats(15, 65)),
    radii=st.tuples(st.floats(3, 14), st.floats(3, 14)),
    angle=st.floats(-3.2, 3.2),
)
def test_circles_and_ellipses_have_their_area_and_place(
    place: tuple[float, float], radii: tuple[float, float], angle: float, tmp_path: Path
) -> None:
    y, x = place
    ellipse = {"name": "ellipse", "cx": x, "cy": y, "rx": radii[0], "ry": radii[1], "theta": angle}
    circle = {"name": "circle", "cx": x, "cy": y, "r": radii[0]}
    images = {
        name: {"filename": f"{name}.png", "regions": [{"shape_attributes": each}]}
        for name, each in (("ellipse", ellipse), ("circle", circle))
    }
    found = import_annotations(write(tmp_path / "via.json", images), (60, 80))
    rim = [x + radii[0] * np.cos(angle), y + radii[0] * np.sin(angle)]
    drawn = labelme([shape("circle", [[x, y], rim])])
    found["labelme"] = import_annotations(write(tmp_path / "b.json", drawn))["a"]
    # rounding of the radius may move the rim over the centre of a pixel
    assert (found["labelme"] != found["circle"]).sum() <= 4
    for name, area in (("ellipse", np.pi * radii[0] * radii[1]), ("circle", np.pi * radii[0] ** 2)):
        rows, columns = np.nonzero(found[name])
        assert len(rows) == pytest.approx(area, abs=0.3 * 2 * np.pi * max(radii))
        assert (rows.mean() + 0.5, columns.mean() + 0.5) == pytest.approx((y, x), abs=0.5)


SQUARE = [[5, 5], [15, 5], [15, 15], [5, 15]]


def test_what_is_no_outline_is_counted_with_its_reason(tmp_path: Path) -> None:
    """A box is no outline: a cell with the corners of its box would be learned from."""
    shapes = [
        shape("polygon", SQUARE),
        shape("rectangle", [[20, 20], [30, 30]]),
        shape("point", [[1, 1]]),
        shape("linestrip", [[1, 1], [2, 9], [3, 3]]),
        shape("polygon", [[1, 1], [2, 2]]),
        shape("polygon", [["x", 1], [2, 2], [3, 4]]),
        shape("mask", [[1, 1], [4, 4]], mask="no png"),
        "no shape",
    ]
    said: list[str] = []
    found = import_annotations(write(tmp_path / "a.json", labelme(shapes)), on_partial=said.append)
    assert (found["a"] > 0).sum() == 100
    (sentence,) = said
    assert "1 of 8 shapes became cells" in sentence
    for reason in ("3 are damaged", "1 is a line", "1 is a point", "1 is a box without a mask", "1 has no"):
        assert reason in sentence
    regions = [{"shape_attributes": {"name": "rect", "x": 1, "y": 1, "width": 5, "height": 5}}, None]
    path = write(tmp_path / "via.json", {"k": {"filename": "a.png", "regions": regions}})
    with pytest.raises(InputError, match=r"0 of 2 shapes became cells: 1 is damaged, 1 is a box"):
        import_annotations(path, (60, 80))


def test_the_size_that_labelme_says_is_that_of_the_image(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", labelme([shape("polygon", SQUARE)]))
    with pytest.raises(InputError, match=r"\(60, 80\).*\(80, 60\)"):
        read_for_image(path, Frame((80, 60)), "a")
    path = write(tmp_path / "a.json", labelme([shape("polygon", SQUARE)], None))
    with pytest.raises(InputError, match="does not say the size"):
        import_annotations(path)
    assert read_for_image(path, Frame((80, 60)), "a").shape == (80, 60)


def test_the_file_names_its_image(tmp_path: Path) -> None:
    path = write(tmp_path / "renamed.json", labelme([shape("polygon", SQUARE)], image="..\\imgs\\b.jpg"))
    said: list[str] = []
    read_for_image(path, Frame((60, 80)), "b", on_partial=said.append)
    assert not said
    read_for_image(path, Frame((60, 80)), "c", on_partial=said.append)
    assert 'an image called "b"' in said[0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_outlines_on_a_turned_photograph_lie_on_its_stored_pixels(
    orientation: int, suffix: str, tmp_path: Path
) -> None:
    """LabelMe and browsers turn a photograph as its EXIF says; what reads arrays does not."""
    stored = discs()
    picture = Image.fromarray((stored > 0).astype(np.uint8) * 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / f"a.{suffix}", exif=exif)
    shown = np.asarray(ImageOps.exif_transpose(_tagged(Image.fromarray(stored), orientation)))
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.plane_shape == stored.shape, "as napari, imageio, scikit-image and tifffile read it"
    path = write(tmp_path / "a.json", labelme(as_polygons(shown), shown.shape, f"a.{suffix}"))
    said: list[str] = []
    found = read_for_image(path, Frame.of(image), "a", on_note=said.append)
    assert same_cells(found, stored)
    assert bool(said) == (orientation != 1)
    regions = [
        {"shape_attributes": {"name": "polygon", "all_points_x": xs, "all_points_y": ys}}
        for xs, ys in (list(zip(*each["points"])) for each in as_polygons(shown))
    ]
    via = write(tmp_path / "via.json", {"k": {"filename": f"a.{suffix}", "regions": regions}})
    assert same_cells(read_for_image(via, Frame.of(image), "a"), stored)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_coco_of_a_program_that_turns_photographs_lies_on_their_stored_pixels(
    orientation: int, tmp_path: Path
) -> None:
    """CVAT and Label Studio give the size of the turned photograph; of half a turn the file says nothing."""
    stored = discs()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray((stored > 0).astype(np.uint8) * 255).save(tmp_path / "a.jpg", exif=exif)
    shown = np.asarray(ImageOps.exif_transpose(_tagged(Image.fromarray(stored), orientation)))
    drawn = shown if orientation > 4 else stored
    ids, rles = encode_labels(drawn)
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": drawn.shape[0], "width": drawn.shape[1]}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [
            {"id": int(n), "image_id": 1, "category_id": 1, "segmentation": rle, "iscrowd": 0}
            for n, rle in zip(ids, rles)
        ],
    }
    path = write(tmp_path / "coco.json", document)
    said: list[str] = []
    found = read_for_image(path, Frame.of(read_image(tmp_path / "a.jpg")), "a", on_note=said.append)
    assert same_cells(found, stored)
    assert any("turned back" in sentence for sentence in said) == (orientation > 4)
    unsure = [
        sentence for sentence in said if '"a.jpg" is a photograph that is turned or mirrored' in sentence
    ]
    assert len(unsure) == (1 < orientation <= 4)
    (shot,) = collect_shots(str(tmp_path / "a.jpg"), str(path)).shots
    assert same_cells(shot.labels, stored)


def _tagged(picture: Image.Image, orientation: int) -> Image.Image:
    picture.getexif()[0x0112] = orientation
    return picture


def test_outlines_of_a_program_that_turns_nothing_stay(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((60, 80), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    path = write(tmp_path / "a.json", labelme(as_polygons(discs()), (60, 80)))
    found = read_for_image(path, Frame.of(read_image(tmp_path / "a.jpg")), "a")
    assert same_cells(found, discs())


def test_images_of_via_without_a_region_may_not_be_annotated_yet(tmp_path: Path) -> None:
    square = {"name": "polygon", "all_points_x": [5, 15, 15, 5], "all_points_y": [5, 5, 15, 15]}
    listed = {
        "a": {"filename": "a.png", "regions": [{"shape_attributes": square}]},
        "b": {"filename": "b.png", "regions": []},
    }
    path = write(tmp_path / "via.json", listed)
    for name in "ab":
        iio.imwrite(tmp_path / f"{name}.png", np.zeros((60, 80), np.uint8))
    command = ["import", str(path), "--images", str(tmp_path / "*.png"), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["a.tif"]
    assert main([*command, "--keep-empty"]) == 0
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["a.tif", "b.tif"]


def test_a_folder_of_labelme_files_is_imported_at_once(tmp_path: Path) -> None:
    labels = discs()
    for name in "ab":
        write(tmp_path / f"{name}.json", labelme(as_polygons(labels), image=f"{name}.jpg"))
    found = import_annotations(tmp_path)
    assert sorted(found) == ["a", "b"]
    assert same_cells(found["b"], labels)


def test_a_labelme_file_without_an_outline_may_say_that_there_is_no_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "annotations"
    folder.mkdir()
    write(folder / "a.json", labelme(as_polygons(discs()), image="a.jpg"))
    write(folder / "b.json", labelme([], image="b.jpg"))
    command = ["import", str(folder), "--out", str(tmp_path / "out")]
    main(command)
    assert "b.json" in capsys.readouterr().err
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["a.tif"]
    assert main([*command, "--keep-empty"]) == 0
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["a.tif", "b.tif"]
    assert not read_labels(tmp_path / "out" / "b.tif").any()


def test_a_circle_beyond_all_numbers_is_damaged(tmp_path: Path) -> None:
    square = {"name": "polygon", "all_points_x": [5, 15, 15, 5], "all_points_y": [5, 5, 15, 15]}
    beyond = {"name": "ellipse", "cx": 1e308, "cy": 5, "rx": 1e308, "ry": 2}
    regions = [{"shape_attributes": square}, {"shape_attributes": beyond}]
    path = write(tmp_path / "via.json", {"a": {"filename": "a.png", "regions": regions}})
    said: list[str] = []
    assert import_annotations(path, (60, 80), on_partial=said.append)["a"].max() == 1
    assert "1 is damaged" in said[0]
