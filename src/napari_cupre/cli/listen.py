"""Listeners to the engine's events: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from typing import TextIO, TypeVar

from tqdm import tqdm

from napari_cupre.events import (
    Event,
    Finished,
    Notice,
    Progress,
    Saved,
    StateChanged,
    StepDone,
    Steps,
    Validated,
)

SECONDS_BETWEEN_LINES = 5.0

Result = TypeVar("Result")


class Listener(ABC):
    """Report events on stderr, so that stdout contains the results only."""

    def __init__(self, stream: TextIO | None = None):
        self.stream = sys.stderr if stream is None else stream

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, (Progress, StepDone)):
            self.advance(event)
        elif text := sentence(event):
            self.say(text)

    @abstractmethod
    def advance(self, event: Progress | StepDone) -> None:
        """Show progress."""

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """Finish after the last event."""
        self.stream.flush()


class BarListener(Listener):
    """A tqdm bar in per mille of the work, with the notices above it."""

    def __init__(self, stream: TextIO | None = None):
        super().__init__(stream)
        self.bar: tqdm | None = None

    def advance(self, event: Progress | StepDone) -> None:
        """Move the bar; the first call draws it."""
        if self.bar is None:
            self.bar = tqdm(
                total=1000,
                file=self.stream,
                bar_format="{percentage:3.0f}%|{bar}| {postfix}",
                dynamic_ncols=True,
                leave=False,
            )
        self.bar.n = round(1000 * _fraction(event))
        self.bar.set_postfix_str(progress_text(event), refresh=True)

    def say(self, text: str) -> None:
        """Print a sentence above the bar."""
        if self.bar is None:
            super().say(text)
        else:
            self.bar.write(text, file=self.stream)

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class LineListener(Listener):
    """A line every few seconds, for logs, pipes and cluster jobs."""

    def __init__(self, stream: TextIO | None = None, seconds: float = SECONDS_BETWEEN_LINES):
        super().__init__(stream)
        self.seconds = seconds
        self.last = -float("inf")

    def advance(self, event: Progress | StepDone) -> None:
        """Print a line, at most one every few seconds."""
        now = time.monotonic()
        if now - self.last < self.seconds and _fraction(event) < 1:
            return
        self.last = now
        self.say(f"{100 * _fraction(event):3.0f} %  {progress_text(event)}")


def make_listener(stream: TextIO | None = None) -> Listener:
    """The listener that suits the stream (default: stderr)."""
    stream = sys.stderr if stream is None else stream
    return BarListener(stream) if stream.isatty() else LineListener(stream)


def follow(events: Iterable[Event], listener: Listener) -> Event | None:
    """Run a stream to its end and report its events to the listener; returns the last event."""
    last: Event | None = None
    with listener:
        for last in events:
            listener(last)
    return last


def drain(steps: Generator[Event, None, Result], listener: Listener) -> Result:
    """Run a generator to its end, report its events to the listener, and return its result."""
    running = Steps(steps)
    for event in running:
        listener(event)
    return running.result


def sentence(event: Event) -> str:
    """An event in words, or an empty text for events that need none."""
    if isinstance(event, Notice):
        return event.message
    if isinstance(event, Validated):
        best = ", the best so far" if event.is_best else ""
        return f"step {event.step}: held-out AP@.5 {event.ap50:.2f} on {event.cells} cells{best}"
    if isinstance(event, Saved):
        return f"saved {event.path}" if event.kind == "final" else ""
    if isinstance(event, StateChanged):
        return event.message
    if isinstance(event, Finished):
        return event.verdict
    return ""


def progress_text(event: Progress | StepDone) -> str:
    """The text beside the bar."""
    if isinstance(event, Progress):
        return f"{event.done} of {event.total}{'  ' + event.message if event.message else ''}"
    loss = event.losses.get("total", float("nan"))
    return f"step {event.step}  loss {loss:.3f}  {clock(event.remaining)} left"


def clock(seconds: float) -> str:
    """Minutes and seconds, e.g. 1:05."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


def _fraction(event: Progress | StepDone) -> float:
    if isinstance(event, StepDone):
        return min(1.0, event.fraction)
    return event.done / event.total if event.total else 1.0
