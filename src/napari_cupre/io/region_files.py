"""Read the file for `finetune --regions`, which says where every cell is annotated.

Two layouts are read:

- JSON: `{"<image stem or file name>": [polygon, ...], ...}`, where a polygon is `[[y, x], ...]`;
- GeoJSON (what QuPath writes): Polygon and MultiPolygon features with `[x, y]` coordinates; their holes are
  unknown. A feature's property `image` (a stem or a file name) says which image it belongs to; without it,
  the feature counts for the only image.

Coordinates are in pixels from the image's corner, as ImageJ and QuPath count: the first pixel covers 0..1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.io.file_names import NameTable, parts_of
from napari_cupre.io.files import image_stem
from napari_cupre.io.importers.geojson import (
    CONTAINERS,
    dict_or_empty,
    geometry_of,
    is_geojson,
    is_ignored_object,
    object_type,
    polygons_of,
)
from napari_cupre.words import some_of

Regions = dict[str, list[np.ndarray]]

_TO_CENTRES = np.array([-0.5 - 1e-6, -0.5 + 1e-6])
"""Offset from pixel corners to pixel centres. A pixel centre may lie exactly on an edge; the small addition
moves it to the same side as in ImageJ, so that regions with a common edge share no pixel.
"""


def read_regions(path: Path, stems: Sequence[str]) -> Regions:
    """Read the polygons of the known area by image stem.

    Parameters
    ----------
    path : Path
        The JSON or GeoJSON file.
    stems : Sequence[str]
        Stems of the images; each region must belong to one of them.

    Returns
    -------
    dict of str to list of numpy.ndarray
        Corners y, x, float64 (n, 2), where the centre of the first pixel is (0, 0). The outline of a polygon
        with holes also runs around its holes, so that the even-odd rule gives the known area.

    Raises
    ------
    InputError
        If the file is not such a JSON, a polygon is malformed, or a region has no image.
    """
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"there is no regions file {path}; check the path.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); --regions takes JSON or GeoJSON.") from error
    if is_geojson(document):
        pairs = _geojson(document, path, stems)
    elif isinstance(document, dict) and "type" not in document:
        pairs = _by_name(document, path, stems)
    else:
        raise InputError(
            f"{path} contains no JSON object with regions; see 'napari-cupre finetune --help' for the layout."
        )
    regions: Regions = {}
    for stem, polygon in pairs:
        regions.setdefault(stem, []).append(polygon + _TO_CENTRES)
    return regions


def _by_name(document: dict[str, Any], path: Path, stems: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    for name, polygons in document.items():
        if not isinstance(polygons, list):
            raise InputError(f"{path} has no list of polygons for {name!r}; each is [[y, x], ...].")
        stem = _stem(name, path, stems)
        for polygon in polygons:
            yield stem, _polygon(polygon, name, path)


def _geojson(document: Any, path: Path, stems: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    areas = 0
    for feature in _features(document):
        geometry = geometry_of(feature)
        is_area = geometry.get("type") in ("Polygon", "MultiPolygon")
        if not is_area or object_type(feature) not in CONTAINERS or is_ignored_object(feature):
            continue  # points, lines and detections say nothing about regions
        areas += 1
        image = dict_or_empty(feature.get("properties")).get("image")
        stem = _only(path, stems) if image is None else _stem(str(image), path, stems)
        try:
            polygons = polygons_of(geometry)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise _no_polygon(stem, path) from error
        if not polygons:
            raise _no_polygon(stem, path)
        for exterior, *holes in polygons:
            yield stem, _with_holes(exterior, holes)[:, ::-1]
    if not areas:
        raise InputError(f"{path} contains no Polygon; regions must be areas.")


def _features(document: Any) -> Iterator[dict[str, Any]]:
    """List the features of a document; bare geometries become features; those within others are left out."""
    if isinstance(document, list):
        for entry in document:
            yield from _features(entry)
    elif isinstance(document, dict):
        inner = {"FeatureCollection": "features", "GeometryCollection": "geometries"}.get(
            str(document.get("type"))
        )
        if inner is not None:
            yield from _features(document.get(inner))
        elif document.get("type") == "Feature":
            yield document
        else:
            yield {"geometry": document}


def _with_holes(exterior: np.ndarray, holes: Sequence[np.ndarray]) -> np.ndarray:
    """Join a polygon and its holes into one outline, going to each hole and back along the same line."""
    way = [exterior, exterior[:1]]
    for hole in holes:
        way += [hole, hole[:1], exterior[:1]]
    return np.concatenate(way) if holes else exterior


def _stem(name: str, path: Path, stems: Sequence[str]) -> str:
    """Find the image with this stem, file name, or path of any system."""
    file = (parts_of(name) or (name,))[-1]
    known = NameTable({stem: stem for stem in stems})
    for called in (name, file, image_stem(file)):
        if (stem := known.get(called)) is not None:
            return stem
    raise InputError(
        f"{path} has a region for {name!r}, but there is no such image; its images are {some_of(stems)}."
    )


def _only(path: Path, stems: Sequence[str]) -> str:
    if len(stems) != 1:
        raise InputError(
            f"{path} has a region without the property 'image', and there are {len(stems)} images; "
            "say which one it belongs to."
        )
    return stems[0]


def _polygon(points: Any, name: str, path: Path) -> np.ndarray:
    try:
        polygon = np.asarray(points, np.float64)
    except (TypeError, ValueError):
        polygon = np.empty(0)
    if polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) < 3 or not np.isfinite(polygon).all():
        raise _no_polygon(name, path)
    return polygon


def _no_polygon(name: str, path: Path) -> InputError:
    return InputError(
        f"{path} has a region of {name!r} that is not a polygon; it takes three or more points."
    )
