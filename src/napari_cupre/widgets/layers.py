"""Convert napari layers to the engine's plain values, and back.

Positions go through the layers' own transforms, so that a region drawn over an image of 0.3 µm pixels that
lies somewhere in the world ends at the right pixels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Shapes
from napari.utils.transforms import Affine

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.errors import InputError

METADATA_KEY = "napari-cupre"
"""Key in `layer.metadata` under which layers keep our data."""

CHANNELS_KEY = "channel_names"
"""Key in `layer.metadata` for the names of the channels of an image of several."""

ELLIPSE_CORNERS = 48
SAMPLE = 32  # number of rows and columns that tell one image from another


def cell_image(layer: Image, axes: str | None = None) -> CellImage:
    """Return the image of a layer; for a pyramid, its finest level.

    Parameters
    ----------
    axes : str or None, optional
        Letters given by the user; None takes the layer's own axis labels, or guesses them.
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


def source_path(layer: Image) -> Path | None:
    """Return the file or folder that napari read a layer from, if it still exists."""
    source = layer.source.path
    path = None if source is None else Path(str(source))
    return path if path is not None and path.exists() else None


def source_file(path: Path | None, image: CellImage) -> Path | None:
    """Return the file of a lazy image, if its pixels are those of the layer; reads a few pixels.

    The engine then reads the file itself, tile by tile, so damage costs only the damaged part. Opening the
    file can take long, so do not call this in the GUI thread.
    """
    from napari_cupre.io.images import read_image

    if not image.is_lazy or path is None:
        return None
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
        # readers raise anything; napari's pixels are copied instead
        return None
    return path if is_same else None


def _middle(image: CellImage) -> np.ndarray:
    """Return a few pixels of the middle plane."""
    sides = [SAMPLE if axis in "YX" else 1 for axis in image.axes]
    where = tuple(slice(size // 2, size // 2 + side) for size, side in zip(image.data.shape, sides))
    return np.asarray(image.data[where])


def layer_axes(image: CellImage) -> str:
    """Return the axes of an image's Labels and Shapes layers: the image's own, so that they share sliders.

    Colours are dropped. Channels in front are dropped too, because napari aligns layers at their last axis.
    Channels further back stay as one pixel that spans them all.
    """
    return image.axes.replace("S", "").removeprefix("C")


def to_layer(labels: np.ndarray, image: CellImage) -> np.ndarray:
    """Return a view of labels over `image.result_axes` with the axes of a layer."""
    axes = layer_axes(image)
    view = labels.transpose([image.result_axes.index(axis) for axis in axes if axis != "C"])
    return np.expand_dims(view, axes.index("C")) if "C" in axes else view


def from_layer(data: Any, image: CellImage) -> Any:
    """Return a view of a layer's data with the axes `image.result_axes`; None if they do not fit.

    Labels that were made elsewhere may have those axes themselves.
    """
    axes = layer_axes(image)
    shape = tuple(data.shape)
    if shape == tuple(1 if axis == "C" else image.sizes[axis] for axis in axes):
        if "C" in axes:
            data = data[(slice(None),) * axes.index("C") + (0,)]
        kept = axes.replace("C", "")
        return (
            data if kept == image.result_axes else data.transpose([kept.index(x) for x in image.result_axes])
        )
    return data if shape == image.result_shape else None


def result_placement(layer: Image, image: CellImage, axes: str | None = None) -> dict[str, Any]:
    """Return keyword arguments that place a layer on the image.

    Parameters
    ----------
    axes : str or None, optional
        Axes of the new layer; None for `layer_axes`.

    Raises
    ------
    InputError
        If the image's transform mixes a channel axis that has to be dropped with the others.
    """
    axes = layer_axes(image) if axes is None else axes
    letters = image.axes.replace("S", "")
    kept = [letters.index(axis) for axis in axes]
    physical = Affine(scale=layer.scale, rotate=layer.rotate, shear=layer.shear, translate=layer.translate)
    translate, scale = np.array(layer.translate, float), np.array(layer.scale, float)
    if "C" in axes:
        channel, count = letters.index("C"), image.sizes["C"]
        # one pixel over all channels, its centre in their middle
        translate += physical.linear_matrix[:, channel] * (count - 1) / 2
        scale[channel] *= count
    placement: dict[str, Any] = {
        "scale": scale[kept],
        "translate": translate[kept],
        "units": [layer.units[i] for i in kept],
        "axis_labels": [layer.axis_labels[i] for i in kept],
    }
    affine = np.asarray(layer.affine)
    shear = _shear_matrix(layer)
    if _are_apart(kept, layer.rotate, shear, affine[:-1, :-1]):
        turns = {"rotate": np.asarray(layer.rotate)[np.ix_(kept, kept)], "shear": shear[np.ix_(kept, kept)]}
        return placement | turns | {"affine": _part_of(affine, kept)}
    whole = (
        affine
        @ Affine(scale=scale, rotate=layer.rotate, shear=layer.shear, translate=translate).affine_matrix
    )
    if not _are_apart(kept, whole[:-1, :-1]):
        raise InputError(
            f'The layer "{layer.name}" is rotated or sheared so that its channels do not overlap: '
            "split its channels into layers, or reset its transform."
        )
    ones, zeros = np.ones(len(kept)), np.zeros(len(kept))
    return placement | {"scale": ones, "translate": zeros, "affine": _part_of(whole, kept)}


def _shear_matrix(layer: Image) -> np.ndarray:
    """Return the shear as a matrix; napari gives upper triangular shear as a vector."""
    shear = np.asarray(layer.shear, float)
    if shear.ndim == 2:
        return shear
    matrix = np.eye(layer.ndim)
    matrix[np.triu_indices(layer.ndim, k=1)] = shear
    return matrix


def _are_apart(kept: Sequence[int], *matrices: Any) -> bool:
    """Whether none of the linear maps mixes the kept axes with the others."""
    for matrix in map(np.asarray, matrices):
        others = [i for i in range(len(matrix)) if i not in kept]
        mixed = [matrix[np.ix_(kept, others)], matrix[np.ix_(others, kept)]]
        if not all(np.allclose(part, 0, atol=1e-9) for part in mixed):
            return False
    return True


def _part_of(affine: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """Return the affine matrix of some of the axes."""
    rows = [*kept, len(affine) - 1]
    return affine[np.ix_(rows, rows)]


def crop_placement(layer: Image, image: CellImage, index: PlaneIndex, top: int, left: int) -> dict[str, Any]:
    """Like `result_placement`, for a part of one plane whose first pixel is (top, left).

    The part must have the axes of `layer_axes`, with length 1 along all but Y and X.
    """
    placement = result_placement(layer, image)
    first = dict(index) | {"C": 0, "Y": top, "X": left}
    offset = np.array([first[axis] for axis in layer_axes(image)], dtype=float)
    moving = {key: placement[key] for key in ("scale", "translate", "rotate", "shear") if key in placement}
    placement["translate"] = np.asarray(Affine(ndim=len(offset), **moving)(offset))
    return placement


def regions_of(shapes: Shapes, labels: Labels, image: CellImage | None = None) -> list[np.ndarray]:
    """Return the closed shapes of a layer as polygons in pixel coordinates of `labels`.

    Parameters
    ----------
    image : CellImage or None, optional
        The image whose axes `labels` has; None takes the axes as they are.

    Returns
    -------
    list of numpy.ndarray
        float (n, d) each; d is the number of result dimensions of the image, or 2 for shapes drawn flat
        over a stack.

    Raises
    ------
    InputError
        If a shape encloses no area (a line or an open path).
    """
    regions = []
    for vertices, kind in zip(shapes.data, shapes.shape_type):
        if kind in ("line", "path"):
            raise InputError(
                f'The layer "{shapes.name}" contains a {kind}, which encloses nothing: '
                "draw rectangles or polygons in which every cell is annotated."
            )
        corners = _ellipse(vertices) if kind == "ellipse" else np.asarray(vertices, dtype=float)
        pixels = np.array([_to_pixels(corner, shapes, labels) for corner in corners])
        if shapes.ndim < labels.ndim:
            regions.append(pixels[:, -2:])
        else:
            regions.append(pixels if image is None else pixels[:, _result_columns(image, labels)])
    return regions


def _result_columns(image: CellImage, labels: Labels) -> list[int]:
    axes = layer_axes(image) if labels.ndim == len(layer_axes(image)) else image.result_axes
    return [axes.index(axis) for axis in image.result_axes]


def _to_pixels(point: np.ndarray, source: Shapes, target: Labels) -> np.ndarray:
    world = np.asarray(source.data_to_world(point), dtype=float)
    padded = np.zeros(target.ndim)
    count = min(len(world), target.ndim)
    padded[target.ndim - count :] = world[len(world) - count :]
    return np.asarray(target.world_to_data(in_units(padded, source.units, target.units)), dtype=float)


def in_units(point: Any, units: Any, wanted: Any) -> np.ndarray:
    """Convert a world point to other units; the last axes are aligned, and inconvertible units stay."""
    values = np.array(point, dtype=float)
    pairs = list(zip(reversed(list(units or ())), reversed(list(wanted))))
    for back, (unit, other) in enumerate(pairs[: len(values)], start=1):
        if unit != other:
            # pixels and lengths do not convert; napari also uses the bare numbers
            with contextlib.suppress(Exception):
                values[-back] *= (1 * unit).to(other).magnitude
    return values


def _ellipse(corners: np.ndarray) -> np.ndarray:
    """Return an ellipse as a polygon; napari stores the four corners of its box."""
    first, second, _, fourth = np.asarray(corners, dtype=float)
    centre = (second + fourth) / 2
    angle = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)[:, None]
    return centre + np.cos(angle) * (second - first) / 2 + np.sin(angle) * (fourth - first) / 2


def current_plane(layer: Image, image: CellImage, point: Sequence[float], units: Any = None) -> PlaneIndex:
    """Return the plane of an image that the viewer shows, or the nearest one if it shows none.

    Parameters
    ----------
    point, units : Sequence[float], Any
        `viewer.dims.point` and its units. Sliders use world coordinates, in which every layer has its own
        step and origin, so the layer converts the point.
    """
    place = np.asarray(layer.world_to_data(in_units(point, units, layer.units)), dtype=float)
    position = dict(zip(reversed(image.axes.replace("S", "")), reversed(list(np.round(place)))))
    return {axis: int(np.clip(position[axis], 0, image.sizes[axis] - 1)) for axis in image.result_axes[:-2]}


def visible_box(
    layer: Image, image: CellImage, largest: int, corners: np.ndarray | None = None
) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right in px of the visible part, at most `largest` px on a side.

    Parameters
    ----------
    corners : numpy.ndarray or None, optional
        (2, d), first and last visible px; None takes those of the layer, which reads a pyramid by
        whole chunks.
    """
    height, width = image.plane_shape
    rows, columns = image.axes.index("Y"), image.axes.index("X")
    if corners is None:
        corners = np.asarray(layer.corner_pixels)
        if layer.multiscale:
            # corner_pixels refers to the level on show
            shape = layer.level_shapes[layer.data_level]
            corners = corners * np.array([image.data.shape[i] / shape[i] for i in range(corners.shape[1])])
    top, bottom = _span(corners[:, rows], height, largest)
    left, right = _span(corners[:, columns], width, largest)
    return top, left, bottom, right


def _span(ends: np.ndarray, size: int, largest: int) -> tuple[int, int]:
    start, stop = max(0, int(ends[0])), min(size, int(np.ceil(ends[1])))
    if stop <= start:  # the layer is outside the view
        start, stop = 0, size
    if stop - start > largest:
        start += (stop - start - largest) // 2
        stop = start + largest
    return start, stop
