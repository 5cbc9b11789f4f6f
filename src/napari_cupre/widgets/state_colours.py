"""Colours of the cells' states: guesses pale, checked cells full, edited cells full with two outlines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from napari.utils.colormaps import CyclicLabelColormap, label_colormap
from pydantic import PrivateAttr

from napari_cupre.project.cells import Cell, Cells, State

HUES = 49
"""Number of colours, as in napari's default map."""

PALE, FULL = 0.33, 0.85
"""Opacity of a guess, and of its edge or of a checked or edited cell."""

LINES = ((1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 1.0))
"""Outlines of an edited cell, from outside: one is visible on a bright image, the other on a dark one."""

HIDDEN, GUESS, CHECKED, EDITED = range(4)
LARGEST_TABLE = 4_000_000
_LINE = 2 * HUES + 1


class StateColormap(CyclicLabelColormap):
    """The colours of napari's own colour map, in shades that show the state of the cell.

    napari sends one byte per pixel to the graphics card; this class decides which byte. A map with a colour
    for each label would have to be rebuilt after every change, which takes seconds for 2,000 cells.
    """

    _kinds: np.ndarray = PrivateAttr(default_factory=lambda: np.zeros(0, np.uint8))
    _codes: np.ndarray = PrivateAttr(default_factory=lambda: np.zeros(0, np.uint8))
    _far: dict[int, int] = PrivateAttr(default_factory=dict)
    _marked: int = PrivateAttr(default=0)
    _known: tuple[np.ndarray, np.ndarray] | None = PrivateAttr(default=None)

    @classmethod
    def like(cls, colormap: Any = None) -> StateColormap:
        """Make a map with the colours of another map, by default napari's own."""
        given = colormap.colors if isinstance(colormap, CyclicLabelColormap) else None
        if given is None or len(given) <= HUES or isinstance(colormap, StateColormap):
            given = label_colormap(HUES).colors
        hues = np.array(given[1 : HUES + 1], dtype=np.float32)
        pale, full = hues.copy(), hues.copy()
        pale[:, 3], full[:, 3] = PALE, FULL
        nothing, lines = np.zeros((1, 4), np.float32), np.array(LINES, np.float32)
        return cls(colors=np.concatenate([nothing, pale, full, lines]))

    def show(self, rows: Mapping[int, Cell | None], certainty: float = 0.0) -> list[int]:
        """Update the look of some cells (None for a removed one); return those that look different now."""
        self._reach(max((number for number in rows if number < LARGEST_TABLE), default=0))
        kinds, codes, other = self._kinds, self._codes, []
        for number, cell in rows.items():
            kind = EDITED if cell is None else _kind(cell, certainty)
            if number < LARGEST_TABLE:
                if kinds[number] != kind:
                    kinds[number], codes[number] = kind, _code(number, kind)
                    other.append(number)
            elif self._far.get(number, EDITED) != kind or cell is None:
                other.append(number)
                self._far[number] = kind
                if cell is None:
                    del self._far[number]
        return other

    @classmethod
    def of(cls, cells: Cells, certainty: float) -> StateColormap:
        """Make the map of an image that will be shown soon; computes its bytes in advance, in a thread."""
        made = cls.like()
        made.show(cells.rows, certainty)
        made._known = cells.labels, made._data_to_texture(cells.labels)
        return made

    @property
    def is_known(self) -> bool:
        """Whether the bytes computed in advance are still valid."""
        return self._known is not None

    def work_anew(self) -> None:
        """Discard the bytes computed in advance, because the cells can change from now on."""
        self._known = None

    def mark(self, number: int) -> None:
        """Give a cell two outlines, whatever its state; 0 for none."""
        self._marked = number

    def forget(self) -> None:
        """Forget all cells."""
        self._kinds = self._codes = np.zeros(0, np.uint8)
        self._far.clear()

    def _reach(self, number: int) -> None:
        """Extend the tables to a number; numbers without a row yet are being painted."""
        if number < len(self._kinds):
            return
        size = max(number + 1, 2 * len(self._kinds), 256)
        more = np.arange(len(self._kinds), size)
        kinds = np.full(len(more), EDITED, np.uint8)
        codes = ((more - 1) % HUES + 1 + HUES).astype(np.uint8)
        codes[more == 0] = 0
        self._kinds = np.concatenate([self._kinds, kinds])
        self._codes = np.concatenate([self._codes, codes])

    def _codes_of(self, values: np.ndarray) -> np.ndarray:
        """Return the byte of each number, without edges."""
        top = int(values.max(initial=0))
        if top < LARGEST_TABLE:
            self._reach(top)
            return self._codes[values]
        numbers, places = np.unique(values, return_inverse=True)
        codes = [_code(n, kind) for n, kind in zip(map(int, numbers), self._kinds_of(numbers))]
        return np.array(codes, np.uint8)[places].reshape(values.shape)

    def _kinds_of(self, values: np.ndarray) -> np.ndarray:
        """Return the kind of each number; call it after `_codes_of`."""
        if not self._far and int(values.max(initial=0)) < len(self._kinds):
            return self._kinds[values]
        numbers, places = np.unique(values, return_inverse=True)
        kinds = [
            int(self._kinds[n]) if n < len(self._kinds) else self._far.get(n, EDITED)
            for n in map(int, numbers)
        ]
        return np.array(kinds, np.uint8)[places].reshape(values.shape)

    def _data_to_texture(self, values: Any) -> Any:
        """Return the byte of each pixel; overrides the method that napari calls before it shows labels."""
        if self.use_selection or values.dtype.itemsize <= 2:
            return super()._data_to_texture(values)
        if self._known is not None and _is_all_of(self._known[0], values):
            return self._known[1].copy()
        labels = np.ascontiguousarray(np.atleast_1d(values))
        if labels.any():
            codes = self._codes_of(labels)
            if labels.ndim > 1:
                self._draw_edges(labels, codes)
        else:
            codes = np.zeros(labels.shape, np.uint8)
        return codes if isinstance(values, np.ndarray) else codes[0]

    def _draw_edges(self, labels: np.ndarray, codes: np.ndarray) -> None:
        """Draw the edge of guesses and the two outlines of edited cells, in place."""
        flat, bytes_ = labels.reshape(-1), codes.reshape(-1)
        edge = np.flatnonzero(_edges(labels))
        edge = edge[bytes_[edge] > 0]
        numbers = flat[edge]
        kinds = self._kinds_of(numbers)
        is_lined = (kinds == EDITED) | ((self._marked > 0) & (numbers == self._marked))
        bytes_[edge[(kinds == GUESS) & ~is_lined]] += np.uint8(HUES)
        outer = edge[is_lined]
        bytes_[outer] = _LINE
        for step in (-labels.shape[-1], -1, 1, labels.shape[-1]):
            inner = np.clip(outer + step, 0, flat.size - 1)
            inner = inner[flat[inner] == flat[outer]]
            bytes_[inner[bytes_[inner] != _LINE]] = _LINE + 1

    def map(self, values: Any) -> Any:
        """Return the colours of labels without edges, for thumbnails and the brush."""
        flat = np.asarray(values).astype(np.int64)
        if self.use_selection:
            return super().map(values)
        return np.asarray(self.colors)[self._codes_of(flat.reshape(-1))].reshape(*flat.shape, 4)


def _is_all_of(labels: np.ndarray, values: Any) -> bool:
    """Whether an array is the whole label image, pixel for pixel."""
    if not isinstance(values, np.ndarray) or values.shape != labels.shape or values.strides != labels.strides:
        return False
    return bool(values.__array_interface__["data"] == labels.__array_interface__["data"])


def _kind(cell: Cell, certainty: float) -> int:
    if cell.state is State.GUESS:
        return HIDDEN if cell.score < certainty else GUESS
    return CHECKED if cell.state is State.CHECKED else EDITED


def _code(number: int, kind: int) -> int:
    """Return the colour byte of a cell."""
    if number == 0 or kind == HIDDEN:
        return 0
    return (number - 1) % HUES + 1 + (0 if kind == GUESS else HUES)


def _edges(labels: np.ndarray) -> np.ndarray:
    """Return the pixels with a different neighbour along the last two axes."""
    edge = np.zeros(labels.shape, bool)
    for axis in (-2, -1):
        ahead = np.swapaxes(labels, axis, -1)
        where = np.swapaxes(edge, axis, -1)
        differs = ahead[..., 1:] != ahead[..., :-1]
        where[..., 1:] |= differs
        where[..., :-1] |= differs
    return edge
