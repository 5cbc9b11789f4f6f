"""Read polygons from GeoJSON written by QuPath or this package."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_cupre.io.importers.accounts import (
    DAMAGED,
    IGNORED,
    LINE,
    NO_AREA,
    PART,
    POINT,
    REGION,
    Account,
    Reason,
)
from napari_cupre.io.importers.hierarchy import OutlinedShape, regions_and_parts
from napari_cupre.io.importers.shapes import Shape

_POLYGONS = ("Polygon", "MultiPolygon")
_GEOMETRIES = ("GeometryCollection", *_POLYGONS, "Point", "MultiPoint", "LineString", "MultiLineString")
_NO_AREAS = {"Point": POINT, "MultiPoint": POINT, "LineString": LINE, "MultiLineString": LINE}
CONTAINERS = ("annotation", "root", "tmacore", "tile", "")
"""QuPath's object types that do not count as cells if they contain others; "" means no stated type."""

_NEVER_CELLS = ("root", "tmacore")


@dataclass
class _Found:
    """One object of the file: a shape with its type, or the reason why it has no shape."""

    kind: str
    shape: Shape | None = None
    reason: Reason | None = None
    parent: str | None = None
    """Type of the object around it in the document, None at the top."""
    has_children: bool = False


@dataclass
class _Reader:
    """Walks through a document and collects its objects."""

    found: list[_Found] = field(default_factory=list)

    def walk(self, document: Any, parent: str | None = None) -> None:
        if isinstance(document, list):
            for entry in document:
                self.walk(entry, parent)
            return
        if not isinstance(document, dict):
            self.found.append(_Found("", reason=DAMAGED))
            return
        kind = document.get("type")
        if kind == "FeatureCollection":
            self.walk(document.get("features") or [], parent)
        elif kind == "GeometryCollection":
            self.walk(document.get("geometries") or [], parent)
        elif kind == "Feature":
            self._feature(document, parent)
        else:
            self.found.append(_object({"geometry": document}, parent))

    def _feature(self, feature: dict[str, Any], parent: str | None) -> None:
        one = _object(feature | {"geometry": geometry_of(feature)}, parent)
        children = list(_children(feature))
        one.has_children = bool(children)
        self.found.append(one)
        for child in children:
            self.walk(child, one.kind)


def is_geojson(document: Any) -> bool:
    """Whether a JSON document looks like GeoJSON; QuPath also writes plain lists of features."""
    if isinstance(document, list):
        return bool(document) and is_geojson(document[0])
    return isinstance(document, dict) and document.get("type") in (
        "FeatureCollection",
        "Feature",
        *_GEOMETRIES,
    )


def read_features(document: Any, account: Account) -> list[Shape]:
    """Read the cells of a GeoJSON document, and count all other objects in it.

    An annotation around other objects is a region that was searched for cells, not a cell; so is an
    annotation with a class such as QuPath's "Region*". Objects inside a cell that QuPath detected are parts
    of it. QuPath's ignored classes ("Ignore*") are left out, and so are points and lines.

    Parameters
    ----------
    document : Any
        A FeatureCollection, a feature, a geometry, or a list of these.
    """
    reader = _Reader()
    try:
        reader.walk(document)
    except RecursionError:
        reader.found.append(_Found("", reason=DAMAGED))
    account.total += len(reader.found)
    whole = [one for one in reader.found if one.reason is None and one.shape is not None]
    regions, parts = regions_and_parts(
        [OutlinedShape(one.kind, one.shape.parts) for one in whole if one.shape]
    )
    for number, one in enumerate(whole):
        is_parent = one.has_children and one.kind in CONTAINERS
        if number in regions or is_parent or one.kind in _NEVER_CELLS:
            one.reason = REGION
        elif number in parts or (one.parent == "cell" and one.kind != "cell"):
            one.reason = PART
    for one in reader.found:
        if one.reason is not None:
            account.leave_out(one.reason)
    return [one.shape for one in whole if one.reason is None and one.shape is not None]


def object_type(feature: dict[str, Any]) -> str:
    """Return QuPath's type of an object in lower case, "" if it has none."""
    properties = dict_or_empty(feature.get("properties"))
    stated = properties.get("objectType") or properties.get("object_type")
    return str(stated or ("cell" if _nucleus(feature) else "")).lower()


def polygons_of(geometry: dict[str, Any]) -> list[list[np.ndarray]]:
    """Return the rings, float (n, 2) x, y, of each polygon of a Polygon or MultiPolygon.

    Raises
    ------
    TypeError, ValueError, KeyError, IndexError
        If it is broken.
    """
    whole = geometry["coordinates"]
    polygons = whole if geometry["type"] == "MultiPolygon" else [whole]
    parts = [[np.array([point[:2] for point in ring], float) for ring in polygon] for polygon in polygons]
    for part in parts:
        for ring in part:
            if ring.ndim != 2 or ring.shape[1] != 2 or not np.isfinite(ring).all():
                raise ValueError("corners must be pairs of numbers")
    return [part for part in parts if part and len(part[0]) >= 3]


def is_ignored_object(feature: dict[str, Any]) -> bool:
    """Whether an object is marked to be ignored, as with QuPath's class "Ignore*".

    The names of such classes end with a star. An annotation with one other than "Ignore*" is a region.
    """
    name = _class_name(feature).lower()
    return name.endswith("*") and (object_type(feature) not in CONTAINERS or name.startswith("ignore"))


def _object(feature: dict[str, Any], parent: str | None) -> _Found:
    kind = object_type(feature)
    geometry = dict_or_empty(feature.get("geometry"))
    if geometry.get("type") not in _POLYGONS and kind == "cell":
        geometry = _nucleus(feature) or geometry  # QuPath has only the nucleus of this cell
    reason = _NO_AREAS.get(str(geometry.get("type")))
    if reason is None and geometry.get("type") not in _POLYGONS:
        reason = NO_AREA if not geometry or geometry.get("type") in _GEOMETRIES else DAMAGED
    if reason is not None:
        return _Found(kind, reason=reason, parent=parent)
    try:
        shape = Shape(polygons_of(geometry), _label(feature), _plane(geometry))
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        return _Found(kind, reason=DAMAGED, parent=parent)
    if not shape.parts:
        return _Found(kind, reason=NO_AREA, parent=parent)
    if _class_name(feature).endswith("*"):
        return _Found(kind, shape, IGNORED if is_ignored_object(feature) else REGION, parent)
    return _Found(kind, shape, None, parent)


def geometry_of(feature: dict[str, Any]) -> dict[str, Any]:
    """Return the geometry of an object; if it has several, their polygons together are its area."""
    geometry = dict_or_empty(feature.get("geometry"))
    return _merged(geometry) if geometry.get("type") == "GeometryCollection" else geometry


def _merged(collection: dict[str, Any]) -> dict[str, Any]:
    """Join a GeometryCollection's polygons into one MultiPolygon; without any, take its first geometry."""
    inner = [entry for entry in collection.get("geometries") or [] if isinstance(entry, dict)]
    polygons: list[Any] = []
    for entry in inner:
        if entry.get("type") in _POLYGONS:
            whole = entry.get("coordinates") or []
            polygons += whole if entry["type"] == "MultiPolygon" else [whole]
    if not polygons:
        return dict_or_empty(inner[0]) if inner else {}
    return {**collection, "type": "MultiPolygon", "coordinates": polygons}


def _children(feature: dict[str, Any]) -> Iterator[Any]:
    for holder in (feature, dict_or_empty(feature.get("properties"))):
        children = holder.get("childObjects")
        if isinstance(children, list):
            yield from children
        elif children:
            yield children


def _nucleus(feature: dict[str, Any]) -> dict[str, Any]:
    return dict_or_empty(feature.get("nucleusGeometry")) or dict_or_empty(
        dict_or_empty(feature.get("properties")).get("nucleusGeometry")
    )


def _class_name(feature: dict[str, Any]) -> str:
    """Return the name of an object's class; newer QuPath writes a list of names for derived classes."""
    stated = dict_or_empty(feature.get("properties")).get("classification")
    if isinstance(stated, dict):
        names = stated.get("names")
        stated = stated.get("name") or (names[-1] if isinstance(names, list) and names else "")
    return str(stated or "").strip()


def _label(feature: dict[str, Any]) -> int:
    measurements = dict_or_empty(feature.get("properties")).get("measurements")
    try:
        label = float(dict_or_empty(measurements).get("label", 0))
    except (TypeError, ValueError):
        return 0
    return int(label) if label.is_integer() and 0 < label < 2**31 else 0


def _plane(geometry: dict[str, Any]) -> dict[str, int]:
    place = dict_or_empty(geometry.get("plane"))
    return {axis: int(place[axis.lower()]) for axis in "TZ" if place.get(axis.lower()) is not None}


def dict_or_empty(value: Any) -> dict[str, Any]:
    """Return a value of a JSON document if it is an object, else an empty object."""
    return value if isinstance(value, dict) else {}
