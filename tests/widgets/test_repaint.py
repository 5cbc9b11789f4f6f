"""What changed in many places is drawn in pieces; what is found is worked out beside the window."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from window_fields import field_of_discs

from napari_cupre.data.image import PlaneIndex
from napari_cupre.events import Event, TileDone
from napari_cupre.project.cells import State
from napari_cupre.project.gestures import draw
from napari_cupre.project.strokes import renew_guesses
from napari_cupre.service.protocol import PlaneDone, PlaneRelabelled
from napari_cupre.widgets.finding import GuessSink
from napari_cupre.widgets.predicting import ImageFinished
from napari_cupre.widgets.session import Session

WAIT = 60_000
SIDE = 1200
SQUARE = np.array([(40, 40), (40, 60), (60, 60), (60, 40)])


@pytest.fixture
def session(make_napari_viewer: Any) -> Any:
    """Of a window with an image of a thousand discs."""
    viewer = make_napari_viewer()
    session = Session.of(viewer)
    session.image = viewer.add_image(np.zeros((SIDE, SIDE), np.uint8), name="field")
    yield session
    session.close()


def test_all_that_changed_is_drawn_in_the_end(session: Any, qtbot: Any) -> None:
    _, found = field_of_discs(SIDE)
    cells = session.make_cells(session.image)
    scores = np.random.default_rng(0).uniform(0, 1, found.max())
    cells.do(renew_guesses(cells.cells, found, scores))
    for certainty in (0.5, 0.2, 0.9):
        cells.certainty = certainty
    qtbot.waitUntil(lambda: not cells._repainter.is_busy, timeout=WAIT)
    shown = cells.layer._slice.image
    assert np.array_equal(shown.view, cells.layer.colormap._data_to_texture(np.asarray(shown.raw)))
    assert 0 < np.count_nonzero(shown.view) < np.count_nonzero(found) / 2


def test_what_a_person_draws_while_guesses_are_worked_out_stays(session: Any, qtbot: Any) -> None:
    _, found = field_of_discs(SIDE)
    cells = session.make_cells(session.image)
    sink = GuessSink(session, session.image, session.cell_image(session.image), "cupre")
    taken = threading.Event()
    sink(TileDone({}, 0, 0, found))
    cells.do(lambda now: draw(now, SQUARE))  # the thread works for the cells as they were
    sink.when_taken(taken.set)
    qtbot.waitUntil(taken.is_set, timeout=WAIT)
    assert cells.cells.count(State.EDITED) == 1
    assert cells.cells.count(State.GUESS) > 1000
    assert (cells.cells.labels[41:59, 41:59] == cells.cells.numbers(State.EDITED)[0]).all()


def found_plane(index: PlaneIndex, label: int) -> PlaneDone:
    """One cell in a plane, alone in its place."""
    labels = np.zeros((20, 20), np.int32)
    labels[2:8, 2:8] = label
    ids, boxes = np.array([label], np.int32), np.array([[2, 2, 8, 8]], np.float32)
    scores, masks = np.array([0.9], np.float32), np.ones((1, 28, 28), np.float16)
    return PlaneDone(index, labels, ids, boxes, scores, np.ones(1, np.int64), masks, 6.0)


def test_planes_are_linked_however_far_apart_the_events_come(make_napari_viewer: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer()
    session = Session.of(viewer)
    image = viewer.add_image(np.zeros((3, 20, 20), np.uint8), name="series")
    session.set_axes(image, "TYX")
    sink = GuessSink(session, image, session.cell_image(image), "cupre")
    done = [found_plane({"T": t}, t + 1) for t in range(3)]
    linked: list[Event] = [
        PlaneRelabelled(each.index, np.minimum(each.labels, 1), np.ones(1, np.int32)) for each in done
    ]
    for event in [*done, *linked, ImageFinished(0)]:
        taken = threading.Event()
        sink(event)
        sink.when_taken(taken.set)
        qtbot.waitUntil(taken.is_set, timeout=WAIT)
    (row,) = session.make_cells(image).cells.rows.values()
    assert row.box == ((0, 3), (2, 8), (2, 8))
    session.close()
