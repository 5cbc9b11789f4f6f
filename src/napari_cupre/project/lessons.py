"""Measurements of the effect of more cells: trainings on parts of a project's annotation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari_cupre.io.files import atomic_write

FILE = "curve.json"

FOLDS = 3
"""Each cell judges once and teaches in the other trainings."""


@dataclass(frozen=True)
class LessonResult:
    """One training on a part of the annotation, judged on cells that it did not see.

    `annotation` is the hash of all that was annotated then (see `rounds.annotation_hash`), `annotated` the
    number of those cells. `fold` says which of them judged; the model learned from `share` of the others,
    which are `cells`. Of `judged` cells it found some, and invented others. `before` and `after` hold, by
    image, what the start and the model found of those that may judge a training, as a `Finds` in plain
    values; empty where `share` is below 1, None if an earlier version measured.
    """

    annotation: str
    start: str
    annotated: int
    fold: int
    share: float
    steps: int
    cells: int
    found: int
    judged: int
    invented: float
    before: Mapping[str, Mapping[str, Any]] | None = None
    after: Mapping[str, Mapping[str, Any]] | None = None


def read_lessons(folder: Path) -> list[LessonResult]:
    """Read all measurements of a project; none if the file is missing or damaged, as they can be repeated."""
    try:
        entries = json.loads((folder / FILE).read_text(encoding="utf-8"))["measurements"]
        return [LessonResult(**entry) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def add_lesson(folder: Path, new: LessonResult, most: int = 200) -> None:
    """Add a measurement to a project; drop the oldest beyond `most`.

    Raises
    ------
    OSError
        The project is gone or not writable.
    """
    kept = [*read_lessons(folder), new][-most:]
    with atomic_write(folder / FILE) as path:
        path.write_text(
            json.dumps({"measurements": [asdict(each) for each in kept]}, indent=1) + "\n", encoding="utf-8"
        )


def of_latest(measured: Sequence[LessonResult]) -> list[LessonResult]:
    """Return the results for the latest annotation and start, the last one of each training."""
    if not measured:
        return []
    last = measured[-1]
    chosen = [each for each in measured if (each.annotation, each.start) == (last.annotation, last.start)]
    return list({(each.fold, each.share, each.steps): each for each in chosen}.values())
