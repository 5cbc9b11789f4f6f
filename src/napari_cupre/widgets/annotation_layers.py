"""The layers that annotate one image: cells, regions and background."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.project.cells import Cells
from napari_cupre.widgets.cells_layer import StoredCells
from napari_cupre.widgets.layers import layer_axes, result_placement, to_layer

if TYPE_CHECKING:
    from napari_cupre.widgets.keeping import Keeper

CELLS, REGIONS, BACKGROUND = "cells", "regions", "background"
BACKGROUND_COLOR = "#3b6ea5"
REGION_COLOR = "#f5c542"

MOST_PIXELS = 2**28
"""Planes of more px are annotated by fields: the labels of so many take 1 GB, and a copy to save as much."""


@dataclass(eq=False)
class Annotation:
    """The layers that belong to one image; None where there is none.

    Attributes
    ----------
    cells : Labels or None
        One value per annotated cell, 0 elsewhere.
    regions : Shapes or None
        Rectangles and polygons inside which every cell is marked.
    background : Labels or None
        Painted where there is surely no cell.
    is_chosen : bool
        A person chose the layer of cells, and no other one takes its place by its name.
    """

    image: Image
    cells: Labels | None = None
    regions: Shapes | None = None
    background: Labels | None = None
    is_chosen: bool = False

    def layers(self) -> Iterator[Layer]:
        """The layers that exist."""
        yield from (layer for layer in (self.cells, self.regions, self.background) if layer is not None)

    def new_cells(self, image: CellImage, labels: np.ndarray | None = None) -> Labels:
        """Make a layer for cells: an empty one, or one that shares the memory of some labels."""
        return self._new_labels(CELLS, image, opacity=0.7, labels=labels)

    def new_background(self, image: CellImage) -> Labels:
        """Make an empty layer for background."""
        layer = self._new_labels(BACKGROUND, image, opacity=0.4)
        # one colour, so that it is never taken for a cell
        layer.colormap = {0: "transparent", 1: BACKGROUND_COLOR, None: BACKGROUND_COLOR}
        return layer

    def new_regions(self, image: CellImage) -> Shapes:
        """Make an empty layer for regions."""
        placement = result_placement(self.image, image)
        return Shapes(
            ndim=len(layer_axes(image)),
            name=f"{self.image.name} {REGIONS}",
            **region_style(image),
            **placement,
        )

    def drop(self, layer: Layer) -> bool:
        """Forget a layer that was removed; returns whether it was one of these."""
        for role in (CELLS, REGIONS, BACKGROUND):
            if getattr(self, role) is layer:
                setattr(self, role, None)
                return True
        return False

    def _new_labels(
        self, role: str, image: CellImage, opacity: float, labels: np.ndarray | None = None
    ) -> Labels:
        labels = np.zeros(image.result_shape, np.int32) if labels is None else labels
        placement = result_placement(self.image, image)
        return Labels(to_layer(labels, image), name=f"{self.image.name} {role}", opacity=opacity, **placement)


def no_cells(name: str, image: CellImage) -> Cells:
    """The cells of an image that nobody has annotated yet.

    Raises
    ------
    InputError
        Its planes are too large for a layer of labels in memory.
    """
    height, width = image.plane_shape
    if height * width > MOST_PIXELS:
        raise InputError(
            f'"{name}" is too large to annotate as a whole: press + and choose "Fields of this slide".'
        )
    return Cells.empty(image.result_shape)


def kept_cells(keeper: Keeper, image: Image, reading: CellImage) -> StoredCells:
    """What is there of an image whose layer of cells left the window, saved or not; else no cells.

    Raises
    ------
    InputError
        Its cells cannot be read, or its planes are too large for a layer of labels.
    """
    project, stem, unsaved = keeper.project, keeper.stem_of(image), keeper.unsaved(image)
    if unsaved is not None and unsaved.cells.shape == reading.result_shape:
        return StoredCells(unsaved.cells, unsaved.entry)
    if project is not None and stem is not None and project.image(stem).shape == reading.result_shape:
        return StoredCells(project.cells(stem), project.image(stem))
    return StoredCells(no_cells(image.name, reading))


def region_style(image: CellImage) -> dict[str, Any]:
    """Frames that are visible on a large image and hide nothing on a small one."""
    width = max(1.0, max(image.plane_shape) / 300)
    return {"edge_color": REGION_COLOR, "face_color": "transparent", "edge_width": width}


def adopt(annotation: Annotation, layers: Iterable[Layer]) -> None:
    """Fill what is missing with layers of the names that `Annotation` gives, e.g. of sample data."""
    kinds = {CELLS: Labels, REGIONS: Shapes, BACKGROUND: Labels}
    for role, kind in kinds.items():
        if getattr(annotation, role) is None:
            name = f"{annotation.image.name} {role}"
            match = next((x for x in layers if isinstance(x, kind) and x.name == name), None)
            setattr(annotation, role, match)
