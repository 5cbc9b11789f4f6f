"""Typed events that the engine yields while it works.

A long operation is a generator of events. The window, the progress bar and the log
listen to the same stream; the engine knows none of them. All fields are plain Python
values or numpy arrays, so that events can be sent to another process.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

import numpy as np

E = TypeVar("E")
R = TypeVar("R")


class RunState(StrEnum):
    """States of a run: idle -> preparing -> running -> stopping -> done, stopped or failed."""

    IDLE = "idle"
    PREPARING = "preparing"
    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self in (RunState.DONE, RunState.STOPPED, RunState.FAILED)


@dataclass(frozen=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True)
class StateChanged(Event):
    """The run entered another state."""

    state: RunState
    message: str = ""


@dataclass(frozen=True)
class Notice(Event):
    """A message for the user, e.g. a smaller batch or a skipped file."""

    message: str


@dataclass(frozen=True)
class Progress(Event):
    """Progress of a job that consists of countable parts (images, tiles)."""

    done: int
    total: int
    message: str = ""


@dataclass(frozen=True)
class TileDone(Event):
    """A part of a plane has new labels.

    Attributes
    ----------
    index : dict of str to int
        Position of the plane along T and Z; empty for an image of one plane.
    y0, x0 : int
        Row and column of the first pixel of the part.
    labels : ndarray of int32, shape (y, x)
        The labels of the part as they are now; 0 = background.
    """

    index: dict[str, int]
    y0: int
    x0: int
    labels: np.ndarray


@dataclass(frozen=True)
class StepDone(Event):
    """One optimiser step of a training.

    Attributes
    ----------
    step : int
        Steps done so far, over all parts of a resumed run.
    fraction : float
        Used share of the budget, 0 to 1.
    remaining : float
        Estimated time left, s.
    losses : dict of str to float
        Unweighted losses by name, and their weighted sum as "total".
    metrics : dict of str to float
        Other logged values (learning rates, contrastive accuracy, ...).
    """

    step: int
    fraction: float
    remaining: float
    losses: dict[str, float]
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Validated(Event):
    """The model was scored on held-out data.

    `ap50` and `ap` are TP / (TP + FP + FN) at IoU 0.5 and averaged over 0.5 to 0.95.
    """

    step: int
    ap50: float
    ap: float
    loss: float
    cells: int
    is_best: bool


@dataclass(frozen=True)
class Preview(Event):
    """The current model's labels, int32 (Y, X), for the image that the listener requested."""

    step: int
    labels: np.ndarray


@dataclass(frozen=True)
class Saved(Event):
    """A file was written completely.

    `kind` is "final" for the finished model, "last" for an intermediate one and "run" for the state
    that a resumed run needs.
    """

    path: str
    kind: str
    step: int


@dataclass(frozen=True)
class Finished(Event):
    """Last event of a run that finished or was stopped; `verdict` sums it up in one line."""

    verdict: str
    result: dict[str, Any] = field(default_factory=dict)


class Steps(Generic[E, R]):
    """A run to go through in a `for` loop, which keeps what the run returns.

    Parameters
    ----------
    run : generator
        Yields events and returns a result.

    Attributes
    ----------
    result : object
        What the run returned; there once the loop has come to its end.

    Examples
    --------
    >>> def run():
    ...     yield Progress(1, 1)
    ...     return "done"
    >>> steps = Steps(run())
    >>> for event in steps:
    ...     print(event.done)
    1
    >>> steps.result
    'done'
    """

    result: R

    def __init__(self, run: Generator[E, None, R]) -> None:
        self._run = run

    def __iter__(self) -> Iterator[E]:
        self.result = yield from self._run

    def finish(self) -> R:
        """Go through what is left without listening.

        Returns
        -------
        object
            The result.
        """
        for _ in self:
            pass
        return self.result
