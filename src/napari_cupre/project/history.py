"""Undo and redo: one gesture is one step, including states and regions."""

from __future__ import annotations

from collections import deque

from napari_cupre.project.cells import Cells, Change

MOST_STEPS = 500
MOST_BYTES = 512 * 2**20
"""Maximum number of steps, and maximum memory of their pixels; older steps are forgotten."""


class History:
    """The gestures on the cells of one image.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_cupre.project.gestures import delete
    >>> cells, history = Cells.of(np.array([[0, 7]])), History()
    >>> history.do(cells, delete(cells, [7])).touched
    (7,)
    >>> bool(history.undo(cells)), cells.numbers()
    (True, [7])
    """

    def __init__(self) -> None:
        self._done: deque[Change] = deque()
        self._undone: list[Change] = []

    def do(self, cells: Cells, change: Change, onto: Change | None = None) -> Change:
        """Make a change and remember it; a change that does nothing leaves no step.

        Parameters
        ----------
        cells : Cells
            The cells that the change was computed for.
        change : Change
            The change to make.
        onto : Change or None, optional
            A step that this change continues, as returned by the last call: both are undone together,
            unless something else was done in between.

        Returns
        -------
        Change
            The step, which is the change itself unless it continues another one.

        Raises
        ------
        InputError
            The change was computed for other cells; nothing is changed.
        """
        if change:
            cells.apply(change)
            self._undone.clear()
            if onto is not None and self._done and self._done[-1] is onto:
                change = self._done.pop().then(change)
            self._done.append(change)
            self._forget()
        elif onto is not None:
            return onto
        return change

    def undo(self, cells: Cells) -> Change | None:
        """Undo the last gesture; return the change that did so, None if there is nothing to undo."""
        if not self._done:
            return None
        back = self._done[-1].inverse()
        cells.apply(back)
        self._undone.append(self._done.pop())
        return back

    def redo(self, cells: Cells) -> Change | None:
        """Redo the gesture that was undone last; return None if there is none."""
        if not self._undone:
            return None
        change = self._undone[-1]
        cells.apply(change)
        self._done.append(self._undone.pop())
        return change

    @property
    def last(self) -> Change | None:
        """Return the step that `undo` would undo; None if there is none."""
        return self._done[-1] if self._done else None

    def clear(self) -> None:
        """Forget everything, e.g. after the cells were read again."""
        self._done.clear()
        self._undone.clear()

    @property
    def next_redo(self) -> str:
        """Return what `redo` would redo; "" if nothing."""
        return self._undone[-1].verb if self._undone else ""

    def _forget(self) -> None:
        total = sum(change.nbytes for change in self._done)
        while len(self._done) > 1 and (len(self._done) > MOST_STEPS or total > MOST_BYTES):
            total -= self._done.popleft().nbytes
