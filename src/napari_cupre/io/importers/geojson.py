"""Polygons from GeoJSON, as QuPath and this package write it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.io.importers.shapes import Shape

_POLYGONS = ("Polygon", "MultiPolygon")
#: QuPath's objects that are no cells once they hold some; "" stands for an object of no stated type.
_CONTAINERS = ("annotation", "root", "tmaCore", "tile", "")


def is_geojson(document: Any) -> bool:
    """Whether a JSON document looks like GeoJSON; QuPath also writes plain lists of features."""
    if isinstance(document, list):
        return bool(document) and is_geojson(document[0])
    kinds = ("FeatureCollection", "Feature", "GeometryCollection", *_POLYGONS)
    return isinstance(document, dict) and document.get("type") in kinds


def read_features(document: Any, path: Path) -> list[Shape]:
    """All polygons of a GeoJSON document; points and lines are left out.

    QuPath can write objects within their parents ("childObjects"). An annotation that holds others is the
    region that they were looked for in, and no cell.

    Raises
    ------
    InputError
        If a polygon is broken.
    """
    try:
        return [shape for feature in _features(document) for shape in _shapes(feature)]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f'"{path}" holds a broken polygon ({error}): write the GeoJSON anew.') from error


def _features(document: Any) -> Iterator[dict[str, Any]]:
    if isinstance(document, list):
        for entry in document:
            yield from _features(entry)
    elif document.get("type") == "FeatureCollection":
        yield from _features(document["features"])
    elif document.get("type") == "GeometryCollection":
        yield from _features(document["geometries"])
    elif document.get("type") == "Feature":
        children = list(_children(document))
        if not (children and _object_type(document) in _CONTAINERS):
            yield document
        yield from children
    else:
        yield {"geometry": document}


def _children(feature: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for holder in (feature, feature.get("properties") or {}):
        if holder.get("childObjects"):
            yield from _features(holder["childObjects"])


def _object_type(feature: dict[str, Any]) -> str:
    properties = feature.get("properties") or {}
    return str(properties.get("objectType") or properties.get("object_type") or "")


def _shapes(feature: dict[str, Any]) -> Iterator[Shape]:
    geometry = feature.get("geometry") or {}
    if geometry.get("type") not in _POLYGONS:
        return
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    rings = [np.array([point[:2] for point in ring], float) for polygon in polygons for ring in polygon]
    if not rings:
        return
    measurements = (feature.get("properties") or {}).get("measurements")
    label = measurements.get("label", 0) if isinstance(measurements, dict) else 0
    place = geometry.get("plane") or {}
    plane = {axis: int(place.get(axis.lower(), 0)) for axis in "TZ"}
    yield Shape(rings, int(label), plane)
