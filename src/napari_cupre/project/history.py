"""Undo and redo: one gesture is one step, states and regions included."""

from __future__ import annotations

from collections import deque

from napari_cupre.project.cells import Cells, Change

MOST_STEPS = 500
MOST_BYTES = 512 * 2**20
"""Older steps are forgotten beyond this many, or when their pixels take more memory than this."""


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
        """Make a change and remember it; one that does nothing leaves no step.

        Parameters
        ----------
        cells : Cells
            Those that the change was made for.
        change : Change
            What is done.
        onto : Change or None, optional
            A step that this change goes on with, as the last call returned it: both are taken back at once,
            unless something else was done in between.

        Returns
        -------
        Change
            The step, which is the change itself unless it goes on with another.

        Raises
        ------
        InputError
            The change was made for other cells; nothing is changed then.
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
        """Take back the last gesture; returns the change that was made for it, None if there is none."""
        if not self._done:
            return None
        back = self._done[-1].inverse()
        cells.apply(back)
        self._undone.append(self._done.pop())
        return back

    def redo(self, cells: Cells) -> Change | None:
        """Make the gesture again that was taken back last; None if there is none."""
        if not self._undone:
            return None
        change = self._undone[-1]
        cells.apply(change)
        self._done.append(self._undone.pop())
        return change

    @property
    def last(self) -> Change | None:
        """The step that `undo` would take back; None if there is none."""
        return self._done[-1] if self._done else None

    def clear(self) -> None:
        """Forget everything, as after the cells were read again."""
        self._done.clear()
        self._undone.clear()

    @property
    def next_redo(self) -> str:
        """What `redo` would do again, "" if nothing."""
        return self._undone[-1].verb if self._undone else ""

    def _forget(self) -> None:
        total = sum(change.nbytes for change in self._done)
        while len(self._done) > 1 and (len(self._done) > MOST_STEPS or total > MOST_BYTES):
            total -= self._done.popleft().nbytes
