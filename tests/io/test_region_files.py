from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cupre.data.annotation import region_mask
from napari_cupre.errors import InputError
from napari_cupre.io.region_files import read_regions

SQUARE = [[0, 0], [0, 9], [5, 9], [5, 0]]  # 5 rows, 9 columns; y, x
SQUARE_XY = [[x, y] for y, x in SQUARE]


def write(folder: Path, document: Any) -> Path:
    path = folder / "regions.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def feature(image: str | None = None, kind: str = "Polygon") -> dict[str, Any]:
    coordinates: Any = [SQUARE_XY] if kind == "Polygon" else [[SQUARE_XY], [SQUARE_XY]]
    properties = {} if image is None else {"image": image}
    return {
        "type": "Feature",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": properties,
    }


def test_polygons_by_stem(tmp_path: Path) -> None:
    regions = read_regions(write(tmp_path, {"a": [SQUARE, SQUARE], "b": []}), ["a", "b"])
    assert list(regions) == ["a"]
    assert len(regions["a"]) == 2
    assert region_mask(regions["a"], (20, 20)).sum() == 45


def test_geojson_turns_x_y_into_y_x(tmp_path: Path) -> None:
    document = {"type": "FeatureCollection", "features": [feature("a.tif"), feature("b", "MultiPolygon")]}
    regions = read_regions(write(tmp_path, document), ["a", "b"])
    known = region_mask(regions["a"], (20, 20))
    assert known[:5, :9].all()
    assert known.sum() == 45
    assert len(regions["b"]) == 2


def test_a_feature_without_image_belongs_to_the_only_one(tmp_path: Path) -> None:
    assert list(read_regions(write(tmp_path, feature()), ["only"])) == ["only"]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{broken", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([1], "no JSON object"),
        ([], "no JSON object"),
        ({"a": 3}, "no list of polygons for 'a'"),
        ({"a": [[[0, 0], [1, 1]]]}, "'a' that is not a polygon"),
        ({"a": [[[0, 0], [1, 1], [None, 2]]]}, "'a' that is not a polygon"),
        ({"gone": [SQUARE]}, "no such image"),
        ({"type": "Point", "coordinates": [0, 0]}, "no Polygon"),
        ({"type": "FeatureCollection", "features": [feature()]}, "without the property 'image'"),
    ],
)
def test_refusals(tmp_path: Path, document: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_regions(write(tmp_path, document), ["a", "b"])


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no regions file"):
        read_regions(tmp_path / "gone.json", ["a"])


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["a", "type", "features", "geometry", "coordinates", "properties", "image"]),
            inner | st.sampled_from(["Polygon", "MultiPolygon", "Feature", SQUARE_XY]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=200)
@given(document=JSON)
def test_any_json_gives_regions_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, document: Any) -> None:
    path = write(tmp_path_factory.getbasetemp(), document)
    try:
        regions = read_regions(path, ["a"])
    except InputError:
        return
    assert all(polygon.shape[1] == 2 for polygons in regions.values() for polygon in polygons)


def ring(left: float, top: float, width: float, height: float) -> list[list[float]]:
    right, bottom = left + width, top + height
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def known(folder: Path, document: Any, stem: str = "s") -> int:
    return int(region_mask(read_regions(write(folder, document), [stem])[stem], (80, 140)).sum())


@pytest.mark.parametrize("shift", [0, 0.25, 0.5])
def test_a_region_lies_between_corners_of_pixels(tmp_path: Path, shift: float) -> None:
    outline = ring(20 + shift, 10 + shift, 100, 50)
    assert known(tmp_path, {"type": "Polygon", "coordinates": [outline]}) == 5000
    assert known(tmp_path, {"s": [[[y, x] for x, y in outline]]}) == 5000


def test_holes_are_unknown(tmp_path: Path) -> None:
    holes = [ring(40, 20, 20, 10), ring(90, 30, 11, 13), ring(41, 41, 5, 5)]
    outlines = [ring(20, 10, 100, 50), *holes]
    assert known(tmp_path, {"type": "Polygon", "coordinates": outlines}) == 5000 - 200 - 143 - 25
    several = [outlines, [ring(0, 0, 10, 10)]]
    assert known(tmp_path, {"type": "MultiPolygon", "coordinates": several}) == 5000 - 200 - 143 - 25 + 100


@pytest.mark.parametrize("name", ["s", "s.tif", "s.ome.tif", "s.png", "images\\s.ome.tif", "/data/im/s.tif"])
def test_images_are_called_by_stem_or_file(tmp_path: Path, name: str) -> None:
    assert known(tmp_path, feature(name)) == 45
    assert known(tmp_path, {name: [SQUARE]}) == 45


def test_a_stem_with_dots_is_a_stem(tmp_path: Path) -> None:
    assert known(tmp_path, feature("day.1"), stem="day.1") == 45


@pytest.mark.parametrize("kind", ["byte order mark", "list", "UTF-16"])
def test_forms_of_the_file_do_no_harm(tmp_path: Path, kind: str) -> None:
    text = json.dumps([feature()] if kind == "list" else feature())
    path = tmp_path / "r.geojson"
    path.write_bytes(text.encode({"byte order mark": "utf-8-sig", "UTF-16": "utf-16"}.get(kind, "utf-8")))
    assert region_mask(read_regions(path, ["s"])["s"], (80, 140)).sum() == 45


def test_points_lines_and_detections_are_no_regions(tmp_path: Path) -> None:
    others: list[dict[str, Any]] = [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [4, 4]}, "properties": {}},
        {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[4, 4], [5, 5]]}},
        {"type": "Feature", "geometry": None},
        {**feature(), "properties": {"objectType": "detection"}},
        {**feature(), "properties": {"objectType": "annotation", "classification": {"name": "Ignore*"}}},
    ]
    named = {"objectType": "annotation", "classification": {"name": "Region*"}}
    region = {**feature(), "properties": named}
    assert known(tmp_path, {"type": "FeatureCollection", "features": [*others, region]}) == 45
    with pytest.raises(InputError, match="no Polygon"):
        read_regions(write(tmp_path, others), ["s"])


def test_an_object_of_several_geometries_is_a_region_and_names_need_no_capitals(tmp_path):
    square = {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]]}
    collection = {"type": "GeometryCollection", "geometries": [square, square]}
    feature = {"type": "Feature", "geometry": collection, "properties": {"image": "PLATE 1.TIF"}}
    (tmp_path / "r.json").write_text(json.dumps(feature))
    assert [len(polygons) for polygons in read_regions(tmp_path / "r.json", ["plate 1"]).values()] == [2]
