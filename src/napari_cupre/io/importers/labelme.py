"""Read the outlines of LabelMe, one JSON per image, also as other programs write it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.io.importers.accounts import BOX, DAMAGED, LINE, NO_AREA, POINT, Account, Reason
from napari_cupre.io.importers.shapes import Shape, ellipse_ring
from napari_cupre.io.writers.outlines import trace

_POLYGONS = ("polygon", "rotation", "oriented_rectangle", "quadrilateral", "")
_NO_AREAS: dict[str, Reason] = {
    "point": POINT,
    "points": POINT,
    "line": LINE,
    "linestrip": LINE,
    "rectangle": BOX,
}


def is_labelme(document: Any) -> bool:
    """Whether a JSON document looks like LabelMe's."""
    return (
        isinstance(document, dict)
        and isinstance(document.get("shapes"), list)
        and bool({"imagePath", "imageHeight", "imageData"} & set(document))
    )


def labelme_size(document: dict[str, Any]) -> tuple[int, int] | None:
    """Return the rows and columns of the image, if the document says them."""
    try:
        size = int(document["imageHeight"]), int(document["imageWidth"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None


def labelme_image(document: dict[str, Any]) -> str:
    """Return the name of the image file, "" if the document does not say it."""
    name = document.get("imagePath")
    return name if isinstance(name, str) else ""


def read_labelme(document: dict[str, Any], account: Account) -> list[Shape]:
    """Read the cells of a LabelMe document.

    Polygons, circles and masks are cells; those of one label and group are the parts of one cell, as in
    LabelMe's own export. Rectangles are boxes, not outlines, and are left out like points and lines.

    Parameters
    ----------
    document : dict
        The parsed JSON.
    account : Account
        Counts the cells, and the shapes left out.
    """
    groups: dict[Any, Shape] = {}
    found: list[Shape] = []
    for entry in document["shapes"]:
        parts, reason = _parts_of(entry)
        group = None if reason is not None else _group_of(entry)
        if reason is None and group in groups:
            groups[group].parts.extend(parts)
            continue
        account.total += 1
        if reason is not None:
            account.leave_out(reason)
            continue
        found.append(Shape(parts))
        if group is not None:
            groups[group] = found[-1]
    return found


def _group_of(entry: dict[str, Any]) -> tuple[str, str] | None:
    group = entry.get("group_id")
    return None if group is None else (str(entry.get("label")), str(group))


def _parts_of(entry: Any) -> tuple[list[list[np.ndarray]], Reason | None]:
    """Return the parts of a shape, or the reason why it has none."""
    if not isinstance(entry, dict):
        return [], DAMAGED
    kind = str(entry.get("shape_type") or "")
    if kind in _NO_AREAS:
        return [], _NO_AREAS[kind]
    try:
        points = np.array([point[:2] for point in entry["points"]], float).reshape(-1, 2)
        if not np.isfinite(points).all():
            return [], DAMAGED
        if kind == "mask":
            parts = list(_mask_parts(entry, points))
        elif kind == "circle":
            centre, rim = points
            radius = float(np.hypot(*(rim - centre)))
            parts = [[ellipse_ring(centre, (radius, radius))]] if radius else []
        elif kind in _POLYGONS:
            parts = [[points]] if len(points) > 2 else []
        else:
            return [], NO_AREA
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, InputError):
        return [], DAMAGED
    return parts, None if parts else NO_AREA


def _mask_parts(entry: dict[str, Any], points: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Yield the outlines of a mask: a PNG in base64 whose first pixel lies at the first point."""
    import imageio.v3 as iio

    png = base64.b64decode(str(entry["mask"]), validate=True)
    try:
        mask = np.asarray(iio.imread(png, extension=".png", plugin="pillow"))
    except Exception as error:  # decoders raise anything on damaged files
        raise InputError(f"a mask cannot be read ({error}): save it again.") from error
    if mask.ndim > 2:
        mask = mask[..., 0]
    corner = np.floor(points.min(axis=0))
    for part in trace((mask > 0).astype(np.int32)).get(1, []):
        yield [ring + corner for ring in (part.exterior, *part.holes)]
