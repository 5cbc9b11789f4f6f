"""Three layers that say which cells two models share: found by both, only by one, only by the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_cupre.data.image import CellImage
from napari_cupre.evaluation.side_by_side import Difference
from napari_cupre.widgets.layers import METADATA_KEY, result_placement, to_layer
from napari_cupre.widgets.session import Session

COLOURS = ("#c8c8c8", "#58a6ff", "#f0883e")
"""Both, only the first, only the second: told apart by all kinds of eyes, on dark images and on bright ones."""

LINE = 2
"""Width of the outlines in px: what lies below stays visible."""


class DifferenceLayers:
    """The layers of a viewer; made when they are first needed and reused from then on.

    Parameters
    ----------
    session : Session
        Of the viewer.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._layers: list[Labels] = []

    def show(self, image: Image, reading: CellImage, parts: Difference, names: Sequence[str]) -> None:
        """Show the difference on an image.

        Parameters
        ----------
        image, reading : napari.layers.Image and CellImage
            Where the layers lie, and how its axes are read.
        parts : Difference
            Over `reading.result_axes`.
        names : sequence of str
            What to call the three layers.
        """
        placement = result_placement(image, reading)
        arrays = [to_layer(each, reading) for each in (parts.both, parts.only_first, parts.only_second)]
        present = self._present()
        if len(present) == 3 and all(layer.ndim == data.ndim for layer, data in zip(present, arrays)):
            for layer, data, name in zip(present, arrays, names):
                layer.data, layer.name, layer.visible = data, name, True
                for key, value in placement.items():
                    setattr(layer, key, value)
            return
        self.remove()
        self._layers = [
            self._made(data, name, colour, placement) for data, name, colour in zip(arrays, names, COLOURS)
        ]

    def hide(self) -> None:
        """Another image is on show, of which nothing is compared."""
        for layer in self._present():
            layer.visible = False

    def remove(self) -> None:
        """Take the layers away."""
        for layer in self._present():
            self._session.viewer.layers.remove(layer)
        self._layers = []

    def _present(self) -> list[Labels]:
        return [layer for layer in self._layers if layer in self._session.viewer.layers]

    def _made(self, data: np.ndarray, name: str, colour: str, placement: dict[str, Any]) -> Labels:
        layers = self._session.viewer.layers
        active = layers.selection.active
        colours = DirectLabelColormap(color_dict={None: colour, 0: "transparent"})
        layer = Labels(
            data, name=name, colormap=colours, opacity=1.0, metadata={METADATA_KEY: {}}, **placement
        )
        layer.contour = LINE
        layer.editable = False
        self._session.viewer.add_layer(layer)
        layers.selection.active = (
            active  # napari selects each new layer, and the tool goes with the selection
        )
        return layer
