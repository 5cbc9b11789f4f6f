"""The Train dock proposes the model that finds most in the image in view, until a person chooses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_cupre.events import Event, Finished, Progress, RunState, StateChanged
from napari_cupre.project.cells import Cells, State
from napari_cupre.service.beside import Tried, TryRequest
from napari_cupre.service.protocol import Failed, FinetuneRequest, Request
from napari_cupre.widgets import start_line
from napari_cupre.widgets.start_trials import Marks, Trial
from napari_cupre.widgets.train_widget import TrainWidget
from napari_cupre.widgets.workbench import WorkbenchWidget

WAIT = 60_000
FINDS = {"cells": range(1, 21), "nuclei": range(1, 31), "cupre": range(5, 31)}
WORDS = "“nuclei” finds 26 cells here (“cupre” 24, “cells” 19)"


class Trier:
    """A script: each model finds some of the discs; may take long, or fail."""

    tries_models = True

    def __init__(self, labels: np.ndarray) -> None:
        self.labels, self.finds = labels, dict(FINDS)
        self.engine: Any = None
        self.may_end = threading.Event()
        self.may_end.set()
        self.fails = False

    def __call__(self, request: Request) -> Iterator[Event]:
        yield StateChanged(RunState.RUNNING)
        if isinstance(request, FinetuneRequest):
            yield Failed("No training here.")
            return
        assert isinstance(request, TryRequest)
        while not self.may_end.wait(0.02):
            yield Progress(1, 2, "")
            if self.engine.stopped.is_set():
                yield StateChanged(RunState.STOPPED)
                return
        if self.fails:
            yield Failed("The engine met an unexpected error.")
            return
        for model in request.models:
            rows, columns = request.view.shape[:2]
            found = np.where(np.isin(self.labels, self.finds[model]), self.labels, 0)[:rows, :columns]
            yield Tried(model, [0, 0, rows, columns], 1, found, np.ones(self.labels.max(), np.float32))
        yield Finished("")

    @property
    def trials(self) -> list[TryRequest]:
        return [each for each in self.engine.requests if isinstance(each, TryRequest)]


@pytest.fixture
def trier(training_engine: Any, discs: Any, monkeypatch: pytest.MonkeyPatch) -> Trier:
    monkeypatch.setattr(start_line, "TICK_MS", 30)
    script = Trier(discs[1])
    script.engine = training_engine(script)
    return script


def press(widget: Any) -> None:
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton)


@pytest.fixture
def train(trier: Trier, workbench: Any, discs: Any) -> TrainWidget:
    """The dock, with an image; it is behind Annotate still."""
    workbench.viewer.add_image(discs[0], name="field")
    return workbench.train


def open_dock(train: TrainWidget) -> None:
    from napari_cupre.widgets.docking import docked

    strip = docked(train.session, WorkbenchWidget)
    assert strip is not None
    press(strip.buttons[TrainWidget])


def says(train: TrainWidget, qtbot: Any, text: str) -> None:
    qtbot.waitUntil(lambda: train.start_line.label.text() == text, timeout=WAIT)


def test_the_model_that_finds_most_is_chosen_once_the_dock_is_seen(
    train: TrainWidget, trier: Trier, qtbot: Any
) -> None:
    qtbot.wait(200)
    assert not trier.trials
    assert train.start_from.value == "cupre"
    open_dock(train)
    says(train, qtbot, f"{start_line.CHOSEN}{WORDS}")
    assert train.start_from.value == "nuclei"
    assert not train.start_line.button.isVisible()
    qtbot.wait(300)
    (request,) = trier.trials  # once for an image
    assert request.models == ["cells", "nuclei", "cupre"]
    train.start_from.combo.setFocus()
    QTest.keyClick(train.start_from.combo, Qt.Key.Key_Up)
    qtbot.wait(300)
    assert train.start_from.value == "cupre"  # a person's choice stays
    assert train.start_line.button.text() == "Start from nuclei"
    assert train.start_line.button.isVisible()
    assert train.start_line.label.text() == WORDS
    assert request.view.ndim == 3
    assert request.diameter is None


def test_what_a_person_chose_stays_and_the_proposal_is_a_button(
    train: TrainWidget, trier: Trier, qtbot: Any
) -> None:
    trier.may_end.clear()
    open_dock(train)
    says(train, qtbot, start_line.TRYING)
    train.start_from.combo.setFocus()
    QTest.keyClick(train.start_from.combo, Qt.Key.Key_Down)
    mine = train.start_from.value
    assert mine != "cupre"
    trier.finds["cells"] = range(1, 31)
    trier.may_end.set()
    best = next(name for name in ("cells", "nuclei") if name != mine)
    trier.finds[mine] = range(1, 5)
    qtbot.waitUntil(lambda: train.start_line.button.isVisible(), timeout=WAIT)
    assert train.start_from.value == mine
    assert train.start_line.button.text() == f"Start from {best}"
    press(train.start_line.button)
    assert train.start_from.value == best
    assert not train.start_line.button.isVisible()


def test_annotation_made_later_decides_without_another_search(
    train: TrainWidget, trier: Trier, discs: Any, qtbot: Any
) -> None:
    """Cells are drawn of which one model finds all, and the one that finds most of the image only some."""
    trier.finds |= {"cells": range(1, 9), "nuclei": range(5, 31)}
    open_dock(train)
    says(train, qtbot, f"{start_line.CHOSEN}“nuclei” finds 20 cells here (“cupre” 20, “cells” 6)")
    train.session.viewer.add_labels(np.where(discs[1] <= 6, discs[1], 0), name="field cells")
    says(train, qtbot, f"{start_line.CHOSEN}“cells” finds 6 of your 6 cells here (“nuclei” 2, “cupre” 2)")
    assert train.start_from.value == "cells"
    assert len(trier.trials) == 1


def test_a_training_ends_a_trial_which_comes_again_later(
    train: TrainWidget, trier: Trier, discs: Any, qtbot: Any
) -> None:
    trier.may_end.clear()
    train.session.viewer.add_labels(np.where(discs[1] <= 6, discs[1], 0), name="field cells")
    open_dock(train)
    says(train, qtbot, start_line.TRYING)
    press(train.button)
    qtbot.waitUntil(lambda: train.job.status.state is RunState.FAILED, timeout=WAIT)
    requests = [type(each) for each in trier.engine.requests]
    assert requests.index(FinetuneRequest) == 1
    trier.may_end.set()  # it is tried again when nothing runs
    qtbot.waitUntil(lambda: bool(train.session.trials.advice), timeout=WAIT)


def test_a_search_that_fails_says_nothing_and_is_given_up(
    train: TrainWidget, trier: Trier, qtbot: Any
) -> None:
    trier.fails = True
    open_dock(train)
    qtbot.waitUntil(lambda: len(trier.trials) == 3, timeout=WAIT)
    qtbot.wait(300)
    assert len(trier.trials) == 3
    assert train.start_line.label.text() == ""
    assert train.message.text == ""
    assert train.start_from.value == "cupre"


def test_a_project_with_a_round_needs_no_proposal(
    train: TrainWidget, trier: Trier, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    monkeypatch.setattr(train.session.rounds, "start", lambda: "v1")
    train.session.models_changed.emit()
    open_dock(train)
    qtbot.wait(300)
    assert not trier.trials
    assert not train.start_line.isVisible()


@pytest.mark.parametrize("size", [9, 22])
def test_nothing_below_moves_when_the_line_says_something(qtbot: Any, size: int) -> None:
    label = start_line.RoomyLabel()
    qtbot.addWidget(label)
    label.setWordWrap(True)
    label.setStyleSheet(f"font-size: {size}px")  # as napari's settings do, after the dock is built
    label.show()
    width = label.fontMetrics().horizontalAdvance(start_line.TRYING) + 20
    empty = label.heightForWidth(width), label.minimumSizeHint().height()
    label.setText(f"{start_line.TRYING}\n{start_line.TRYING}")
    assert (label.heightForWidth(width), label.minimumSizeHint().height()) == empty
    label.setText("\n".join([start_line.TRYING] * 3))
    assert label.heightForWidth(width) > empty[0], "more lines have room, too"


def test_annotation_is_read_where_the_models_searched() -> None:
    """The part lies somewhere in the view, the view somewhere in a plane of a stack; rows are left out."""
    labels = np.zeros((3, 100, 100), np.int32)
    labels[1, 40:60, 40:60], labels[1, 70:80, 40:60], labels[2, 40:60, 70:80] = 1, 2, 3
    here = ((1, 34, 30), (1, 34, 90), (1, 90, 90), (1, 90, 30))
    elsewhere = ((0, 0, 0), (0, 90, 0), (0, 90, 90))
    states = {1: State.EDITED, 2: State.GUESS, 3: State.EDITED}
    cells = Cells.of(labels, states, regions=(here, elsewhere))
    trial = Trial(("a", "ZYX", (1,)), None, {"Z": 1}, (20, 10, 90, 100), None)
    part = np.zeros((30, 30), np.int32)
    trial.found["cells"] = Tried("cells", [10, 20, 70, 80], 2, part, np.zeros(0, np.float32))
    marks = Marks.of(cells, trial)  # rows 30 to 90 and columns 30 to 90 of the plane, every second
    assert marks is not None
    expected = np.zeros((30, 30), np.int32)
    expected[5:15, 5:15] = 1
    np.testing.assert_array_equal(marks.marked, expected)
    assert not marks.complete[:2].any()
    assert marks.complete[3:19].all()
    assert not marks.complete[20:25, 5:15].any()  # nobody said what the guess is
