"""Write cells as GeoJSON detections that QuPath opens."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.io.files import atomic_write
from napari_cupre.io.writers.formats import register_format
from napari_cupre.io.writers.outlines import Part, trace
from napari_cupre.io.writers.output_cells import PARTIAL, OutputCells, PlaneCells

_COLOURS = ([0, 200, 120], [230, 90, 40], [70, 120, 240], [220, 200, 50], [190, 80, 210], [60, 200, 220])


@register_format("geojson", ".geojson", "GeoJSON for QuPath")
def write_geojson(cells: OutputCells, path: Path) -> None:
    """Write a FeatureCollection of polygons in px, one feature per cell and plane.

    Outlines follow the pixel edges, with holes; a cell of several pieces is a MultiPolygon. Each feature
    is a "detection" with its class and the measurements "label", "area px" and, if known, "score".

    Raises
    ------
    EnvironmentFault
        Full or read-only disk.
    """
    features = [feature for plane in cells.planes for feature in _features(cells, plane)]
    collection: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if cells.is_partial:
        collection["note"] = PARTIAL
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(collection), encoding="utf-8")


def _features(cells: OutputCells, plane: PlaneCells) -> list[dict[str, Any]]:
    outlines = trace(plane.labels)
    where = {"c": -1, "z": plane.index.get("Z", 0), "t": plane.index.get("T", 0)}
    features = []
    for label, score, category in zip(plane.ids.tolist(), plane.scores, plane.classes):
        parts = outlines[label]
        measurements: dict[str, float] = {"label": label, "area px": sum(part.area for part in parts)}
        if score is not None:
            measurements["score"] = round(score, 4)
        properties = {
            "objectType": "detection",
            "name": str(label),
            # QuPath refuses the whole file if a colour is missing (GsonTools.PathClassTypeAdapter, since
            # 0.4).
            "classification": {
                "name": cells.class_name(category),
                "color": _COLOURS[(category - 1) % len(_COLOURS)],
            },
            "measurements": measurements,
        }
        # QuPath wants a UUID; it is made from the cell itself, so that the same result gives the same file.
        identity = uuid.uuid5(uuid.NAMESPACE_OID, f"{cells.name}/{where['t']}/{where['z']}/{label}")
        features.append(
            {
                "type": "Feature",
                "id": str(identity),
                "geometry": _geometry(parts) | {"plane": where},
                "properties": properties,
            }
        )
    return features


def _geometry(parts: list[Part]) -> dict[str, Any]:
    polygons = [[_closed(ring) for ring in (part.exterior, *part.holes)] for part in parts]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _closed(ring: np.ndarray) -> list[list[int]]:
    return [*ring.tolist(), ring[0].tolist()]
