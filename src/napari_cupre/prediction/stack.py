"""Predict an image in memory: every plane along T and Z, linked on request."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.events import Event, Finished, Notice, Steps
from napari_cupre.model.seen_channels import SeenChannels
from napari_cupre.prediction.canvas import ArrayCanvas
from napari_cupre.prediction.detecting import CellFinder
from napari_cupre.prediction.filling import Filling
from napari_cupre.prediction.instances import Instances
from napari_cupre.prediction.link import Links
from napari_cupre.prediction.linker import count_linked, find_tables, write_linked
from napari_cupre.prediction.mirrored import finder_for
from napari_cupre.prediction.predict_options import PredictOptions
from napari_cupre.prediction.reader import ImageSource
from napari_cupre.words import counted

if TYPE_CHECKING:
    from napari_cupre.model.checkpoint import Model
    from napari_cupre.prediction.big import BigResult


@dataclass
class ImageResult:
    """The cells of an image.

    Attributes
    ----------
    labels : ndarray of int32
        Labels over `CellImage.result_axes`. Without linking, each plane's labels start at 1.
    planes : list of (PlaneIndex, Instances)
        Position along T and Z, and instances, of each predicted plane; their labels are not linked.
    ids : list of ndarray of int32
        For each of these planes, the value in `labels` of each of its instances, shape (N,).
    complete : bool
        False if a part of the image could not be read or the prediction was stopped.
    diameter : float
        Cell diameter in image px that set the scale of the image.
    count : int
        Number of cells; a cell linked through planes or frames counts once.
    """

    labels: np.ndarray
    planes: list[tuple[PlaneIndex, Instances]] = field(default_factory=list)
    ids: list[np.ndarray] = field(default_factory=list)
    complete: bool = True
    diameter: float = float("nan")
    count: int = 0


def predict_image(
    model: Model | CellFinder,
    image: CellImage,
    options: PredictOptions | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Generator[Event, None, ImageResult]:
    """Find every cell of every plane of an image.

    Parameters
    ----------
    model : Model or CellFinder
        A `CellFinder` saves making the model ready again for every image.
    image : CellImage
        Any axes; planes are read one at a time, and tile by tile.
    options : PredictOptions, optional
        What to look for, and how.
    should_stop : callable, optional
        Asked at the start and after every tile; returns bool.

    Yields
    ------
    Event
        `Progress` in tiles, `TileDone` and `PlaneFound` as results grow, `Notice` about parts that cannot be
        read, and last `Finished` with "cells", "planes", "complete", "diameter" and "trained". The latter is
        the diameter that the model would have used (None if it has none, or the user gave one).

    Returns
    -------
    ImageResult
        The generator's return value (`result = yield from predict_image(...)`).

    Raises
    ------
    InputError
        If no plane can be read, or an option is out of its range.
    """
    options = options or PredictOptions()
    detector = finder_for(model, options)
    if options.channels is None:
        image = SeenChannels.of_training(detector.info.training).on(image)
    if image.lacks:
        yield Notice(image.lacks)
    canvas = ArrayCanvas(image.result_shape)
    source = ImageSource(image, options.channels)
    filling = Filling(detector, source, options, canvas, should_stop=should_stop)
    stopped = should_stop is not None and should_stop()
    if not stopped:
        yield from filling.events()
    result = ImageResult(canvas.labels, filling.planes, diameter=filling.diameter)
    result.complete = filling.complete and not stopped and not image.lacks
    result.count = sum(len(instances) for _, instances in result.planes)
    result.ids = [np.arange(1, len(instances) + 1, dtype=np.int32) for _, instances in result.planes]
    if any(links := options.links(image.result_axes)):
        _link(result, canvas, source.plane_indices(), links)
    trained = detector.info.diameter if options.diameter is None else None
    planes = f" in {len(result.planes)} planes" if len(result.planes) > 1 else ""
    yield finished(result, trained, planes, planes=len(result.planes))
    return result


def _link(result: ImageResult, canvas: ArrayCanvas, indices: list[PlaneIndex], links: Links) -> None:
    """Link the labels of a result; the labels of its planes do not change."""
    planes = [canvas.plane(index) for index in indices]
    tables = Steps(find_tables(planes, indices, links)).finish()
    linked = ArrayCanvas(canvas.labels.shape)
    for _ in write_linked(planes, tables, [linked.plane(index) for index in indices]):
        pass
    result.labels, result.count = linked.labels, count_linked(tables, indices, links)
    result.ids = [
        np.pad(tables[indices.index(index)], (0, len(instances)))[1 : len(instances) + 1]
        for index, instances in result.planes
    ]


def finished(
    result: ImageResult | BigResult, trained: float | None, where: str, hint: str = "", **more: Any
) -> Finished:
    """Make the last event of a prediction.

    Parameters
    ----------
    result : ImageResult or BigResult
        The result.
    trained : float or None
        The diameter in image px that the model would have used; None if it has none, or the user gave one.
    where : str
        Says where the cells are, with a blank in front; may be empty.
    hint : str
        What to do about a partial result.
    **more : Any
        Further values besides "cells", "complete", "diameter" and "trained".
    """
    rest = "" if result.complete else f"; the result is partial{hint}"
    told = {"cells": result.count, "complete": result.complete, "diameter": result.diameter}
    size = other_size(result.diameter, trained)
    return Finished(
        f"{counted(result.count, 'cell')}{where}{size}{rest}.", told | more | {"trained": trained}
    )


def is_of_other_size(result: dict[str, Any]) -> bool:
    """Whether an image was scaled for cells of another size than the model's, from its `Finished` event."""
    return result["trained"] is not None and result["diameter"] != result["trained"]


def other_size(diameter: float, trained: float | None) -> str:
    """Return the message for an image scaled for cells of another size than in the model's training."""
    if trained is None or diameter == trained:
        return ""
    return f" of about {diameter:.0f} px, where the model was trained on {trained:.0f} px"
