"""What a prediction leaves in the viewer: one Labels layer per image, growing tile by tile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from napari_cupre.data.image import CellImage
from napari_cupre.events import Event, TileDone
from napari_cupre.prediction.labelstore import cells_table
from napari_cupre.service.protocol import PlaneRelabelled, SlideGrown
from napari_cupre.widgets.guesses import cell_prints
from napari_cupre.widgets.layers import layer_axes, result_placement, to_layer
from napari_cupre.widgets.predicting import ImageFinished, PlaneTaken
from napari_cupre.widgets.saving import is_edited
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
    layer : Image
        The image that was segmented; its place in the world goes to the result.
    image : CellImage
        How it was read.
    model : str
        Name of the model, to be kept with the result.
    """

    def __init__(self, session: Session, layer: Image, image: CellImage, model: str) -> None:
        self._session, self._source, self._image, self._model = session, layer, image, model
        self._labels: Labels | None = None
        self._cells: np.ndarray | None = None
        self._planes: list[dict[str, Any]] = []
        self._painted: dict[tuple[int, ...], np.ndarray] = {}
        self.kept: Labels | None = None
        """The layer of an earlier prediction that holds a person's work, and so stays beside the new one."""

    def is_shown_in(self, layers: Any) -> bool:
        """Whether the layer is still among a viewer's."""
        return self._labels in layers

    def __call__(self, event: Event) -> None:
        """Take up an event of this image's prediction."""
        match event:
            case TileDone():
                rows, columns = event.labels.shape
                part = (slice(event.y0, event.y0 + rows), slice(event.x0, event.x0 + columns))
                self._paint_tile(tuple(event.index.values()), part, event.labels)
            case PlaneTaken(plane=plane, prints=prints):
                self._paint_plane(tuple(plane.index.values()), plane.labels)
                kept = {name: getattr(plane, name) for name in KEPT}
                self._planes.append(kept | {"prints": prints})
            case PlaneRelabelled(index=index, labels=labels, ids=ids):
                self._relabel(index, labels, ids)
            case SlideGrown(path=path):
                self._show_slide(Path(path))
            case ImageFinished():
                self._finish()

    def _data(self) -> np.ndarray:
        """The labels over `result_axes`, of which the layer shows a view."""
        if self._cells is None:
            self._cells = np.zeros(self._image.result_shape, dtype=np.int32)
            self._labels = self._show(to_layer(self._cells, self._image), {"planes": self._planes})
        return self._cells

    def _paint_tile(self, place: tuple[int, ...], part: tuple[slice, slice], labels: np.ndarray) -> None:
        plane = self._data()[place]
        shadow = self._painted.setdefault(place, np.zeros_like(plane))
        untouched = plane[part] == shadow[part]
        plane[part] = np.where(untouched, labels, plane[part])
        shadow[part] = labels
        self._refresh()

    def _paint_plane(self, place: tuple[int, ...], labels: np.ndarray) -> None:
        """What a person painted on the plane meanwhile stays."""
        plane = self._data()[place]
        shadow = self._painted.pop(place, None)
        if shadow is None:
            shadow = np.zeros_like(plane)
        plane[...] = np.where(plane == shadow, labels, plane)
        self._refresh()

    def _relabel(self, index: dict[str, int], labels: np.ndarray, ids: np.ndarray) -> None:
        plane = self._data()[tuple(index.values())]
        for kept in self._planes:
            if kept["index"] != index:
                continue
            if cell_prints(plane) == kept["prints"]:
                plane[...] = labels
            else:  # a person was faster: its cells get their new numbers, what was painted keeps its own
                table = np.arange(max(int(plane.max()), int(kept["ids"].max(initial=0))) + 1, dtype=np.int32)
                table[kept["ids"]] = ids
                plane[...] = table[plane]
            kept["ids"], kept["prints"] = ids, cell_prints(labels)
        self._refresh()

    def _refresh(self) -> None:
        if self._labels is not None:
            self._labels.refresh()

    def _show_slide(self, path: Path) -> None:
        if self._labels is None:
            self._labels = self._show(stored_levels(path), {"planes": [], "slide": str(path)})
        self._labels.refresh()

    def _show(self, data: Any, kept: dict[str, Any]) -> Labels:
        """The layer of the last prediction with new data; another one, if a person worked in that."""
        name = f"{self._source.name} {SUFFIX}"
        axes = self._image.result_axes if isinstance(data, list) else None
        metadata = {"model": self._model, "axes": axes or layer_axes(self._image), **kept}
        placement = result_placement(self._source, self._image, axes)
        old = self._last(name)
        if old is not None and self._is_worked_on(old):
            self.kept, old = old, None
        if (
            old is not None
            and old.multiscale == isinstance(data, list)
            and old.ndim == np.ndim(_finest(data))
        ):
            # reused and not removed: napari breaks when a layer goes that somebody is painting in
            old.features = {}
            old.data = data
            old._reset_history() if hasattr(old, "_reset_history") else None
            old.metadata = old.metadata | {METADATA_KEY: metadata}
            for key, value in placement.items():
                setattr(old, key, value)
            self._session.add_result(self._source, old)
            return old
        if old is not None:
            self._session.viewer.layers.remove(old)
        layer = Labels(
            data,
            multiscale=isinstance(data, list),
            name=name,
            opacity=0.6,
            metadata={METADATA_KEY: metadata},
            **placement,
        )
        self._session.add_result(self._source, layer)  # before those who follow the layers look for it
        self._session.viewer.add_layer(layer)
        if self.kept is not None and not self._session.is_chosen(self.kept):
            self.kept.visible = False
        return layer

    def _last(self, name: str) -> Labels | None:
        """The layer of the last prediction, unless the user has given that another name."""
        layers = self._session.viewer.layers
        last = self._session.results.get(self._source)
        if last is not None and last in layers and last.name.startswith(name):
            return last
        return next(
            (x for x in layers if isinstance(x, Labels) and x.name == name and METADATA_KEY in x.metadata),
            None,
        )

    def _is_worked_on(self, layer: Labels) -> bool:
        """Whether a person changed a layer, or annotates in it."""
        if METADATA_KEY not in layer.metadata or self._session.is_chosen(layer):
            return True
        if layer.multiscale:  # which napari lets nobody paint in
            return False
        return is_edited(layer.metadata, layer.data)

    def _finish(self) -> None:
        """Let the status bar tell the score, and of several classes the class, of the cell at the mouse."""
        if self._labels is None:
            return
        slide = self._labels.metadata[METADATA_KEY].get("slide")
        if slide is not None:
            self._labels.features = slide_features(cells_table(Path(slide)))
        if not self._planes:
            return
        ids = np.concatenate([plane["ids"] for plane in self._planes])
        scores = np.concatenate([plane["scores"] for plane in self._planes])
        shown = ids > 0  # a cell that others cover wholly has no pixel
        features = {"index": ids[shown], "score": scores[shown]}
        names = np.array(self._planes[0]["class_names"])
        if len(names) > 1:
            classes = np.concatenate([plane["classes"] for plane in self._planes])
            features["class"] = names[classes[shown] - 1]
        self._labels.features = features


def _finest(data: Any) -> Any:
    return data[0] if isinstance(data, list) else data


def stored_levels(path: Path) -> list[Any]:
    """The levels of an OME-Zarr label image, finest first; each look at them reads the disk again."""
    import zarr

    group = zarr.open_group(path, mode="r")
    attributes: Any = group.attrs.asdict()
    return [group[level["path"]] for level in attributes["multiscales"][0]["datasets"]]


def slide_features(table: Path) -> dict[str, np.ndarray]:
    """Score and class of each label of a slide.

    Nothing if there is no table yet, or if labels count again on each plane.
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
