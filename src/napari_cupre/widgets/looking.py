"""The view of the viewer: which cells are visible, and how to go to one of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import product
from typing import Any

import numpy as np
from napari.layers import Image
from napari.viewer import Viewer

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError, InputError
from napari_cupre.project.boxes import Box, clipped
from napari_cupre.project.cells import State
from napari_cupre.widgets.cells_layer import CellsLayer
from napari_cupre.widgets.layers import current_plane, in_units, visible_box
from napari_cupre.widgets.rubber import canvas_of
from napari_cupre.widgets.timers import single_timer

MARGIN = 0.025
"""Margin on each side, as a share of the image."""

SETTLED_MS = 100
"""After this time the docks have made room for new layers."""

LEAST_ZOOM = 1e-9
"""Any zoom below this one is taken for it, so that nothing is divided by 0."""

SMALLEST, COMFORTABLE = 24, 60
"""Going to a cell enlarges it to at least this many px on the canvas."""


def camera_of(viewer: Viewer) -> Any:
    """Return the camera; napari 0.9 moved it into the scene."""
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


def zoom_of(viewer: Viewer) -> float:
    """Return the canvas px per unit of the world, more than 0.

    napari sets 0 when it fits a view into a canvas without height, as in a window that is squeezed flat.
    """
    return max(float(camera_of(viewer).zoom), LEAST_ZOOM)


def check_flat(viewer: Viewer) -> None:
    """Raise if the viewer shows the image in 3D.

    Raises
    ------
    InputError
        The window shows it in 3-D.
    """
    if viewer.dims.ndisplay != 2:
        raise InputError("Cells are annotated on planes: switch the window to 2D (Ctrl-Y).")


def plane_on_show(viewer: Viewer, cells: CellsLayer) -> tuple[int, ...]:
    """Return the positions of the sliders on the axes in front of Y and X."""
    dims = viewer.dims
    index = current_plane(cells.image, cells.reading, dims.point, getattr(dims, "units", None))
    return tuple(index[axis] for axis in cells.reading.result_axes[:-2])


def view_of(viewer: Viewer, cells: CellsLayer) -> Box:
    """Return the visible box, over the axes of the cells."""
    plane = [(at, at + 1) for at in plane_on_show(viewer, cells)]
    low, high = np.asarray(cells.layer.corner_pixels, float)
    flat = [(low[cells.axes.index(axis)], high[cells.axes.index(axis)] + 1) for axis in "YX"]
    return clipped([*plane, *flat], cells.cells.shape)


def seen_box(viewer: Viewer, layer: Image, image: CellImage, largest: int) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right in px of an image's visible part, at most `largest` px on a side."""
    canvas, dims = canvas_of(viewer), viewer.dims
    if not layer.multiscale or canvas is None or dims.ndisplay != 2:
        return visible_box(layer, image, largest)
    camera = camera_of(viewer)
    half = np.array([canvas.height(), canvas.width()]) / zoom_of(viewer) / 2
    found = []
    for signs in product((-1, 1), repeat=2):
        corner = np.array(dims.point, float)
        corner[list(dims.displayed)] = np.asarray(camera.center[-2:]) + half * signs
        found.append(layer.world_to_data(in_units(corner, getattr(dims, "units", None), layer.units)))
    return visible_box(layer, image, largest, np.array([np.min(found, axis=0), np.max(found, axis=0)]))


def guesses_on_show(viewer: Viewer, cells: CellsLayer, *, whole_plane: bool = False) -> list[int]:
    """Return the visible guesses: on the current plane, with the centre on the canvas, and not hidden.

    Parameters
    ----------
    viewer : Viewer
        The viewer that shows the guesses.
    cells : CellsLayer
        The cells of an image in the viewer.
    whole_plane : bool, optional
        Include guesses outside the canvas.
    """
    view = view_of(viewer, cells)
    front, flat = view[:-2], view[-2:]
    found = []
    for number, cell in cells.cells:
        if cell.state is not State.GUESS or not cells.visible(number):
            continue
        if not all(start <= at < stop for (at, _), (start, stop) in zip(front, cell.box)):
            continue
        middle = [(start + stop - 1) / 2 for start, stop in cell.box[-2:]]
        if whole_plane or all(first <= at < last for at, (first, last) in zip(middle, flat)):
            found.append(number)
    return found


def go_to(viewer: Viewer, cells: CellsLayer, number: int) -> None:
    """Show a cell on one of its planes; in the middle of the canvas, unless all of it can be seen already.

    Raises
    ------
    InputError
        There is no such cell.
    """
    box = cells.cells.row(number).box
    middle = [(start + stop - 1) / 2 for start, stop in box]
    here = plane_on_show(viewer, cells)
    for axis, (at, (start, stop)) in enumerate(zip(here, box[:-2])):
        middle[axis] = at if start <= at < stop else round(middle[axis])
    world = cells.world(middle)
    for axis in range(cells.layer.ndim - 2):
        if cells.axes[axis] != "C":
            viewer.dims.set_point(axis + viewer.dims.ndim - cells.layer.ndim, world[axis])
    camera = camera_of(viewer)
    seen = view_of(viewer, cells)[-2:]
    if not all(first <= start and stop <= last for (start, stop), (first, last) in zip(box[-2:], seen)):
        camera.center = (*camera.center[:-2], *world[-2:])
    size = max(stop - start for start, stop in box[-2:]) * float(np.min(np.abs(cells.layer.scale[-2:])))
    if size * camera.zoom < SMALLEST:
        camera.zoom = COMFORTABLE / size


def lie_alike(first: Image, second: Image) -> bool:
    """Whether two images cover the same part of the world, so that a view of one is a view of the other."""
    return (
        first.data.shape == second.data.shape
        and tuple(map(str, first.units)) == tuple(map(str, second.units))
        and np.allclose(first.scale, second.scale, rtol=1e-3)
        and np.allclose(first.translate, second.translate, rtol=1e-3)
    )


def grid_of(viewer: Viewer) -> Any:
    """Return the grid of a viewer; napari 0.9 moved it to the canvas."""
    return viewer.canvas.grid if hasattr(viewer, "canvas") else viewer.grid


def is_seen(viewer: Viewer, image: Image) -> bool:
    """Whether an image is visible, and no other lies over it."""
    if not image.visible or grid_of(viewer).enabled:
        return image.visible
    images = [layer for layer in viewer.layers if isinstance(layer, Image)]
    above = images[images.index(image) + 1 :]
    return not any(each.visible and _is_opaque(each) and _overlap(each, image) for each in above)


def _is_opaque(layer: Image) -> bool:
    return layer.blending in ("opaque", "translucent", "translucent_no_depth") and layer.opacity == 1


def _overlap(first: Image, second: Image) -> bool:
    (low, high), (bottom, top) = first.extent.world[:, -2:], second.extent.world[:, -2:]
    return bool((low < top).all() and (bottom < high).all())


def in_other_units(layer: Image, image: CellImage) -> bool:
    """Whether napari cannot convert the units of a layer to those of an image: px and lengths."""
    return ("pixel" in str(layer.units[-2])) != ("Y" not in image.units or "pixel" in image.units["Y"])


def fit(viewer: Viewer, layer: Image, read: Callable[[Image], CellImage]) -> None:
    """Show a whole image, with a margin; napari's own reset of the view counts hidden layers too.

    The controls of the first layers shrink the canvas a moment later: the image is then fitted again, unless
    somebody has moved the view.

    Parameters
    ----------
    viewer : Viewer
        Shows the layer.
    layer : napari.layers.Image
        The layer of the image.
    read : Callable
        How its axes are read.
    """
    _fit(viewer, layer, read)
    canvas, camera = canvas_of(viewer), camera_of(viewer)
    if canvas is None:
        return
    size, view = canvas.size(), (camera.center, camera.zoom)

    def again() -> None:
        is_still_shown = layer in viewer.layers and layer.visible
        if is_still_shown and canvas.size() != size and (camera.center, camera.zoom) == view:
            _fit(viewer, layer, read)

    timer = single_timer(again, SETTLED_MS, parent=canvas)
    timer.timeout.connect(timer.deleteLater)
    timer.start()


def _fit(viewer: Viewer, layer: Image, read: Callable[[Image], CellImage]) -> None:
    viewer.reset_view()
    with suppress(CupreError):  # axes that nobody could guess
        image = read(layer)
        height, width = image.plane_shape
        rim_y, rim_x = round(MARGIN * height), round(MARGIN * width)
        show_field(viewer, layer, image, (-rim_y, -rim_x, height + rim_y, width + rim_x))


def show_field(viewer: Viewer, layer: Image, image: CellImage, field: tuple[int, int, int, int]) -> None:
    """Show a part of a plane as large as the canvas allows.

    Parameters
    ----------
    viewer, layer
        As in `fit`.
    image : CellImage
        How it is read.
    field : tuple of int
        Top, left, bottom, right in px.
    """
    axes = image.axes.replace("S", "")
    middle = np.zeros(layer.ndim)
    sides = {"Y": (field[0], field[2]), "X": (field[1], field[3])}
    for axis, (start, stop) in sides.items():
        middle[axes.index(axis)] = (start + stop - 1) / 2
    world = layer.data_to_world(middle)
    where = [world[axes.index(axis) - layer.ndim] for axis in "YX"]
    camera = camera_of(viewer)
    camera.center = (*camera.center[:-2], *where)
    canvas = canvas_of(viewer)
    if canvas is not None and canvas.height() and canvas.width():
        lengths = [
            (stop - start) * abs(float(layer.scale[axes.index(axis)]))
            for axis, (start, stop) in sides.items()
        ]
        camera.zoom = min(canvas.height() / lengths[0], canvas.width() / lengths[1])
