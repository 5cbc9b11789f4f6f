"""From napari layers to the engine's plain values, and back.

Positions go through the layers' own transforms, so that a region drawn over an image of 0.3 µm pixels that
lies somewhere in the world ends at the right pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Shapes
from napari.utils.transforms import Affine

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.errors import InputError
from napari_cupre.io.images import read_image

ELLIPSE_CORNERS = 48
SAMPLE = 32  # rows and columns that tell one image from another


def cell_image(layer: Image, axes: str | None = None) -> CellImage:
    """The image of a layer; of a pyramid, the finest level.

    Parameters
    ----------
    axes : letters that the user gave; None takes the layer's own axis labels, or guesses.
    """
    return CellImage.from_layer_data(
        layer.data,
        rgb=layer.rgb,
        scale=layer.scale,
        translate=layer.translate,
        units=[str(unit) for unit in layer.units],
        axis_labels=layer.axis_labels,
        name=layer.name,
        axes=axes,
    )


def source_file(layer: Image, image: CellImage) -> Path | None:
    """The file of a lazy image, if what the layer shows is what that file holds; reads a few pixels.

    The engine then reads the file itself, by tile, and a damaged part of it costs that part alone.
    """
    source = layer.source.path
    if not image.is_lazy or source is None:
        return None
    path = Path(str(source))
    try:
        found = read_image(path, image.axes)
        is_same = (
            found.is_lazy
            and found.axes == image.axes
            and found.data.shape == image.data.shape
            and found.data.dtype == image.data.dtype
            and np.array_equal(_middle(found), _middle(image), equal_nan=True)
        )
    except Exception:
        # readers raise anything; the pixels that napari has are copied then
        return None
    return path if is_same else None


def _middle(image: CellImage) -> np.ndarray:
    """A few pixels of the plane in the middle."""
    sides = [SAMPLE if axis in "YX" else 1 for axis in image.axes]
    where = tuple(slice(size // 2, size // 2 + side) for size, side in zip(image.data.shape, sides))
    return np.asarray(image.data[where])


def result_placement(layer: Image, image: CellImage) -> dict[str, Any]:
    """Keyword arguments that put a layer of shape `image.result_shape` where the image lies."""
    kept = [image.axes.index(axis) for axis in image.result_axes]
    placement: dict[str, Any] = {
        "scale": [layer.scale[i] for i in kept],
        "translate": [layer.translate[i] for i in kept],
        "units": [layer.units[i] for i in kept],
        "axis_labels": [layer.axis_labels[i] for i in kept],
    }
    if len(kept) == layer.ndim:
        # with a channel axis dropped, what turns the layer would have to be cut as well
        placement |= {"rotate": layer.rotate, "shear": layer.shear, "affine": layer.affine}
    return placement


def crop_placement(layer: Image, image: CellImage, index: PlaneIndex, top: int, left: int) -> dict[str, Any]:
    """As `result_placement`, for a part of one plane whose first pixel is (top, left) there.

    The part is to have the image's number of dimensions, with length 1 along T and Z.
    """
    placement = result_placement(layer, image)
    offset = np.array([*index.values(), top, left], dtype=float)
    moving = {key: placement[key] for key in ("scale", "translate", "rotate", "shear") if key in placement}
    placement["translate"] = np.asarray(Affine(ndim=len(offset), **moving)(offset))
    return placement


def regions_of(shapes: Shapes, labels: Labels) -> list[np.ndarray]:
    """Closed shapes of a layer as polygons in pixel coordinates of `labels`.

    Returns
    -------
    float (n, d) each, d being the dimensions of `labels`, or 2 for shapes that were drawn flat over a stack.

    Raises
    ------
    InputError
        If a shape encloses no area (a line or an open path).
    """
    regions = []
    for vertices, kind in zip(shapes.data, shapes.shape_type):
        if kind in ("line", "path"):
            raise InputError(
                f'The layer "{shapes.name}" holds a {kind}, which encloses nothing: '
                "draw rectangles or polygons around the parts where every cell is marked."
            )
        corners = _ellipse(vertices) if kind == "ellipse" else np.asarray(vertices, dtype=float)
        pixels = np.array([_to_pixels(corner, shapes, labels) for corner in corners])
        regions.append(pixels[:, -min(shapes.ndim, labels.ndim) :])
    return regions


def _to_pixels(point: np.ndarray, source: Shapes, target: Labels) -> np.ndarray:
    world = np.asarray(source.data_to_world(point), dtype=float)
    padded = np.zeros(target.ndim)
    count = min(len(world), target.ndim)
    padded[target.ndim - count :] = world[len(world) - count :]
    return np.asarray(target.world_to_data(padded), dtype=float)


def _ellipse(corners: np.ndarray) -> np.ndarray:
    """napari keeps an ellipse as the four corners of its box."""
    first, second, _, fourth = np.asarray(corners, dtype=float)
    centre = (second + fourth) / 2
    angle = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)[:, None]
    return centre + np.cos(angle) * (second - first) / 2 + np.sin(angle) * (fourth - first) / 2


def current_plane(image: CellImage, step: Sequence[int]) -> PlaneIndex:
    """The plane of `image` that the viewer shows.

    Parameters
    ----------
    step : `viewer.dims.current_step`; dimensions align at the last.
    """
    position = dict(zip(reversed(image.axes.replace("S", "")), reversed(list(step))))
    return {
        axis: int(np.clip(position.get(axis, 0), 0, image.sizes[axis] - 1)) for axis in image.result_axes[:-2]
    }


def visible_box(layer: Image, image: CellImage, largest: int) -> tuple[int, int, int, int]:
    """Top, left, bottom and right in px of what the canvas shows, at most `largest` px on a side."""
    height, width = image.plane_shape
    corners = np.asarray(layer.corner_pixels)
    rows, columns = image.axes.index("Y"), image.axes.index("X")
    if layer.multiscale:
        # corner_pixels counts in the level on show
        shape = layer.level_shapes[layer.data_level]
        corners = corners * np.array([image.data.shape[i] / shape[i] for i in range(corners.shape[1])])
    top, bottom = _span(corners[:, rows], height, largest)
    left, right = _span(corners[:, columns], width, largest)
    return top, left, bottom, right


def _span(ends: np.ndarray, size: int, largest: int) -> tuple[int, int]:
    start, stop = max(0, int(ends[0])), min(size, int(np.ceil(ends[1])))
    if stop <= start:  # the layer is out of sight
        start, stop = 0, size
    if stop - start > largest:
        start += (stop - start - largest) // 2
        stop = start + largest
    return start, stop
