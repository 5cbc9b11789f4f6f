"""When Python searches all memory for garbage, which blocks the window for a fifth of a second."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

from qtpy.QtCore import QCoreApplication, QEvent, QObject, QTimer

TICK_MS = 1000
REST_S = 1.5
"""The window is at rest after this time without a key, a click or a move of the mouse."""

INPUT = frozenset(
    (
        QEvent.Type.MouseMove,
        QEvent.Type.MouseButtonPress,
        QEvent.Type.MouseButtonRelease,
        QEvent.Type.Wheel,
        QEvent.Type.KeyPress,
        QEvent.Type.DragMove,
    )
)


@contextmanager
def old_objects_apart() -> Iterator[None]:
    """Stop Python from searching all memory for garbage while many new objects are created.

    Importing a dock creates so many objects that Python would search everything that napari holds, which
    takes longer than the import. Only the new objects are searched meanwhile. If other code has already
    frozen objects, nothing is done, because ours could not be told from theirs afterwards.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class SearchAtRest(QObject):
    """Searches for garbage while nobody uses the window, so that Python need not do so during a stroke.

    Python searches all objects, of which napari holds hundreds of thousands, once a quarter of them are new.
    A search before that happens puts it off.

    Parameters
    ----------
    application : QCoreApplication
        It owns this object; events of all its windows count.
    """

    def __init__(self, application: QCoreApplication) -> None:
        super().__init__(application)
        self._is_due = False
        self._used_at = 0.0
        self._timer = QTimer(self)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self.tick)
        self._timer.start()
        application.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Remember when the window was last used; let every event pass."""
        if event is not None and event.type() in INPUT:
            self._used_at = time.monotonic()
        return False

    def ask(self) -> None:
        """Search once even if Python does not plan to, because many objects are being created."""
        self._is_due, self._used_at = True, time.monotonic()

    def tick(self) -> None:
        """Search if the window is at rest and the next search of everything is due."""
        if time.monotonic() - self._used_at < REST_S or not gc.isenabled():
            return
        most = gc.get_threshold()[2]  # searches of younger objects between two of all; 0: none of all
        if self._is_due or 0 < most < gc.get_count()[2]:
            self._is_due = False
            gc.collect()


def search_at_rest() -> None:
    """Search for garbage as soon as the window is at rest, and whenever it is due from then on."""
    application = QCoreApplication.instance()
    if application is not None:
        (application.findChild(SearchAtRest) or SearchAtRest(application)).ask()
