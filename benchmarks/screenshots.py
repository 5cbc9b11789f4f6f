"""Pictures of the three widgets for the README and the docs, taken from the real window.

Opens a sample with its annotation, trains on it, predicts, and takes a picture at each stage;
before_after.png shows the annotated sample beside the result. Under a virtual screen:

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/screenshots.py --minutes 1
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WINDOW = (1280, 820)
SAMPLE = "nuclei_field"
MORE_CELLS = 16


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as models:
        os.environ["NAPARI_CUPRE_MODELS"] = models
        take_pictures(options.sample, options.minutes, options.out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    parser.add_argument("--minutes", type=float, default=1.0, help="of training")
    parser.add_argument("--sample", default=SAMPLE, help="name of a shipped sample image")
    return parser.parse_args()


def take_pictures(sample: str, minutes: float, out: Path) -> None:
    """Go through the three widgets and save a picture of each."""
    import napari
    from napari.layers import Layer

    from napari_cupre.widgets.annotate_widget import AnnotateWidget
    from napari_cupre.widgets.predict_widget import PredictWidget
    from napari_cupre.widgets.sample_data import open_sample
    from napari_cupre.widgets.train_widget import TrainWidget

    viewer = napari.Viewer()
    viewer.window.resize(*WINDOW)
    for data in open_sample(sample):
        viewer.add_layer(Layer.create(*data))
    mark_more_cells(viewer.layers[f"{sample} cells"], sample)
    annotate = AnnotateWidget(viewer)
    viewer.window.add_dock_widget(annotate, name="Annotate")
    settle(1)
    fit(viewer)
    wait_for(lambda: "cells" in annotate.status.text())
    annotate.next_cell.click()
    settle(1)
    picture(viewer, out / "annotate.png")
    viewer.layers.selection.active = viewer.layers[sample]
    before = canvas(viewer)

    train = TrainWidget(viewer)
    viewer.window.add_dock_widget(train, name="Train")
    train.minutes.setValue(minutes)
    train.live.setChecked(True)
    train.button.click()
    wait_for(lambda: train.job.status.fraction > 0.85 or not train.job.status.is_active)
    picture(viewer, out / "train.png")
    wait_for(lambda: not train.job.status.is_active)
    train.live.setChecked(False)
    settle(1)
    picture(viewer, out / "trained.png")

    predict = PredictWidget(viewer)
    viewer.window.add_dock_widget(predict, name="Predict")
    viewer.layers[f"{sample} cells"].visible = False
    predict.button.click()
    wait_for(lambda: not predict.job.status.is_active)
    settle(1)
    picture(viewer, out / "predict.png")
    viewer.layers.selection.active = viewer.layers[sample]
    side_by_side(before, canvas(viewer), out / "before_after.png")
    viewer.close()
    settle(1)


def mark_more_cells(layer: Any, sample: str) -> None:
    """So many that some can be held out and the curve of the held-out cells is seen too."""
    from napari_cupre.io.samples import load_sample

    truth = load_sample(sample).truth
    if truth is None:
        return
    labels = layer.data.copy()
    free = [label for label in range(1, truth.max() + 1) if not labels[truth == label].any()]
    for label in free[:: max(1, len(free) // MORE_CELLS)]:
        labels[truth == label] = labels.max() + 1
    layer.data = labels


def fit(viewer: Any) -> None:
    """The whole image on the canvas, with little margin."""
    viewer.reset_view()
    settle(0.5)


def settle(seconds: float) -> None:
    """Let the window draw."""
    end = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= end)


def wait_for(condition: Callable[[], bool], limit: float = 900.0) -> None:
    """Run the window until the condition holds."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("The window did not get there; is the machine very busy?")
        QApplication.processEvents()
        time.sleep(0.01)


def picture(viewer: Any, path: Path) -> None:
    """The whole window."""
    viewer.screenshot(str(path), canvas_only=False, flash=False)


def canvas(viewer: Any) -> np.ndarray:
    """What the canvas shows, (Y, X, 4) uint8."""
    settle(0.5)
    return viewer.screenshot(canvas_only=True, flash=False)


def side_by_side(left: np.ndarray, right: np.ndarray, path: Path) -> None:
    """Two pictures of one size with a gap between them, cut to what is not black."""
    import imageio.v3 as iio

    height, width = np.minimum(left.shape[:2], right.shape[:2])
    left, right = left[:height, :width], right[:height, :width]
    lit = (left[..., :3].max(axis=2) > 0) | (right[..., :3].max(axis=2) > 0)
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    gap = np.full((rows[-1] + 1 - rows[0], 12, 3), 255, np.uint8)
    iio.imwrite(path, np.hstack([left[box][..., :3], gap, right[box][..., :3]]))


if __name__ == "__main__":
    main()
