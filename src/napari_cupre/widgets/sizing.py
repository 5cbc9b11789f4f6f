"""The width of the cells of an image: known values, a circle on the image, the size of the brush."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from psygnal import Signal

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError
from napari_cupre.widgets.cell_width import CellWidth
from napari_cupre.widgets.looking import camera_of, zoom_of
from napari_cupre.widgets.rubber import Rubber, canvas_of
from napari_cupre.widgets.session_part import SessionPart

if TYPE_CHECKING:
    from napari_cupre.widgets.session import Session

BRUSH_SHARE = 2.5
"""Brush widths per cell width: small enough to follow the edge of a cell."""

MEASURED_CELLS = 3
GRIP = 8
"""Distance in px from the circle at which the mouse still grips it."""

SMALLEST, LARGEST = 2.0, 2000.0


class Sizes(SessionPart):
    """The diameter of the cells in each image of a viewer, in image px.

    A width set by the user applies to all images, until another project is opened. The width seen by a model
    and the width of annotated cells are known for each image separately.

    Attributes
    ----------
    width : CellWidth or None
        The width set by the user; None leaves it to the model.
    """

    changed = Signal()
    """Emitted when a diameter was set, or its estimate has changed."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.width: CellWidth | None = None
        self._seen: weakref.WeakKeyDictionary[Image, float] = weakref.WeakKeyDictionary()
        self._brushes: weakref.WeakKeyDictionary[Labels, int] = weakref.WeakKeyDictionary()
        self._circle: Circle | None = None
        session.viewer.layers.selection.events.active.connect(self._follow)
        session.keeper.opened.connect(lambda project: self.say(None, None))

    def said(self, image: Image | None) -> float | None:
        """Return the user's width in px of an image, or of the image it was set for; None if not set."""
        reading = self._reading(image)
        if self.width is None or reading is None:
            return None if self.width is None else self.width.px
        return float(np.clip(self.width.on(reading), SMALLEST, LARGEST))

    def say(self, image: Image | None, diameter: float | None) -> None:
        """Set the width of cells, in px of an image if there is one; None leaves it to the model."""
        if diameter == self.said(image):
            return
        reading = self._reading(image)
        if diameter is None:
            self.width = None
        else:
            px = float(np.clip(diameter, SMALLEST, LARGEST))
            self.width = CellWidth(px, None if reading is None else reading.pixel_size_um)
        self.changed.emit()

    def _reading(self, image: Image | None) -> CellImage | None:
        try:
            return None if image is None else self._session.cell_image(image)
        except CupreError:  # the axes are unknown
            return None

    def see(self, image: Image, diameter: float) -> None:
        """Note the width at which the model sees the cells of an image."""
        if self._seen.get(image) != diameter:
            self._seen[image] = diameter
            self.changed.emit()

    def forget(self, image: Image) -> None:
        """Forget the widths of a layer that now shows another image."""
        self._seen.pop(image, None)

    def best(self, image: Image | None) -> float | None:
        """Return the user's width, else that of annotated cells, else the model's; None if unknown."""
        if image is None:
            return None
        annotated = self._annotated(image)
        return self.said(image) or annotated or self._seen.get(image)

    def _annotated(self, image: Image) -> float | None:
        cells = self._session.cells_of(image)
        if cells is None:
            return None
        areas = [row.area for _, row in cells.cells if row.state.teaches]
        flat = len(cells.cells.shape) == 2
        if len(areas) < MEASURED_CELLS or not flat:
            return None
        return float(2 * np.sqrt(np.median(areas) / np.pi))

    # --- the circle -------------------------------------------------------------------------------

    @property
    def is_shown(self) -> bool:
        """Whether the circle is on the image."""
        return self._circle is not None

    def show_circle(self, image: Image) -> None:
        """Show a circle of the size of a cell in the middle of the view, for the user to drag."""
        self.hide_circle()
        canvas = canvas_of(self._session.viewer)
        if canvas is not None:
            self._circle = Circle(self, self._session, image, Rubber(canvas))
            self.changed.emit()

    def hide_circle(self) -> None:
        """Remove the circle."""
        if self._circle is not None:
            self._circle.close()
            self._circle = None
            self.changed.emit()

    # --- the brush --------------------------------------------------------------------------------

    def _follow(self, event: Any = None) -> None:
        layer = self._session.viewer.layers.selection.active
        if isinstance(layer, Labels) and layer not in self._brushes and self._image_of(layer) is not None:
            self._brushes[layer] = layer.brush_size
            layer.events.mode.connect(self._mode_changed)

    def _mode_changed(self, event: Any) -> None:
        layer = event.source
        if layer.mode == "paint":
            self.fit_brush(layer)

    def fit_brush(self, layer: Labels) -> None:
        """Set the brush to a size that fits the cells, unless the user chose another."""
        diameter = self.best(self._image_of(layer))
        if diameter is not None and layer.brush_size == self._brushes.get(layer):
            layer.brush_size = max(1, round(diameter / BRUSH_SHARE))
            self._brushes[layer] = layer.brush_size

    def _image_of(self, layer: Labels) -> Image | None:
        for image in self._session.images():
            cells = self._session.cells_of(image)
            if cells is not None and cells.layer is layer:
                return image
        return None


class Circle:
    """A circle over the canvas: dragging the rim sets the cell width, dragging inside moves it.

    Parameters
    ----------
    sizes : Sizes
        Receives the diameter.
    session : Session
        Of the viewer.
    image : Image
        The image whose cells are measured.
    rubber : Rubber
        Draws the circle.
    """

    def __init__(self, sizes: Sizes, session: Session, image: Image, rubber: Rubber) -> None:
        self._sizes, self._session, self._image, self._rubber = sizes, session, image, rubber
        viewer = session.viewer
        camera = camera_of(viewer)
        self._middle = tuple(camera.center[-2:])
        self._signals = (camera.events.center, camera.events.zoom, sizes.changed)
        for signal in self._signals:
            signal.connect(self.draw)
        viewer.mouse_drag_callbacks.insert(0, self._dragged)
        self.draw()

    @property
    def diameter(self) -> float:
        """The diameter in image px."""
        return self._sizes.best(self._image) or 30.0

    def draw(self, event: Any = None) -> None:
        """Draw the circle at its present position on the canvas."""
        self._rubber.show_circle(self._place(), 2 * self._radius())

    def close(self) -> None:
        """Remove the circle for good."""
        viewer = self._session.viewer
        for signal in self._signals:
            signal.disconnect(self.draw)
        if self._dragged in viewer.mouse_drag_callbacks:
            viewer.mouse_drag_callbacks.remove(self._dragged)
        self._rubber.hide_circle()
        self._rubber.setParent(None)
        self._rubber.deleteLater()

    def _scale(self) -> float:
        """Return the canvas px per image px."""
        return zoom_of(self._session.viewer) * abs(float(self._image.scale[-1]))

    def _radius(self) -> float:
        return self.diameter * self._scale() / 2

    def _place(self) -> tuple[float, float]:
        """Return the centre on the canvas, x and y; the camera looks at the middle of the canvas."""
        viewer, size = self._session.viewer, self._rubber.size()
        down, across = (np.asarray(self._middle) - camera_of(viewer).center[-2:]) * zoom_of(viewer)
        return size.width() / 2 + across, size.height() / 2 + down

    def _dragged(self, viewer: Any, event: Any) -> Iterator[None]:
        start = np.asarray(event.pos, float)[:2]
        away = float(np.hypot(*(start - self._place())))
        if event.button != 1 or away > self._radius() + GRIP:
            return
        is_rim = away > self._radius() - GRIP
        event.handled = True
        middle = self._middle
        yield
        while event.type == "mouse_move":
            self._pull(start, np.asarray(event.pos, float)[:2], middle, is_rim)
            event.handled = True
            yield
        self._pull(start, np.asarray(event.pos, float)[:2], middle, is_rim)

    def _pull(self, start: np.ndarray, at: np.ndarray, middle: tuple[float, ...], is_rim: bool) -> None:
        """Follow the mouse with the rim or with the whole circle."""
        if is_rim:
            away = float(np.hypot(*(at - self._place())))
            self._sizes.say(self._image, round(2 * away / self._scale(), 1))
        else:
            moved = (at - start)[::-1] / zoom_of(self._session.viewer)
            self._middle = tuple(np.asarray(middle) + moved)
            self.draw()
