"""Cells are found while a model is trained: who computes what, and who waits for whom."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from napari_cupre.data.image import CellImage
from napari_cupre.events import Event, Finished, Progress, RunState, StateChanged, StepDone
from napari_cupre.project.gestures import draw
from napari_cupre.service.protocol import (
    FinetuneRequest,
    OutlineRequest,
    OutlinesReady,
    PlaneDone,
    PredictRequest,
    Request,
)
from napari_cupre.widgets.comparing import ComparisonPlan, Rival
from napari_cupre.widgets.tools import Tool

WAIT = 60_000
SQUARE = np.array([(10, 10), (10, 24), (24, 24), (24, 10)])


class Part:
    """What one process does: trains and outlines until it is stopped, finds when it may."""

    def __init__(self) -> None:
        self.engine: Any = None
        self.may_find = threading.Event()
        self.may_find.set()

    def __call__(self, request: Request) -> Iterator[Event]:
        yield StateChanged(RunState.RUNNING)
        if isinstance(request, FinetuneRequest):
            yield StepDone(1, 0.1, 9.0, {"total": 1.0})
            yield from self._until(self.engine.stopped)
            yield Finished("Trained.")
            yield StateChanged(RunState.STOPPED)
        elif isinstance(request, OutlineRequest):
            yield OutlinesReady(16.0)
            yield from self._until(self.engine.stopped)
            yield Finished("")
        elif isinstance(request, PredictRequest):
            yield from self._until(self.may_find)
            yield self._plane(np.load(request.image).shape)
            yield Finished("done", {"cells": 1})

    def _until(self, happened: threading.Event) -> Iterator[Event]:
        while not (happened.wait(0.02) or self.engine.stopped.is_set()):
            yield Progress(1, 2)

    @staticmethod
    def _plane(shape: tuple[int, ...]) -> PlaneDone:
        labels = np.zeros(shape, np.int32)
        labels[40:60, 40:60] = 1
        one = np.ones(1)
        boxes, masks = np.array([[40, 40, 60, 60]], np.float32), np.ones((1, 28, 28), np.float16)
        return PlaneDone(
            {}, labels, one.astype(np.int32), boxes, 0.9 * one, one.astype(np.int64), masks, 16.0
        )


@pytest.fixture
def parts(scripted_engine: Any, monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    """What the two processes do that the window makes: the first trains, the second outlines."""
    made: list[Part] = []

    def make(*_: Any, **__: Any) -> Any:
        made.append(Part())
        made[-1].engine = scripted_engine(made[-1])
        return made[-1].engine

    monkeypatch.setattr("napari_cupre.widgets.session.EngineProcess", make)
    return made


@pytest.fixture
def session(parts: list[Part], workbench: Any, discs: Any) -> Any:
    """Two images; in the first a cell is drawn."""
    for name in ("first", "second"):
        layer = workbench.viewer.add_image(discs[0], name=name)
    session = workbench.annotate.session
    session.image = layer
    session.make_cells(layer).do(lambda now: draw(now, SQUARE))
    return session


def asked(part: Part) -> list[str]:
    return [type(request).__name__ for request in part.engine.requests]


def begin_training(workbench: Any, qtbot: Any) -> Any:
    workbench.train.button.click()
    job = workbench.train.job
    qtbot.waitUntil(lambda: job.curve.steps == [1], timeout=WAIT)
    return job


def end(job: Any, qtbot: Any) -> None:
    job.stop()
    qtbot.waitUntil(lambda: job.status.state.is_over, timeout=WAIT)


def test_cells_are_found_while_a_training_goes_on(
    session: Any, parts: list[Part], workbench: Any, qtbot: Any
) -> None:
    training = begin_training(workbench, qtbot)
    find = workbench.annotate.find_row
    find.button.click()
    qtbot.waitUntil(lambda: session.prediction.status.state is RunState.DONE, timeout=WAIT)
    assert [asked(part) for part in parts] == [["FinetuneRequest"], ["PredictRequest"]]
    assert len(session.cells_of(session.image).cells) == 2
    assert training.status.state is RunState.RUNNING
    end(training, qtbot)
    assert training.status.state is RunState.STOPPED


def test_models_are_compared_while_a_training_goes_on(
    session: Any, parts: list[Part], workbench: Any, discs: Any, qtbot: Any
) -> None:
    training = begin_training(workbench, qtbot)
    comparison, rivals = session.comparison, (Rival("one", "cupre"), Rival("two", "nuclei"))
    comparison.compare(ComparisonPlan(rivals, image=CellImage(discs[0], "YX", name="first")))
    qtbot.waitUntil(lambda: comparison.status.state is RunState.DONE, timeout=WAIT)
    assert [asked(part) for part in parts] == [["FinetuneRequest"], ["PredictRequest"] * 2]
    assert len(comparison.rows) == 1
    assert training.status.state is RunState.RUNNING
    end(training, qtbot)


def test_a_process_lent_to_two_comes_back_from_the_last(
    session: Any, parts: list[Part], workbench: Any, discs: Any, qtbot: Any
) -> None:
    session.tools.take(Tool.BOX)
    prompter = session.tools.prompter
    qtbot.waitUntil(lambda: prompter.is_ready, timeout=WAIT)
    training = begin_training(workbench, qtbot)
    parts[1].may_find.clear()
    comparison, rivals = session.comparison, (Rival("one", "cupre"), Rival("two", "nuclei"))
    comparison.compare(ComparisonPlan(rivals, image=CellImage(discs[0], "YX", name="first")))
    qtbot.waitUntil(lambda: asked(parts[1])[-1] == "PredictRequest", timeout=WAIT)
    workbench.annotate.find_row.button.click()
    qtbot.waitUntil(lambda: prompter._borrowers == 2, timeout=WAIT)
    parts[1].may_find.set()
    for job in (comparison, session.prediction):
        qtbot.waitUntil(lambda job=job: job.status.state is RunState.DONE, timeout=WAIT)
    qtbot.waitUntil(lambda: prompter.is_ready, timeout=WAIT)
    assert asked(parts[1]) == ["OutlineRequest", *["PredictRequest"] * 3, "OutlineRequest"]
    end(training, qtbot)


def test_without_a_training_the_process_that_outlines_is_left_alone(
    session: Any, parts: list[Part], workbench: Any, qtbot: Any
) -> None:
    workbench.annotate.find_row.button.click()
    qtbot.waitUntil(lambda: session.prediction.status.state is RunState.DONE, timeout=WAIT)
    assert [asked(part) for part in parts] == [["PredictRequest"], []]


def test_outlining_lends_its_process_and_takes_it_back(
    session: Any, parts: list[Part], workbench: Any, qtbot: Any
) -> None:
    prompter = session.tools.prompter
    session.tools.take(Tool.BOX)
    qtbot.waitUntil(lambda: prompter.is_ready, timeout=WAIT)
    training = begin_training(workbench, qtbot)
    parts[1].may_find.clear()
    workbench.annotate.find_row.button.click()
    qtbot.waitUntil(lambda: asked(parts[1])[-1] == "PredictRequest", timeout=WAIT)
    prompter.ask(point=(17.0, 17.0))
    assert "once the cells are found" in prompter.status
    assert prompter.is_waiting
    parts[1].may_find.set()
    qtbot.waitUntil(lambda: prompter.is_ready, timeout=WAIT)
    assert asked(parts[1])[-2:] == ["PredictRequest", "OutlineRequest"]
    qtbot.waitUntil(lambda: bool(parts[1].engine.sent), timeout=WAIT)
    end(training, qtbot)


def test_a_search_is_stopped_and_the_training_is_not(
    session: Any, parts: list[Part], workbench: Any, qtbot: Any
) -> None:
    training = begin_training(workbench, qtbot)
    parts[1].may_find.clear()
    workbench.annotate.find_row.find_cells()
    qtbot.waitUntil(lambda: asked(parts[1]) == ["PredictRequest"], timeout=WAIT)
    end(session.prediction, qtbot)
    assert not parts[0].engine.stopped.is_set()
    assert training.status.state is RunState.RUNNING
    end(training, qtbot)


def test_a_training_waits_for_one_image_and_no_more(
    session: Any, parts: list[Part], workbench: Any, qtbot: Any
) -> None:
    parts[0].may_find.clear()
    workbench.predict.all_images.setChecked(True)
    workbench.predict.button.click()
    qtbot.waitUntil(lambda: asked(parts[0]) == ["PredictRequest"], timeout=WAIT)
    workbench.train.button.click()
    training = workbench.train.job
    qtbot.waitUntil(lambda: "being searched" in training.status.message, timeout=WAIT)
    parts[0].may_find.set()
    qtbot.waitUntil(lambda: training.curve.steps == [1], timeout=WAIT)
    qtbot.waitUntil(lambda: session.prediction.status.state is RunState.DONE, timeout=WAIT)
    assert [asked(part) for part in parts] == [["PredictRequest", "FinetuneRequest"], ["PredictRequest"]]
    end(training, qtbot)


def test_a_training_that_waits_can_be_stopped(
    session: Any, parts: list[Part], workbench: Any, qtbot: Any
) -> None:
    parts[0].may_find.clear()
    workbench.annotate.find_row.button.click()
    qtbot.waitUntil(lambda: asked(parts[0]) == ["PredictRequest"], timeout=WAIT)
    workbench.train.button.click()
    training = workbench.train.job
    qtbot.waitUntil(lambda: "being searched" in training.status.message, timeout=WAIT)
    end(training, qtbot)
    assert training.status.state is RunState.STOPPED
    assert session.prediction.status.is_active
    parts[0].may_find.set()
    qtbot.waitUntil(lambda: session.prediction.status.state is RunState.DONE, timeout=WAIT)
    assert asked(parts[0]) == ["PredictRequest"]


def test_more_jobs_wait_than_the_machine_has_cores(qtbot: Any) -> None:
    """On two cores a training and an outline kept everything else waiting, saving included."""
    from qtpy.QtCore import QThreadPool

    from napari_cupre.widgets.background import Job

    pool = QThreadPool.globalInstance()
    most, end = pool.maxThreadCount(), threading.Event()

    def stream() -> Iterator[Event | None]:
        while not end.wait(0.02):
            yield None

    jobs = [Job(str(number)) for number in range(most + 1)]
    for job in jobs:
        job.start(stream)
    last = Job("last")
    last.start(lambda: iter([Finished("done")]))
    qtbot.waitUntil(lambda: last.status.state is RunState.DONE, timeout=WAIT)
    end.set()
    qtbot.waitUntil(lambda: not any(job.status.is_active for job in jobs), timeout=WAIT)
    assert pool.maxThreadCount() == most
