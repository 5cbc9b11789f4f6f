"""Annotation that tests start from, made without the canvas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from napari_cupre.project.cells import Cells, Change, State
from napari_cupre.project.strokes import renew_guesses


def in_state(cells: Cells, numbers: Iterable[int], state: State | str) -> Change:
    """Cells in another state."""
    rows = {n: (cells.row(n), replace(cells.row(n), state=State(state))) for n in numbers}
    return Change(f"Mark as {state}", rows=dict(rows))


def with_region(cells: Cells, corners: Iterable[Sequence[float]]) -> Change:
    """One more region."""
    region = tuple(tuple(float(value) for value in corner) for corner in corners)
    return Change("Mark a region as complete", regions=(cells.regions, (*cells.regions, region)))


def guesses_of(found: np.ndarray, scores: Sequence[float] = ()) -> Cells:
    """Cells of an image that nobody looked at yet: only guesses."""
    cells = Cells.empty(np.shape(found))
    cells.apply(renew_guesses(cells, found, scores))
    return cells
