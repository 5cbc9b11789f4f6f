"""Look for questions about annotation that would mislead training, after the last change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.qt.threading import create_worker
from qtpy.QtCore import QObject

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError
from napari_cupre.project.boxes import whole
from napari_cupre.project.cells import Cells, Change, Region
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.questions import Kind, Question, questions
from napari_cupre.project.strokes import add_guesses
from napari_cupre.widgets.asking import Answer
from napari_cupre.widgets.cells_layer import CellsLayer
from napari_cupre.widgets.likely import likely_by_plane
from napari_cupre.widgets.looking import go_to
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.timers import single_timer
from napari_cupre.widgets.titled import titled

QUIET_MS = 400
"""Delay after the last change before the search for questions, ms."""

TOOLTIPS = {
    "Join": "One cell through all planes; its other outlines then count as checked",
    "Split": "Make each part its own cell",
    "Fill": "Make the hole part of the cell",
    "Delete": "Remove this cell",
    "Add": "Accept all of them as cells",
    "No cells": "They are background",
}

ALIKE = (Kind.GAP, Kind.PIECES, Kind.HOLES)
"""Questions that often come for many cells at once, with an answer that suits them all."""


@dataclass(frozen=True)
class _Work:
    """The input of the worker thread."""

    image: CellImage
    cells: Cells
    entry: ProjectImage
    searched: frozenset[tuple[int, ...]]
    estimated: frozenset[Region]


@dataclass(frozen=True)
class _Likely:
    questions: list[Question]
    likely: list[tuple[tuple[int, ...], np.ndarray]]


class Questioner(QObject):
    """Looks for questions about the chosen image's cells, and hands them to a listener in the GUI thread.

    Parameters
    ----------
    session : Session
        Of the viewer.
    parent : QObject
        Owner of the timers; the questioner ends with it.
    attempt : Callable
        Runs an action and shows its error.
    show : Callable
        Receives the cells and the open questions about them.
    """

    def __init__(
        self,
        session: Session,
        parent: QObject,
        attempt: Callable[[Callable[[], object]], object],
        show: Callable[[CellsLayer | None, list[Question]], None],
    ) -> None:
        super().__init__(parent)
        self._session, self._attempt, self._show = session, attempt, show
        self._seen: object = None
        self._is_looking = False
        self._timer = single_timer(self._look, QUIET_MS, parent=self)

    def start(self, *args: Any) -> None:
        """Start the search once nothing has changed for a moment."""
        self._timer.start()

    def _cells(self) -> CellsLayer | None:
        image = self._session.image
        return None if image is None else self._session.cells_of(image)

    @staticmethod
    def _state(cells: CellsLayer | None) -> object:
        """Return a value that changes whenever the questions may change."""
        if cells is None:
            return None
        return (
            id(cells),
            cells.cells.revision,
            cells.entry.certainty,
            cells.entry.answered,
            len(cells.searched),
        )

    def _look(self) -> None:
        if self._is_looking:
            return  # the result will be out of date, so the search is repeated then
        cells = self._cells()
        if cells is None:
            self._show(None, [])
            return
        now = cells.cells
        work = _Work(
            cells.reading,
            Cells(now.labels, now.rows, now.regions),
            cells.entry,
            frozenset(cells.searched),
            frozenset(cells.estimated),
        )
        self._seen, self._is_looking = self._state(cells), True
        worker = create_worker(titled(_find, "Looking for likely cells"), work, _start_thread=False)
        worker.returned.connect(self._found)
        worker.start()

    def _found(self, found: _Likely) -> None:
        self._is_looking = False
        cells = self._cells()
        if cells is None or self._state(cells) != self._seen:
            self._timer.start()
            return
        # adding cells would clear the redo history, which only the user may do
        is_due = not cells.history.next_redo
        if is_due and (found.likely or set(cells.cells.regions) - cells.estimated):
            cells.estimated |= set(cells.cells.regions)
            for place, labels in found.likely:
                box = (*((at, at + 1) for at in place), *whole(labels.shape))
                onto = cells.history.last if cells.history.last and cells.history.last.regions else None
                cells.do(lambda now, box=box, labels=labels: add_guesses(now, labels, box), onto)  # type: ignore[misc]
            self._timer.start(0)
            return
        self._show(cells, found.questions)

    # --- answers ----------------------------------------------------------------------------------

    def answers(self, cells: CellsLayer, found: Sequence[Question]) -> list[Answer]:
        """Return the buttons of the first question; one of them answers all others of its kind, too."""
        question, alike = found[0], [each for each in found if each.kind is found[0].kind]

        def act(action: Callable[[], object]) -> Callable[[], object]:
            return lambda: self._attempt(action)

        made: list[Answer] = [
            (word, TOOLTIPS.get(word, word), act(lambda remedy=remedy: cells.do(remedy)))  # type: ignore[misc]
            for word, remedy in question.remedies.items()
        ]
        if len(alike) > 1 and question.kind in ALIKE:
            (word,) = question.remedies
            tip = f"The same for all {len(alike)} such cells; Undo takes them back together"
            made.append((f"{word} all {len(alike)}", tip, act(lambda: _remedy_all(cells, alike, word))))
        made.append(("Show", "Go to it", act(lambda: go_to(self._session.viewer, cells, question.cells[0]))))
        if question.kind is not Kind.UNMARKED:
            made.append(("Keep", "It is correct as it is", act(lambda: self._keep(cells, question))))
        return made

    def _keep(self, cells: CellsLayer, question: Question) -> None:
        cells.entry.answered = (*cells.entry.answered, question.key)
        self.start()


def _remedy_all(cells: CellsLayer, alike: Sequence[Question], word: str) -> None:
    """Answer all questions in the same way, as one step of undo."""
    step: Change | None = None
    for each in alike:
        if cells.cells.rows.keys() >= set(each.cells):  # an answer before may have merged it away
            step = cells.do(each.remedies[word], step)


def _find(work: _Work) -> _Likely:
    """Search in the worker thread; if the cells change meanwhile, the result is discarded and found again."""
    try:
        likely = list(likely_by_plane(work.image, work.cells, work.searched, work.estimated))
        return _Likely(questions(work.cells, work.entry), [each for each in likely if each[1].any()])
    except (CupreError, KeyError, IndexError, ValueError):
        return _Likely([], [])
