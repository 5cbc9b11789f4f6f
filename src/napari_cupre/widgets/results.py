"""What a prediction of a slide leaves in the viewer: a pyramid that is read from disk while it grows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from napari_cupre.data.image import CellImage
from napari_cupre.events import Event
from napari_cupre.prediction.labelstore import cells_table
from napari_cupre.service.slides import hold_slide
from napari_cupre.widgets.layers import METADATA_KEY, result_placement
from napari_cupre.widgets.predicting import ImageFinished
from napari_cupre.widgets.session import Session

SUFFIX = "cells (cupre)"


class SlideSink:
    """Shows the labels of an image that is larger than memory; they stay on disk, to look at.

    The layer's features give the score of each label, and its class where there are several; its metadata
    under `METADATA_KEY` the model and, as "slide", the folder.

    Parameters
    ----------
    session : Session
        Of the viewer.
    layer : Image
        The image that is searched; its place in the world goes to the result.
    image : CellImage
        How it was read.
    model : str
        Name of the model, to be kept with the result.
    """

    def __init__(self, session: Session, layer: Image, image: CellImage, model: str) -> None:
        self._session, self._source, self._image, self._model = session, layer, image, model
        self._labels: Labels | None = None

    def is_shown_in(self, layers: Any) -> bool:
        """Whether the layer is still among a viewer's."""
        return self._labels in layers

    def __call__(self, event: Event) -> None:
        """Take up an event of this image's prediction."""
        from napari_cupre.service.protocol import SlideGrown

        match event:
            case SlideGrown(path=path):
                if self._labels is None:
                    self._labels = self._show(Path(path))
                self._labels.refresh()
            case ImageFinished():
                if self._labels is not None:
                    slide = Path(self._labels.metadata[METADATA_KEY]["slide"])
                    self._labels.features = slide_features(cells_table(slide))

    def when_taken(self, action: Callable[[], None]) -> None:
        """Do something once all that came so far is shown, which is at once."""
        action()

    def is_about(self, layer: Any) -> bool:
        """Whether a layer's image is searched; it is a slide, which keeps its layers."""
        return layer is self._source

    def close(self) -> None:
        """Nothing is waiting."""

    def _show(self, path: Path) -> Labels:
        """The layer of the last prediction with new data, or a new one."""
        held = hold_slide(path)  # nobody deletes it while it is shown
        name, data = f"{self._source.name} {SUFFIX}", stored_levels(path)
        axes = self._image.result_axes
        metadata = {METADATA_KEY: {"model": self._model, "axes": axes, "slide": str(path)}}
        placement = result_placement(self._source, self._image, axes)
        layers, old = self._session.viewer.layers, self._session.slides.get(self._source)
        if old is not None and old in layers and old.name.startswith(name) and old.ndim == np.ndim(data[0]):
            # reused and not removed: napari breaks when a layer goes that somebody works in
            old.features = {}
            old.data = data
            old.metadata = old.metadata | metadata
            for key, value in placement.items():
                setattr(old, key, value)
            self._session.held_slides[old] = held
            return old
        layer = Labels(data, multiscale=True, name=name, opacity=0.6, metadata=metadata, **placement)
        self._session.held_slides[layer] = held
        self._session.slides[self._source] = layer  # before those who follow the layers look for it
        self._session.viewer.add_layer(layer)
        return layer


def stored_levels(path: Path) -> list[Any]:
    """The levels of an OME-Zarr label image, finest first; each look at them reads the disk again."""
    import zarr

    group = zarr.open_group(path, mode="r")
    attributes: Any = group.attrs.asdict()
    return [group[level["path"]] for level in attributes["multiscales"][0]["datasets"]]


def slide_features(table: Path) -> dict[str, np.ndarray]:
    """Score and class of each label of a slide.

    Nothing where there is no table yet, or labels count again on each plane.
    """
    if not table.is_file():
        return {}
    with table.open(encoding="utf-8") as stream:
        names = stream.readline().strip().split(",")
        columns = np.loadtxt(stream, str, delimiter=",", ndmin=2)
    if {"T", "Z"} & set(names) or len(columns) == 0:
        return {}
    by_name = dict(zip(names, columns.T))
    features = {"index": by_name["label"].astype(np.int32), "score": by_name["score"].astype(np.float32)}
    classes = by_name["class"]
    return features if (classes == classes[0]).all() else features | {"class": classes}
