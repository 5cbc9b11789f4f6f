"""Work that was never given a place, e.g. because the window was killed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from napari_cupre.project import recovery
from napari_cupre.project.recovery import Recoverable
from napari_cupre.widgets.errands import Errands

if TYPE_CHECKING:
    from napari_cupre.widgets.keeping import Keeper


class LostWork:
    """Finds such work once, and restores or discards it.

    Parameters
    ----------
    keeper : Keeper
        Opens the work, and tells the dock of changes.
    errands : Errands
        Reads and deletes files.
    failed : Callable[[Exception], None]
        Called if work could not be deleted.

    Attributes
    ----------
    found : list[Recoverable]
        What is left, the latest first.
    """

    def __init__(self, keeper: Keeper, errands: Errands, failed: Callable[[Exception], None]) -> None:
        self.found: list[Recoverable] = []
        self._keeper, self._errands, self._failed = keeper, errands, failed
        self._has_looked = False
        keeper.opened.connect(lambda project: self._forget(project.folder))

    def look(self) -> None:
        """Look for work; the first call only, as no other window loses any meanwhile."""
        if not self._has_looked:
            self._has_looked = True
            self._errands.do(recovery.recoverable, self._show, lambda error: None)

    def _show(self, found: list[Recoverable]) -> None:
        self.found = found
        if found:
            self._keeper.changed.emit()

    def restore(self, work: Recoverable) -> None:
        """Continue work; it is offered once, as a second press would find it open."""
        self._forget(work.folder)
        self._keeper.open(work.folder)

    def discard(self, work: Recoverable) -> None:
        """Delete work for good."""
        self._forget(work.folder)
        deleted = partial(recovery.discard, work.folder)
        self._errands.do(deleted, lambda _: self._keeper.changed.emit(), self._failed)

    def _forget(self, folder: object) -> None:
        self.found = [each for each in self.found if each.folder != folder]
