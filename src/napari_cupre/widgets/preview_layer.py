"""A Labels layer that shows what the model in training finds in the current view."""

from __future__ import annotations

import time

import numpy as np
from napari.layers import Image, Labels

from napari_cupre.errors import CupreError
from napari_cupre.widgets.layers import crop_placement, layer_axes
from napari_cupre.widgets.looking import seen_box
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.session_part import SessionPart
from napari_cupre.widgets.training import View

LAYER_NAME = "cupre preview"
OUTLINE = 2  # px; filled, they could not be told from the annotated cells below
LARGEST_VIEW = 512  # px on a side, so that a preview does not delay the training
REST_S = 4.0  # pause between a preview and the next request


class PreviewLayer(SessionPart):
    """Asks for previews of the current view while it is switched on, and shows them."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._shown_at = 0.0
        self._is_waiting = False
        self.is_on = False

    def ask(self) -> None:
        """Request a preview of the present view, unless one was shown a moment ago."""
        if time.monotonic() - self._shown_at < REST_S:
            return
        view = self._view()
        if view is not None:
            self._session.training.look_at(view)

    def prepare(self) -> None:
        """Add the empty layer when the button is pressed, so that no later stroke waits for napari.

        It is hidden until there is something to see, and drawn only then.
        """
        view = self._view() if self._find() is None else None
        if view is not None:
            top, left, bottom, right = view.box
            self._is_waiting = True
            self._put(view, np.zeros((bottom - top, right - left), np.int32))

    def show(self, view: View, labels: np.ndarray) -> None:
        """Place a preview on its view; do nothing if the image is gone."""
        self._shown_at, is_first, self._is_waiting = time.monotonic(), self._is_waiting, False
        if view.image.name != getattr(self._session.image, "name", None):
            self._is_waiting = is_first
            return  # of the image before
        self._put(view, labels)
        layer = self._find() if is_first else None
        if layer is not None:
            layer.visible = True

    def follow(self, image: Image | None) -> None:
        """Show nothing of the image before: hide the layer until the next preview, or remove it."""
        layer = self._find()
        if layer is not None and not self._session.training.status.is_active:
            self.remove()
        elif layer is not None:
            layer.visible, self._is_waiting = False, True
            self._shown_at = 0.0  # the new image need not wait
            self.ask()

    def _view(self) -> View | None:
        """Return the current view; None if the preview is off or impossible here."""
        image = self._session.image
        if not self.is_on or image is None:
            return None
        try:
            cell = self._session.cell_image(image)
        except CupreError:  # the image chooser reports this
            return None
        index = self._session.plane_on_show(image)
        return View(cell, index, seen_box(self._session.viewer, image, cell, LARGEST_VIEW))

    def _put(self, view: View, labels: np.ndarray) -> None:
        source = next((x for x in self._session.images() if x.name == view.image.name), None)
        if not self.is_on or source is None:
            return
        data = labels.reshape((1,) * len(view.index) + labels.shape)
        data = data.reshape(
            [dict(zip(view.image.result_axes, data.shape)).get(x, 1) for x in layer_axes(view.image)]
        )
        top, left = view.box[:2]
        placement = crop_placement(source, view.image, view.index, top, left)
        layer = self._find()
        if layer is not None and layer.ndim == data.ndim:
            layer.data = data
            layer.scale, layer.translate = placement["scale"], placement["translate"]
            layers = self._session.viewer.layers
            if layers.index(layer) < layers.index(source):  # an image that was opened later lies over it
                layers.move(layers.index(layer), len(layers))
            return
        if layer is not None:
            self.remove()
        layer = Labels(data, name=LAYER_NAME, visible=not self._is_waiting, **placement)
        layer.editable, layer.contour = False, OUTLINE
        self._add(layer)

    def _add(self, layer: Labels) -> None:
        """Add a layer to the viewer; what is selected stays, so a half-drawn cell keeps its brush.

        napari selects a new layer. If nothing hears of it, adding one takes a third less time.
        """
        layers = self._session.viewer.layers
        selected, active = set(layers.selection), layers.selection.active
        if active is None:
            self._session.viewer.add_layer(layer)
            layers.selection = selected
        else:
            with layers.selection.events.blocker_all():
                self._session.viewer.add_layer(layer)
                layers.selection.active = active

    def remove(self) -> None:
        """Remove the layer."""
        layer = self._find()
        if layer is not None:
            self._session.viewer.layers.remove(layer)

    def settle(self) -> None:
        """Remove the layer after the training if it is still empty, e.g. after an early failure."""
        layer = self._find()
        if layer is not None and not layer.data.any():
            self.remove()

    def _find(self) -> Labels | None:
        layers = self._session.viewer.layers
        return next((x for x in layers if isinstance(x, Labels) and x.name == LAYER_NAME), None)
