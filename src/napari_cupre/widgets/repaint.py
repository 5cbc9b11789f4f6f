"""Show changed pixels of a Labels layer: a few at once, many in pieces so that the window stays responsive.

napari repaints a part of a layer after a stroke, but other code cannot ask for that: a whole layer of
4096 x 4096 px takes a quarter of a second. This module checks first whether the internals of napari that it
needs exist; without them it repaints the whole layer.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from napari.layers import Labels

from napari_cupre.widgets.timers import single_timer

AT_ONCE = 24
"""Maximum number of parts sent without dividing them."""

FEW_PIXELS = 200_000
"""Maximum size in px of all parts together to send them without dividing them."""

PIECE = 384
"""Side of a piece in px; a piece takes a few ms."""

REACH = 2
"""Margin in px: an edge depends on the next pixel, and the second line of an edge on that edge."""

BUDGET_S = 0.008
"""Longest time before the window gets its turn again."""

Flat = tuple[slice, slice]
Part = tuple[slice, ...]


class Repainter:
    """Shows what changed in a layer's data.

    Parameters
    ----------
    layer : Labels
        The layer; its colours must be up to date before `show` is called.
    """

    def __init__(self, layer: Labels) -> None:
        self._layer = layer
        self._raw: Any = None
        self._pieces: dict[tuple[int, int], None] = {}
        self._timer = single_timer(self._go_on)

    @property
    def is_busy(self) -> bool:
        """Whether some changes are not shown yet."""
        return bool(self._pieces)

    def show(self, *parts: Part) -> None:
        """Show parts of the data, given as slices with start and stop; visible parts come first."""
        if not parts:
            return
        layer = self._layer
        try:
            flat = [shown for shown in (_on_plane(layer, part) for part in parts) if shown is not None]
            raw = layer._slice.image.raw
            if layer.contour or layer._slice_input.ndisplay != 2 or not layer._slicing_state.loaded:
                layer.refresh(extent=False)
            elif len(flat) <= AT_ONCE and sum(map(_area, flat)) <= FEW_PIXELS:
                for each in flat:
                    _send(layer, raw, each)
            else:
                self._divide(raw, flat)
        except (AttributeError, IndexError, ValueError):  # another napari
            layer.refresh(extent=False)

    def close(self) -> None:
        """Show nothing more."""
        self._pieces.clear()
        with contextlib.suppress(RuntimeError):  # Qt's part may be gone
            self._timer.stop()

    def _divide(self, raw: Any, parts: list[Flat]) -> None:
        """Collect the pieces that the parts touch, and begin."""
        if raw is not self._raw:
            self._pieces.clear()  # napari has since painted another plane completely
            self._raw = raw
        for rows, columns in parts:
            for row in range(rows.start // PIECE, (rows.stop - 1) // PIECE + 1):
                for column in range(columns.start // PIECE, (columns.stop - 1) // PIECE + 1):
                    self._pieces[row, column] = None
        self._go_on()

    def _go_on(self) -> None:
        layer, end = self._layer, time.perf_counter() + BUDGET_S
        try:
            raw = layer._slice.image.raw
            if raw is not self._raw:
                self._pieces.clear()
            for row, column in _in_order(layer, self._pieces):
                del self._pieces[row, column]
                piece = tuple(
                    slice(at * PIECE, min((at + 1) * PIECE, size))
                    for at, size in zip((row, column), raw.shape)
                )
                _send(layer, raw, (piece[0], piece[1]))
                if time.perf_counter() > end:
                    break
        except (AttributeError, IndexError, ValueError):  # another napari
            self._pieces.clear()
            layer.refresh(extent=False)
        if self._pieces:
            self._timer.start()


@contextlib.contextmanager
def held_back(layer: Labels) -> Iterator[None]:
    """Send a layer to the graphics card only once, at the end of the `with` block."""
    block = getattr(layer, "_block_refresh", contextlib.nullcontext)
    with block():
        yield
    layer.refresh()


def _area(flat: Flat) -> int:
    return int((flat[0].stop - flat[0].start) * (flat[1].stop - flat[1].start))


def _in_order(layer: Labels, pieces: dict[tuple[int, int], None]) -> list[tuple[int, int]]:
    """Sort the pieces so that visible ones come first."""
    shown = list(layer._slice_input.displayed)
    (top, left), (bottom, right) = (np.asarray(corner)[shown] / PIECE for corner in layer.corner_pixels)

    def is_beside(piece: tuple[int, int]) -> bool:
        return not (top - 1 < piece[0] <= bottom and left - 1 < piece[1] <= right)

    return sorted(pieces, key=lambda piece: (is_beside(piece), piece))


def _on_plane(layer: Labels, part: Part) -> Flat | None:
    """Return the displayed rows and columns of a part; None if it lies on another plane."""
    shown = layer._slice_input.displayed
    if len(shown) < len(part):
        point = np.round(layer.world_to_data(layer._slice.slice_input.world_slice.point)).astype(int)
        for axis, place in enumerate(part):
            if axis not in shown and not place.start <= point[axis] < place.stop:
                return None
    return part[shown[0]], part[shown[1]]


def _send(layer: Labels, raw: Any, flat: Flat) -> None:
    around = tuple(slice(max(0, s.start - REACH), s.stop + REACH) for s in flat)
    inner = tuple(slice(s.start - a.start, s.stop - a.start) for s, a in zip(flat, around))
    colours = layer.colormap._data_to_texture(np.asarray(raw[around]))[inner]
    layer._slice.image.view[flat] = colours
    layer.events.labels_update(data=colours, offset=[s.start for s in flat])
