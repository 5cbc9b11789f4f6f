"""Outlines of COCO annotations: polygons, run lengths and boxes, in all the forms that programs write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from napari_cupre.data.rle import RLE, encode_pixels, encode_polygons, paint


class Problem(NamedTuple):
    """What is wrong with an entry, worded for one entry and for several."""

    one: str
    many: str


NO_MASK = Problem("annotation without mask", "annotations without mask")
NO_AREA = Problem(
    "polygon with fewer than three points or no area", "polygons with fewer than three points or no area"
)
NO_FIT = Problem(
    "run-length mask that does not match its image", "run-length masks that do not match their image"
)


def problem_of(annotation: dict[str, Any], height: int, width: int) -> tuple[Problem | None, bool]:
    """Say why an annotation cannot be used (None if it can), and whether it only marks unknown area.

    Crowds and boxes without a mask mark unknown area.
    """
    segmentation = tidy_segmentation(annotation.get("segmentation"))
    if not segmentation:
        return (None, True) if polygon_of_box(annotation.get("bbox")) else (NO_MASK, False)
    masks = [part for part in segmentation if isinstance(part, dict)]
    if masks:
        fits = all(_size(mask) == [height, width] and mask.get("counts") for mask in masks)
        return None if fits else NO_FIT, is_crowd(annotation)
    if not any(_is_polygon(part) for part in segmentation):
        return NO_AREA, False
    return None, is_crowd(annotation)


def mask_size(annotation: dict[str, Any]) -> tuple[int, int] | None:
    """Read the image's height and width from a run-length mask; None for an outline or a damaged mask."""
    for part in tidy_segmentation(annotation.get("segmentation")):
        size = _size(part) if isinstance(part, dict) else []
        if len(size) == 2 and min(size) > 0:
            return size[0], size[1]
    return None


def tidy_segmentation(segmentation: Any) -> list[Any]:
    """Bring a segmentation into one form: a list of flat polygons and run-length masks, none of them empty.

    Some programs write a single polygon without a list around it, or points as pairs.
    """
    if isinstance(segmentation, dict):
        return [segmentation] if segmentation else []
    if not isinstance(segmentation, list) or not segmentation:
        return []
    if all(isinstance(number, int | float) for number in segmentation):
        segmentation = [segmentation]
    return [_flat(part) for part in segmentation if part]


def is_crowd(annotation: dict[str, Any]) -> bool:
    """Whether an annotation covers many instances together."""
    return str(annotation.get("iscrowd") or "0").strip().lower() not in ("0", "false")


def polygon_of_box(box: Any) -> list[float] | None:
    """Return the corners of a COCO box [x, y, width, height]; None for anything else."""
    try:
        x, y, width, height = (float(side) for side in box)
    except (TypeError, ValueError):
        return None
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return corners if _is_polygon(corners) else None


def area_of(annotation: dict[str, Any]) -> float:
    """Estimate the area that decides which instance lies on top; it need not be exact."""
    for size in (annotation.get("area"), _box_area(annotation)):
        if isinstance(size, int | float) and math.isfinite(size) and size > 0:
            return float(size)
    return sum(_span(part) for part in _polygons(tidy_segmentation(annotation.get("segmentation"))))


def is_within(annotation: dict[str, Any], height: int, width: int) -> bool:
    """Whether any polygon of an annotation lies at least partly in the image."""
    return any(
        all(
            max(points[axis::2]) > 0 and min(points[axis::2]) < side
            for axis, side in enumerate((width, height))
        )
        for points in _polygons(tidy_segmentation(annotation.get("segmentation")))
    )


def mask_of(annotation: dict[str, Any], height: int, width: int, *, box: bool) -> RLE:
    """Return the mask of an annotation, or of its box if it has nothing else and `box` allows it.

    Raises
    ------
    InputError
        If one of several run-length masks is corrupt.
    """
    segmentation = tidy_segmentation(annotation.get("segmentation"))
    masks = [part for part in segmentation if isinstance(part, dict)]
    polygons = _polygons(segmentation)
    if not masks and not polygons and box:
        polygons = [polygon_of_box(annotation.get("bbox")) or []]
    return joined([*masks, *polygons], (height, width))


def joined(parts: Sequence[Any], shape: tuple[int, int]) -> RLE:
    """Join an instance's polygons and run lengths into one mask.

    Raises
    ------
    InputError
        If there are none, or one is malformed; of run lengths only if there are several parts.
    """
    masks = [part for part in parts if isinstance(part, dict)]
    polygons = [part for part in parts if not isinstance(part, dict)]
    if len(parts) == len(masks) == 1:
        return masks[0]
    if not masks:
        return encode_polygons(polygons, shape)
    # Not merged with pycocotools, which crashes on corrupt run lengths.
    drawn = [encode_polygons(polygons, shape)] if polygons else []
    return encode_pixels(np.flatnonzero(paint([*masks, *drawn], shape)), shape)


def _size(mask: dict[str, Any]) -> list[int]:
    try:
        return [int(side) for side in mask["size"]]
    except (KeyError, TypeError, ValueError):
        return []


def _flat(part: Any) -> Any:
    """Flatten a polygon that is given as pairs of x, y."""
    if isinstance(part, list) and all(isinstance(point, list) and len(point) == 2 for point in part):
        return [number for point in part for number in point]
    return part


def _is_polygon(points: Any) -> bool:
    """Whether a flat list of x, y has three points and spans an area."""
    if not isinstance(points, list) or len(points) < 6 or len(points) % 2:
        return False
    try:
        spans = [max(points[axis::2]) - min(points[axis::2]) for axis in (0, 1)]
        return all(math.isfinite(span) and span > 0 for span in spans) and math.isfinite(sum(points))
    except (TypeError, OverflowError):
        return False


def _span(polygon: list[float]) -> float:
    """Return the area of a polygon's bounding box."""
    height, width = (max(polygon[axis::2]) - min(polygon[axis::2]) for axis in (1, 0))
    return float(height * width)


def _box_area(annotation: dict[str, Any]) -> float | None:
    corners = polygon_of_box(annotation.get("bbox"))
    return None if corners is None else (corners[2] - corners[0]) * (corners[5] - corners[1])


def _polygons(segmentation: list[Any]) -> list[list[float]]:
    return [part for part in segmentation if _is_polygon(part)]
