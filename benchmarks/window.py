"""Letting a window live while a script waits."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 900.0  # s


def wait_for(condition: Callable[[], bool]) -> None:
    """Run the window until something is so."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("The window did not get there; is the machine very busy?")
        QApplication.processEvents()
        time.sleep(0.001)


def settle(seconds: float) -> None:
    """Run the window for a while."""
    end = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= end)
