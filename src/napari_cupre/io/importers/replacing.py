"""Decide what an import may overwrite."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.io.images import read_labels


def refuse_to_replace(target: Path, labels: np.ndarray, inputs: Iterable[Path]) -> None:
    """Refuse to replace an image, the annotation itself, or labels that differ.

    Parameters
    ----------
    target : Path
        The file to be written.
    labels : numpy.ndarray
        The labels to be written.
    inputs : Iterable[Path]
        The images and the annotation that are read.

    Raises
    ------
    InputError
        If `target` exists and is not the same label image.
    """
    if not target.exists():
        return
    if any(path.exists() and path.samefile(target) for path in inputs):
        raise InputError(f'"{target}" is read here and is not overwritten by labels: choose another folder.')
    try:
        older = read_labels(target)
    except InputError:
        older = np.empty(0)
    if older.size != labels.size or not np.array_equal(older.ravel(), labels.ravel()):
        raise InputError(f'"{target}" already exists with other contents: move it, or choose another folder.')
