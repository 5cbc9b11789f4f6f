"""The whole path in a real window, engine and all: sample, brush, Train, curve, Predict, Stop, Resume."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_cupre.evaluation import evaluate
from napari_cupre.events import RunState
from napari_cupre.io.samples import load_sample
from napari_cupre.model.zoo import SCRATCH, bundled_path
from napari_cupre.widgets import sample_data
from napari_cupre.widgets.annotate_widget import AnnotateWidget
from napari_cupre.widgets.predict_widget import PredictWidget
from napari_cupre.widgets.train_widget import TrainWidget

SAMPLE = "nuclei_large"
SCALE = (0.65, 0.65)
PATIENCE = 280_000  # ms; torch is imported in the child, perhaps on a busy machine
CELLS_BY_HAND = 6

Docks = tuple[AnnotateWidget, TrainWidget, PredictWidget]


@pytest.fixture
def widgets(viewer: Any) -> Docks:
    (data, kwargs, _), *_ = sample_data.open_sample(SAMPLE)
    viewer.add_image(data, **kwargs | {"scale": SCALE})
    made = AnnotateWidget(viewer), TrainWidget(viewer), PredictWidget(viewer)
    for name, widget in zip(("Annotate", "Train", "Predict"), made):
        viewer.window.add_dock_widget(widget, name=name)
    return made


def paint_by_hand(annotate: AnnotateWidget, truth: np.ndarray) -> None:
    """Paint some cells of the truth as the layer's own brush does, each with the next number."""
    annotate.next_cell.click()
    cells = annotate.session.viewer.layers[f"{SAMPLE} cells"]
    areas = np.bincount(truth.reshape(-1))
    largest = [label for label in np.argsort(areas)[::-1] if label != 0][:CELLS_BY_HAND]
    for label in largest:
        annotate.next_cell.click()
        cells.data_setitem(np.nonzero(truth == label), cells.selected_label)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_from_brush_to_every_cell(viewer: Any, widgets: Docks, own_models: Path, qtbot: Any) -> None:
    annotate, train, predict = widgets
    truth = load_sample(SAMPLE).truth
    assert truth is not None
    paint_by_hand(annotate, truth)
    qtbot.waitUntil(lambda: f"<b>{CELLS_BY_HAND}</b> cells" in annotate.status.text(), timeout=PATIENCE)

    # train
    if not bundled_path().is_file():
        train.start_from.value = SCRATCH
    train.minutes.setValue(0.1)
    train.button.click()
    qtbot.waitUntil(lambda: train.job.status.state.is_over, timeout=PATIENCE)
    assert train.job.status.state is RunState.DONE, train.job.status
    qtbot.waitUntil(lambda: train.curve.points[0] >= 1, timeout=PATIENCE)
    assert train.result.text
    models = train.session.rounds.folder
    assert models is not None
    assert (models / "v1.safetensors").is_file()

    # predict
    assert predict.model.value == str(models / "v1.safetensors")
    predict.button.click()
    qtbot.waitUntil(lambda: predict.job.status.state.is_over, timeout=PATIENCE)
    assert predict.job.status.state is RunState.DONE, predict.job.status
    if bundled_path().is_file():
        result = viewer.layers[f"{SAMPLE} cells"]
        np.testing.assert_allclose(result.scale, SCALE)
        assert result.data.dtype == np.int32
        assert evaluate([truth], [np.asarray(result.data)]).ap50 > 0.5

    stop_resume_and_close(viewer, train, models, qtbot)


def stop_resume_and_close(viewer: Any, train: TrainWidget, models: Path, qtbot: Any) -> None:
    train.minutes.setValue(60)
    train.button.click()
    qtbot.waitUntil(lambda: train.job.status.is_active, timeout=PATIENCE)
    qtbot.waitUntil(lambda: train.job.curve.steps[-1:] >= [1], timeout=PATIENCE)
    train.button.click()
    qtbot.waitUntil(lambda: train.job.status.state.is_over, timeout=PATIENCE)
    assert train.job.status.state is RunState.STOPPED
    assert (models / "v2.safetensors").is_file()

    stopped_at = train.job.curve.steps[-1]
    qtbot.waitUntil(train.resume_button.isEnabled, timeout=PATIENCE)
    train.resume_button.click()
    qtbot.waitUntil(lambda: train.job.curve.steps[-1] > stopped_at, timeout=PATIENCE)

    # the window is closed in the middle: the engine saves and leaves
    state = models / "v2.run" / "state.safetensors"
    before = state.stat().st_mtime_ns
    exchange = train.session.engine.folder
    viewer.close()
    qtbot.waitUntil(lambda: state.stat().st_mtime_ns > before, timeout=PATIENCE)
    qtbot.waitUntil(lambda: not exchange.exists(), timeout=PATIENCE)


def write_small_model(path: Path) -> None:
    """Random weights, written by another process: this one shows a window and never imports torch.

    It names the diameter of the cells: estimating it by random weights took most of the test's time.
    """
    code = (
        "import sys; from pathlib import Path\n"
        "from napari_cupre.model.checkpoint import new_model, save_model\n"
        "save_model(new_model('tiny').copy(diameter=24.0), Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cells_are_found_while_a_model_is_trained(
    viewer: Any, widgets: Docks, own_models: Path, qtbot: Any
) -> None:
    annotate, train, _ = widgets
    write_small_model(own_models / "small.safetensors")
    train.session.model_added("small")
    train.start_from.value = "small"
    paint_by_hand(annotate, load_sample(SAMPLE).truth)
    train.minutes.setValue(60)
    train.button.click()
    qtbot.waitUntil(lambda: train.job.curve.steps[-1:] >= [1], timeout=PATIENCE)
    annotate.find_row.button.click()
    prediction = annotate.session.prediction
    qtbot.waitUntil(lambda: prediction.status.state.is_over, timeout=PATIENCE)
    assert prediction.status.state is RunState.DONE, prediction.status
    assert train.job.status.state is RunState.RUNNING
    steps = train.job.curve.steps[-1]
    qtbot.waitUntil(lambda: train.job.curve.steps[-1] > steps, timeout=PATIENCE)
    train.button.click()
    qtbot.waitUntil(lambda: train.job.status.state.is_over, timeout=PATIENCE)
    assert train.job.status.state is RunState.STOPPED
