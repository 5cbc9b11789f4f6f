"""Timers that fire once."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer


def single_timer(action: Callable[[], object], wait_ms: int = 0, parent: QObject | None = None) -> QTimer:
    """Make a timer that calls `action` once after each start; a new start restarts the wait.

    Parameters
    ----------
    action : Callable
        The function to call.
    wait_ms : int, optional
        Time after the start.
    parent : QObject or None, optional
        Owner of the timer; the timer is deleted with it.
    """
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(wait_ms)
    timer.timeout.connect(action)
    return timer
