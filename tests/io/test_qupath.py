"""GeoJSON of QuPath: what of it is a cell, a region or a part, in every form that it is exported."""

from __future__ import annotations

import gzip
import json
import zipfile

import numpy as np
import pytest

from napari_cupre.errors import InputError
from napari_cupre.io.importers import import_annotations

SHAPE = (100, 120)


def ring(left, top, width, height):
    right, bottom = left + width, top + height
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(kind, *box, name=None, **more):
    properties = {"objectType": kind} if kind else {}
    if name is not None:
        properties["classification"] = {"name": name, "color": [0, 0, 0]}
    geometry = {"type": "Polygon", "coordinates": [ring(*box)]}
    return {"type": "Feature", "geometry": geometry, "properties": properties, **more}


def collection(*features):
    return {"type": "FeatureCollection", "features": list(features)}


CELLS = [(10, 10, 10, 10), (30, 10, 10, 10), (60, 60, 20, 10)]


def areas_and_words(document, folder, name="a.geojson"):
    path = folder / name
    path.write_text(json.dumps(document))
    lost, notes = [], []
    found = import_annotations(path, SHAPE, on_partial=lost.append, on_note=notes.append)
    (labels,) = found.values()
    return sorted(np.bincount(labels.ravel())[1:].tolist()), lost, notes


@pytest.mark.parametrize("kind", ["cell", "detection", "annotation"])
@pytest.mark.parametrize("outer", ["annotation", "tile", ""])
def test_an_outline_around_others_is_a_region(outer, kind, tmp_path):
    features = [feature(outer, 0, 0, 100, 90), *(feature(kind, *cell) for cell in CELLS)]
    for document in (collection(*features), features, collection(*features[::-1])):
        areas, lost, (note,) = areas_and_words(document, tmp_path)
        assert areas == [100, 100, 200]
        assert not lost
        assert note == '"a.geojson": 3 of 4 shapes became cells: 1 is a region around others.'


def test_a_region_around_one_cell_and_one_that_shares_its_edge(tmp_path):
    one = collection(feature("annotation", 0, 0, 60, 60), feature("detection", 0, 0, 10, 10))
    assert areas_and_words(one, tmp_path)[0] == [100]
    all_drawn = collection(feature("annotation", 0, 0, 60, 60), feature("annotation", 0, 0, 10, 10))
    assert areas_and_words(all_drawn, tmp_path)[0] == [100]


def test_regions_in_regions(tmp_path):
    features = [feature("annotation", 0, 0, 100, 90), feature("annotation", 5, 5, 50, 40)]
    features += [feature("cell", *cell) for cell in CELLS]
    areas, _, (note,) = areas_and_words(collection(*features), tmp_path)
    assert areas == [100, 100, 200]
    assert "2 are regions" in note


def test_a_drawn_cell_around_its_nucleus_stays_a_cell(tmp_path):
    document = collection(feature("annotation", 10, 10, 20, 20), feature("annotation", 15, 15, 8, 8))
    assert areas_and_words(document, tmp_path)[0] == [64, 400 - 64]


def test_what_lies_in_a_detected_cell_is_a_part_of_it(tmp_path):
    document = collection(feature("cell", 10, 10, 20, 20), feature("detection", 15, 15, 4, 4))
    areas, lost, (note,) = areas_and_words(document, tmp_path)
    assert areas == [400]
    assert not lost
    assert "1 is a part of a cell" in note


def test_detections_in_detections_stay_cells(tmp_path):
    """As this package writes them: a cell in another one's hole."""
    document = collection(feature("detection", 10, 10, 20, 20), feature("detection", 15, 15, 4, 4))
    assert areas_and_words(document, tmp_path)[0] == [16, 384]


@pytest.mark.parametrize("holder", ["feature", "properties"])
def test_the_nucleus_of_a_cell_is_no_cell_but_stands_for_one_without_an_outline(holder, tmp_path):
    nucleus = {"type": "Polygon", "coordinates": [ring(14, 14, 5, 5)]}
    one = feature("cell", 10, 10, 20, 20)
    (one if holder == "feature" else one["properties"])["nucleusGeometry"] = nucleus
    assert areas_and_words(one, tmp_path)[0] == [400]
    assert areas_and_words({**one, "geometry": None}, tmp_path)[0] == [25]


def test_classes_with_a_star(tmp_path):
    features = [
        feature("annotation", 0, 50, 20, 20, name="Region*"),
        feature("annotation", 40, 50, 10, 10, name="Ignore*"),
        feature("cell", 60, 60, 20, 10, name="Ignore*"),
        feature("cell", 10, 10, 10, 10, name="Tumor"),
    ]
    features[3]["properties"]["classification"] = {"names": ["Tumor", "Positive"]}
    areas, lost, (note,) = areas_and_words(collection(*features), tmp_path)
    assert areas == [100]
    assert not lost
    assert "2 are of an ignored class, 1 is a region" in note


def test_points_lines_and_broken_objects_are_counted(tmp_path):
    others = [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [4, 4]}},
        {"type": "Feature", "geometry": {"type": "MultiPoint", "coordinates": [[4, 4]]}, "properties": None},
        {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[4, 4], [9, 9]]}},
        {"type": "Feature", "geometry": None},
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[1, 1], [2, None], [3, 3]]]}},
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": []}},
        feature("cell", 500, 10, 10, 10),
        7,
    ]
    areas, (said,), _ = areas_and_words(collection(feature("cell", *CELLS[0]), *others), tmp_path)
    assert areas == [100]
    assert said == (
        '"a.geojson": 1 of 9 shapes became cells: 1 lies outside, 2 have no area, 2 are damaged, '
        "1 is a line, 2 are points."
    )


def test_numbers_as_text_and_labels_as_anything(tmp_path):
    document = feature("cell", *CELLS[0])
    for row in document["geometry"]["coordinates"]:
        row[:] = [[str(x), f"{y:.3e}"] for x, y in row]
    for label in ("7", 7.0, "NaN", None, 1e30, -3, "seven"):
        document["properties"]["measurements"] = {"label": label}
        assert areas_and_words(document, tmp_path)[0][-1] == 100
    document["properties"]["measurements"] = [{"name": "label", "value": 7}]
    assert areas_and_words(document, tmp_path)[0] == [100]


def test_geometries_of_several_pieces(tmp_path):
    pieces = [[ring(0, 0, 10, 10)], [ring(5, 5, 10, 10)]]  # they overlap
    several = {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": pieces}}
    gathered = {
        "type": "Feature",
        "geometry": {
            "type": "GeometryCollection",
            "geometries": [{"type": "Polygon", "coordinates": piece} for piece in pieces],
        },
    }
    for document in (several, gathered):
        assert areas_and_words(document, tmp_path)[0] == [175]


@pytest.mark.parametrize("form", ["gz", "json", "zip", "zip with junk", "byte order mark"])
def test_packed_exports(form, tmp_path):
    text = json.dumps([feature("cell", *cell) for cell in CELLS])
    path = tmp_path / {"gz": "a.geojson.gz", "json": "a.json"}.get(form, "a.geojson")
    if form == "gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif form.startswith("zip"):
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("export.geojson", text)
            if form == "zip with junk":
                archive.writestr("__MACOSX/._export.geojson", b"junk")
    else:
        path.write_bytes(text.encode("utf-8-sig" if form == "byte order mark" else "utf-8"))
    assert len(np.unique(import_annotations(path, SHAPE)["a"])) == 4


def test_a_zip_of_several_images(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for stem in "ab":
            archive.writestr(f"out/{stem}.ome.tif.geojson", json.dumps(feature("cell", *CELLS[0])))
    assert list(import_annotations(tmp_path / "all.zip", SHAPE)) == ["a", "b"]


@pytest.mark.parametrize("content", [b"PK\x03\x04 cut", b""])
def test_damaged_packages(content, tmp_path):
    for name in ("a.zip", "a.geojson.gz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            import_annotations(tmp_path / name, SHAPE)


def test_a_zip_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match="contains no ROIs or outlines"):
        import_annotations(tmp_path / "a.zip", SHAPE)
