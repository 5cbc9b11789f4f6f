"""Read the outlines of VIA 3, whose projects list files, views of them, and regions as rows of numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Attributes = dict[str, Any]

_IMAGE = 2  # type of a file; others are videos and sounds


def is_via3(document: Any) -> bool:
    """Whether a JSON document is a project of VIA 3."""
    parts = ("file", "view", "metadata")
    return isinstance(document, dict) and all(isinstance(document.get(part), dict) for part in parts)


def via3_regions(document: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the regions of each image as VIA 2 writes them, by the image's file name.

    Parameters
    ----------
    document : dict of str to Any
        See `is_via3`. Videos are left out, and entries about a whole file, which have no place in it.
    """
    names = {}
    for key, file in document["file"].items():
        if (
            isinstance(file, dict)
            and file.get("type", _IMAGE) == _IMAGE
            and str(file.get("fname", "")).strip()
        ):
            names[str(file.get("fid", key))] = str(file["fname"])
    found: dict[str, list[Any]] = {name: [] for name in names.values()}
    files = {str(vid): _first_file(view) for vid, view in document["view"].items()}
    for entry in document["metadata"].values():
        if not isinstance(entry, dict) or entry.get("xy") == []:
            continue
        name = names.get(files.get(str(entry.get("vid")), ""))
        if name is not None:
            found[name].append(_region(entry.get("xy")))
    return found


def _first_file(view: Any) -> str:
    """Return the file of a view; one that compares several has its regions on the first."""
    listed = view.get("fid_list") if isinstance(view, dict) else None
    return str(listed[0]) if isinstance(listed, list) and listed else ""


def _region(row: Any) -> dict[str, Attributes] | None:
    """Return a region in the words of VIA 2; None for a damaged one."""
    try:
        kind, *numbers = row
        attributes = _KINDS[int(kind)](list(map(float, numbers)))
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        return None
    return {"shape_attributes": attributes}


def _circle(numbers: Sequence[float]) -> Attributes:
    x, y, radius = numbers
    return {"name": "circle", "cx": x, "cy": y, "r": radius}


def _ellipse(numbers: Sequence[float]) -> Attributes:
    x, y, along, down = numbers
    return {"name": "ellipse", "cx": x, "cy": y, "rx": along, "ry": down}


def _polygon(numbers: Sequence[float]) -> Attributes:
    if len(numbers) % 2:
        raise ValueError("an x without a y")
    return {"name": "polygon", "all_points_x": list(numbers[::2]), "all_points_y": list(numbers[1::2])}


def _circle_through(numbers: Sequence[float]) -> Attributes:
    """Return the circle through three points of its rim; without an area if they are in line."""
    points = np.reshape(numbers, (3, 2))
    sides = 2 * (points[1:] - points[0])
    if abs(np.linalg.det(sides)) < 1e-9:
        return _polygon(numbers)
    centre = np.linalg.solve(sides, (points[1:] ** 2).sum(1) - (points[0] ** 2).sum())
    return _circle((*centre.tolist(), float(np.hypot(*(points[0] - centre)))))


def _without_outline(name: str) -> Callable[[Sequence[float]], Attributes]:
    return lambda numbers: {"name": name}


_KINDS: dict[int, Callable[[Sequence[float]], Attributes]] = {
    1: _without_outline("point"),
    2: _without_outline("rect"),
    3: _circle,
    4: _ellipse,
    5: _without_outline("line"),
    6: _without_outline("polyline"),
    7: _polygon,
    8: _without_outline("rect"),
    9: _circle_through,
}
"""The kinds of regions by VIA's numbers; 8 is a box through four points, 9 a circle through three."""
