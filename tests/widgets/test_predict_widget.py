"""The Predict widget in a real window, with an engine that plays a script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_cupre.data.image import CellImage
from napari_cupre.events import Event, Finished, Progress, RunState, StateChanged, TileDone
from napari_cupre.prediction.labelstore import LabelStore, cells_table
from napari_cupre.project.cells import State
from napari_cupre.project.gestures import accept
from napari_cupre.service.protocol import (
    Failed,
    PlaneDone,
    PlaneRelabelled,
    PredictRequest,
    SlideGrown,
)
from napari_cupre.service.slides import is_slide_in_use
from napari_cupre.widgets.annotate_widget import AnnotateWidget
from napari_cupre.widgets.layers import source_file
from napari_cupre.widgets.predict_widget import PredictWidget
from napari_cupre.widgets.session import METADATA_KEY, Session

WAIT = 20_000


class Prediction:
    """A script: finds two cells on every plane, where the image is bright."""

    def __init__(self) -> None:
        self.engine: Any = None
        self.images: list[np.ndarray] = []
        self.fails_on = ""
        self.waits_for_stop = False
        self.result: dict[str, float] = {}

    def __call__(self, request: PredictRequest) -> Iterator[Event]:
        image = np.load(request.image)
        self.images.append(image)
        Path(request.image).unlink()
        if request.name == self.fails_on:
            yield Failed(f"{request.name} cannot be used.")
            return
        yield StateChanged(RunState.RUNNING)
        planes = image.reshape(-1, *image.shape[-2:]) if request.axes.endswith("ZYX") else image[None]
        for number, plane in enumerate(planes):
            if number == 2 and self.waits_for_stop:
                assert self.engine.stopped.wait(60)
                break
            index = {"Z": number} if request.axes.endswith("ZYX") else {}
            labels = np.zeros(plane.shape[:2], np.int32)
            labels[2:6, 2:6], labels[10:14, 10:14] = 2 * number + 1, 2 * number + 2
            yield TileDone(index, 0, 0, labels[:8])
            yield self.plane_done(index, labels, number)
            yield Progress(number + 1, len(planes))
        if request.options["link_z"]:
            yield PlaneRelabelled(
                {"Z": 1},
                np.where(labels > 0, labels - labels.max() + 2, 0).astype(np.int32),
                np.array([1, 2], np.int32),
            )
        yield Finished("done", {"cells": 2 * len(planes), "complete": True, **self.result})

    @staticmethod
    def plane_done(index: dict[str, int], labels: np.ndarray, number: int) -> PlaneDone:
        ids = np.array([2 * number + 1, 2 * number + 2], np.int32)
        boxes = np.array([[2, 2, 6, 6], [10, 10, 14, 14]], np.float32)
        scores = np.array([0.9, 0.7], np.float32)
        masks = np.ones((2, 28, 28), np.float16)
        return PlaneDone(index, labels, ids, boxes, scores, np.ones(2, np.int64), masks, 8.0)


@pytest.fixture
def prediction(viewer: Any, scripted_engine: Any, own_models: Path) -> Prediction:
    (own_models / "mine.safetensors").write_bytes(b"weights")
    script = Prediction()
    script.engine = scripted_engine(script)
    Session.of(viewer, script.engine)
    return script


@pytest.fixture
def widget(viewer: Any, prediction: Prediction) -> PredictWidget:
    viewer.add_image(
        np.arange(600, dtype=np.uint16).reshape(20, 30), name="field", scale=(0.5, 0.25), translate=(3, 4)
    )
    widget = PredictWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Predict")
    widget.model.value = "mine"
    return widget


def run(widget: PredictWidget, qtbot: Any) -> None:
    widget.button.click()
    qtbot.waitUntil(lambda: widget.job.status.state.is_over, timeout=WAIT)


def wait_in_a_stack(widget: PredictWidget, prediction: Prediction, name: str, qtbot: Any) -> None:
    """Find the cells of a stack, as far as a plane that waits."""
    widget.session.viewer.add_image(np.ones((9, 20, 20)), name=name)
    prediction.waits_for_stop = True
    widget.session.image = widget.session.images()[-1]
    widget.button.click()
    qtbot.waitUntil(lambda: widget.job.status.fraction > 0.2, timeout=WAIT)


def test_looking_twice(viewer: Any, widget: PredictWidget, prediction: Prediction, qtbot: Any) -> None:
    widget.augment.click()
    run(widget, qtbot)
    (request,) = prediction.engine.requests
    assert request.options["augment"]


def test_one_image(viewer: Any, widget: PredictWidget, prediction: Prediction, qtbot: Any) -> None:
    widget.diameter.setValue(12.5)
    widget.score.setValue(40)
    run(widget, qtbot)
    (request,) = prediction.engine.requests
    assert request.model == "mine"
    assert request.axes == "YX"
    assert request.options == {
        "diameter": 12.5,
        "score": 0.4,
        "link_z": False,
        "link_t": False,
        "augment": False,
    }
    np.testing.assert_array_equal(prediction.images[0], viewer.layers["field"].data)
    result, source = viewer.layers["field cells"], viewer.layers["field"]
    assert result.data.dtype == np.int32
    assert result.data.max() == 2
    for name in ("scale", "translate"):
        np.testing.assert_allclose(getattr(result, name), getattr(source, name))
    assert result.units == source.units
    assert result.axis_labels == source.axis_labels
    assert list(result.features["score"])[1:] == pytest.approx([0.9, 0.7])
    assert list(result.features["state"])[1:] == ["guess", "guess"]
    (plane,) = result.metadata[METADATA_KEY]["planes"]
    assert plane["boxes"].shape == (2, 4)
    assert plane["masks"].shape == (2, 28, 28)
    assert "2 cells in 1 image" in widget.result.text


def test_auto_leaves_the_diameter_to_the_model(
    widget: PredictWidget, prediction: Prediction, qtbot: Any
) -> None:
    run(widget, qtbot)
    assert prediction.engine.requests[0].options["diameter"] is None


def test_auto_shows_all_and_leaves_the_certainty_at_what_is_usual(widget: PredictWidget, qtbot: Any) -> None:
    run(widget, qtbot)
    cells = widget.session.make_cells(widget.session.image)
    assert cells.certainty == pytest.approx(0.45), "or Find cells in Annotate would show what nobody believes"
    widget.score.setValue(80)
    run(widget, qtbot)
    assert cells.certainty == pytest.approx(0.8)


def test_a_second_prediction_renews_the_guesses_in_the_same_layer(
    viewer: Any, widget: PredictWidget, qtbot: Any
) -> None:
    run(widget, qtbot)
    layer = viewer.layers["field cells"]
    layer.mode = "paint"
    run(widget, qtbot)
    run(widget, qtbot)
    assert [layer.name for layer in viewer.layers] == ["field", "field cells"]
    assert viewer.layers["field cells"] == layer, "reused and not made anew"
    assert layer.data.max() == 2
    layer.undo()
    layer.undo()
    layer.undo()
    assert not layer.data.any(), "each of them is one step of undo"


def test_a_lazy_stack_goes_plane_by_plane_and_can_be_joined(
    viewer: Any, widget: PredictWidget, prediction: Prediction, qtbot: Any
) -> None:
    stack = da.random.random((2, 6, 20, 30), chunks=(1, 1, 20, 30))[0]
    viewer.add_image(stack, name="stack", scale=(2.0, 0.5, 0.5))
    widget.session.image = widget.session.images()[-1]
    assert not widget.link_z.isHidden()
    assert widget.link_t.isHidden()
    widget.link_z.setChecked(True)
    run(widget, qtbot)
    np.testing.assert_array_equal(prediction.images[0], stack.compute())
    result = viewer.layers["stack cells"]
    assert result.data.shape == (6, 20, 30)
    np.testing.assert_allclose(result.scale, (2.0, 0.5, 0.5))
    assert len(np.unique(result.data[2])) == 3
    np.testing.assert_array_equal(result.data[0], result.data[1], "relabelled by joining")
    assert not set(np.unique(result.data[2])) & set(np.unique(result.data[1])) - {0}
    result.undo()
    assert not result.data.any(), "planes and joining are one step of undo"


def test_all_open_images_and_one_that_fails(
    viewer: Any, widget: PredictWidget, prediction: Prediction, qtbot: Any
) -> None:
    viewer.add_image(np.ones((20, 20)), name="bad")
    viewer.add_image(np.ones((20, 20)), name="good")
    prediction.fails_on = "bad"
    widget.all_images.setChecked(True)
    run(widget, qtbot)
    assert "bad cannot be used" in widget.notice.text
    assert "4 cells in 2 images" in widget.result.text
    assert "bad cells" not in viewer.layers
    assert "good cells" in viewer.layers


def test_the_number_found_is_that_of_the_guesses_to_be_seen(
    viewer: Any, widget: PredictWidget, qtbot: Any
) -> None:
    """A cell that lies on a checked one is no new guess; one below the certainty is hidden."""
    run(widget, qtbot)
    assert widget.result.text == "Found 2 cells in 1 image."
    cells = widget.session.cells_of(viewer.layers["field"])
    cells.do(lambda now: accept(now, [1]))
    run(widget, qtbot)
    assert widget.result.text == "Found 1 new cell in 1 image. 1 more lies on your own cells."
    widget.score.setValue(80)
    run(widget, qtbot)
    hidden = "1 less certain one is hidden."
    assert widget.result.text == f"Found 0 new cells in 1 image. 1 more lies on your own cells. {hidden}"


def test_what_is_odd_about_an_image_is_said(
    widget: PredictWidget, prediction: Prediction, qtbot: Any
) -> None:
    prediction.result = {"diameter": 31.0, "trained": 20.0}
    run(widget, qtbot)
    assert widget.notice.text == "field: done"
    prediction.result = {"diameter": 20.0, "trained": 20.0}
    run(widget, qtbot)
    assert widget.notice.text == ""


def test_an_image_that_cannot_be_read_is_said_and_the_others_go_on(
    viewer: Any, widget: PredictWidget, qtbot: Any
) -> None:
    calls = []

    def fail(block: np.ndarray) -> np.ndarray:
        calls.append(block.shape)
        if len(calls) > 3:  # napari has drawn it before
            raise OSError("page is truncated")
        return block

    torn = da.zeros((20, 30), chunks=20).map_blocks(fail, dtype=float, meta=np.zeros((0, 0)))
    viewer.add_image(torn, name="torn", contrast_limits=(0, 1))
    calls += [(0, 0)] * 4
    widget.all_images.setChecked(True)
    run(widget, qtbot)
    assert "torn: a part of it cannot be read (page is truncated)" in widget.notice.text
    assert "2 cells in 1 image" in widget.result.text


def test_a_slide_is_shown_from_disk_while_it_grows_and_saved_by_copying(
    viewer: Any,
    widget: PredictWidget,
    prediction: Prediction,
    qtbot: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_cupre.prediction.limits.BIG_PIXELS", 1000 * 1000)
    slide = np.zeros((1500, 1100), np.uint8)
    viewer.add_image(slide, name="slide", scale=(0.5, 0.5))
    widget.session.image = viewer.layers["slide"]
    store = LabelStore(tmp_path / "slide.zarr", CellImage.from_array(slide, "YX"))

    def script(request: PredictRequest) -> Iterator[Event]:
        Path(request.image).unlink()
        for step in range(2):
            part = np.full((10, 10), step + 1, np.int32)
            store.plane({})[100 * step : 100 * step + 10, 0:10] = part
            yield SlideGrown(str(store.path), {})
        rows = "label,x1,y1,x2,y2,score,class\n1,0,0,10,10,0.9,cell\n2,0,100,10,110,0.8,cell\n"
        cells_table(store.path).write_text(rows)
        yield Finished("2 cells in slide.zarr.", {"cells": 2, "complete": True, "path": str(store.path)})

    prediction.engine.script = script
    run(widget, qtbot)
    assert prediction.engine.requests[0].to_disk
    assert prediction.engine.requests[0].is_copy
    layer = viewer.layers["slide cells (cupre)"]
    assert layer.multiscale
    assert [level.shape for level in layer.data] == [(1500, 1100), (750, 550)]
    np.testing.assert_allclose(layer.scale, (0.5, 0.5))
    viewer.camera.zoom, viewer.camera.center = 20, (52, 2)  # so near that the finest level is shown
    qtbot.waitUntil(lambda: layer.get_value((52, 2), world=True)[1] == 2, timeout=WAIT)
    assert list(layer.features["score"]) == pytest.approx([0.9, 0.8])
    assert "2 cells in slide.zarr" in widget.notice.text
    assert is_slide_in_use(store.path), "nobody deletes what is shown"
    out = tmp_path / "saved"
    out.mkdir()
    widget.saver.save(out)
    qtbot.waitUntil(lambda: widget.session.saving.status.state.is_over, timeout=WAIT)
    assert np.asarray(zarr.open_group(out / "slide.zarr", mode="r")["0"])[100, 0] == 2
    assert (out / "slide_cells.csv").read_text() == cells_table(store.path).read_text()
    assert not list(out.glob(".*"))


def test_a_lazy_image_is_read_from_its_file_by_the_engine(tmp_path: Path) -> None:
    pixels = np.arange(90 * 80, dtype=np.uint16).reshape(90, 80)
    path = tmp_path / "image.zarr"
    zarr.create_array(path, data=pixels, chunks=(32, 32), zarr_format=2)

    def found(data: Any, file: Path | None = path) -> Path | None:
        return source_file(file, CellImage.from_array(data, "YX"))

    lazy = da.from_array(pixels, chunks=32)
    assert found(lazy) == path
    assert found(lazy, None) is None
    assert found(lazy, tmp_path / "gone.zarr") is None
    assert found(lazy + 1) is None, "other pixels"
    assert found(lazy[:80]) is None
    assert found(lazy.astype(float)) is None
    assert found(pixels) is None, "in memory, and may have been painted on"


def test_a_failure_is_one_sentence(widget: PredictWidget, prediction: Prediction, qtbot: Any) -> None:
    prediction.fails_on = "field"
    run(widget, qtbot)
    assert widget.job.status.state is RunState.FAILED
    assert widget.message.text == "field cannot be used."


def test_cancel_keeps_what_was_found(
    viewer: Any, widget: PredictWidget, prediction: Prediction, qtbot: Any
) -> None:
    wait_in_a_stack(widget, prediction, "long", qtbot)
    assert widget.button.text() == "Cancel"
    widget.button.click()
    qtbot.waitUntil(lambda: widget.job.status.state.is_over, timeout=WAIT)
    assert widget.job.status.state is RunState.STOPPED
    assert "Cancelled" in widget.result.text
    labels = viewer.layers["long cells"].data
    assert labels[0].any()
    assert not labels[-1].any()


def test_no_image_and_no_model(viewer: Any, prediction: Prediction, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_cupre.widgets.known_models.list_models", lambda: [])
    widget = PredictWidget(viewer)
    assert not widget.button.isEnabled()
    assert "Open an image" in widget.first.text()
    viewer.add_image(np.ones((20, 20)))
    widget.button.click()
    assert "no model" in widget.message.text


def test_the_trained_model_is_chosen_at_once(widget: PredictWidget, own_models: Path) -> None:
    (own_models / "newer.safetensors").write_bytes(b"weights")
    widget.session.model_added("newer")
    assert widget.model.value == "newer"


def test_the_axes_of_an_rgb_image_are_sent(
    viewer: Any, widget: PredictWidget, prediction: Prediction, qtbot: Any
) -> None:
    viewer.add_image(np.zeros((20, 30, 3), np.uint8), rgb=True, name="stained")
    widget.session.image = widget.session.images()[-1]
    run(widget, qtbot)
    assert prediction.engine.requests[0].axes == "YXS"
    assert viewer.layers["stained cells"].data.shape == (20, 30)


def test_corrections_stay_when_cells_are_found_again(viewer: Any, widget: PredictWidget, qtbot: Any) -> None:
    """Remove a guess, add a cell and accept a guess, as a person does."""
    run(widget, qtbot)
    layer = viewer.layers["field cells"]
    cells = widget.session.make_cells(widget.session.image)
    layer.fill((3, 3), 0)
    layer.data_setitem((np.array([15, 16]), np.array([20, 20])), 9)
    cells.do(lambda now: accept(now, [2]))
    mine = np.where(np.isin(layer.data, [2, 9]), layer.data, 0)
    run(widget, qtbot)
    run(widget, qtbot)
    assert len(viewer.layers) == 2
    np.testing.assert_array_equal(np.where(np.isin(layer.data, [2, 9]), layer.data, 0), mine)
    assert cells.cells.rows[9].state is State.EDITED
    assert cells.cells.rows[2].state is State.CHECKED
    assert cells.cells.count(State.GUESS) == 1, "what is accepted is not found once more"


def test_what_is_painted_while_cells_are_found_stays(
    viewer: Any, widget: PredictWidget, prediction: Prediction, qtbot: Any
) -> None:
    widget.link_z.setChecked(True)
    wait_in_a_stack(widget, prediction, "stack", qtbot)
    layer = viewer.layers["stack cells"]
    layer.data_setitem((np.array([1]), np.array([18]), np.array([18])), 7)
    widget.button.click()
    qtbot.waitUntil(lambda: widget.job.status.state.is_over, timeout=WAIT)
    assert layer.data[1, 18, 18] == 7
    prediction.waits_for_stop = False
    run(widget, qtbot)
    assert layer.data[1, 18, 18] == 7
    assert len(viewer.layers) == 3
    cells = widget.session.make_cells(widget.session.image)
    assert cells.cells.rows[7].state is State.EDITED


def test_the_annotate_dock_finds_on_the_plane_on_show_and_hides_by_the_slider(
    viewer: Any, prediction: Prediction, qtbot: Any
) -> None:
    viewer.add_image(np.ones((4, 20, 20)), name="stack")
    annotate = AnnotateWidget(viewer)
    viewer.window.add_dock_widget(annotate, name="Annotate")
    session = annotate.session
    session.set_axes(session.image, "ZYX")
    viewer.dims.set_point(0, 2)
    row = annotate.find_row
    assert row.slider.value() == 45
    row.button.click()
    qtbot.waitUntil(lambda: session.prediction.status.state.is_over, timeout=WAIT)
    (request,) = prediction.engine.requests
    assert request.axes == "YX"
    assert request.options["score"] == pytest.approx(0.2), "the slider hides what lies above"
    layer = viewer.layers["stack cells"]
    assert [plane.any() for plane in layer.data] == [False, False, True, False]
    assert annotate.status.text() == "<b>2</b> cells: 2 guesses"
    cells = session.make_cells(session.image)
    row.slider.setValue(80)
    assert annotate.status.text() == "<b>1</b> cell: 1 guess (1 less certain one is hidden)"
    assert len([n for n in cells.cells.rows if cells.visible(n)]) == 1
    assert len(prediction.engine.requests) == 1, "nothing is searched again"
    viewer.dims.set_point(0, 0)
    row.button.click()
    qtbot.waitUntil(lambda: len(prediction.engine.requests) == 2, timeout=WAIT)
    qtbot.waitUntil(lambda: session.prediction.status.state.is_over, timeout=WAIT)
    assert [plane.any() for plane in layer.data] == [True, False, True, False]
    assert cells.certainty == pytest.approx(0.8)
    layer.undo()
    assert [plane.any() for plane in layer.data] == [False, False, True, False]


def typed(box: Any, text: str) -> None:
    """Type a number and leave the box."""
    box.selectAll()
    QTest.keyClicks(box, text)
    QTest.keyClick(box, Qt.Key.Key_Return)


def test_the_cell_width_is_one_for_both_docks(
    viewer: Any, widget: PredictWidget, prediction: Prediction, qtbot: Any
) -> None:
    annotate = AnnotateWidget(viewer)
    viewer.window.add_dock_widget(annotate, name="Annotate")
    box = annotate.tool_row.size_row.number
    typed(widget.diameter, "12.5")
    assert box.value() == 12.5
    typed(box, "20")
    assert widget.diameter.value() == 20
    viewer.add_image(np.ones((20, 20)), name="other")
    assert box.value() == widget.diameter.value() == 20, "what was said stays, whichever image is on show"
    annotate.find_row.find_cells()
    qtbot.waitUntil(lambda: widget.job.status.state.is_over, timeout=WAIT)
    typed(widget.diameter, "0")
    assert box.text().startswith("auto")
    run(widget, qtbot)
    assert [each.options["diameter"] for each in prediction.engine.requests] == [20, None]


def test_the_cell_width_is_the_same_in_um_where_images_tell_their_pixel_size(
    viewer: Any, widget: PredictWidget, prediction: Prediction, qtbot: Any
) -> None:
    session = widget.session
    for name, size in (("fine", 0.25), ("coarse", 0.5)):
        viewer.add_image(np.ones((20, 20)), name=name, scale=(size, size), units=("um", "um"))
    session.image = viewer.layers["fine"]
    typed(widget.diameter, "30")
    session.image = viewer.layers["coarse"]
    assert widget.diameter.value() == 15
    session.image = viewer.layers["field"]
    assert widget.diameter.value() == 30, "nobody knows how large its pixels are"
    session.image = viewer.layers["fine"]
    assert widget.diameter.value() == 30
    widget.all_images.setChecked(True)
    run(widget, qtbot)
    asked = {each.name: each.options["diameter"] for each in prediction.engine.requests}
    assert asked == {"field": 30, "fine": 30, "coarse": 15}


def test_a_width_that_is_typed_counts_though_the_box_was_not_left(
    widget: PredictWidget, prediction: Prediction, qtbot: Any
) -> None:
    widget.diameter.selectAll()
    QTest.keyClicks(widget.diameter, "12.5")
    run(widget, qtbot)
    assert prediction.engine.requests[0].options["diameter"] == 12.5
