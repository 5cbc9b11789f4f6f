"""Write cells as ImageJ ROIs, one per cell and plane, in a zip that Fiji's ROI Manager opens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.data.image import PlaneIndex
from napari_cupre.io.files import atomic_write
from napari_cupre.io.writers.formats import register_format
from napari_cupre.io.writers.outlines import Part, trace
from napari_cupre.io.writers.output_cells import OutputCells, PlaneCells

if TYPE_CHECKING:
    from roifile import ImagejRoi

# Operations of ImageJ's path form (ij.gui.ShapeRoi, as of java.awt.geom.PathIterator).
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0
_LARGEST_SHORT = 32767
"""Largest whole coordinate, since ImageJ stores 16 bits; larger ones are written as floats."""

_UNSAFE = re.compile(r"[^\w .+()-]+")


@register_format("roi", "_rois.zip", "ImageJ/Fiji regions of interest")
def write_rois(cells: OutputCells, path: Path) -> None:
    """Write a zip of ROIs named by the cells' labels, on their slice and frame.

    A cell of one piece without holes is a traced polygon. A cell with holes or of several pieces is a
    composite ROI, so that every ROI covers exactly the cell's pixels. Label, score and class are
    in each ROI's properties. Where there are several classes, an ROI's name ends with its class, and
    its group, by which ImageJ colours and selects, is the number of the class.

    Raises
    ------
    EnvironmentFault
        Full or read-only disk.
    """
    from roifile import roiwrite

    rois = [roi for plane in cells.planes for roi in _plane_rois(cells, plane)]
    with atomic_write(path) as temporary:
        roiwrite(temporary, rois, mode="w")


def _plane_rois(cells: OutputCells, plane: PlaneCells) -> list[ImagejRoi]:
    outlines = trace(plane.labels)
    prefix = "".join(f"{axis.lower()}{position + 1:04d}-" for axis, position in plane.index.items())
    rois = []
    for label, score, category in zip(plane.ids.tolist(), plane.scores, plane.classes):
        roi = _roi(outlines[label])
        # A class's name comes from whoever trained the model; here it becomes a file's name and a property.
        class_name = _UNSAFE.sub("_", cells.class_name(category))
        roi.name = f"{prefix}{label:04d}"
        if len(cells.class_names) > 1:
            roi.name += f"-{class_name}"
            roi.group = category
        roi.props = f"label: {label}\nclass: {class_name}\n"
        if score is not None:
            roi.props += f"score: {score:.4f}\n"
        _place(roi, plane.index, cells.image is not None and cells.image.channel_count > 1)
        rois.append(roi)
    return rois


def _roi(parts: Sequence[Part]) -> ImagejRoi:
    from roifile import ROI_TYPE, ImagejRoi

    if len(parts) > 1 or parts[0].holes:
        return _composite(parts)
    outline = parts[0].exterior
    roi = ImagejRoi.frompoints(outline if outline.max() <= _LARGEST_SHORT else outline.astype(float))
    roi.roitype = ROI_TYPE.TRACED
    return roi


def _composite(parts: Sequence[Part]) -> ImagejRoi:
    from roifile import ROI_TYPE, ImagejRoi

    rings = [ring for part in parts for ring in (part.exterior, *part.holes)]
    corners = np.concatenate(rings)
    roi = ImagejRoi()
    roi.roitype = ROI_TYPE.RECT  # what ImageJ calls the box of a composite ROI
    roi.left, roi.top = (int(side) for side in corners.min(axis=0))
    roi.right, roi.bottom = (int(side) for side in corners.max(axis=0))
    roi.multi_coordinates = np.array([number for ring in rings for number in _path(ring)], np.float32)
    roi.shape_roi_size = len(roi.multi_coordinates)
    return roi


def _path(ring: np.ndarray) -> list[float]:
    operations = [_MOVE] + [_LINE] * (len(ring) - 1)
    steps = [float(n) for operation, (x, y) in zip(operations, ring) for n in (operation, x, y)]
    return [*steps, _CLOSE]


def _place(roi: ImagejRoi, index: PlaneIndex, channels: bool) -> None:
    """Set slice and frame, counted from 1; 0 stands for all."""
    if len(index) == 1 and not channels:
        roi.position = next(iter(index.values())) + 1
    elif index:
        # In a hyperstack ImageJ looks only at channel, slice and frame.
        roi.z_position, roi.t_position = index.get("Z", 0) + 1, index.get("T", 0) + 1
