"""Three layers that show which cells two models share: found by both, by the first or by the second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_cupre.data.image import CellImage
from napari_cupre.evaluation.side_by_side import Difference
from napari_cupre.widgets.layers import METADATA_KEY, result_placement, to_layer
from napari_cupre.widgets.session_part import SessionPart

COLOURS = ("#c8c8c8", "#58a6ff", "#f0883e")
"""Colours for both, only the first and only the second: distinguishable with any colour vision."""

PART = "difference"
"""Key in a layer's metadata that says which of the three layers it is."""

LINE = 2
"""Width of the outlines in px, so that the image stays visible."""


class DifferenceLayers(SessionPart):
    """The difference layers of a viewer; created when first needed, then reused."""

    def show(self, image: Image, reading: CellImage, parts: Difference, names: Sequence[str]) -> None:
        """Show the difference on an image.

        Parameters
        ----------
        image, reading : napari.layers.Image and CellImage
            The image that the layers cover, and how its axes are read.
        parts : Difference
            Over `reading.result_axes`.
        names : sequence of str
            Names for the three layers.
        """
        placement = result_placement(image, reading)
        arrays = [to_layer(each, reading) for each in (parts.both, parts.only_first, parts.only_second)]
        present = self._present()
        if len(present) == 3 and all(layer.ndim == data.ndim for layer, data in zip(present, arrays)):
            for layer in present:
                layer.name = f"{PART} {id(layer)}"  # napari numbers a name that is still taken
            for layer, data, name in zip(present, arrays, names):
                layer.visible = False  # each of the following makes napari redraw a visible layer
                layer.data, layer.name = data, name
                for key, value in placement.items():
                    setattr(layer, key, value)
                layer.visible = True
            return
        self.remove()
        for part, (data, name) in enumerate(zip(arrays, names)):
            self._make(part, data, name, placement)

    def hide(self) -> None:
        """Hide the layers, because the image now shown was not compared."""
        for layer in self._present():
            layer.visible = False

    def remove(self) -> None:
        """Remove the layers."""
        for layer in self._present():
            self._session.viewer.layers.remove(layer)

    @property
    def names(self) -> set[str]:
        """Return the names of the layers that exist."""
        return {layer.name for layer in self._present()}

    def _present(self) -> list[Labels]:
        """Return the layers in order; a dock that was closed may have made them."""
        found = {}
        for layer in self._session.viewer.layers:
            kept = layer.metadata.get(METADATA_KEY)
            if isinstance(layer, Labels) and isinstance(kept, dict) and PART in kept:
                found[kept[PART]] = layer
        return [found[part] for part in sorted(found)]

    def _make(self, part: int, data: np.ndarray, name: str, placement: dict[str, Any]) -> None:
        layers = self._session.viewer.layers
        active = layers.selection.active
        colours = DirectLabelColormap(color_dict={None: COLOURS[part], 0: "transparent"})
        layer = Labels(
            data, name=name, colormap=colours, opacity=1.0, metadata={METADATA_KEY: {PART: part}}, **placement
        )
        layer.contour = LINE
        layer.editable = False
        self._session.viewer.add_layer(layer)
        layers.selection.active = active  # napari selects each new layer, which would drop the user's tool
