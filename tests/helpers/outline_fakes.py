"""An engine that outlines cells by their truth, at once or when it is told to."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from napari_cupre.data.image import CellImage
from napari_cupre.events import Event, RunState, StateChanged
from napari_cupre.io.images import read_image
from napari_cupre.service.protocol import (
    Failed,
    JobEnded,
    Outlined,
    OutlineRequest,
    OutlinesReady,
    PromptRefused,
    PromptRequest,
    Request,
    Stop,
    WindowReady,
    WindowRequest,
)


class OutliningEngine:
    """Stands in for `EngineProcess`: a cell is what is brighter than `level` and connected.

    Readings of a click are the cell eroded, as it is, and dilated.
    """

    def __init__(self, folder: Path, level: float = 50.0) -> None:
        self.folder, self.level = folder, level
        self.requests: list[OutlineRequest] = []
        self.sent: list[Request] = []
        self.go = threading.Event()  # clear it to keep everyone waiting
        self.go.set()
        self.dies = False
        self.is_closed = self.is_busy = False
        self._queue: queue.SimpleQueue[Request] = queue.SimpleQueue()

    def start(self) -> None: ...

    def send(self, request: Request) -> None:
        self.sent.append(request)
        self._queue.put(request)

    def stop(self) -> None:
        self._queue.put(Stop())

    def close(self, wait: float = 0.0) -> None:
        self.is_closed = True
        self.stop()

    def events(self, request: Any) -> Iterator[Event | None]:
        self.requests.append(request)
        yield StateChanged(RunState.PREPARING, "Loading the model")
        while not self.go.wait(0.01):
            yield None
            if self.is_closed:
                return
        if self.dies:
            yield Failed("The engine process was killed by the system.")
            return
        pixels = self._pixels(request)
        yield OutlinesReady(request.diameter or 16.0)
        while True:
            try:
                asked = self._queue.get(timeout=0.02)
            except queue.Empty:
                yield None
                continue
            if isinstance(asked, Stop):
                return
            if isinstance(asked, WindowRequest):
                yield WindowReady(asked.box)
            if isinstance(asked, PromptRequest):
                yield self._answer(pixels, asked)

    def _pixels(self, request: OutlineRequest) -> np.ndarray:
        if request.is_copy:
            image = CellImage.from_array(np.load(request.image), request.axes)
        else:
            image = read_image(request.image, request.axes)
        plane = np.asarray(image.plane(request.index))
        return plane if plane.ndim == 2 else plane.mean(-1)

    def _answer(self, pixels: np.ndarray, asked: PromptRequest) -> Event:
        if asked.boxes:
            x0, y0, x1, y1 = asked.boxes[0]
            y, x = (y0 + y1) / 2, (x0 + x1) / 2
        else:
            y, x = asked.points[0]
        if not (0 <= y < pixels.shape[0] and 0 <= x < pixels.shape[1]):
            return PromptRefused(asked.number, "Point 1 lies outside the image.")
        parts, _ = ndimage.label(pixels > self.level)
        cell = (parts == parts[int(y), int(x)]) & (parts > 0)
        masks = [cell]
        if asked.all_readings and cell.any():
            masks = [
                ndimage.binary_erosion(cell, iterations=2),
                cell,
                ndimage.binary_dilation(cell, iterations=2),
            ]
        boxes, flat = [], []
        for mask in masks:
            (rows, columns) = (
                ndimage.find_objects(mask.astype(int))[0] if mask.any() else (slice(0, 1), slice(0, 1))
            )
            boxes.append([columns.start, rows.start, columns.stop, rows.stop])
            flat.append(mask[rows, columns].ravel())
        return Outlined(
            asked.number,
            np.array(boxes, np.int32),
            np.concatenate(flat),
            np.full(len(boxes), 0.9, np.float32),
            np.ones(len(boxes), np.int64),
            best=len(boxes) // 2,
        )


__all__ = ["JobEnded", "OutliningEngine"]
