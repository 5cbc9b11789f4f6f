"""The layers that annotate one image: cells, regions and background."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.widgets.layers import from_layer, layer_axes, regions_of, result_placement, to_layer
from napari_cupre.widgets.snapshot import Snapshot

CELLS, REGIONS, BACKGROUND = "cells", "regions", "background"
BACKGROUND_COLOR = "#3b6ea5"
REGION_COLOR = "#f5c542"


@dataclass(eq=False)
class Annotation:
    """The layers that belong to one image; None where there is none.

    Attributes
    ----------
    cells : one value per annotated cell, 0 elsewhere.
    regions : rectangles and polygons inside which every cell is marked.
    background : painted where there is surely no cell.
    """

    image: Image
    cells: Labels | None = None
    regions: Shapes | None = None
    background: Labels | None = None

    def new_cells(self, image: CellImage) -> Labels:
        return self._new_labels(CELLS, image, opacity=0.6)

    def new_background(self, image: CellImage) -> Labels:
        layer = self._new_labels(BACKGROUND, image, opacity=0.4)
        # one colour, so that it is never taken for a cell
        layer.colormap = {0: "transparent", 1: BACKGROUND_COLOR, None: BACKGROUND_COLOR}
        return layer

    def new_regions(self, image: CellImage) -> Shapes:
        placement = result_placement(self.image, image)
        return Shapes(
            ndim=len(layer_axes(image)),
            name=f"{self.image.name} {REGIONS}",
            **region_style(image),
            **placement,
        )

    def drop(self, layer: Layer) -> bool:
        """Forget a layer that was removed; whether it was one of these."""
        for role in (CELLS, REGIONS, BACKGROUND):
            if getattr(self, role) is layer:
                setattr(self, role, None)
                return True
        return False

    def snapshot(self, image: CellImage) -> Snapshot:
        """What the layers hold, in a form that a worker thread can read.

        Raises
        ------
        InputError
            If the layers do not fit the image, or a shape encloses nothing.
        """
        if self.cells is None:
            raise InputError(f'"{self.image.name}" has no layer of cells: press "New annotation layers".')
        return Snapshot(
            image=image,
            labels=_checked(self.cells, image),
            background=None if self.background is None else _checked(self.background, image),
            regions=() if self.regions is None else tuple(regions_of(self.regions, self.cells, image)),
        )

    def _new_labels(self, role: str, image: CellImage, opacity: float) -> Labels:
        zeros = to_layer(np.zeros(image.result_shape, dtype=np.int32), image)
        placement = result_placement(self.image, image)
        return Labels(zeros, name=f"{self.image.name} {role}", opacity=opacity, **placement)


def region_style(image: CellImage) -> dict[str, Any]:
    """Frames that are seen on a large image and hide nothing on a small one."""
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


def _checked(layer: Labels, image: CellImage) -> np.ndarray:
    data = layer.data[0] if layer.multiscale else layer.data
    fitting = from_layer(data, image)
    if fitting is None:
        raise InputError(
            f'The layer "{layer.name}" has shape {tuple(data.shape)}, but the image "{image.name}" needs '
            f"{image.result_shape} ({image.result_axes}): choose or make another layer."
        )
    return fitting
