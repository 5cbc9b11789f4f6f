"""What a prediction leaves in the viewer: one Labels layer per image, growing tile by tile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from napari_cupre.data.image import CellImage
from napari_cupre.events import Event, TileDone
from napari_cupre.prediction.labelstore import cells_table
from napari_cupre.service.protocol import PlaneDone, PlaneRelabelled, SlideGrown
from napari_cupre.widgets.layers import result_placement
from napari_cupre.widgets.predicting import ImageFinished
from napari_cupre.widgets.saving import checksum
from napari_cupre.widgets.session import METADATA_KEY, Session

SUFFIX = "cells (cupre)"
KEPT = ("index", "ids", "boxes", "scores", "classes", "class_names", "masks", "diameter")


class ResultLayer:
    """The labels of one image: made with the first part, filled by the next ones.

    The layer's features give the score of each label, and its class where there are several; its metadata
    under `METADATA_KEY` the model and, per plane, ids, boxes, scores, classes, their names and small
    overlapping masks. The labels of a slide stay on disk: its layer is a pyramid to look at, its metadata
    name the folder under "slide".

    Parameters
    ----------
    layer : the image that was segmented; its place in the world goes to the result.
    image : how it was read.
    model : name of the model, to be kept with the result.
    """

    def __init__(self, session: Session, layer: Image, image: CellImage, model: str) -> None:
        self._session, self._source, self._image, self._model = session, layer, image, model
        self._labels: Labels | None = None
        self._planes: list[dict[str, Any]] = []

    def __call__(self, event: Event) -> None:
        """Take up an event of this image's prediction."""
        match event:
            case TileDone():
                rows, columns = event.labels.shape
                part = (slice(event.y0, event.y0 + rows), slice(event.x0, event.x0 + columns))
                self._paint((*event.index.values(), *part), event.labels)
            case PlaneDone():
                self._paint(tuple(event.index.values()), event.labels)
                self._planes.append({name: getattr(event, name) for name in KEPT})
            case PlaneRelabelled(index=index, labels=labels, ids=ids):
                self._paint(tuple(index.values()), labels)
                for plane in self._planes:
                    if plane["index"] == index:
                        plane["ids"] = ids
            case SlideGrown(path=path):
                self._show_slide(Path(path))
            case ImageFinished():
                self._finish()

    def _paint(self, place: tuple[Any, ...], labels: np.ndarray) -> None:
        if self._labels is None:
            self._labels = self._make(
                np.zeros(self._image.result_shape, dtype=np.int32), {"planes": self._planes}
            )
        self._labels.data[place] = labels
        self._labels.refresh()

    def _show_slide(self, path: Path) -> None:
        if self._labels is None:
            self._labels = self._make(stored_levels(path), {"planes": [], "slide": str(path)})
        self._labels.refresh()

    def _make(self, data: Any, kept: dict[str, Any]) -> Labels:
        """A new layer in place of the last prediction's, unless the user has given that another name."""
        name = f"{self._source.name} {SUFFIX}"
        layers = self._session.viewer.layers
        for old in [x for x in layers if x.name == name and METADATA_KEY in x.metadata]:
            layers.remove(old)
        layer = Labels(
            data,
            multiscale=isinstance(data, list),
            name=name,
            opacity=0.6,
            metadata={METADATA_KEY: {"model": self._model, **kept}},
            **result_placement(self._source, self._image),
        )
        self._session.results[self._source] = layer
        self._session.viewer.add_layer(layer)
        return layer

    def _finish(self) -> None:
        """Let the status bar tell the score, and of several classes the class, of the cell at the mouse."""
        if self._labels is None:
            return
        slide = self._labels.metadata[METADATA_KEY].get("slide")
        if slide is not None:
            self._labels.features = slide_features(cells_table(Path(slide)))
        if not self._planes:
            return
        self._labels.metadata[METADATA_KEY]["checksum"] = checksum(self._labels.data)
        ids = np.concatenate([plane["ids"] for plane in self._planes])
        scores = np.concatenate([plane["scores"] for plane in self._planes])
        shown = ids > 0  # a cell that others cover wholly has no pixel
        features = {"index": ids[shown], "score": scores[shown]}
        names = np.array(self._planes[0]["class_names"])
        if len(names) > 1:
            classes = np.concatenate([plane["classes"] for plane in self._planes])
            features["class"] = names[classes[shown] - 1]
        self._labels.features = features


def stored_levels(path: Path) -> list[Any]:
    """The levels of an OME-Zarr label image, finest first; each look at them reads the disk anew."""
    import zarr

    group = zarr.open_group(path, mode="r")
    attributes: Any = group.attrs.asdict()
    return [group[level["path"]] for level in attributes["multiscales"][0]["datasets"]]


def slide_features(table: Path) -> dict[str, np.ndarray]:
    """Score and class of each label of a slide; nothing where there is no table yet, or labels count anew on
    each plane.
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
