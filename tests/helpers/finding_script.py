"""An engine that finds squares in every image, however the image reaches it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from napari_cupre.events import Event, Finished, RunState, StateChanged
from napari_cupre.io.images import read_image
from napari_cupre.service.protocol import PlaneDone, PredictRequest


class FindingScript:
    """Finds the squares at `places` that a model is said to find, 10 x 10 px each; by default two.

    Parameters
    ----------
    places : by the end of a model's name, (row, column) of the squares.
    """

    def __init__(self, places: dict[str, list[tuple[int, int]]] | None = None) -> None:
        self.places = places or {}
        self.asked: list[tuple[str, str]] = []

    def __call__(self, request: PredictRequest) -> Iterator[Event]:
        self.asked.append((Path(request.model).stem, request.name))
        if request.is_copy:
            shape = np.load(request.image).shape
            Path(request.image).unlink()
        else:
            shape = read_image(request.image).data.shape
        yield StateChanged(RunState.RUNNING)
        labels = np.zeros(shape[:2], np.int32)
        squares = self.places.get(Path(request.model).stem, [(4, 4), (40, 40)])
        for number, (row, column) in enumerate(squares, start=1):
            labels[row : row + 10, column : column + 10] = number
        ids = np.arange(1, len(squares) + 1, dtype=np.int32)
        boxes = np.array([(x, y, x + 10, y + 10) for y, x in squares], np.float32).reshape(-1, 4)
        masks = np.ones((len(ids), 28, 28), np.float16)
        scores = np.full(len(ids), 0.9, np.float32)
        yield PlaneDone({}, labels, ids, boxes, scores, np.ones(len(ids), np.int64), masks, 10.0)
        yield Finished("done", {"cells": len(ids), "complete": True})
