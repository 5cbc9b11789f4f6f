"""How long the window keeps a brush waiting, with and without a training beside it.

Strokes are real mouse events on the canvas of a real window (under `xvfb-run -a` where there is no screen):
each is timed from the mouse's move until the label is painted and the canvas drawn anew. A timer of 5 ms
beside them finds the longest time during which the window heard nothing at all.

    xvfb-run -a python benchmarks/stall.py --seconds 40 --json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from os import cpu_count, environ
from typing import Any

import numpy as np
from script import script_parser

GOALS = {"median": 50.0, "worst": 250.0, "open": 500.0}  # ms
SIZE = 1024
STROKE_PAUSE_S = 0.012  # a mouse reports about so often


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as models:
        environ["NAPARI_CUPRE_MODELS"] = models
        figures = measure(options.seconds, options.shots)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:32s} {value}")


def _options() -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="of painting, once without and once with training"
    )
    parser.add_argument("--shots", type=int, default=1, help="annotated images to train on")
    parser.add_argument("--json", action="store_true", help="figures as one line of JSON")
    return parser.parse_args()


def measure(seconds: float, shots: int) -> dict[str, Any]:
    """All figures, in ms."""
    import napari
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer()
    viewer.window.resize(1300, 900)
    add_annotated_images(viewer, shots)
    widgets, opening = open_widgets(viewer)
    _, train, _ = widgets
    settle(2.0)
    cells = viewer.layers["field 0 cells"]
    viewer.layers.selection.active = cells
    cells.mode = "paint"
    painter = Painter(viewer, cells)
    alone = painter.paint_for(seconds)

    train.minutes.setValue(60)
    train.live.click()
    settle(0.5)
    train.button.click()
    viewer.layers.selection.active = cells
    cells.mode = "paint"
    starting = painter.paint_until(lambda: len(train.job.curve.steps) > 0)
    training = painter.paint_for(seconds)
    steps = len(train.job.curve.steps)
    train.button.click()
    while train.job.status.is_active:
        QApplication.processEvents()
        time.sleep(0.01)
    viewer.close()
    return {
        "cores": cpu_count(),
        "goals_ms": GOALS,
        **{f"open_{name}_ms": value for name, value in opening.items()},
        "alone": alone,
        "while_the_engine_starts": starting,
        "while_training": training,
        "training_steps_meanwhile": steps,
    }


def add_annotated_images(viewer: Any, count: int) -> None:
    """Fields of bright discs, a third of them marked."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for number in range(count):
        image = rng.normal(20, 5, (SIZE, SIZE)).astype(np.float32)
        labels = np.zeros((SIZE, SIZE), np.int32)
        for cell, (y, x) in enumerate(rng.uniform(20, SIZE - 20, (300, 2)), start=1):
            near = (slice(int(y) - 12, int(y) + 12), slice(int(x) - 12, int(x) + 12))
            inside = (rows[near] - y) ** 2 + (columns[near] - x) ** 2 < 100
            image[near][inside] += 60
            if cell % 3 == 0:
                labels[near][inside] = cell
        viewer.add_image(image, name=f"field {number}")
        viewer.add_labels(labels, name=f"field {number} cells")


def open_widgets(viewer: Any) -> tuple[list[Any], dict[str, float]]:
    """The three docks by napari's own door: import, make, dock, show; time on the clock and of the processor.

    Unset PYTHONDONTWRITEBYTECODE and run it twice: the sources of an installed plugin are compiled.
    """
    widgets, times = [], {}
    for name in ("Annotate", "Train", "Predict"):
        start, busy = time.perf_counter(), time.thread_time()
        _, widget = viewer.window.add_plugin_dock_widget("napari-cupre", name)
        settle(0.0)
        times[name] = round(1000 * (time.perf_counter() - start), 1)
        times[f"{name}_cpu"] = round(1000 * (time.thread_time() - busy), 1)
        widgets.append(widget)
    return widgets, times


def settle(seconds: float) -> None:
    """Let the window work off what it has to do."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while True:
        QApplication.processEvents()
        if time.monotonic() >= end:
            return
        time.sleep(0.005)


class Painter:
    """Paints with the mouse, up and down the canvas, and times every move."""

    def __init__(self, viewer: Any, layer: Any) -> None:
        from qtpy.QtCore import QTimer
        from qtpy.QtWidgets import QApplication, QWidget

        tops = [w for w in QApplication.topLevelWidgets() if w.isVisible()]
        found = [w for top in tops for w in top.findChildren(QWidget) if "CanvasBackend" in type(w).__name__]
        self.canvas = found[0]
        self.layer = layer
        self.ticks: list[float] = []
        self.timer = QTimer()
        self.timer.setInterval(5)
        self.timer.timeout.connect(lambda: self.ticks.append(time.perf_counter()))
        self.position = 0

    def paint_for(self, seconds: float) -> dict[str, float]:
        end = time.monotonic() + seconds
        return self.paint_until(lambda: time.monotonic() > end)

    def paint_until(self, is_over: Any) -> dict[str, float]:
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest
        from qtpy.QtWidgets import QApplication

        self.ticks.clear()
        self.timer.start()
        moves: list[float] = []
        unpainted = 0
        while not is_over():
            QTest.mousePress(self.canvas, Qt.MouseButton.LeftButton, pos=self._next())
            before = int(np.count_nonzero(self.layer.data))
            for _ in range(15):
                start = time.perf_counter()
                QTest.mouseMove(self.canvas, self._next())
                QApplication.processEvents()
                moves.append(1000 * (time.perf_counter() - start))
                time.sleep(STROKE_PAUSE_S)
            QTest.mouseRelease(self.canvas, Qt.MouseButton.LeftButton, pos=self._next())
            unpainted += int(np.count_nonzero(self.layer.data)) == before
            settle(0.1)
        self.timer.stop()
        gaps = 1000 * np.diff(self.ticks)
        return {
            "moves": len(moves),
            "median_ms": round(float(np.median(moves)), 1),
            "p99_ms": round(float(np.percentile(moves, 99)), 1),
            "worst_ms": round(float(np.max(moves)), 1),
            "longest_silence_ms": round(float(np.max(gaps)), 1),
            "strokes_without_paint": unpainted,
        }

    def _next(self) -> Any:
        from qtpy.QtCore import QPoint

        self.position += 7
        width, height = self.canvas.width(), self.canvas.height()
        turn = self.position // (height - 120)
        y = 60 + self.position % (height - 120)
        return QPoint(width // 4 + (turn * 11) % (width // 2), y)


if __name__ == "__main__":
    main()
