"""Predicting a whole image: every plane along T and Z, linked on request."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.errors import InputError
from napari_cupre.events import Event, Finished, Notice, Progress
from napari_cupre.model.checkpoint import Model
from napari_cupre.prediction.detector import Detector
from napari_cupre.prediction.instances import Instances
from napari_cupre.prediction.link import Links, link
from napari_cupre.prediction.plane import Choice, choose, iter_plane, must_look
from napari_cupre.prediction.reader import PlaneReader


@dataclass(frozen=True)
class PredictOptions:
    """What a user can choose about a prediction.

    Attributes
    ----------
    diameter : of the cells in image px; None takes the model's, or estimates it from the image where the
        model has none or the image clearly shows cells of another size.
    score : cells that the network is less sure of are left out, 0..1; None asks for 0.5, or, where the
        diameter is estimated, for 0.35 to 0.7 by how sure the network is of the image.
    tile : side of a tile in network px; None = 1024.
    channels : up to three channels to look at; None takes the first three.
    link_z : join the planes of a stack to 3-D cells.
    link_t : keep a cell's label through time.
    """

    diameter: float | None = None
    score: float | None = None
    tile: int | None = None
    channels: tuple[int, ...] | None = None
    link_z: bool = False
    link_t: bool = False

    def links(self, axes: str) -> Links:
        """Along which of an image's axes its planes are linked."""
        return Links(self.link_z and "Z" in axes, self.link_t and "T" in axes)


@dataclass(frozen=True)
class TilePainted(Event):
    """A part of a plane has new labels: int32 (y, x) to be put at row `y0`, column `x0` of plane `index`."""

    index: PlaneIndex
    y0: int
    x0: int
    labels: np.ndarray


@dataclass(frozen=True)
class PlaneFound(Event):
    """One plane is done; its labels are its own, not yet linked to other planes'."""

    index: PlaneIndex
    instances: Instances


@dataclass
class ImageResult:
    """The cells of an image.

    Attributes
    ----------
    labels : int32 with `CellImage.result_axes`. Without linking each plane counts from 1.
    planes : position along T and Z, and the instances, of each plane that was predicted.
    ids : for each of these planes int32 (N,), the value in `labels` of every row of its instances.
    complete : False where something of the image could not be read or the prediction was stopped.
    diameter : in image px, by which the image was scaled.
    count : number of cells; one that was linked through planes or frames counts once.
    """

    labels: np.ndarray
    planes: list[tuple[PlaneIndex, Instances]] = field(default_factory=list)
    ids: list[np.ndarray] = field(default_factory=list)
    complete: bool = True
    diameter: float = float("nan")
    count: int = 0


def predict_image(
    model: Model | Detector,
    image: CellImage,
    options: PredictOptions | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Generator[Event, None, ImageResult]:
    """Find every cell of every plane of an image.

    Parameters
    ----------
    model : or a `Detector`, which saves making it ready again for every image.
    image : any axes; planes are read one at a time, and tile by tile.
    options : see `PredictOptions`.
    should_stop : asked after every tile.

    Yields
    ------
    Event : `Progress` in tiles and planes, `TilePainted` and `PlaneFound` as results grow, `Notice` for what
        cannot be read, and last `Finished` with "cells", "planes", "complete", "diameter" and "trained", the
        diameter that the model would have taken (None where it has none, or one was asked for).

    Returns
    -------
    ImageResult : the generator's return value (`result = yield from predict_image(...)`).

    Raises
    ------
    InputError
        If no plane can be read, or an option is out of its range.
    """
    options = options or PredictOptions()
    stop = should_stop or (lambda: False)
    detector = model if isinstance(model, Detector) else Detector(model)
    indices = list(image.plane_indices())
    result = ImageResult(np.zeros(image.result_shape, dtype=np.int32))
    if image.lacks:
        yield Notice(image.lacks)
        result.complete = False
    choice = _choose(detector, image, indices, options)
    result.diameter = choice.diameter
    for number, index in enumerate(indices):
        if stop():
            result.complete = False
            break
        try:
            read = PlaneReader(image, index, options.channels)
            instances = yield from _one_plane(
                detector, read, index, options, choice, stop, number, len(indices)
            )
        except InputError as error:
            if len(indices) == 1:
                raise
            result.complete = False
            yield Notice(str(error))
            continue
        result.labels[tuple(index.values())] = instances.labels
        result.planes.append((index, instances))
        result.ids.append(np.arange(1, len(instances) + 1, dtype=np.int32))
        result.count += len(instances)
        result.complete &= instances.complete
        result.diameter = instances.diameter
        yield PlaneFound(index, instances)
        yield Progress(number + 1, len(indices), image.name)
    if not result.planes and not stop():
        raise InputError(f"No plane of {image.name or 'the image'} can be read: copy the file anew.")
    _link(result, image.result_axes, options)
    yield finished(result, detector.model.info.diameter if options.diameter is None else None)
    return result


def _one_plane(
    detector: Detector,
    read: PlaneReader,
    index: PlaneIndex,
    options: PredictOptions,
    choice: Choice,
    stop: Callable[[], bool],
    number: int,
    planes: int,
) -> Generator[Event, None, Instances]:
    """Events of one plane's tiles; returns its instances."""
    steps = iter_plane(
        detector,
        read,
        read.shape,
        choice=choice,
        score=options.score,
        tile=options.tile,
        should_stop=stop,
    )
    while True:
        try:
            tile = next(steps)
        except StopIteration as end:
            return end.value
        if isinstance(tile, Notice):
            yield tile
        elif tile.total > 1:
            yield TilePainted(index, tile.region.y0, tile.region.x0, tile.labels)
            yield Progress(number * tile.total + tile.done, planes * tile.total)


def _choose(
    detector: Detector, image: CellImage, indices: Sequence[PlaneIndex], options: PredictOptions
) -> Choice:
    """One diameter and score for all planes: seen, if they must be, on up to three of them."""
    if not must_look(detector, image.plane_shape, len(indices), options.diameter, options.tile):
        return choose(detector, None, options.diameter, options.score)
    views: list[np.ndarray] = []
    for position in sorted({len(indices) // 4, len(indices) // 2, (3 * len(indices)) // 4}):
        try:
            views += PlaneReader(image, indices[position], options.channels).views()
        except InputError:
            continue  # the plane is reported when its turn comes
    return choose(detector, views, None, options.score)


def _link(result: ImageResult, axes: str, options: PredictOptions) -> None:
    """Link the labels along Z, then T; in place."""
    links = options.links(axes)
    if not any(links):
        return
    unlinked = [result.labels[tuple(index.values())].copy() for index, _ in result.planes]
    frames = _by_frame(result.labels, axes)
    for frame in frames:
        if links.z:
            frame[...] = np.stack(link(list(frame)))
        else:
            _number_through(frame)
    if links.t:
        frames[...] = np.stack(link(list(frames)))
        result.count = int(frames.max(initial=0))
    else:
        result.count = sum(int(frame.max(initial=0)) for frame in frames)
    result.ids = [
        _ids(before, result.labels[tuple(index.values())], len(instances))
        for before, (index, instances) in zip(unlinked, result.planes)
    ]


def _by_frame(labels: np.ndarray, axes: str) -> np.ndarray:
    """The labels seen as (T, Z, Y, X), with length 1 for what the image has not."""
    if "T" not in axes:
        return labels[None]
    if "Z" not in axes:
        return labels[:, None]
    return labels.swapaxes(0, 1) if axes.startswith("ZT") else labels


def _number_through(frame: np.ndarray) -> None:
    """Make the labels of a frame's unlinked planes different from each other, in place."""
    highest = 0
    for plane in frame:
        count = int(plane.max(initial=0))
        plane[plane > 0] += highest
        highest += count


def _ids(before: np.ndarray, after: np.ndarray, count: int) -> np.ndarray:
    """The new value of each old label."""
    ids = np.zeros(count + 1, dtype=np.int32)
    ids[before.reshape(-1)] = after.reshape(-1)
    return ids[1:]


def finished(result: ImageResult, trained: float | None = None) -> Finished:
    """The last event of a prediction; `trained` is the diameter, in image px, that it took if it could."""
    cells = f"{result.count} cell{'' if result.count == 1 else 's'}"
    planes = f" in {len(result.planes)} planes" if len(result.planes) > 1 else ""
    rest = "" if result.complete else "; the result is partial"
    return Finished(
        f"{cells}{planes}{other_size(result.diameter, trained)}{rest}.",
        {
            "cells": result.count,
            "planes": len(result.planes),
            "complete": result.complete,
            "diameter": result.diameter,
            "trained": trained,
        },
    )


def is_of_other_size(result: dict[str, Any]) -> bool:
    """Whether an image was scaled by other cells than the model's, from what `Finished` tells of it."""
    return result["trained"] is not None and result["diameter"] != result["trained"]


def other_size(diameter: float, trained: float | None) -> str:
    """What to say where an image was scaled by other cells than those that the model was trained on."""
    if trained is None or diameter == trained:
        return ""
    return f" of about {diameter:.0f} px, where the model was trained on {trained:.0f} px"
