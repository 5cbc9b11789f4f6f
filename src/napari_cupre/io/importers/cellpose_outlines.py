"""Read outlines that Cellpose writes as text, one cell per line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.io.importers.accounts import DAMAGED, SMALL, Account
from napari_cupre.io.importers.shapes import Shape

_LARGEST_FILE = 2**30


def read_cellpose_outlines(path: Path, account: Account) -> list[Shape]:
    """Read the cells of a `_cp_outlines.txt`: x, y, x, y, ... of the pixels along each cell's edge.

    Lines without a pixel stand for cells that were too small for Cellpose to write. These and damaged lines
    are counted.

    Raises
    ------
    InputError
        If the file is too large or not text.
    """
    if path.stat().st_size > _LARGEST_FILE:
        raise InputError(f'"{path}" is too large for outlines: choose another file.')
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f'"{path}" is not a text file with outlines: choose another file.') from error
    shapes = []
    for line in lines:
        account.total += 1
        if not line.strip():
            account.leave_out(SMALL)
            continue
        try:
            ring = np.array([int(float(number)) for number in line.split(",")]).reshape(-1, 2)
        except (ValueError, OverflowError):
            account.leave_out(DAMAGED)
            continue
        shapes.append(Shape([[ring]], with_edges=True))
    return shapes
