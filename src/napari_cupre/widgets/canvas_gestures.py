"""Mouse and key gestures on cells on the canvas: accept, delete, merge, go to the next guess."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_info, show_warning
from napari.viewer import Viewer

from napari_cupre.errors import CupreError
from napari_cupre.project.cells import State
from napari_cupre.project.gestures import accept, delete, merge, reject
from napari_cupre.widgets.cells_layer import CellsLayer
from napari_cupre.widgets.looking import check_flat, go_to, guesses_on_show, view_of
from napari_cupre.widgets.pointer import Pointer
from napari_cupre.widgets.session_part import SessionPart
from napari_cupre.widgets.shortcuts import key_of

if TYPE_CHECKING:
    from napari_cupre.widgets.session import Session

STILL = 4
"""A press that moved fewer px than this on the canvas is a click."""

NOWHERE = (-2.0, 0)
DELETE, MERGE = "Control", "Alt"

UNDO, REDO = "Control-Z", "Control-Shift-Z"
"""napari's own mode, which exists only for Labels layers."""


class Gestures(SessionPart):
    """The gestures on cells in a viewer; they work while the image or its layer of cells is selected."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.last = 0
        """Number of the cell touched last; *merge* joins another cell to it."""
        self._pointer = Pointer(session)
        self._places: weakref.WeakKeyDictionary[CellsLayer, tuple[float, int]] = weakref.WeakKeyDictionary()
        session.viewer.mouse_drag_callbacks.append(self._pressed)
        actions: dict[str, Callable[[], object]] = {
            "accept": self.accept,
            "accept_all": self.accept_all,
            "reject": self.reject,
            "merge": self.merge,
            "next_guess": lambda: self.step(1),
            "previous_guess": lambda: self.step(-1),
        }
        for name, action in actions.items():
            session.shortcuts.offer(name, action)
        for key, action in ((UNDO, self.undo), (REDO, self.redo)):
            session.viewer.bind_key(key, _key(action), overwrite=True)
        session.cells_changed.connect(self._remember)

    @property
    def cells(self) -> CellsLayer | None:
        """Return the cells of the selected layer; None if it has none."""
        active = self._session.viewer.layers.selection.active
        found = [x for x in self._session.all_cells() if active in (x.layer, x.image)]
        return found[0] if found else None

    def forget(self, cells: CellsLayer | None) -> None:
        """Forget the last cell, because a layer of cells now shows another image."""
        self.last = 0
        if cells is not None:
            self._places.pop(cells, None)

    def close(self) -> None:
        """Stop handling the mouse."""
        if self._pressed in self._session.viewer.mouse_drag_callbacks:
            self._session.viewer.mouse_drag_callbacks.remove(self._pressed)

    def selected(self, cells: CellsLayer) -> None:
        """Go to the cell whose number was selected, e.g. in napari's table, unless it is already visible."""
        viewer, number = self._session.viewer, cells.layer.selected_label
        cell = cells.cells.rows.get(number)
        if cell is None or cells.layer.mode != "pan_zoom" or number == cells.current:
            return
        meets = [a < d and c < b for (a, b), (c, d) in zip(cell.box, view_of(viewer, cells))]
        if not all(meets):
            go_to(viewer, cells, number)

    # --- keys -------------------------------------------------------------------------------------

    def accept(self) -> None:
        """Accept the guess that the last step led to, and go to the next one."""
        cells = self.cells
        if cells is None:
            return
        number = cells.current
        if self._is_guess(cells, number):
            cells.do(lambda now: accept(now, [number]))
        self.step(1)

    def reject(self) -> None:
        """Remove the guess that the last step led to, and go to the next one."""
        cells = self.cells
        if cells is None or not self._is_guess(cells, cells.current):
            return
        number = cells.current
        cells.do(lambda now: reject(now, [number]))
        self.step(1)

    def accept_all(self) -> None:
        """Accept all visible guesses."""
        cells = self.cells
        if cells is not None:
            cells.do(lambda now: accept(now, guesses_on_show(self._session.viewer, cells)))

    def merge(self) -> None:
        """Merge the cell under the mouse with the one touched last.

        Raises
        ------
        InputError
            The window shows it in 3-D.
        """
        cells = self.cells
        if cells is None:
            return
        check_flat(self._session.viewer)
        cells.settle()
        self._merge(cells, cells.at(self._pointer.place))

    def step(self, by: int) -> bool:
        """Go to the next guess of the current plane, least certain first; return whether there is one."""
        cells = self.cells
        if cells is None:
            return False
        cells.settle()
        shown = guesses_on_show(self._session.viewer, cells, whole_plane=True)
        if not shown:
            shown = [n for n in cells.cells.numbers(State.GUESS) if cells.visible(n)]
        order = sorted((_certainty(cells, number), number) for number in shown)
        if not order:
            cells.current = 0
            return False
        here = self._places.get(cells, NOWHERE)
        later = [each for each in order if each > here] if by > 0 else [each for each in order if each < here]
        # start again after the last one
        number = (later or order)[0 if by > 0 else -1][1]
        cells.current = number
        self._places[cells] = (_certainty(cells, number), number)
        go_to(self._session.viewer, cells, number)
        return True

    def undo(self) -> None:
        """Undo the last gesture."""
        if (cells := self.cells or self._of_regions()) is not None:
            cells.undo()

    def redo(self) -> None:
        """Redo the last gesture."""
        if (cells := self.cells or self._of_regions()) is not None:
            cells.redo()

    def _of_regions(self) -> CellsLayer | None:
        active = self._session.viewer.layers.selection.active
        found = [x for x in self._session.all_cells() if x.regions is not None and x.regions.shapes is active]
        return found[0] if found else None

    @staticmethod
    def _is_guess(cells: CellsLayer, number: int) -> bool:
        cell = cells.cells.rows.get(number)
        return cell is not None and cell.state is State.GUESS

    def _remember(self, cells: CellsLayer, change: Any) -> None:
        made = [
            n for n, (_, after) in (change.rows or {}).items() if after is not None and after.state.teaches
        ]
        if len(made) == 1:
            self.last = made[0]

    # --- the mouse --------------------------------------------------------------------------------

    def _pressed(self, viewer: Viewer, event: Any) -> Iterator[None]:
        cells = self.cells
        if cells is None or event.button != 1 or viewer.dims.ndisplay != 2:
            return
        layer = viewer.layers.selection.active
        mode, keys = str(layer.mode), {str(getattr(key, "name", key)) for key in event.modifiers}
        if isinstance(layer, Labels) and mode == "paint" and not keys:
            choose_number(cells, cells.position(event.position))
        is_painting = mode in ("paint", "erase", "fill")
        if mode != "pan_zoom" and not (is_painting and keys in ({DELETE}, {MERGE})):
            return
        if is_painting:  # otherwise the brush would leave a dab under the click
            layer.mode = "pan_zoom"
        start, is_still = np.array(event.pos), True
        yield
        while event.type == "mouse_move":
            is_still &= _is_near(event.pos, start)
            yield
        is_still &= _is_near(event.pos, start)  # napari drops the move events of a fast drag
        if is_painting:
            layer.mode = mode
        if is_still and self._clicked(cells, cells.at(event.position), keys):
            event.handled = True

    def _clicked(self, cells: CellsLayer, number: int, keys: set[str]) -> bool:
        """Handle a click on a cell; return whether the click had a meaning."""
        if not number:
            return False
        try:
            if keys == {DELETE}:
                cells.do(lambda now: delete(now, [number]))
            elif keys == {MERGE}:
                self._merge(cells, number)
            elif not keys and self._is_guess(cells, number):
                cells.do(lambda now: accept(now, [number]))
            elif not keys:
                self.last = number
                return False
            else:
                return False
        except CupreError as error:
            show_warning(str(error))
        return True

    def _merge(self, cells: CellsLayer, number: int) -> None:
        if not number or self.last == number or self.last not in cells.cells.rows:
            key = key_of("merge")
            other = f"point at the other and press {key}" if key else "Alt-click the other"
            show_info(f"Click one cell, then {other} to merge them.")
            self.last = number or self.last
            return
        first = self.last
        cells.do(lambda now: merge(now, first, number))


def choose_number(cells: CellsLayer, position: tuple[float, ...]) -> None:
    """Choose the number that the brush paints with, so that the user does not have to.

    Inside a cell the brush corrects that cell. Where it touches the cell painted last, it extends that cell.
    Elsewhere it starts a new cell. The eraser stays the eraser.
    """
    layer = cells.layer
    if layer.selected_label == 0:
        return
    cells.settle()
    number = cells.visible(cells.cells.at(position))
    if number:
        layer.selected_label = number
    elif not _touches(cells, position, layer.selected_label):
        layer.selected_label = cells.cells.free_numbers()[0]


def _is_near(position: Any, start: np.ndarray) -> bool:
    return bool(np.abs(np.array(position) - start).max() < STILL)


def _touches(cells: CellsLayer, position: tuple[float, ...], number: int) -> bool:
    """Whether a dab of the brush would touch a cell."""
    cell = cells.cells.rows.get(number)
    if cell is None or any(not a <= round(at) < b for at, (a, b) in zip(position[:-2], cell.box)):
        return False
    reach = cells.layer.brush_size / 2 + 1.5
    plane = tuple(round(at) for at in position[:-2])
    (top, bottom), (left, right) = cell.box[-2:]
    rows, columns = np.nonzero(cells.cells.labels[plane][top:bottom, left:right] == number)
    away = np.hypot(rows + top - position[-2], columns + left - position[-1])
    return bool(away.size and away.min() <= reach)


def _certainty(cells: CellsLayer, number: int) -> float:
    score = cells.cells.rows[number].score
    return -1.0 if math.isnan(score) else float(score)


def _key(action: Callable[[], object]) -> Callable[[Any], None]:
    def pressed(viewer: Any) -> None:
        try:
            action()
        except CupreError as error:
            show_warning(str(error))

    pressed.__doc__ = action.__doc__
    return pressed
