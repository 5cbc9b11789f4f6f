"""Read the outlines of the VGG Image Annotator (VIA), a JSON for many images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_cupre.io.importers.accounts import BOX, DAMAGED, LINE, NO_AREA, POINT, Account, Reason
from napari_cupre.io.importers.shapes import Shape, ellipse_ring
from napari_cupre.io.importers.via3 import is_via3, via3_regions

_IMAGES = "_via_img_metadata"
_NO_AREAS: dict[str, Reason] = {"point": POINT, "polyline": LINE, "line": LINE, "rect": BOX}


@dataclass(frozen=True)
class ViaImage:
    """An image of the file: its name as written there, and its regions."""

    file_name: str
    regions: list[Any]


def is_via(document: Any) -> bool:
    """Whether a JSON document is a project of VIA, or the annotations exported from VIA 1 or 2."""
    if is_via3(document):
        return True
    return isinstance(document, dict) and (_IMAGES in document or any(map(_is_entry, document.values())))


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and {"filename", "regions"} <= set(value)


def via_images(document: dict[str, Any]) -> list[ViaImage]:
    """Return the images of a document, also those without a region."""
    if is_via3(document):
        return [ViaImage(name, regions) for name, regions in via3_regions(document).items()]
    listed = document.get(_IMAGES, document)
    return list(_images(listed)) if isinstance(listed, dict) else []


def _images(listed: dict[str, Any]) -> Iterator[ViaImage]:
    for entry in listed.values():
        if _is_entry(entry) and isinstance(entry["filename"], str) and entry["filename"].strip():
            regions = entry["regions"]
            # VIA 1 numbers them
            each = list(regions.values()) if isinstance(regions, dict) else regions
            yield ViaImage(entry["filename"], each if isinstance(each, list) else [None])


def read_via(image: ViaImage, account: Account) -> list[Shape]:
    """Read the cells of an image.

    Polygons, circles and ellipses are cells. Rectangles are boxes, not outlines, and are left out like points
    and lines.

    Parameters
    ----------
    image : ViaImage
        The image.
    account : Account
        Counts the cells, and the regions left out.
    """
    found = []
    for region in image.regions:
        account.total += 1
        ring, reason = _ring_of(region)
        if ring is not None:
            found.append(Shape([[ring]]))
        elif reason is not None:
            account.leave_out(reason)
    return found


def _ring_of(region: Any) -> tuple[np.ndarray | None, Reason | None]:
    """Return the outline of a region, or the reason why it has none."""
    try:
        shape = region["shape_attributes"]
        kind = str(shape["name"])
        if kind in _NO_AREAS:
            return None, _NO_AREAS[kind]
        if kind == "polygon":
            ring = np.column_stack([shape["all_points_x"], shape["all_points_y"]]).astype(float)
        elif kind == "circle":
            ring = ellipse_ring((shape["cx"], shape["cy"]), (shape["r"], shape["r"]))
        elif kind == "ellipse":
            sizes = shape["rx"], shape["ry"]
            ring = ellipse_ring((shape["cx"], shape["cy"]), sizes, float(shape.get("theta", 0)))
        else:
            return None, NO_AREA
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        return None, DAMAGED
    if not np.isfinite(ring).all():
        return None, DAMAGED
    has_area = len(ring) > 2 and bool((np.ptp(ring, axis=0) > 0).all())
    return (ring, None) if has_area else (None, NO_AREA)
