"""How the states of cells look: guesses pale, checked cells full, edited cells full within two lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from napari.utils.colormaps import CyclicLabelColormap, label_colormap
from pydantic import PrivateAttr

from napari_cupre.project.cells import Cell, Cells, State

HUES = 49
"""As many as napari has by default."""

PALE, FULL = 0.33, 0.85
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

    _kinds: np.ndarray = PrivateAttr(default_factory=lambda: np.zeros(0, np.uint8))
    _codes: np.ndarray = PrivateAttr(default_factory=lambda: np.zeros(0, np.uint8))
    _far: dict[int, int] = PrivateAttr(default_factory=dict)
    _marked: int = PrivateAttr(default=0)
    _known: tuple[np.ndarray, np.ndarray] | None = PrivateAttr(default=None)

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

    def show(self, rows: Mapping[int, Cell | None], certainty: float = 0.0) -> list[int]:
        """Remember how some cells look; None for one that is gone. Returns those that look different now."""
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
        """How the cells of an image look that is shown soon: its bytes are worked out here, in a thread."""
        made = cls.like()
        made.show(cells.rows, certainty)
        made._known = cells.labels, made._data_to_texture(cells.labels)
        return made

    @property
    def is_known(self) -> bool:
        """Whether the bytes of an image that nobody has changed since are at hand."""
        return self._known is not None

    def work_anew(self) -> None:
        """The image can be changed from now on: what was worked out ahead no longer counts."""
        self._known = None

    def mark(self, number: int) -> None:
        """Give a cell the two lines, whatever its state; 0 for none."""
        self._marked = number

    def forget(self) -> None:
        """Forget all cells."""
        self._kinds = self._codes = np.zeros(0, np.uint8)
        self._far.clear()

    def _reach(self, number: int) -> None:
        """Make the tables reach as far as a number; what has no row yet is being painted."""
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
        """The byte of each of some numbers, without edges."""
        top = int(values.max(initial=0))
        if top < LARGEST_TABLE:
            self._reach(top)
            return self._codes[values]
        numbers, places = np.unique(values, return_inverse=True)
        codes = [_code(n, kind) for n, kind in zip(map(int, numbers), self._kinds_of(numbers))]
        return np.array(codes, np.uint8)[places].reshape(values.shape)

    def _kinds_of(self, values: np.ndarray) -> np.ndarray:
        """The kind of each of some numbers, after `_codes_of`."""
        if not self._far and int(values.max(initial=0)) < len(self._kinds):
            return self._kinds[values]
        numbers, places = np.unique(values, return_inverse=True)
        kinds = [
            int(self._kinds[n]) if n < len(self._kinds) else self._far.get(n, EDITED)
            for n in map(int, numbers)
        ]
        return np.array(kinds, np.uint8)[places].reshape(values.shape)

    def _data_to_texture(self, values: Any) -> Any:
        """The byte of each pixel; overrides what napari asks before it shows labels."""
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
        """Give guesses an edge and edited cells their two lines, in place."""
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
        """Colours of labels, without edges: for thumbnails and the colour of the brush."""
        flat = np.asarray(values).astype(np.int64)
        if self.use_selection:
            return super().map(values)
        return np.asarray(self.colors)[self._codes_of(flat.reshape(-1))].reshape(*flat.shape, 4)


def _is_all_of(labels: np.ndarray, values: Any) -> bool:
    """Whether an array is a label image itself, pixel for pixel."""
    if not isinstance(values, np.ndarray) or values.shape != labels.shape or values.strides != labels.strides:
        return False
    return bool(values.__array_interface__["data"] == labels.__array_interface__["data"])


def _kind(cell: Cell, certainty: float) -> int:
    if cell.state is State.GUESS:
        return HIDDEN if cell.score < certainty else GUESS
    return CHECKED if cell.state is State.CHECKED else EDITED


def _code(number: int, kind: int) -> int:
    """Which colour a cell has."""
    if number == 0 or kind == HIDDEN:
        return 0
    return (number - 1) % HUES + 1 + (0 if kind == GUESS else HUES)


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
