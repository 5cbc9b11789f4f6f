"""What a prediction leaves in the viewer: one Labels layer per image, growing plane by plane."""

from __future__ import annotations

import numpy as np
from napari.layers import Image, Labels

from napari_cupre.data.image import CellImage
from napari_cupre.service.protocol import PlaneDone
from napari_cupre.widgets.layers import result_placement
from napari_cupre.widgets.session import Session

METADATA_KEY = "napari-cupre"
SUFFIX = "cells (cupre)"


class ResultLayer:
    """The labels of one image: made with the first plane, filled by the next ones.

    The layer's features give the score of each label, its metadata under `METADATA_KEY` the model, the
    diameter and, per plane, the boxes, scores and small overlapping masks.

    Parameters
    ----------
    layer : the image that was segmented; its place in the world goes to the result.
    image : how it was read.
    """

    def __init__(self, session: Session, layer: Image, image: CellImage, model: str) -> None:
        self._session, self._source, self._image, self._model = session, layer, image, model
        self._labels: Labels | None = None
        self._features: list[dict[str, np.ndarray]] = []

    def add(self, plane: PlaneDone) -> None:
        """Show one more plane; the labels of all planes differ."""
        if self._labels is None:
            self._labels = self._make(plane)
        layer = self._labels
        layer.data[tuple(plane.index.values())] = plane.labels
        layer.refresh()
        numbers = np.arange(1, len(plane.scores) + 1) + plane.first
        place = {axis: np.full(len(numbers), position) for axis, position in plane.index.items()}
        self._features.append({"index": numbers, "score": plane.scores, **place})
        layer.features = {
            key: np.concatenate([part[key] for part in self._features]) for key in self._features[0]
        }
        layer.metadata[METADATA_KEY]["planes"].append(
            {"index": plane.index, "boxes": plane.boxes, "scores": plane.scores, "masks": plane.masks}
        )

    def _make(self, plane: PlaneDone) -> Labels:
        name = f"{self._source.name} {SUFFIX}"
        layers = self._session.viewer.layers
        for old in [
            x for x in layers if isinstance(x, Labels) and x.name == name and METADATA_KEY in x.metadata
        ]:
            layers.remove(old)
        layer = Labels(
            np.zeros(self._image.result_shape, dtype=np.int32),
            name=name,
            opacity=0.6,
            metadata={METADATA_KEY: {"model": self._model, "diameter": plane.diameter, "planes": []}},
            **result_placement(self._source, self._image),
        )
        self._session.viewer.add_layer(layer)
        return layer
