"""The layers that annotate one image: cells, regions and background."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.widgets.guesses import Guesses, result_prints
from napari_cupre.widgets.layers import (
    METADATA_KEY,
    from_layer,
    layer_axes,
    regions_of,
    result_placement,
    to_layer,
)
from napari_cupre.widgets.snapshot import Snapshot

CELLS, REGIONS, BACKGROUND = "cells", "regions", "background"
BACKGROUND_COLOR = "#3b6ea5"
REGION_COLOR = "#f5c542"


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
    found : Collection[Labels]
        Layers of what models found in the image.
    is_chosen : bool
        A person chose the layer of cells, and no other one takes its place by its name.
    refused : set[tuple[int, ...]]
        Planes, with a last -1, where a person said that all likely cells are none.
    """

    image: Image
    cells: Labels | None = None
    regions: Shapes | None = None
    background: Labels | None = None
    found: Collection[Labels] = ()
    is_chosen: bool = False
    refused: set[tuple[int, ...]] = field(default_factory=set)

    def layers(self) -> Iterator[Layer]:
        """The layers that there are."""
        yield from (layer for layer in (self.cells, self.regions, self.background) if layer is not None)

    def result_layers(self) -> list[Labels]:
        """Layers of what models found in the image, in a lasting order; slides are left out."""
        found = [layer for layer in self.found if not layer.multiscale and METADATA_KEY in layer.metadata]
        return sorted(found, key=id)

    def new_cells(self, image: CellImage, labels: np.ndarray | None = None) -> Labels:
        """Make a layer for cells: an empty one, or one that shows the memory of some labels."""
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
        labels = _checked(self.cells, image)
        is_result = any(layer is self.cells for layer in self.result_layers())
        return Snapshot(
            image=image,
            # of what a model found, only what a person vouched for is annotation
            labels=np.broadcast_to(np.int32(0), image.result_shape) if is_result else labels,
            background=None if self.background is None else _checked(self.background, image),
            regions=() if self.regions is None else tuple(regions_of(self.regions, self.cells, image)),
            guesses=tuple(guesses for _, guesses in self.guesses(image)),
            refused=frozenset(self.refused),
        )

    def guesses(self, image: CellImage) -> list[tuple[Labels, Guesses]]:
        """What models found in the image, with the layers of it; those that do not fit it are left out."""
        found = []
        for layer in self.result_layers():
            labels = from_layer(layer.data, image)
            if labels is None:
                continue
            kept = layer.metadata[METADATA_KEY]
            prints = result_prints(kept, image.result_axes[:-2])
            refused = frozenset(kept.get("refused", ()))
            found.append((layer, Guesses(labels, prints, layer is self.cells, refused)))
        return found

    def _new_labels(
        self, role: str, image: CellImage, opacity: float, labels: np.ndarray | None = None
    ) -> Labels:
        labels = np.zeros(image.result_shape, np.int32) if labels is None else labels
        placement = result_placement(self.image, image)
        return Labels(to_layer(labels, image), name=f"{self.image.name} {role}", opacity=opacity, **placement)


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
            f"{image.result_shape} ({image.result_axes}): choose another layer or add a new one."
        )
    return fitting
