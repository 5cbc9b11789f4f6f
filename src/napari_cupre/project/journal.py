"""A journal of unsaved changes, which restores the last strokes after the process was killed.

A note takes a millisecond, a save some hundred. So notes are written at once, and saves from time to time.
Each save begins a new file of notes, and removes the older ones when it is done.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.project.boxes import Patch
from napari_cupre.project.cells import Cell, Change, State

FOLDER = ".notes"
"""Name of the folder of notes in a project."""

LARGEST_NOTE = 8 * 2**20
"""Larger changes (bytes) are not noted, so they have to be saved at once."""


class Journal:
    """The notes of one project.

    Parameters
    ----------
    folder : Path
        Of the project.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._number = max((number for number, _ in _files(self._folder)), default=0) + 1

    def note(self, stem: str, change: Change) -> bool:
        """Note a change of an image's cells; return False if it is too large or cannot be written."""
        if change.nbytes > LARGEST_NOTE:
            return False
        try:
            self._folder.mkdir(exist_ok=True)
            with (self._folder / f"{self._number}.jsonl").open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(_packed(stem, change)) + "\n")
        except OSError:
            return False
        return True

    def turn(self) -> int:
        """Begin a new file of notes; return the number of the last one."""
        self._number += 1
        return self._number - 1

    def forget(self, last: int) -> None:
        """Remove the notes up to a file, because their changes are saved."""
        for number, file in _files(self._folder):
            if number <= last:
                with contextlib.suppress(OSError):
                    file.unlink()
        with contextlib.suppress(OSError):  # other notes may still be in it
            self._folder.rmdir()


def noted(folder: Path) -> Iterator[tuple[str, Change]]:
    """Yield image and change of each note of a project in order; skip a half-written one."""
    for _, file in _files(folder / FOLDER):
        with contextlib.suppress(OSError):
            for line in file.read_text(encoding="utf-8").splitlines():
                try:
                    yield _unpacked(json.loads(line))
                except (ValueError, KeyError, TypeError, zlib.error):
                    break  # the process was killed while writing


def _files(folder: Path) -> list[tuple[int, Path]]:
    """Return number and path of the files of notes, in order."""
    try:
        found = list(folder.glob("*.jsonl"))
    except OSError:
        return []
    return sorted((int(file.stem), file) for file in found if file.stem.isdigit())


def _packed(stem: str, change: Change) -> dict[str, Any]:
    return {
        "image": stem,
        "verb": change.verb,
        "patches": [[each.box, _bytes(each.before), _bytes(each.after)] for each in change.patches],
        "rows": {
            number: [_row(before), _row(after)] for number, (before, after) in (change.rows or {}).items()
        },
        "regions": change.regions,
    }


def _unpacked(values: dict[str, Any]) -> tuple[str, Change]:
    patches = []
    for sides, before, after in values["patches"]:
        box = tuple((int(start), int(stop)) for start, stop in sides)
        shape = tuple(stop - start for start, stop in box)
        patches.append(Patch(box, _pixels(before, shape), _pixels(after, shape)))
    rows = {int(n): (_cell(before), _cell(after)) for n, (before, after) in values["rows"].items()}
    regions = values["regions"]
    if regions is not None:
        old, new = (tuple(tuple(tuple(map(float, c)) for c in r) for r in each) for each in regions)
        regions = (old, new)
    return str(values["image"]), Change(str(values["verb"]), tuple(patches), rows, regions)


def _bytes(pixels: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(pixels, "<i4").tobytes(), 1)).decode()


def _pixels(text: str, shape: tuple[int, ...]) -> np.ndarray:
    raw = zlib.decompress(base64.b64decode(text))
    return np.frombuffer(raw, "<i4").reshape(shape).astype(np.int32)


def _row(cell: Cell | None) -> list[Any] | None:
    if cell is None:
        return None
    score = None if math.isnan(cell.score) else cell.score
    return [cell.state.value, cell.box, cell.area, score, cell.author, cell.time]


def _cell(values: list[Any] | None) -> Cell | None:
    if values is None:
        return None
    state, sides, area, score, author, time = values
    box = tuple((int(start), int(stop)) for start, stop in sides)
    return Cell(State(state), box, int(area), float("nan") if score is None else float(score), author, time)
