"""Let a run save itself on Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Interruption:
    """Whether the user asked to stop."""

    asked: bool = False


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[Interruption]:
    """While the block runs, Ctrl-C and SIGTERM call `stop` once; a second one ends the block at once.

    Outside the main thread, where Python receives no signals, nothing is changed.
    """
    interruption = Interruption()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if interruption.asked:
            raise KeyboardInterrupt
        interruption.asked = True
        print("Stopping after saving; press Ctrl-C again to quit at once.", file=sys.stderr)
        stop()

    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield interruption
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)
