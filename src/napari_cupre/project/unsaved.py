"""What a save takes and what it tells."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from napari_cupre.project.cells import Cells
from napari_cupre.project.disk import Write
from napari_cupre.project.document import DOCUMENT
from napari_cupre.project.tables import files_of, write_table


@dataclass(frozen=True)
class UnsavedWork:
    """What is to be saved, copied in a moment so that a thread can write it while the person continues.

    Attributes
    ----------
    document : str
        Text of `project.json`.
    cells : dict[str, Cells]
        Copies of the cells that changed, by stem.
    axes : dict[str, str]
        Axes of their label images.
    notes : int
        The last file of notes whose changes it contains.
    """

    document: str
    cells: dict[str, Cells]
    axes: dict[str, str]
    notes: int = 0


class CopyRoom:
    """Memory for copies, kept because the system takes longer to give it than we to fill it.

    Threads may use it together.
    """

    MOST = 2

    LARGEST = 2**30
    """Copies of more bytes get their memory when they are made."""

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []
        self._lock = threading.Lock()

    def reserve(self, shape: tuple[int, ...]) -> None:
        """Have the system give memory for a label image of this shape, unless some is there: in a thread."""
        size = int(np.prod(shape)) * np.dtype(np.int32).itemsize
        if size <= self.LARGEST and not any(each.shape == shape for each in self._free):
            memory = np.empty(shape, np.int32)
            memory.fill(0)  # only now is it ours
            self.give(memory)

    def take(self, shape: tuple[int, ...]) -> np.ndarray | None:
        """Memory for a label image of this shape; None if there is none at hand."""
        with self._lock:
            for at, each in enumerate(self._free):
                if each.shape == shape:
                    return self._free.pop(at)
        return None

    def give(self, memory: np.ndarray) -> None:
        """Give back what is no longer needed; the latest are kept."""
        with self._lock:
            self._free = [*self._free, memory][-self.MOST :]


@dataclass(frozen=True)
class SaveReport:
    """What became of a save.

    Attributes
    ----------
    written : tuple[str, ...]
        Paths relative to the project.
    conflicts : tuple[str, ...]
        One sentence for each image (or the document) that somebody else changed on disk; what we have was
        saved beside it.
    """

    written: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()


def planned(
    snapshot: UnsavedWork, untouched: Callable[[str], bool], saved_document: str
) -> tuple[dict[str, Write], list[str]]:
    """What is to be written, by path, and a sentence for each file that somebody else changed.

    Parameters
    ----------
    snapshot : UnsavedWork
        What is to be saved.
    untouched : Callable[[str], bool]
        Whether a file is as we know it.
    saved_document : str
        Text of the `project.json` that is there.
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
        files[names[0]] = partial(write_cells, labels=cells.labels, axes=snapshot.axes[stem])
        files[names[1]] = partial(write_table, rows=list(cells))
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


def write_cells(path: Path, labels: np.ndarray, axes: str) -> None:
    """Write the label image of an image's cells."""
    from napari_cupre.io.images import write_labels

    write_labels(path, labels, axes=axes)


def write_text(path: Path, text: str) -> None:
    """Write a document."""
    path.write_text(text, encoding="utf-8")
