"""How the states of cells look: guesses pale, checked cells full, edited cells full within two lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from napari.utils.colormaps import CyclicLabelColormap, label_colormap
from pydantic import PrivateAttr

from napari_cupre.project.cells import Cell, State

HUES = 49
"""As many as napari has by default."""

PALE, FULL = 0.2, 0.85
"""Opacity of a guess, and of its edge or a cell that a person vouched for."""

LINES = ((1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 1.0))
"""The edge of an edited cell, from outside: one is seen on a bright image, the other on a dark one."""

HIDDEN, GUESS, CHECKED, EDITED = range(4)
LARGEST_TABLE = 4_000_000
_LINE = 2 * HUES + 1


class StateColormap(CyclicLabelColormap):
    """Colours of napari's own colour map, in a shade that tells the state of the cell.

    napari sends a byte per pixel to the graphics card, and this decides which one. A map with a colour for
    each label would be made anew with every change, which takes seconds for 2,000 cells.
    """

    _kinds: np.ndarray = PrivateAttr(default_factory=lambda: np.full(1, EDITED, np.uint8))
    _marked: int = PrivateAttr(default=0)
    _far: dict[int, int] = PrivateAttr(default_factory=dict)

    @classmethod
    def like(cls, colormap: Any = None) -> StateColormap:
        """The states in the colours of another map; in napari's default ones without one."""
        given = colormap.colors if isinstance(colormap, CyclicLabelColormap) else None
        if given is None or len(given) <= HUES or isinstance(colormap, StateColormap):
            given = label_colormap(HUES).colors
        hues = np.array(given[1 : HUES + 1], dtype=np.float32)
        pale, full = hues.copy(), hues.copy()
        pale[:, 3], full[:, 3] = PALE, FULL
        nothing, lines = np.zeros((1, 4), np.float32), np.array(LINES, np.float32)
        return cls(colors=np.concatenate([nothing, pale, full, lines]))

    def show(self, rows: Mapping[int, Cell | None], certainty: float = 0.0) -> None:
        """Remember how some cells look; None for one that is gone."""
        if not rows:
            return
        top = max((n for n in rows if n < LARGEST_TABLE), default=0)
        if top + 1 >= len(self._kinds):  # the last entry is for numbers that no cell has yet
            more = np.full(max(top + 2, 2 * len(self._kinds)), EDITED, np.uint8)
            more[: len(self._kinds)] = self._kinds
            self._kinds = more
        for number, cell in rows.items():
            kind = EDITED if cell is None else _kind(cell, certainty)
            if number < LARGEST_TABLE:
                self._kinds[number] = kind
            elif cell is None:
                self._far.pop(number, None)
            else:
                self._far[number] = kind

    def mark(self, number: int) -> None:
        """Give a cell the two lines, whatever its state; 0 for none."""
        self._marked = number

    def forget(self) -> None:
        """Forget all cells."""
        self._kinds[:] = EDITED
        self._far.clear()

    def _kinds_of(self, values: np.ndarray) -> np.ndarray:
        if not self._far:  # beyond the table are only cells that are being painted
            return self._kinds.take(values, mode="clip")
        numbers, places = np.unique(values, return_inverse=True)
        kinds = self._kinds.take(numbers, mode="clip")
        kinds[numbers >= len(self._kinds)] = EDITED
        for position in np.flatnonzero(numbers >= LARGEST_TABLE):
            kinds[position] = self._far.get(int(numbers[position]), EDITED)
        return kinds[places].reshape(values.shape)

    def _data_to_texture(self, values: Any) -> Any:
        """The byte of each pixel; overrides what napari asks before it shows labels."""
        if self.use_selection or values.dtype.itemsize <= 2:
            return super()._data_to_texture(values)
        flat = np.atleast_1d(values)
        kinds = self._kinds_of(flat)
        shade = _SHADES[kinds]
        codes = ((flat - 1) % HUES + 1).astype(np.uint8) + shade
        if flat.ndim > 1:
            edge = _edges(flat)
            codes[edge & (kinds == GUESS)] += np.uint8(HUES)
            lined = (kinds == EDITED) | (self._marked > 0) & (flat == self._marked)
            codes[edge & lined] = _LINE
            lined &= ~edge
            codes[lined & _edges(np.where(edge, 0, flat))] = _LINE + 1
        codes[(flat == 0) | (kinds == HIDDEN)] = 0
        return codes if isinstance(values, np.ndarray) else codes[0]

    def map(self, values: Any) -> Any:
        """Colours of labels, without edges: for thumbnails and the colour of the brush."""
        flat = np.asarray(values).astype(np.int64)
        if self.use_selection:
            return super().map(values)
        return np.asarray(self.colors)[self._data_to_texture(flat.reshape(-1))].reshape(*flat.shape, 4)


_SHADES = np.array([0, 0, HUES, HUES], np.uint8)


def _kind(cell: Cell, certainty: float) -> int:
    if cell.state is State.GUESS:
        return HIDDEN if cell.score < certainty else GUESS
    return CHECKED if cell.state is State.CHECKED else EDITED


def _edges(labels: np.ndarray) -> np.ndarray:
    """Pixels whose neighbour along the last two axes belongs to something else."""
    edge = np.zeros(labels.shape, bool)
    for axis in (-2, -1):
        ahead = np.swapaxes(labels, axis, -1)
        where = np.swapaxes(edge, axis, -1)
        differs = ahead[..., 1:] != ahead[..., :-1]
        where[..., 1:] |= differs
        where[..., :-1] |= differs
    return edge
