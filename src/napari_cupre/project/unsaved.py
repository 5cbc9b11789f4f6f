"""What a save takes and what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_cupre.io.images import write_labels
from napari_cupre.project.cells import Cells


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
    """

    document: str
    cells: dict[str, Cells]
    axes: dict[str, str]


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


def write_cells(path: Path, labels: np.ndarray, axes: str) -> None:
    """Write the label image of an image's cells."""
    write_labels(path, labels, axes=axes)


def write_text(path: Path, text: str) -> None:
    """Write a document."""
    path.write_text(text, encoding="utf-8")
