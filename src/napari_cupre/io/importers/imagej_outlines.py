"""Compute the outlines of ImageJ's ROIs as ImageJ fills them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from roifile import ImagejRoi

_VERTICES = 72
"""Number of corners of an ellipse in ImageJ."""
_STEPS = 32
"""Number of straight pieces of a curve."""
_SPLINE_POINTS, _LEAST_STEP = 100, 0.001
"""Fewest points of a spline; smallest step between two corners, which may coincide."""
_MOVE, _LINE, _CLOSE = 0, 1, 4
"""Operations of ImageJ's paths (java.awt.geom.PathIterator), and the number of points that each takes."""

_POINTS = {_MOVE: 1, _LINE: 1, 2: 2, 3: 3, _CLOSE: 0}


def rings_of(roi: ImagejRoi) -> list[np.ndarray]:
    """Return the rings of an ROI with an area, float (n, 2), corners x, y, for the even-odd rule.

    Raises
    ------
    ValueError
        If a path contains an unknown operation or is cut off.
    """
    from roifile import ROI_OPTIONS, ROI_TYPE

    corners = _corners(roi)
    if corners is not None:
        return [_spline(corners) if roi.options & ROI_OPTIONS.SPLINE_FIT else corners]
    if roi.multi_coordinates is not None:
        return _rings_of_path(np.asarray(roi.multi_coordinates, float))
    if roi.roitype == ROI_TYPE.OVAL:
        return _from_spans(roi, _oval_inset)
    if roi.roitype == ROI_TYPE.RECT:
        arc = float(roi.rounded_rect_arc_size)
        return _from_spans(roi, lambda height, width: _rounded_inset(height, width, arc))
    return _from_axis(roi)


def _corners(roi: ImagejRoi) -> np.ndarray | None:
    """Return the corners x, y of a polygon or freehand ROI; None if it has no list of corners."""
    if roi.subpixel_coordinates is not None and len(roi.subpixel_coordinates):
        return np.asarray(roi.subpixel_coordinates, float)
    if roi.integer_coordinates is not None and len(roi.integer_coordinates):
        return np.asarray(roi.integer_coordinates, float) + [roi.left, roi.top]
    return None


def _spline(corners: np.ndarray) -> np.ndarray:
    """Fit the curve of "Fit Spline": ImageJ saves only its corners and fits it again when it reads them.

    It is a closed cubic spline over the square roots of the distances between neighbours, with a point for
    each two pixels of the polygon's length, but at least 100.
    """
    # scipy takes long to import, and few ROIs are splines.
    from scipy.interpolate import CubicSpline

    if len(corners) < 3:
        return corners
    closed = np.vstack([corners, corners[:1]])
    distances = np.hypot(*np.diff(closed, axis=0).T)
    places = np.concatenate([[0.0], np.cumsum(np.maximum(np.sqrt(distances), _LEAST_STEP))])
    curve = CubicSpline(places, closed, bc_type="periodic")
    count = max(_SPLINE_POINTS, int(distances.sum() / 2))
    return np.asarray(curve(np.linspace(0, places[-1], count)[:-1]))


def _rings_of_path(path: np.ndarray) -> list[np.ndarray]:
    """Return the rings of a composite ROI; curves become short straight pieces."""
    rings: list[np.ndarray] = []
    ring: list[np.ndarray] = []
    place = 0
    while place < len(path):
        operation = int(path[place])
        count = _POINTS.get(operation)
        points = path[place + 1 : place + 1 + 2 * (count or 0)].reshape(-1, 2)
        if count is None or len(points) < count or (operation != _MOVE and not ring):
            raise ValueError(f"its path holds the operation {operation} out of place")
        if operation == _MOVE:
            rings.append(np.array(ring).reshape(-1, 2))
            ring = []
        ring.extend(points if count < 2 else _curve(np.vstack([ring[-1], points])))
        place += 1 + 2 * count
    rings.append(np.array(ring).reshape(-1, 2))
    return [ring for ring in rings if len(ring) >= 3]


def _curve(controls: np.ndarray) -> Sequence[np.ndarray]:
    """Return the points of a Bezier curve after the first, by de Casteljau's algorithm."""
    along = np.linspace(0, 1, _STEPS + 1)[1:, None, None]
    points = np.broadcast_to(controls, (_STEPS, *controls.shape))
    while points.shape[1] > 1:
        points = (1 - along) * points[:, :-1] + along * points[:, 1:]
    return list(points[:, 0])


def _from_spans(roi: ImagejRoi, inset: Callable[[int, int], np.ndarray]) -> list[np.ndarray]:
    """Return the outline, along pixel edges, of an ROI that is symmetric in its box.

    Parameters
    ----------
    inset : Callable[[int, int], numpy.ndarray]
        Returns, for the height and width of the box, how far the ROI's left edge lies within the box at the
        centre line of each row; NaN if the ROI is not in that row.
    """
    height, width = int(roi.bottom) - int(roi.top), int(roi.right) - int(roi.left)
    if height < 1 or width < 1:
        return []
    empty = np.ceil(inset(height, width) - 0.5)
    rows = np.flatnonzero(empty * 2 < width)
    left = empty[rows]
    y = np.column_stack([rows, rows + 1]).ravel() + int(roi.top)
    x = np.repeat(left, 2)
    down = np.column_stack([width - x + int(roi.left), y])
    up = np.column_stack([x + int(roi.left), y])[::-1]
    return [np.concatenate([down, up])]


def _oval_inset(height: int, width: int) -> np.ndarray:
    """Corners of an oval, so that it covers the pixels whose centres lie in the ellipse."""
    across = (np.arange(height) + 0.5) / (height / 2) - 1
    return width / 2 * (1 - np.sqrt(1 - across**2)) - 1e-9


def _rounded_inset(height: int, width: int, arc: float) -> np.ndarray:
    """Corners of a rectangle, rounded by quarters of an ellipse of diameter `arc`."""
    radius_y, radius_x = min(arc, height) / 2, min(arc, width) / 2
    centres = np.arange(height) + 0.5
    within = np.minimum(centres, height - centres)
    across = np.clip(1 - within / radius_y, 0, 1) if radius_y else np.zeros(height)
    return radius_x * (1 - np.sqrt(1 - across**2)) - 1e-9


def _from_axis(roi: ImagejRoi) -> list[np.ndarray]:
    """Return an ellipse or rotated rectangle that the file describes only by its axis."""
    from roifile import ROI_SUBTYPE

    start, end = np.array([roi.x1, roi.y1], float), np.array([roi.x2, roi.y2], float)
    along = (end - start) / 2
    across = np.array([-along[1], along[0]])
    length = 2 * float(np.hypot(*along))
    # One float; other ROIs have other fields there, which roifile reads.
    fields = roi.arrow_style_or_aspect_ratio, roi.arrow_head_size, roi.rounded_rect_arc_size
    (ratio,) = struct.unpack(">f", struct.pack(">BBh", *fields))
    if not length or not ratio > 0:
        return []
    if roi.subtype == ROI_SUBTYPE.ELLIPSE:
        angles = np.linspace(0, 2 * np.pi, _VERTICES, endpoint=False)[:, None]
        offsets = np.cos(angles) * along + np.sin(angles) * across * ratio
    elif roi.subtype == ROI_SUBTYPE.ROTATED_RECT:
        corners = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        offsets = np.array([a * along + b * across * ratio / length for a, b in corners])
    else:
        return []
    return [(start + end) / 2 + offsets]
