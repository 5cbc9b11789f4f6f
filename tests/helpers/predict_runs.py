"""Running a prediction to its end, and reading what it left."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import zarr

from napari_cupre.events import Event, Steps

T = TypeVar("T")


def drained(steps: Generator[Event, None, T]) -> tuple[list[Any], T]:
    """All events of a prediction, and its result."""
    run = Steps(steps)
    return list(run), run.result


def stored(out: Path) -> np.ndarray:
    """The finest level of an OME-Zarr."""
    return np.asarray(zarr.open_group(out, mode="r")["0"])
