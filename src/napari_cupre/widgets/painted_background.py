"""Keep the background that is painted in a window in its project."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError, InputError
from napari_cupre.project.project import Project
from napari_cupre.widgets.layers import from_layer
from napari_cupre.widgets.session_part import SessionPart

if TYPE_CHECKING:
    from napari_cupre.widgets.keeping import Keeper
    from napari_cupre.widgets.session import Session


class PaintedBackground(SessionPart):
    """Hands the painted background of a window's images to their project.

    Parameters
    ----------
    session : Session
        Of the viewer.
    keeper : Keeper
        Saves the project.
    """

    def __init__(self, session: Session, keeper: Keeper) -> None:
        super().__init__(session)
        self._keeper = keeper
        self._followed: weakref.WeakSet[Labels] = weakref.WeakSet()
        # kept until the project has it, even if the layer leaves the window in the meantime
        self._painted: dict[Image, tuple[Labels, CellImage]] = {}
        session.annotations_changed.connect(self._follow)

    def _follow(self) -> None:
        """Listen to new layers, and take up what is painted in them already, e.g. in a sample."""
        for image in self._session.images():
            layer = self._session.annotation(image).background
            if layer is None or layer.multiscale or layer in self._followed:
                continue
            self._listen(image, layer)
            if layer.data.any():
                self.join(image)
                self._note(weakref.ref(image), weakref.ref(layer))

    def _listen(self, image: Image, layer: Labels) -> None:
        self._followed.add(layer)
        note = partial(self._note, weakref.ref(image), weakref.ref(layer))
        for event in (layer.events.paint, layer.events.labels_update, layer.events.data):
            event.connect(lambda event: note())
        for name in ("undo", "redo"):  # what napari's Ctrl-Z calls; they emit nothing
            setattr(layer, name, _then(getattr(Labels, name), weakref.ref(layer), note))

    def _note(self, image_ref: weakref.ref[Image], layer_ref: weakref.ref[Labels]) -> None:
        """Have the background of an image saved soon."""
        image, layer = image_ref(), layer_ref()
        if image is None or layer is None or image not in self._session.images():
            return
        try:
            self._painted[image] = layer, self._session.cell_image(image)
            cells = self._session.cells_of(image)
            if cells is None:  # e.g. the layer of cells was deleted
                selection = self._session.viewer.layers.selection
                active = selection.active
                cells = self._session.make_cells(image)
                selection.active = active  # or the stroke that is being painted would end
            self._keeper.include(cells)
        except CupreError as error:  # e.g. the layer of cells has another size; it is told, the paint stays
            self._keeper.tell(str(error))

    def stored(self, image: Image) -> np.ndarray | None:
        """Return the background that the project has of an image, over its result axes; None if it has none.

        Raises
        ------
        InputError
            Its file is damaged, or has another size.
        """
        project, stem = self._keeper.project, self._keeper.stem_of(image)
        return None if project is None or stem is None else project.background(stem)

    def hand_over(self, project: Project | None) -> None:
        """Give the project what was painted since the last time; the images that it lacks wait."""
        if project is None:
            return
        for image, (layer, reading) in list(self._painted.items()):
            stem, painted = self._keeper.stem_of(image), from_layer(layer.data, reading)
            if stem is None or painted is None:
                continue
            mask = np.asarray(painted) > 0
            if mask.shape == project.image(stem).shape:
                project.painted.hold(stem, mask)
            del self._painted[image]

    def new_layer(self, image: Image) -> Labels:
        """Return a layer for background, with what the project has of an image.

        The layer of cells, which makes the image known to the project, is made before the first stroke.
        """
        session = self._session
        session.make_cells(image)
        layer = session.annotation(image).new_background(session.cell_image(image), self.stored(image))
        self._listen(image, layer)
        return layer

    def join(self, image: Image) -> None:
        """Show the background that the project has of an image, with what is painted in the window."""
        try:
            stored, layer = self.stored(image), self._session.annotation(image).background
            if stored is not None and layer is None:
                self._session.make_background_layer(image)
            elif stored is not None and layer is not None:
                shown = from_layer(layer.data, self._session.cell_image(image))
                if shown is not None and shown.shape == stored.shape:
                    shown[stored] = np.maximum(shown[stored], 1)
                    layer.refresh()
        except InputError as error:  # the cells can be shown all the same
            self._keeper.tell(str(error))


def _then(
    method: Callable[[Labels], None], layer_ref: weakref.ref[Labels], note: Callable[[], None]
) -> Callable[[], None]:
    """Return a call of a layer's method that is followed by `note`."""

    def call() -> None:
        layer = layer_ref()
        if layer is not None:
            method(layer)
            note()

    return call
