"""Keep a Shapes layer in step with the regions of the cells, in which every cell is annotated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_cupre.errors import InputError
from napari_cupre.project.cells import Change, Region
from napari_cupre.widgets.layers import in_units, layer_axes, regions_of
from napari_cupre.widgets.timers import single_timer

if TYPE_CHECKING:
    from napari_cupre.widgets.cells_layer import CellsLayer

PAUSE_MS = 200
DECIMALS = 4
"""Decimals to keep: positions go through two transforms and back."""


class RegionsLayer:
    """Takes regions from a Shapes layer, and updates the layer after undo.

    Parameters
    ----------
    cells : CellsLayer
        The cells with their regions.
    shapes : Shapes
        The layer that shows the regions.

    Attributes
    ----------
    fault : str
        Why a shape is not a region; "" if all shapes are.
    """

    def __init__(self, cells: CellsLayer, shapes: Shapes) -> None:
        self._cells, self.shapes = cells, shapes
        self.fault = ""
        self._is_dirty = len(shapes.data) > 0
        self._is_showing = False
        self._timer = single_timer(self._pause, PAUSE_MS)
        shapes.events.data.connect(self._edited)
        if cells.cells.regions and not self._is_dirty:
            self.show()
        self.take_up()

    def release(self) -> None:
        """Leave the layer to napari again."""
        self._timer.stop()
        self.shapes.events.data.disconnect(self._edited)

    def _edited(self, event: Any = None) -> None:
        if not self._is_showing:
            self._is_dirty = True
            self._timer.start()

    def _pause(self) -> None:
        """Take up a shape when the mouse button is released, so that one drag is one undo step."""
        held = QApplication.mouseButtons() != Qt.MouseButton.NoButton
        if held or getattr(self.shapes, "_is_creating", False):
            self._timer.start()
        else:
            self.take_up()

    def take_up(self) -> None:
        """Update the regions from the shapes."""
        is_flat = self.shapes.ndim < self._cells.layer.ndim and len(self.shapes.data) > 0
        if not (self._is_dirty or is_flat):
            return
        self._is_dirty = False
        before = self._cells.cells.regions
        try:
            regions = tuple(self._regions())
            self.fault = ""
        except InputError as error:
            self.fault = str(error)
            self._cells.changed.emit(Change("Draw a region"))
            return
        if regions != before:
            verb = "Mark a region as complete" if len(regions) > len(before) else "Change the regions"
            self._cells.made(Change(verb, regions=(before, regions)))

    def _regions(self) -> list[Region]:
        image = self._cells.reading
        missing = len(image.result_axes) - 2
        found: list[Region] = []
        for corners in regions_of(self.shapes, self._cells.layer, image):
            if corners.shape[1] < missing + 2:  # drawn flat over a stack: it applies to planes with cells
                places = self._cells.annotated_planes()
                found += [
                    tuple((*map(float, at), *map(float, corner)) for corner in corners) for at in places
                ]
            else:
                found.append(tuple(tuple(round(float(x), DECIMALS) for x in corner) for corner in corners))
        return found

    def differ(self) -> bool:
        """Whether the shapes differ from the regions."""
        try:
            return tuple(self._regions()) != self._cells.cells.regions
        except InputError:
            return True

    def show(self) -> None:
        """Draw the present regions."""
        self._is_dirty, self.fault = False, ""
        self._is_showing = True
        try:
            shapes = self.shapes
            shapes.data = []
            for region in self._cells.cells.regions:
                shapes.add_polygons(self._in_shapes(np.array(region)))
        finally:
            self._is_showing = False

    def _in_shapes(self, region: np.ndarray) -> np.ndarray:
        cells, shapes = self._cells, self.shapes
        if shapes.ndim == len(layer_axes(cells.reading)) == cells.layer.ndim and np.allclose(
            shapes.data_to_world(np.ones(shapes.ndim)), cells.layer.data_to_world(np.ones(shapes.ndim))
        ):
            columns = dict(zip(cells.reading.result_axes, region.T)) | {"C": np.zeros(len(region))}
            return np.stack([columns[axis] for axis in cells.axes], axis=1)
        world = [in_units(cells.world(corner), cells.layer.units, shapes.units) for corner in region]
        return np.array([shapes.world_to_data(point) for point in world])
