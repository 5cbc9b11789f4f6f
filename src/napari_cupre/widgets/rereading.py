"""Carry an image's annotation over when its axes are read differently."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Labels, Shapes
from napari.viewer import Viewer

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.widgets.annotation_layers import Annotation
from napari_cupre.widgets.layers import from_layer, layer_axes, regions_of, to_layer

Place = tuple[int, ...]


def carry_over(
    viewer: Viewer, annotation: Annotation, old: CellImage, new: CellImage, on_show: PlaneIndex
) -> None:
    """Rebuild the layers that do not fit the new axes, with the annotation in them.

    Layers that fit stay as they are. If a plane cannot be carried over because another one has taken
    its place, the old layer stays in the viewer under another name.

    Parameters
    ----------
    viewer : Viewer
        The viewer that contains the layers.
    annotation : Annotation
        The annotation of the image; its layers are replaced.
    old, new : CellImage
        The image with its old and its new axes.
    on_show : dict
        The plane on show, by the new axes; annotation that had no plane goes there.
    """
    if old.plane_shape != new.plane_shape:
        for layer in list(annotation.layers()):
            _set_aside(viewer, layer, old.axes)
            annotation.drop(layer)
        return
    regions = _carried_regions(annotation, old, new, on_show)
    for role in ("cells", "background"):
        layer = getattr(annotation, role)
        if layer is None or layer.multiscale or from_layer(layer.data, new) is not None:
            continue
        labels = from_layer(layer.data, old)
        if labels is not None:
            make = annotation.new_cells if role == "cells" else annotation.new_background
            _exchange_labels(viewer, annotation, role, layer, make(new), (labels, old, new, on_show))
    if regions is not None and annotation.regions is not None:
        _exchange_regions(viewer, annotation, annotation.regions, regions, new)


def _exchange_labels(
    viewer: Viewer, annotation: Annotation, role: str, layer: Labels, fresh: Labels, how: tuple[Any, ...]
) -> None:
    labels, old, new, on_show = how
    target = np.zeros(new.result_shape, np.int32)
    is_whole = True
    for index in old.plane_indices():
        plane = np.asarray(labels[tuple(index.values())])
        if not plane.any():
            continue
        place = _new_place(index, old, new, on_show)
        if target[place].any():
            is_whole = False
        else:
            target[place] = plane
    fresh.data = to_layer(target, new)
    fresh.opacity, fresh.visible = layer.opacity, layer.visible
    name, was_active, mode = layer.name, viewer.layers.selection.active is layer, layer.mode
    viewer.add_layer(fresh)
    setattr(annotation, role, fresh)
    if is_whole:
        viewer.layers.remove(layer)
    else:
        _set_aside(viewer, layer, old.axes)
    fresh.name = name
    fresh.selected_label = layer.selected_label
    if was_active:
        viewer.layers.selection.active = fresh
        fresh.mode = mode


def _carried_regions(
    annotation: Annotation, old: CellImage, new: CellImage, on_show: PlaneIndex
) -> list[np.ndarray] | None:
    """Return the regions over the new result axes; None if they fit as they are."""
    shapes, cells = annotation.regions, annotation.cells
    same_axes = len(layer_axes(old)) == len(layer_axes(new))
    if shapes is None or cells is None or same_axes or from_layer(cells.data, old) is None:
        return None
    carried = []
    for region in regions_of(shapes, cells, old):
        index = dict(zip(old.result_axes[:-2], np.round(region[0, :-2]).astype(int)))
        place = _new_place(index, old, new, on_show)
        head = np.broadcast_to(np.array(place, float), (len(region), len(place)))
        carried.append(np.hstack([head, region[:, -2:]]))
    return carried


def _exchange_regions(
    viewer: Viewer, annotation: Annotation, shapes: Shapes, regions: list[np.ndarray], new: CellImage
) -> None:
    fresh = annotation.new_regions(new)
    axes = layer_axes(new)
    for region in regions:
        columns = dict(zip(new.result_axes, region.T)) | {"C": np.zeros(len(region))}
        fresh.add_polygons(np.stack([columns[axis] for axis in axes], axis=1))
    name = shapes.name
    viewer.add_layer(fresh)
    annotation.regions = fresh
    viewer.layers.remove(shapes)
    fresh.name = name


def _new_place(index: PlaneIndex, old: CellImage, new: CellImage, on_show: PlaneIndex) -> Place:
    """Return the new place of an old plane: dimensions that were planes before keep their position."""
    before = {old.axes.index(axis): position for axis, position in index.items()}
    return tuple(int(before.get(new.axes.index(axis), on_show[axis])) for axis in new.result_axes[:-2])


def _set_aside(viewer: Viewer, layer: Any, axes: str) -> None:
    layer.name = f"{layer.name} ({axes})"
    layer.visible = False
