"""What the engine says while it works: one stream of typed events.

A long operation is a generator of these. The window, the progress bar and the log
are listeners to the same stream; none of them is known to the engine.
All fields are plain Python values or numpy arrays, so that a stream can cross a
process boundary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np


class RunState(StrEnum):
    """The one state machine of a run: idle -> preparing -> running -> stopping -> end."""

    IDLE = "idle"
    PREPARING = "preparing"
    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        return self in (RunState.DONE, RunState.STOPPED, RunState.FAILED)


@dataclass(frozen=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True)
class StateChanged(Event):
    state: RunState
    message: str = ""


@dataclass(frozen=True)
class Notice(Event):
    """Something the user should read once, e.g. a halved batch or a skipped file."""

    message: str


@dataclass(frozen=True)
class Progress(Event):
    """Progress of a job that is counted in parts (images, tiles)."""

    done: int
    total: int
    message: str = ""


@dataclass(frozen=True)
class StepDone(Event):
    """One optimiser step of a training.

    Attributes
    ----------
    step : steps done so far, counted over all resumed parts of the run.
    fraction : share of the budget that is used up, 0..1.
    remaining : estimated seconds left.
    losses : unweighted losses by name, and their weighted sum as "total".
    metrics : anything else that is logged (learning rates, contrastive accuracy, ...).
    """

    step: int
    fraction: float
    remaining: float
    losses: dict[str, float]
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Validated(Event):
    """The model was judged on the held-out part.

    `ap50` and `ap` are TP / (TP + FP + FN) at IoU 0.5 and averaged over 0.5..0.95.
    """

    step: int
    ap50: float
    ap: float
    loss: float
    cells: int
    is_best: bool


@dataclass(frozen=True)
class Preview(Event):
    """The current model's labels (int32, Y x X) for the image the listener asked about."""

    step: int
    labels: np.ndarray


@dataclass(frozen=True)
class Saved(Event):
    """A file was written completely; kind is "final" for the model, "run" for what Resume needs."""

    path: str
    kind: str
    step: int


@dataclass(frozen=True)
class Finished(Event):
    """Last event of a run that ended well or was stopped; `verdict` is one line to read."""

    verdict: str
    result: dict[str, Any] = field(default_factory=dict)
