"""Take over the content of a layer as the cells of an image, and changes that others make to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from napari.layers import Labels

from napari_cupre.data.image import CellImage
from napari_cupre.data.labels import as_labels, refuse_grey_values
from napari_cupre.errors import InputError
from napari_cupre.project.boxes import whole
from napari_cupre.project.cells import By, Cells, Change, State
from napari_cupre.project.edits import as_change
from napari_cupre.widgets.features import told_by
from napari_cupre.widgets.layers import METADATA_KEY, from_layer


def cells_in(layer: Labels, image: CellImage) -> Cells:
    """Return the cells of a layer, in the states given by its features.

    Raises
    ------
    InputError
        See `fitting_labels`.
    """
    labels = fitting_labels(layer, image)
    states, scores = told_by(layer.features)
    if not states and METADATA_KEY in layer.metadata:
        return Cells.of(labels, State.GUESS, scores=scores)
    return Cells.of(labels, states, scores=scores)


def fitting_labels(layer: Labels, image: CellImage) -> np.ndarray:
    """Return a layer's labels as int32 over the axes of an image's result, without a copy if possible.

    Raises
    ------
    InputError
        The labels do not fit the image, are negative or a picture, or the layer is a pyramid.
    """
    if layer.multiscale:
        raise InputError(
            f'"{layer.name}" is a pyramid, which napari cannot paint on: '
            "choose another layer or add a new one."
        )
    labels = from_layer(layer.data, image)
    if labels is None:
        raise InputError(
            f'The layer "{layer.name}" has shape {tuple(layer.data.shape)}, but the image "{image.name}" '
            f"needs {image.result_shape} ({image.result_axes}): choose another layer or add a new one."
        )
    labels = np.asarray(labels)
    if labels.dtype != np.int32 or not labels.flags.writeable or labels.min(initial=0) < 0:
        labels = np.array(as_labels(labels, layer.name), np.int32)
    for plane in labels.reshape(-1, *labels.shape[-2:]):
        if plane.any():
            refuse_grey_values(plane, layer.name)
    return labels


def exchanged(cells: Cells, labels: np.ndarray, verb: str = "Replace the labels") -> Change:
    """Return the change from cells to another tool's label image; changed cells become edited."""
    differs = labels != cells.labels
    touched = np.union1d(labels[differs], cells.labels[differs])
    states = {int(n): (State.EDITED, np.nan) for n in np.intersect1d(touched, labels) if n}
    return as_change(cells, verb, whole(cells.shape), labels, states, By.now())


def painted_pixels(item: Iterable[Any]) -> Iterator[tuple[tuple[np.ndarray, ...], Any]]:
    """Return the indices and old values from a `paint` event of any napari version."""
    for atom in item:
        if not hasattr(atom, "slice_key"):
            yield tuple(np.asarray(axis) for axis in atom[0]), atom[1]
            continue
        mask = np.ones(np.shape(atom.old_values), bool) if atom.mask is None else atom.mask
        starts = [part.start or 0 for part in atom.slice_key]
        where = tuple(axis + start for axis, start in zip(np.nonzero(mask), starts))
        yield where, np.asarray(atom.old_values).reshape(-1)
