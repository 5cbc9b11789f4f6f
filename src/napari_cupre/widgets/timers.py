"""Timers that fire once."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer


def single_timer(action: Callable[[], object], wait_ms: int = 0, parent: QObject | None = None) -> QTimer:
    """A timer that calls `action` once after each start; another start begins the wait again.

    Parameters
    ----------
    action : Callable
        What to do.
    wait_ms : int, optional
        How long after the start.
    parent : QObject or None, optional
        Takes the timer along when it goes.
    """
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(wait_ms)
    timer.timeout.connect(action)
    return timer
