"""Show the prediction of a slide in the viewer: a pyramid read from disk while it grows."""

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
from napari_cupre.widgets.predicting import GuessCount, ImageFinished
from napari_cupre.widgets.session import Session

SUFFIX = "cells (cupre)"


class SlideSink:
    """Shows the labels of an image larger than memory; they stay on disk and cannot be edited.

    The layer's features contain the score of each label, and its class if there are several. Its metadata
    under `METADATA_KEY` contain the model and, as "slide", the folder.

    Parameters
    ----------
    session : Session
        Of the viewer.
    layer : Image
        The image to search; the result gets its position in the world.
    image : CellImage
        How it was read.
    model : str
        Name of the model, stored with the result.
    """

    def __init__(self, session: Session, layer: Image, image: CellImage, model: str) -> None:
        self._session, self._source, self._image, self._model = session, layer, image, model
        self._labels: Labels | None = None

    def is_shown_in(self, layers: Any) -> bool:
        """Whether a viewer still contains the layer."""
        return self._labels in layers

    def __call__(self, event: Event) -> None:
        """Handle an event of this image's prediction."""
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
        """Call a function once everything received so far is shown, which is at once."""
        action()

    def guesses(self) -> GuessCount | None:
        """Return None: the cells of a slide are a result of their own."""
        return None

    def is_about(self, layer: Any) -> bool:
        """Whether a layer is the searched image; the layers of a slide never show another image."""
        return layer is self._source

    def close(self) -> None:
        """Do nothing, because nothing is waiting."""

    def _show(self, path: Path) -> Labels:
        """Show the labels in the layer of the last prediction, or in a new one."""
        held = hold_slide(path)  # the folder must not be deleted while it is shown
        name, data = f"{self._source.name} {SUFFIX}", stored_levels(path)
        axes = self._image.result_axes
        metadata = {METADATA_KEY: {"model": self._model, "axes": axes, "slide": str(path)}}
        placement = result_placement(self._source, self._image, axes)
        layers, old = self._session.viewer.layers, self._session.slides.get(self._source)
        if old is not None and old in layers and old.name.startswith(name) and old.ndim == np.ndim(data[0]):
            # reused instead of removed: napari breaks if a layer disappears while somebody works in it
            old.features = {}
            old.data = data
            old.metadata = old.metadata | metadata
            for key, value in placement.items():
                setattr(old, key, value)
            self._session.held_slides[old] = held
            return old
        layer = Labels(data, multiscale=True, name=name, opacity=0.6, metadata=metadata, **placement)
        self._session.held_slides[layer] = held
        self._session.slides[self._source] = layer  # before listeners to the layers look for it
        self._session.viewer.add_layer(layer)
        return layer


def stored_levels(path: Path) -> list[Any]:
    """Return the levels of an OME-Zarr label image, finest first; every access reads the disk again."""
    import zarr

    group = zarr.open_group(path, mode="r")
    attributes: Any = group.attrs.asdict()
    return [group[level["path"]] for level in attributes["multiscales"][0]["datasets"]]


def slide_features(table: Path) -> dict[str, np.ndarray]:
    """Return the score and class of each label of a slide.

    Empty if there is no table yet, or if labels start again on each plane.
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
