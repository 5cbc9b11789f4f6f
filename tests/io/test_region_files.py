from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    np.testing.assert_array_equal(regions["a"][0], SQUARE)


def test_geojson_turns_x_y_into_y_x(tmp_path: Path) -> None:
    document = {"type": "FeatureCollection", "features": [feature("a.tif"), feature("b", "MultiPolygon")]}
    regions = read_regions(write(tmp_path, document), ["a", "b"])
    np.testing.assert_array_equal(regions["a"][0], SQUARE)
    assert len(regions["b"]) == 2


def test_a_feature_without_image_belongs_to_the_only_one(tmp_path: Path) -> None:
    assert list(read_regions(write(tmp_path, feature()), ["only"])) == ["only"]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{broken", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([1], "no JSON object"),
        ({"a": 3}, "no list of polygons at 'a'"),
        ({"a": [[[0, 0], [1, 1]]]}, "'a' that is no polygon"),
        ({"a": [[[0, 0], [1, 1], [None, 2]]]}, "'a' that is no polygon"),
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
