"""The input and the result of a save."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from napari_cupre.project.cells import Cells
from napari_cupre.project.disk import Write
from napari_cupre.project.document import DOCUMENT
from napari_cupre.project.painted import background_file
from napari_cupre.project.tables import files_of, write_table


@dataclass(frozen=True)
class UnsavedWork:
    """The changes to save, copied quickly so that a thread can write them while the user continues.

    Attributes
    ----------
    document : str
        Text of `project.json`.
    cells : dict[str, Cells]
        Copies of the changed cells, by stem.
    notes : int
        Number of the last file of notes that it covers.
    painted : dict[str, numpy.ndarray]
        Where background was painted, bool, by stem.
    """

    document: str
    cells: dict[str, Cells]
    notes: int = 0
    painted: dict[str, np.ndarray] = field(default_factory=dict)


class CopyRoom:
    """Reusable memory for copies, because allocating it takes longer than filling it.

    It is thread-safe.
    """

    MOST = 2

    LARGEST = 2**30
    """Larger copies (bytes) allocate their memory when they are made."""

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []
        self._lock = threading.Lock()

    def reserve(self, shape: tuple[int, ...]) -> None:
        """Allocate memory for a label image of this shape in a thread, unless some is available."""
        size = int(np.prod(shape)) * np.dtype(np.int32).itemsize
        if size <= self.LARGEST and not any(each.shape == shape for each in self._free):
            memory = np.empty(shape, np.int32)
            memory.fill(0)  # touching the pages makes the system provide them
            self.give(memory)

    def take(self, shape: tuple[int, ...]) -> np.ndarray | None:
        """Return memory for a label image of this shape; None if none is available."""
        with self._lock:
            for at, each in enumerate(self._free):
                if each.shape == shape:
                    return self._free.pop(at)
        return None

    def give(self, memory: np.ndarray) -> None:
        """Give back memory that is no longer needed; keep the most recent."""
        with self._lock:
            self._free = [*self._free, memory][-self.MOST :]


@dataclass(frozen=True)
class SaveReport:
    """The result of a save.

    Attributes
    ----------
    written : tuple[str, ...]
        Paths relative to the project.
    conflicts : tuple[str, ...]
        One sentence for each image (or the document) that somebody else changed on disk; our version was
        saved beside it.
    """

    written: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()


def planned(
    snapshot: UnsavedWork, untouched: Callable[[str], bool], saved_document: str
) -> tuple[dict[str, Write], list[str]]:
    """Return what to write, by path, and a sentence for each file that somebody else changed.

    Parameters
    ----------
    snapshot : UnsavedWork
        The changes to save.
    untouched : Callable[[str], bool]
        Whether a file is unchanged since we read it.
    saved_document : str
        Text of the present `project.json`.
    """
    files: dict[str, Write] = {}
    conflicts = []
    for stem, cells in snapshot.cells.items():
        names: tuple[str, ...] = files_of(stem)
        if not all(untouched(name) for name in names):
            names = tuple(f"cells/{stem}.mine{Path(name).suffix}" for name in names)
            conflicts.append(
                f'Somebody else changed the cells of "{stem}" on disk: yours are saved beside them as '
                f'"{names[0]}"; choose which to keep.'
            )
        files[names[0]] = partial(write_cells, labels=cells.labels)
        files[names[1]] = partial(write_table, rows=list(cells))
    for stem, mask in snapshot.painted.items():
        name = background_file(stem)
        if not untouched(name):
            name = background_file(f"{stem}.mine")
            conflicts.append(
                f'Somebody else changed the background of "{stem}" on disk: yours is saved beside it as '
                f'"{name}"; choose which to keep.'
            )
        files[name] = partial(write_cells, labels=mask.astype(np.int32))
    if snapshot.document != saved_document:
        name = DOCUMENT
        if not untouched(name):
            name = "project.mine.json"
            conflicts.append(
                f'Somebody else changed "{DOCUMENT}": yours is saved beside it as "{name}"; '
                f"choose which to keep."
            )
        files[name] = partial(write_text, text=snapshot.document)
    return files, conflicts


def write_cells(path: Path, labels: np.ndarray) -> None:
    """Write the label image of an image's cells or background: a plane, a stack or a time series."""
    from napari_cupre.io.images import write_labels

    write_labels(path, labels, axes="TZYX"[-labels.ndim :])


def write_text(path: Path, text: str) -> None:
    """Write a document."""
    path.write_text(text, encoding="utf-8")
