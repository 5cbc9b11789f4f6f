"""Is it enough? Measured while the machine is idle, and never against a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from held_script import HeldScript

from napari_cupre.events import Event, Finished, Progress, RunState
from napari_cupre.project.gestures import draw
from napari_cupre.project.lessons import FOLDS, LessonResult, add_lesson
from napari_cupre.project.project import Project
from napari_cupre.project.rounds import add_round, next_model
from napari_cupre.service.beside import LessonRequest
from napari_cupre.service.protocol import FinetuneRequest, Request
from napari_cupre.widgets import idling

WAIT = 60_000
ONE = LessonResult("a", "cupre", 30, 0, 1.0, 40, cells=60, found=180, judged=200, invented=0)


class Trainer(HeldScript):
    """Measures what it is told to."""

    progress = Progress(1, 2, "training on 15 cells")

    def answer(self, request: Request) -> Iterator[Event]:
        if isinstance(request, LessonRequest):
            for share, cells in ((0.25, 15), (0.5, 30), (1.0, 60)):
                add_lesson(Path(request.project), replace(ONE, share=share, cells=cells))
            for fold in range(FOLDS):
                before, after = ({"field": {"iou": iou, "invented": 0}} for iou in ([0.0] * 10, [0.9] * 10))
                add_lesson(Path(request.project), replace(ONE, fold=fold, before=before, after=after))
            yield Finished("", {"left": 0})


@pytest.fixture
def trainer(training_engine: Any, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    script = Trainer()
    script.engine = training_engine(script)
    monkeypatch.setattr(idling, "_machine_is_free", lambda: True)
    monkeypatch.setattr(idling, "QUIET_S", 0.0)
    monkeypatch.setattr(idling, "TICK_MS", 10**8)
    return script


@pytest.fixture
def session(trainer: Trainer, workbench: Any, tmp_path: Path, discs: Any, qtbot: Any) -> Any:
    """A project of one image with 30 drawn cells and a round of 45 steps."""
    tifffile.imwrite(tmp_path / "field.tif", discs[0])
    with Project.create(tmp_path / "work") as project:
        project.add(tmp_path / "field.tif")
        cells = project.cells("field")
        for number in range(30):
            top, left = 6 + 30 * (number // 6), 6 + 30 * (number % 6)
            corners = [(top, left), (top, left + 12), (top + 12, left + 12), (top + 12, left)]
            cells.apply(draw(cells, np.array(corners)))
        next_model(project).parent.mkdir()
        next_model(project).write_bytes(b"weights")
        add_round(project, "cupre", {"steps": 45})
        project.save()
    session = workbench.annotate.session
    session.keeper.open(project.folder)
    qtbot.waitUntil(lambda: session.image is not None and not session.queue.is_busy, timeout=WAIT)
    qtbot.waitUntil(lambda: session.idling.found is not None, timeout=WAIT)
    return session


def test_an_idle_machine_measures_and_the_dock_says_what_follows(
    session: Any, trainer: Trainer, workbench: Any, qtbot: Any
) -> None:
    enough = workbench.train.enough
    assert not enough.sentence.isVisibleTo(workbench.train)
    line = workbench.train.cross_check
    assert "A cross-check on all your cells appears here" in line.text
    enough.button.click()
    qtbot.waitUntil(lambda: "too little has been measured" in enough.sentence.text(), timeout=WAIT)
    session.idling.tick()
    qtbot.waitUntil(lambda: session.idling.found.verdict.gain is not None, timeout=WAIT)
    assert enough.sentence.text() == session.idling.found.verdict.sentence
    assert "20 more cells would get" in enough.sentence.text(), "from three flat points nobody can tell"
    assert enough.plot.isVisibleTo(workbench.train)
    assert "finds 30 of 30 cells (cupre: 0), invents 0 (0), outlines 0.90: better." in line.text
    assert line.label.property("role") == "good"
    (request,) = trainer.engine.requests
    assert request == LessonRequest(str(session.keeper.project.folder), "cupre", 45)
    assert enough.sentence.property("role") == "plain"
    assert enough.idle.isVisibleTo(workbench.train)
    session.idling.tick()
    assert len(trainer.engine.requests) == 1, "nothing is left to be measured"


def test_a_training_ends_it_and_it_can_be_switched_off(
    session: Any, trainer: Trainer, workbench: Any, qtbot: Any
) -> None:
    trainer.may_end.clear()
    measuring, enough = session.idling, workbench.train.enough
    enough.button.click()
    measuring.tick()
    qtbot.waitUntil(lambda: "training on 15 cells (50%)" in enough.state.text(), timeout=WAIT)
    workbench.train.button.click()
    qtbot.waitUntil(lambda: workbench.train.job.status.state is RunState.DONE, timeout=WAIT)
    assert [type(each) for each in trainer.engine.requests] == [LessonRequest, FinetuneRequest]
    qtbot.waitUntil(lambda: not session.keeper.is_dirty, timeout=WAIT)
    measuring.tick()
    qtbot.waitUntil(lambda: measuring.job.status.is_active, timeout=WAIT)
    enough.idle.setChecked(False)
    qtbot.waitUntil(lambda: not measuring.job.status.is_active, timeout=WAIT)
    measuring.tick()
    assert not measuring.job.status.is_active


def test_nothing_is_measured_beside_a_person_or_before_a_training(
    session: Any, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    measuring = session.idling
    monkeypatch.setattr(idling, "QUIET_S", 1000.0)
    measuring.tick()
    monkeypatch.setattr(idling, "QUIET_S", 0.0)
    monkeypatch.setattr(idling, "_machine_is_free", lambda: False)
    measuring.tick()
    monkeypatch.setattr(idling, "_machine_is_free", lambda: True)
    session.keeper.project.document.rounds.clear()
    measuring.tick()
    assert trainer.engine.requests == []


def test_a_window_that_went_without_a_word_is_left_alone(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(session), "is_open", False)
    session.idling.tick()
    assert not session.idling._timer.isActive()
