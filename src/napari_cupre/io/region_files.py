"""The file that `finetune --regions` takes: where every cell is annotated.

Two layouts are read:

- JSON: `{"<image stem>": [polygon, ...], ...}`, a polygon being `[[y, x], ...]` in pixels;
- GeoJSON (what QuPath writes): Polygon and MultiPolygon features with `[x, y]` coordinates in pixels.
  A feature's property `image` (a stem or a file name) says which image it belongs to; without it,
  the feature counts for the only image.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.errors import InputError

Regions = dict[str, list[np.ndarray]]


def read_regions(path: Path, stems: Sequence[str]) -> Regions:
    """Polygons of the known area by image stem; each float64 (n, 2) in pixel (y, x).

    Parameters
    ----------
    path : the JSON or GeoJSON file.
    stems : of the images that are used; each region must belong to one of them.

    Raises
    ------
    InputError
        If the file is no such JSON, a polygon is none, or a region has no image.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"there is no regions file {path}; check the path.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); --regions takes JSON or GeoJSON.") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} holds no JSON object; see 'napari-cupre finetune --help' for the layout.")
    pairs = _geojson(document, path, stems) if "type" in document else _by_stem(document, path)
    regions: Regions = {}
    for stem, polygon in pairs:
        if stem not in stems:
            raise InputError(
                f"{path} has a region for {stem!r}, but there is no such image; its images are "
                f"{', '.join(stems[:5])}{' ...' if len(stems) > 5 else ''}."
            )
        regions.setdefault(stem, []).append(_polygon(polygon, stem, path))
    return regions


def _by_stem(document: dict[str, Any], path: Path) -> Iterator[tuple[str, Any]]:
    for stem, polygons in document.items():
        if not isinstance(polygons, list):
            raise InputError(f"{path} has no list of polygons at {stem!r}; each is [[y, x], ...].")
        for polygon in polygons:
            yield stem, polygon


def _geojson(document: dict[str, Any], path: Path, stems: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for feature in _list(document.get("features", [document])):
        geometry = _dict(_dict(feature).get("geometry", feature))
        coordinates = _list(geometry.get("coordinates"))
        if geometry.get("type") not in ("Polygon", "MultiPolygon"):
            raise InputError(f"{path} holds a feature that is no Polygon; regions must be areas.")
        stem = _stem(_dict(_dict(feature).get("properties")).get("image"), path, stems)
        for rings in coordinates if geometry["type"] == "MultiPolygon" else [coordinates]:
            outer = next(iter(_list(rings)), None)  # holes do not matter here
            yield stem, [_list(point)[1::-1] for point in _list(outer)]


def _stem(image: Any, path: Path, stems: Sequence[str]) -> str:
    if image is not None:
        return str(image) if str(image) in stems else Path(str(image)).stem
    if len(stems) != 1:
        raise InputError(
            f"{path} has a region without the property 'image', and there are {len(stems)} images; "
            "say there which one it belongs to."
        )
    return stems[0]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _polygon(points: Any, stem: str, path: Path) -> np.ndarray:
    try:
        polygon = np.asarray(points, np.float64)
    except (TypeError, ValueError):
        polygon = np.empty(0)
    if polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) < 3 or not np.isfinite(polygon).all():
        raise InputError(
            f"{path} has a region of {stem!r} that is no polygon; it takes three or more points."
        )
    return polygon
