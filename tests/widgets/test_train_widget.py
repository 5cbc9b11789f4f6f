"""The Train widget in a real window, with an engine that plays a script."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_cupre.data.image import CellImage, normalise
from napari_cupre.events import (
    Event,
    Finished,
    Notice,
    Preview,
    Progress,
    RunState,
    Saved,
    StateChanged,
    StepDone,
    Validated,
)
from napari_cupre.io.shot_store import load_shots
from napari_cupre.model.runs import REQUEST, nothing_learned, run_path
from napari_cupre.project import gestures
from napari_cupre.service.protocol import Failed, FinetuneRequest, PreviewRequest
from napari_cupre.widgets import train_widget
from napari_cupre.widgets.docking import to_front
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.train_widget import TrainWidget
from napari_cupre.widgets.training import Curve, TrainingJob, View

STEPS = 12
WAIT = 60_000


class Training:
    """A script: a training of a few steps whose loss falls."""

    def __init__(self) -> None:
        self.engine: Any = None
        self.shots: list = []
        self.waits_for_stop = self.loads_until_stopped = False
        self.fails = ""
        self.outcome = "better"
        self.previews_come = True

    def __call__(self, request: FinetuneRequest) -> Iterator[Event]:
        if self.loads_until_stopped:
            self.engine.stopped.wait(60)
            return
        if not request.resume:
            self.shots = load_shots(request.shots)
        if self.fails:
            yield Failed(self.fails, "Traceback: long")
            return
        run = Path(request.out).with_suffix(".run")
        run.mkdir(exist_ok=True)
        (run / REQUEST).write_text(json.dumps({"start": request.start}))
        yield StateChanged(RunState.RUNNING, "Training")
        yield Notice("Training on 5 cells.")
        done = STEPS if request.resume else 0
        for step in range(1, STEPS + 1):
            yield StepDone(done + step, step / STEPS, float(STEPS - step), {"total": 3.0 / step})
        yield Validated(STEPS, 0.5, 0.3, 0.7, 4, True)
        while self.waits_for_stop and not self.engine.stopped.wait(0.1):
            # A training goes on talking; a view is asked for between two of its events.
            yield Notice("Training on 5 cells.")
            yield from self.previews()
        yield StateChanged(RunState.STOPPING, "Choosing the best weights")
        Path(request.out).write_bytes(b"weights")
        yield Saved(request.out, "final", STEPS)
        yield Finished(
            "The new model finds 41 of 46 cells (v2: 35).",
            {"decision": {"outcome": self.outcome}, "parent": "cells"},
        )
        yield StateChanged(RunState.STOPPED if self.engine.stopped.is_set() else RunState.DONE)

    def previews(self) -> Iterator[Event]:
        while self.engine.sent:
            asked = self.engine.sent.pop()
            if isinstance(asked, PreviewRequest) and self.previews_come:
                assert asked.image.dtype == np.float32
                yield Preview(STEPS, np.full(asked.image.shape[:2], 7, np.int32))


@pytest.fixture
def training(viewer: Any, scripted_engine: Any) -> Training:
    script = Training()
    script.engine = scripted_engine(script)
    Session.of(viewer, script.engine)
    return script


@pytest.fixture
def widget(viewer: Any, training: Training, discs: tuple[np.ndarray, np.ndarray]) -> TrainWidget:
    image, labels = discs
    viewer.add_image(image, name="field", scale=(0.5, 0.5))
    viewer.add_labels(np.where(labels <= 5, labels, 0), name="field cells", scale=(0.5, 0.5))
    widget = TrainWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Train")
    return widget


def is_over(widget: TrainWidget) -> bool:
    return widget.job.status.state.is_over


def wait_in_a_training(widget: TrainWidget, training: Training, qtbot: Any) -> None:
    """Train until the first loss on held-out cells; only a stop ends it."""
    training.waits_for_stop = True
    widget.button.click()
    qtbot.waitUntil(lambda: len(widget.job.curve.validation) == 1, timeout=WAIT)


def test_a_training_from_press_to_verdict(
    viewer: Any, widget: TrainWidget, training: Training, own_models: Path, qtbot: Any
) -> None:
    widget.button.click()
    assert widget.button.text() == "Stop"
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)
    (request,) = training.engine.requests
    assert request.start == widget.start_from.value
    assert request.settings["minutes"] == 2.0
    assert Path(request.out) == own_models / "field.safetensors"
    (shot,) = training.shots
    assert shot.labels.max() == 5
    assert shot.known.any()
    assert not shot.known.all()
    assert "finds 41 of 46 cells" in widget.result.text
    assert widget.result.label.property("role") == "good"
    assert "5 cells" in widget.notice.text
    assert widget.button.text() == "Train"
    assert widget.bar.isHidden(), "how it ended is said below"
    qtbot.waitUntil(lambda: widget.curve.points == (STEPS, 1), timeout=WAIT)
    assert widget.session.model == "field"


def test_what_to_do_first_is_said_before_a_press(viewer: Any, training: Training) -> None:
    widget = TrainWidget(viewer)
    assert "Open an image" in widget.use.text()
    assert not widget.button.isEnabled()
    viewer.add_image(np.ones((20, 20)), name="field")
    assert "Nothing is annotated" in widget.use.text()
    assert not widget.button.isEnabled()
    assert widget.others.isHidden(), "no others without those to learn from"
    labels = np.zeros((20, 20), np.int32)
    labels[2:8, 2:8] = 1
    viewer.add_labels(labels, name="field cells")
    assert widget.button.isEnabled()
    widget.images.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert "ticked" in widget.use.text()
    assert not widget.button.isEnabled()


def test_models_are_never_overwritten(
    viewer: Any, widget: TrainWidget, training: Training, own_models: Path, qtbot: Any
) -> None:
    for _ in range(2):
        widget.name.setText("mine")
        widget.button.click()
        qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)
    assert [Path(r.out).stem for r in training.engine.requests] == ["mine", "mine-2"]


def test_stop_ends_the_run_and_resume_goes_on(
    viewer: Any, widget: TrainWidget, training: Training, qtbot: Any
) -> None:
    assert not widget.resume_button.isEnabled()
    wait_in_a_training(widget, training, qtbot)
    widget.button.click()
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)
    assert widget.job.status.state is RunState.STOPPED
    qtbot.waitUntil(widget.resume_button.isEnabled, timeout=WAIT)
    assert "field" in widget.resume_button.toolTip()
    widget.resume_button.click()
    qtbot.waitUntil(lambda: len(training.engine.requests) == 2, timeout=WAIT)
    widget.button.click()
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)
    first, second = training.engine.requests
    shutil.rmtree(run_path(first.out))
    widget.session.models_changed.emit()
    # the model was deleted, or another project is open
    qtbot.waitUntil(lambda: not widget.resume_button.isEnabled(), timeout=WAIT)
    assert second.resume
    assert second.out == first.out
    assert len(widget.job.curve.steps) == 2 * STEPS, "the curve goes on"


def test_a_stop_while_the_model_loads_is_answered_at_once_and_leaves_nothing(
    viewer: Any, widget: TrainWidget, training: Training, own_models: Path, qtbot: Any
) -> None:
    training.loads_until_stopped = True
    widget.button.click()
    qtbot.waitUntil(lambda: widget.bar.format() == "Loading the model", timeout=WAIT)
    for _ in range(2):
        widget.button.click()
        assert widget.button.text() == widget.bar.format() == "Stopping …"
        assert not widget.button.isEnabled()
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)
    assert widget.job.status.state is RunState.STOPPED
    assert widget.result.text == nothing_learned(False)
    assert widget.button.text() == "Train"
    assert not widget.resume_button.isEnabled()
    assert widget.next_steps.isHidden()
    assert list(own_models.iterdir()) == []


def test_what_the_engine_said_before_it_heard_of_the_stop_is_no_news(training: Training, qtbot: Any) -> None:
    job = TrainingJob(training.engine)
    job.status.state = RunState.RUNNING
    job.stop()
    job._receive(StateChanged(RunState.PREPARING, "Preparing the annotated images"))
    job._receive(Progress(1, 2, "image 1 of 2"))
    assert (job.status.state, job.status.message) == (RunState.STOPPING, "Stopping …")
    job._receive(StateChanged(RunState.STOPPING, "Choosing the best weights"))
    assert job.status.message == "Choosing the best weights"


def test_a_folder_of_models_on_a_slow_drive_does_not_hold_the_window(
    viewer: Any, widget: TrainWidget, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    threads: set[threading.Thread] = set()

    def slowly(function: Any) -> Any:
        def work(*args: Any) -> Any:
            threads.add(threading.current_thread())
            return function(*args)

        return work

    qtbot.waitUntil(lambda: not widget._errands.is_busy, timeout=WAIT)
    monkeypatch.setattr(train_widget, "free_name", slowly(train_widget.free_name))
    monkeypatch.setattr(train_widget, "resumable", slowly(train_widget.resumable))
    viewer.add_image(np.zeros((32, 32)), name="another")
    widget.session.image = viewer.layers["another"]
    widget.session.models_changed.emit()
    qtbot.waitUntil(lambda: widget.name.text() == "another", timeout=WAIT)
    qtbot.waitUntil(lambda: not widget._errands.is_busy, timeout=WAIT)
    assert threads
    assert threading.main_thread() not in threads


def test_a_run_of_an_earlier_window_can_be_resumed(
    viewer: Any, training: Training, own_models: Path, qtbot: Any
) -> None:
    (own_models / "old.run").mkdir()
    (own_models / "old.run" / REQUEST).write_text('{"start": "scratch"}')
    widget = TrainWidget(viewer)
    qtbot.waitUntil(lambda: "old" in widget.resume_button.toolTip(), timeout=WAIT)
    widget.resume_button.click()
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)
    assert Path(training.engine.requests[0].out) == own_models / "old.safetensors"


def test_the_preview_lies_on_the_view_and_leaves_the_brush_alone(
    viewer: Any, widget: TrainWidget, training: Training, qtbot: Any
) -> None:
    training.waits_for_stop = True
    viewer.layers.selection.active = viewer.layers["field cells"]
    widget.live.setChecked(True)
    widget.button.click()
    qtbot.waitUntil(lambda: "cupre preview" in viewer.layers, timeout=WAIT)
    preview = viewer.layers["cupre preview"]
    qtbot.waitUntil(lambda: preview.data.max() > 0, timeout=WAIT)
    assert preview.visible
    assert sum("preview" in layer.name for layer in viewer.layers) == 1
    np.testing.assert_allclose(preview.scale, (0.5, 0.5))
    assert viewer.layers.selection.active.name == "field cells"
    assert preview.contour > 0, "outlines, or it could not be told from the cells below"
    viewer.add_image(np.zeros((120, 120)), name="next")
    assert not preview.visible, "it shows the image before"
    widget.preview.show(View(CellImage(np.zeros((9, 9)), "YX", name="field"), {}, (0, 0, 9, 9)), preview.data)
    assert not preview.visible, "one that comes late does so too"
    qtbot.waitUntil(lambda: preview.visible, timeout=WAIT)
    assert viewer.layers[-1].name == preview.name, "over the image, whenever that was opened"
    widget.live.setChecked(False)
    assert "cupre preview" not in viewer.layers
    widget.button.click()
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)


def test_nothing_hears_of_another_layer_when_the_preview_is_made(
    viewer: Any, widget: TrainWidget, training: Training, qtbot: Any
) -> None:
    heard: list[Any] = []
    widget.live.setChecked(True)
    chosen = viewer.layers["field cells"]
    viewer.layers.selection.active = chosen
    for signal in (viewer.layers.selection.events.active, viewer.layers.selection.events.changed):
        signal.connect(lambda event: heard.append(event.type))
    wait_in_a_training(widget, training, qtbot)
    qtbot.waitUntil(lambda: "cupre preview" in viewer.layers, timeout=WAIT)
    assert heard == []
    assert set(viewer.layers.selection) == {chosen}
    chosen.mode = "paint"
    assert viewer.cursor.style.value == "circle", "the brush that napari shows is still that of the cells"
    viewer.layers.selection.active = viewer.layers["field"]
    assert heard, "the next choice is heard again"
    widget.button.click()
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)


def test_a_tick_makes_the_hidden_layer_of_the_preview_which_the_training_then_uses(
    viewer: Any, widget: TrainWidget, training: Training, qtbot: Any
) -> None:
    before = list(viewer.layers)
    viewer.layers.selection.active = viewer.layers["field cells"]
    widget.live.click()
    qtbot.waitUntil(lambda: "cupre preview" in viewer.layers, timeout=WAIT)
    assert not viewer.layers["cupre preview"].visible
    assert viewer.layers.selection.active.name == "field cells"
    widget.live.click()
    assert list(viewer.layers) == before
    widget.live.setChecked(True)  # as when the dock is opened again
    qtbot.wait(4 * train_widget.PREPARE_MS)
    assert list(viewer.layers) == before, "only a person asks for it"
    widget.live.setChecked(False)
    widget.live.click()
    qtbot.waitUntil(lambda: "cupre preview" in viewer.layers, timeout=WAIT)
    preview = viewer.layers["cupre preview"]
    wait_in_a_training(widget, training, qtbot)
    qtbot.waitUntil(lambda: preview.visible, timeout=WAIT)
    assert [layer for layer in viewer.layers if "preview" in layer.name] == [preview]
    widget.button.click()
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)


def test_several_selected_layers_stay_selected_when_the_preview_is_made(
    viewer: Any, widget: TrainWidget, training: Training, qtbot: Any
) -> None:
    widget.live.setChecked(True)
    both = {viewer.layers["field"], viewer.layers["field cells"]}
    viewer.layers.selection = both
    wait_in_a_training(widget, training, qtbot)
    qtbot.waitUntil(lambda: "cupre preview" in viewer.layers, timeout=WAIT)
    assert set(viewer.layers.selection) == both
    widget.button.click()
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)


def test_the_layer_of_the_preview_is_made_between_strokes_once_the_annotation_is_written(
    viewer: Any, widget: TrainWidget, training: Training, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    training.previews_come = False
    training.waits_for_stop = True
    buttons, writing = [Qt.MouseButton.LeftButton], threading.Event()
    monkeypatch.setattr(train_widget.QApplication, "mouseButtons", lambda: buttons[0])
    real = TrainingJob._write_shots

    def slowly(self: TrainingJob, plan: Any) -> Any:
        writing.wait(60)
        return (yield from real(self, plan))

    monkeypatch.setattr(TrainingJob, "_write_shots", slowly)
    widget.live.setChecked(True)
    widget.button.click()
    buttons[0] = Qt.MouseButton.NoButton
    qtbot.wait(4 * train_widget.PREPARE_MS)
    assert "cupre preview" not in viewer.layers, "both would be slower"
    buttons[0] = Qt.MouseButton.LeftButton
    writing.set()
    qtbot.waitUntil(lambda: len(widget.job.curve.validation) == 1, timeout=WAIT)
    qtbot.wait(4 * train_widget.PREPARE_MS)
    assert "cupre preview" not in viewer.layers, "a stroke is being drawn"
    buttons[0] = Qt.MouseButton.NoButton
    qtbot.waitUntil(lambda: "cupre preview" in viewer.layers, timeout=WAIT)
    widget.button.click()
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)


def test_a_preview_is_asked_for_as_soon_as_the_training_runs(
    viewer: Any, widget: TrainWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[View] = []
    monkeypatch.setattr(widget.job, "look_at", asked.append)
    widget._show_event(StateChanged(RunState.RUNNING, "Training"))
    assert not asked, "the live preview is off"
    widget.live.setChecked(True)
    asked.clear()
    widget._show_event(StateChanged(RunState.PREPARING, "Loading the model"))
    assert not asked
    widget._show_event(StateChanged(RunState.RUNNING, "Training"))
    assert len(asked) == 1


def test_a_preview_goes_with_its_image_once_the_training_is_over(
    viewer: Any, widget: TrainWidget, training: Training, qtbot: Any
) -> None:
    widget.live.setChecked(True)
    wait_in_a_training(widget, training, qtbot)
    qtbot.waitUntil(lambda: "cupre preview" in viewer.layers, timeout=WAIT)
    preview = viewer.layers["cupre preview"]
    qtbot.waitUntil(lambda: preview.visible, timeout=WAIT)
    widget.button.click()
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)
    assert preview in viewer.layers
    viewer.add_image(np.zeros((120, 120)), name="next")
    assert preview not in viewer.layers


def test_the_curve_is_seen_in_a_low_window_while_the_training_runs(workbench: Any, qtbot: Any) -> None:
    train = workbench.train
    workbench.viewer.add_image(np.zeros((64, 64)), name="field")
    to_front(train)
    curve = Curve()
    curve.add_step(1, 1.0)
    train.curve.show()
    train.curve.show_curve(curve)
    train.bar.show()
    for line in (train.budget, train.others):  # as where a training has been measured, and images are left
        line.setText("1 min: about 40 steps")
        line.show()
    qtbot.waitUntil(lambda: train.curve.points == (1, 0), timeout=WAIT)
    qtbot.waitUntil(lambda: bottom_of(train.curve, train) <= train.viewport().height(), timeout=5_000)


def test_steps_that_a_resumed_run_does_again_are_shown_once() -> None:
    curve = Curve()
    for step in (1, 2, 3):
        curve.add_step(step, float(step))
        curve.add_validation(step, float(step))
    curve.add_step(2, 5.0)
    assert (curve.steps, curve.training, curve.validation_steps) == ([1, 2], [1.0, 5.0], [1])
    assert len(curve.smooth) == 2
    assert curve.validation == [1.0]


def bottom_of(part: Any, dock: Any) -> int:
    return part.mapTo(dock.viewport(), part.rect().bottomLeft()).y()


def test_a_preview_that_never_came_leaves_no_empty_layer(
    viewer: Any, widget: TrainWidget, training: Training, qtbot: Any
) -> None:
    training.waits_for_stop = True
    training.previews_come = False
    widget.live.setChecked(True)
    widget.button.click()
    assert "cupre preview" not in viewer.layers  # nor is it made in the same breath as all else
    qtbot.waitUntil(lambda: "cupre preview" in viewer.layers, timeout=WAIT)
    assert not viewer.layers["cupre preview"].data.any()
    assert not viewer.layers["cupre preview"].visible, "nothing to draw yet"
    widget.button.click()
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)
    assert "cupre preview" not in viewer.layers


@pytest.mark.parametrize(
    "plane",
    [np.full((20, 30), np.nan, np.float32), np.arange(600).reshape(20, 30)],
    ids=["without a number", "grey"],
)
def test_the_view_is_sent_with_the_contrast_of_its_plane_and_what_cannot_be_shown_is_said(
    training: Training, plane: np.ndarray
) -> None:
    job = TrainingJob(training.engine)
    job.status.state = RunState.RUNNING
    job.look_at(View(CellImage(plane, "YX", name="field"), {}, (5, 10, 15, 22)))
    notice = job._send_view()
    if notice is not None:
        assert "field cannot be previewed; the training continues" in notice.message
        assert not training.engine.sent
        return
    (asked,) = training.engine.sent
    np.testing.assert_array_equal(asked.image, normalise(plane)[5:15, 10:22])


def test_an_error_is_one_sentence_with_details_on_request(
    widget: TrainWidget, training: Training, qtbot: Any
) -> None:
    training.fails = "The engine process ended unexpectedly."
    widget.button.click()
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)
    assert widget.message.text == "The engine process ended unexpectedly."
    details = widget.message.details
    assert details is not None
    assert details.text.isHidden()
    assert "Traceback" in details.text.toPlainText()
    details.more.click()
    assert not details.text.isHidden()
    assert widget.curve.isHidden(), "there is nothing to draw"
    training.fails = ""
    widget.button.click()
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)
    assert widget.job.status.state is RunState.DONE
    assert widget.message.text == ""
    assert not widget.curve.isHidden()


def test_labels_without_a_cell_are_nothing_to_learn_from(viewer: Any, training: Training) -> None:
    viewer.add_image(np.zeros((32, 32)), name="bare")
    viewer.add_labels(np.zeros((32, 32), np.int32), name="bare cells")
    widget = TrainWidget(viewer)
    assert not widget.button.isEnabled()
    widget.attempt(widget.train)
    assert "no annotated image" in widget.message.text
    assert training.engine.requests == []


def test_unticked_images_are_left_out(
    viewer: Any, widget: TrainWidget, training: Training, discs: tuple[np.ndarray, np.ndarray], qtbot: Any
) -> None:
    from qtpy.QtCore import Qt

    image, labels = discs
    viewer.add_image(image, name="second")
    viewer.add_labels(labels, name="second cells")
    widget.images.item(0).setCheckState(Qt.CheckState.Unchecked)
    viewer.add_image(image, name="third, without cells")
    assert widget.images.item(0).checkState() == Qt.CheckState.Unchecked, "the choice is kept"
    widget.button.click()
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)
    assert [shot.name for shot in training.shots] == ["second"]


def test_a_widget_opened_in_the_middle_shows_the_run(
    viewer: Any, widget: TrainWidget, training: Training, qtbot: Any
) -> None:
    wait_in_a_training(widget, training, qtbot)
    viewer.window.remove_dock_widget(widget)
    widget.deleteLater()
    again = TrainWidget(viewer)
    viewer.window.add_dock_widget(again, name="Train again")
    assert again.button.text() == "Stop"
    qtbot.waitUntil(lambda: again.curve.points == (STEPS, 1), timeout=WAIT)
    again.button.click()
    qtbot.waitUntil(lambda: is_over(again), timeout=WAIT)
    assert "finds 41 of 46" in again.result.text


def test_closing_the_window_stops_the_run_and_the_engine(
    viewer: Any, widget: TrainWidget, training: Training, qtbot: Any
) -> None:
    wait_in_a_training(widget, training, qtbot)
    viewer.close()
    qtbot.waitUntil(lambda: training.engine.is_closed, timeout=WAIT)
    assert training.engine.stopped.is_set()


def draw_cell(viewer: Any, qtbot: Any, at: int = 20) -> None:
    """Draw a cell by a gesture, and wait until it is on disk."""
    session = Session.of(viewer)
    square = np.array([[at, at], [at, at + 9], [at + 9, at + 9], [at + 9, at]], float)
    session.make_cells(session.image).do(lambda cells: gestures.draw(cells, square))
    keeper = session.keeper
    qtbot.waitUntil(lambda: keeper.project is not None and not keeper.is_dirty, timeout=WAIT)


def press_and_wait(widget: TrainWidget, qtbot: Any) -> None:
    widget.button.click()
    qtbot.waitUntil(lambda: widget.job.status.is_active, timeout=WAIT)
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)


def test_trainings_of_a_project_are_rounds_that_follow_the_best(
    viewer: Any, widget: TrainWidget, training: Training, qtbot: Any
) -> None:
    draw_cell(viewer, qtbot, at=160)
    project = widget.session.keeper.project
    assert widget.use.text() == "Uses 6 cells in 1 image"
    press_and_wait(widget, qtbot)
    first = project.folder / "models" / "v1.safetensors"
    assert first.is_file()
    assert widget.session.model == widget.start_from.value == str(first)
    assert widget.start_from.combo.currentText() == "v1 (best)"
    assert widget.next_steps.isVisible()
    assert widget.next_steps.back.isHidden()  # it started from a model that is no round

    training.outcome = "worse"
    press_and_wait(widget, qtbot)
    assert training.engine.requests[-1].start == str(first)
    assert [entry.name for entry in project.document.rounds] == ["v1", "v2"]
    assert widget.start_from.value == str(first)  # the next one starts from the best again
    assert widget.session.model.endswith("v2.safetensors")
    assert widget.next_steps.back.text() == "Back to v1"
    widget.next_steps.back.click()
    assert widget.session.model == str(first)
    qtbot.waitUntil(lambda: not widget.session.keeper.is_dirty, timeout=WAIT)
    assert [entry.parent for entry in project.document.rounds] == ["cupre", "v1"]


def test_what_a_round_held_out_never_teaches_in_later_ones(
    viewer: Any, widget: TrainWidget, training: Training, qtbot: Any
) -> None:
    for at in (140, 152, 164, 176):
        draw_cell(viewer, qtbot, at)
    press_and_wait(widget, qtbot)
    (shot,) = training.shots
    assert shot.held is None  # nine cells are too few
    draw_cell(viewer, qtbot, at=128)
    press_and_wait(widget, qtbot)
    (first,) = training.shots
    (entry,) = widget.session.keeper.project.images
    assert first.held
    assert first.held == entry.held
    draw_cell(viewer, qtbot, at=116)
    press_and_wait(widget, qtbot)
    assert [shot.held for shot in training.shots] == [first.held]


def test_images_of_the_window_teach_also_when_the_project_is_gone(
    viewer: Any, widget: TrainWidget, training: Training, qtbot: Any
) -> None:
    draw_cell(viewer, qtbot, at=160)
    plan = widget._plan("cupre", Path("new.safetensors"))
    shutil.rmtree(plan.project)
    assert [shot.labels.max() > 0 for shot in plan.shots()] == [True]


def test_a_resumed_round_remembers_where_it_started(
    viewer: Any, widget: TrainWidget, training: Training, qtbot: Any
) -> None:
    draw_cell(viewer, qtbot, at=160)
    project = widget.session.keeper.project
    run = project.folder / "models" / "v1.run"
    run.mkdir(parents=True)
    (run / REQUEST).write_text("{}")
    widget.resume_button.setEnabled(True)
    widget.resume_button.click()
    qtbot.waitUntil(lambda: is_over(widget), timeout=WAIT)
    assert [entry.parent for entry in project.document.rounds] == ["cells"]


def test_what_the_time_buys_is_said_once_it_is_known(
    widget: TrainWidget, training: Training, qtbot: Any
) -> None:
    assert widget.budget.isHidden()
    press_and_wait(widget, qtbot)
    widget.minutes.setValue(4.0)
    assert widget.budget.text().startswith("4 min: about ")
    assert widget.budget.isVisible()
    widget.device.setCurrentText("cuda")
    assert widget.budget.isHidden()


def test_images_of_the_project_that_no_layer_shows_teach_too(
    viewer: Any, widget: TrainWidget, training: Training, tmp_path: Path, qtbot: Any
) -> None:
    other = np.full((60, 70), 9, np.uint8)
    iio.imwrite(tmp_path / "other.png", other)
    draw_cell(viewer, qtbot, at=160)
    session = widget.session
    project = session.keeper.project
    stem = project.add(tmp_path / "other.png").image.stem
    cells = project.cells(stem)
    cells.apply(gestures.draw(cells, np.array([[5, 5], [5, 15], [15, 15], [15, 5]], float)))
    project.save()
    session.queue._refresh_states()
    qtbot.waitUntil(lambda: len(session.queue.taught_elsewhere()) == 1, timeout=WAIT)
    qtbot.waitUntil(lambda: widget.use.text() == "Uses 7 cells in 2 images", timeout=WAIT)
    press_and_wait(widget, qtbot)
    assert sorted(shot.labels.shape for shot in training.shots) == [(60, 70), (192, 192)]


def test_images_without_annotation_take_part_if_that_is_ticked(
    viewer: Any, widget: TrainWidget, training: Training, tmp_path: Path, qtbot: Any
) -> None:
    assert widget.others.isHidden()
    iio.imwrite(tmp_path / "other.png", np.random.default_rng(0).integers(0, 255, (60, 70), np.uint8))
    draw_cell(viewer, qtbot, at=160)
    project = widget.session.keeper.project
    project.add(tmp_path / "other.png")
    viewer.add_image(np.arange(50.0 * 50).reshape(50, 50), name="second")
    widget.session.queue._refresh_states()
    text = "Learn from 2 other images too (24 s)"
    qtbot.waitUntil(lambda: widget.others.text() == text, timeout=WAIT)
    assert widget.others.isVisible()
    assert not widget.others.isChecked()
    press_and_wait(widget, qtbot)
    assert [shot.is_unlabelled for shot in training.shots] == [False]
    qtbot.mouseClick(widget.others, Qt.MouseButton.LeftButton)
    assert widget.others.isChecked()
    press_and_wait(widget, qtbot)
    assert sorted((shot.labels.shape, shot.is_unlabelled) for shot in training.shots) == [
        ((50, 50), True),
        ((60, 70), True),
        ((192, 192), False),
    ]
    (tmp_path / "other.png").unlink()
    press_and_wait(widget, qtbot)
    assert len(training.shots) == 2
    assert not widget.job.status.error


def test_an_image_teaches_or_takes_part_without_annotation(
    viewer: Any, widget: TrainWidget, training: Training, qtbot: Any
) -> None:
    viewer.add_image(np.arange(64.0 * 64).reshape(64, 64), name="second")
    qtbot.waitUntil(lambda: "1 other image" in widget.others.text(), timeout=WAIT)
    square = np.array([[9, 9], [9, 20], [20, 20], [20, 9]], float)
    cells = widget.session.make_cells(viewer.layers["second"])
    cells.do(lambda held: gestures.draw(held, square))
    qtbot.waitUntil(widget.others.isHidden, timeout=WAIT)
