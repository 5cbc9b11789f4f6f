"""The layers that annotate one image: cells, regions and background."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError, InputError
from napari_cupre.project.cells import Cells
from napari_cupre.widgets.cells_layer import StoredCells
from napari_cupre.widgets.layers import layer_axes, result_placement, source_path, to_layer

if TYPE_CHECKING:
    from napari_cupre.widgets.keeping import Keeper
    from napari_cupre.widgets.session import Session

CELLS, REGIONS, BACKGROUND = "cells", "regions", "background"
BACKGROUND_COLOR = "#3b6ea5"
REGION_COLOR = "#f5c542"

MOST_PIXELS = 2**28
"""Larger planes (px) are annotated in fields: their labels take 1 GB, and the copy to save another 1 GB."""


@dataclass(eq=False)
class Annotation:
    """The layers that belong to one image; None where there is none.

    Attributes
    ----------
    cells : Labels or None
        One value for each annotated cell, 0 elsewhere.
    regions : Shapes or None
        Rectangles and polygons in which every cell is annotated.
    background : Labels or None
        Painted where there is certainly no cell.
    is_chosen : bool
        A person chose the layer of cells, so no other layer replaces it because of its name.
    """

    image: Image
    cells: Labels | None = None
    regions: Shapes | None = None
    background: Labels | None = None
    is_chosen: bool = False

    def layers(self) -> Iterator[Layer]:
        """Return the layers that exist."""
        yield from (layer for layer in (self.cells, self.regions, self.background) if layer is not None)

    def new_cells(self, image: CellImage, labels: np.ndarray | None = None) -> Labels:
        """Create a layer for cells: empty, or sharing the memory of given labels."""
        return self._new_labels(CELLS, image, opacity=0.7, labels=labels)

    def new_background(self, image: CellImage) -> Labels:
        """Create an empty layer for background."""
        layer = self._new_labels(BACKGROUND, image, opacity=0.4)
        # one colour, so that nobody mistakes it for a cell
        layer.colormap = {0: "transparent", 1: BACKGROUND_COLOR, None: BACKGROUND_COLOR}
        return layer

    def new_regions(self, image: CellImage) -> Shapes:
        """Create an empty layer for regions."""
        placement = result_placement(self.image, image)
        return Shapes(
            ndim=len(layer_axes(image)),
            name=f"{self.image.name} {REGIONS}",
            **region_style(image),
            **placement,
        )

    def drop(self, layer: Layer) -> bool:
        """Forget a removed layer; return whether it was one of these."""
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


def size_refusal(layer: Image, image: CellImage) -> str:
    """Return why the planes of an image are not annotated as a whole; "" if they can be."""
    height, width = image.plane_shape
    if height * width <= MOST_PIXELS:
        return ""
    way = 'press + and choose "Fields of this slide"'
    if source_path(layer) is None:
        way = f"save it as an OME-Zarr or a TIFF, open that, {way}"
    return f'"{layer.name}" is too large to annotate as a whole: {way}. Predict finds the cells of all of it.'


def refusal(session: Session, layer: Image | None) -> str:
    """Return why an image of the window cannot be annotated as a whole; "" if it can, or if there is none."""
    try:
        return "" if layer is None else size_refusal(layer, session.cell_image(layer))
    except CupreError:  # the image chooser tells that its axes are unknown
        return ""


def no_cells(layer: Image, image: CellImage) -> Cells:
    """Return the (empty) cells of an image that nobody has annotated yet.

    Raises
    ------
    InputError
        Its planes are too large for a layer of labels in memory.
    """
    if sentence := size_refusal(layer, image):
        raise InputError(sentence)
    return Cells.empty(image.result_shape)


def kept_cells(keeper: Keeper, image: Image, reading: CellImage) -> StoredCells:
    """Return the cells of an image whose layer left the window, saved or not; empty if there are none.

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
    return StoredCells(no_cells(image, reading))


def region_style(image: CellImage) -> dict[str, Any]:
    """Return a line width that is visible on a large image and hides nothing on a small one."""
    width = max(1.0, max(image.plane_shape) / 300)
    return {"edge_color": REGION_COLOR, "face_color": "transparent", "edge_width": width}


def adopt(annotation: Annotation, layers: Iterable[Layer]) -> None:
    """Adopt layers with the names that `Annotation` gives, e.g. from sample data, where some are missing."""
    kinds = {CELLS: Labels, REGIONS: Shapes, BACKGROUND: Labels}
    for role, kind in kinds.items():
        if getattr(annotation, role) is None:
            name = f"{annotation.image.name} {role}"
            match = next((x for x in layers if isinstance(x, kind) and x.name == name), None)
            setattr(annotation, role, match)
