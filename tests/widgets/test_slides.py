"""A slide is annotated where a person looks: what can be seen of it is searched and outlined."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from scipy import ndimage
from window_fields import field_of_discs

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.events import Event, Finished, RunState, StateChanged, TileDone
from napari_cupre.project.cells import Cells, State
from napari_cupre.project.gestures import accept
from napari_cupre.service.protocol import PlaneDone, PredictRequest
from napari_cupre.widgets import annotation_layers, find_row
from napari_cupre.widgets.found import FoundLabels
from napari_cupre.widgets.looking import camera_of, seen_box

WAIT = 60_000
SIDE = 640
PATCHED_LARGE = 400


class BrightCells:
    """Finds what is bright and connected in what it is given."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, request: PredictRequest) -> Iterator[Event]:
        pixels = np.load(request.image)
        Path(request.image).unlink()
        self.shapes.append(pixels.shape)
        yield StateChanged(RunState.RUNNING)
        labels, count = ndimage.label(pixels > 50)
        labels = labels.astype(np.int32)
        yield TileDone({}, 0, 0, labels[: len(labels) // 2])
        ids, ones = np.arange(1, count + 1, dtype=np.int32), np.ones(count, np.float32)
        masks = np.ones((count, 28, 28), np.float16)
        boxes = np.zeros((count, 4), np.float32)
        yield PlaneDone({}, labels, ids, boxes, ones, ones.astype(np.int64), masks, 16.0)
        yield Finished("done", {"cells": count, "complete": True})


@pytest.fixture(autouse=True)
def engine(scripted_engine: Any, monkeypatch: pytest.MonkeyPatch) -> BrightCells:
    script = BrightCells()
    monkeypatch.setattr("napari_cupre.widgets.session.EngineProcess", lambda **_: scripted_engine(script))
    monkeypatch.setattr(find_row, "is_big", lambda image: max(image.plane_shape) > PATCHED_LARGE)
    monkeypatch.setattr(find_row, "LARGE", PATCHED_LARGE)
    return script


@pytest.fixture
def slide(engine: BrightCells, workbench: Any, qtbot: Any) -> Any:
    """A pyramid of discs on show at its full size, as OME-Zarr is opened."""
    pixels = field_of_discs(SIDE)[0]
    levels = [da.from_array(pixels[::step, ::step], chunks=512) for step in (1, 2, 4)]
    viewer = workbench.viewer
    layer = viewer.add_image(levels, multiscale=True, name="slide")
    session = workbench.annotate.session
    session.image, session.model = layer, "cupre"
    look(viewer, layer, qtbot, zoom=4)
    return layer


def look(viewer: Any, layer: Any, qtbot: Any, zoom: float, centre: tuple[int, int] = (300, 300)) -> Any:
    """Look at a part of the slide; what can be seen of it."""
    camera = camera_of(viewer)
    qtbot.wait(50)
    camera.center, camera.zoom = (0, *centre), zoom
    qtbot.wait(50)
    return seen_box(viewer, layer, CellImage.from_layer_data(layer.data), SIDE)


def find(workbench: Any, qtbot: Any) -> Any:
    session = workbench.annotate.session
    workbench.annotate.find_row.button.click()
    qtbot.waitUntil(lambda: session.prediction.status.state.is_over, timeout=WAIT)
    assert not session.prediction.status.error
    cells = session.make_cells(session.image)
    qtbot.waitUntil(lambda: not session.prediction.is_searching(session.image), timeout=WAIT)
    return cells


def test_what_can_be_seen_of_a_pyramid_is_less_than_its_chunks(
    workbench: Any, slide: Any, qtbot: Any
) -> None:
    canvas = workbench.viewer.window._qt_viewer.canvas.native
    top, left, bottom, right = look(workbench.viewer, slide, qtbot, zoom=4)
    assert abs((bottom - top) - canvas.height() / 4) < 3
    assert abs((right - left) - canvas.width() / 4) < 3
    assert abs((top + bottom) / 2 - 300) < 2


def test_of_a_slide_what_can_be_seen_is_searched_and_the_rest_stays(
    workbench: Any, slide: Any, engine: BrightCells, qtbot: Any
) -> None:
    truth = field_of_discs(SIDE)[1]
    assert workbench.annotate.find_row.button.text() == "Find cells in view"
    seen = look(workbench.viewer, slide, qtbot, zoom=4)
    cells = find(workbench, qtbot)
    assert max(engine.shapes[0]) < SIDE, "a part is handed over"
    assert cells.cells.shape == (SIDE, SIDE)
    top, left, bottom, right = seen
    inside = [n for n in np.unique(truth[top:bottom, left:right]) if n]
    assert len(inside) > 10
    for number in inside:
        found = np.unique(cells.cells.labels[truth == number])
        assert len(found) <= 2, "a whole cell, at its place"
        assert found.max() > 0
    areas = {n: row.area for n, row in cells.cells}
    assert min(areas.values()) > 100, "none that the sides of the part cut"
    first = set(cells.cells.numbers(State.GUESS))
    cells.do(lambda now: accept(now, [min(first)]))
    look(workbench.viewer, slide, qtbot, zoom=4, centre=(480, 480))
    cells = find(workbench, qtbot)
    assert len(cells.cells) > len(first)
    kept = sum(1 for n in cells.cells.rows if cells.cells.rows[n].box[0][0] < top + 20)
    assert kept, "guesses beside what can be seen stay"
    assert cells.cells.numbers(State.CHECKED) == [min(first)]
    cells.undo()
    assert set(cells.cells.numbers()) == first


def test_a_slide_that_is_seen_whole_is_not_searched(
    workbench: Any, slide: Any, engine: BrightCells, qtbot: Any
) -> None:
    look(workbench.viewer, slide, qtbot, zoom=0.5)
    workbench.annotate.find_row.button.click()
    assert "zoom in" in workbench.annotate.message.text
    assert engine.shapes == []


def test_a_plane_too_large_for_labels_is_annotated_by_fields(
    workbench: Any, slide: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotation_layers, "MOST_PIXELS", 1000)
    session = workbench.annotate.session
    with pytest.raises(InputError, match="Fields of this slide"):
        session.make_cells(slide)
    session.image_changed.emit(slide)
    annotate = workbench.annotate
    assert "Fields of this slide" in annotate.advice.text, "said before a press"
    buttons = (annotate.find_row.button, annotate.next_cell, *annotate.tool_row.buttons.values())
    assert not any(button.isEnabled() for button in buttons)
    annotate.attempt(annotate.find_row.find_cells)
    assert "Fields of this slide" in annotate.message.text
    assert not session.annotated()


def test_cells_at_the_sides_of_a_part_are_left_out_but_not_at_those_of_the_image() -> None:
    found = FoundLabels(CellImage.from_array(np.zeros((20, 30)), "YX"), {}, ((0, 10), (10, 30)))
    labels = np.zeros((10, 20), np.int32)
    labels[0:3, 4:6] = 1  # at the image's upper side
    labels[5:7, 0:3] = 2  # at the left side of the part alone
    labels[8:10, 8:11] = 3  # at its lower side
    labels[4:6, 18:20] = 4  # at the image's right side
    found.take(TileDone({}, 0, 0, labels))
    _, change = found.next_change(Cells.empty((20, 30)))
    cells = Cells.empty((20, 30))
    cells.apply(change)
    assert sorted(row.box for row in cells.rows.values()) == [((0, 3), (14, 16)), ((4, 6), (28, 30))]
