"""The table of a big image's cells: written at the end, and kept as a hidden copy."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from napari_cupre.data.image import PlaneIndex
from napari_cupre.errors import writing
from napari_cupre.io.files import atomic_write
from napari_cupre.io.ownership import owned_write
from napari_cupre.prediction.ledger import Ledger, RecordedCell


def write_cell_table(
    path: Path,
    ledger: Ledger,
    indices: Sequence[PlaneIndex],
    names: Sequence[str],
    tables: Sequence[np.ndarray] | None = None,
) -> int:
    """Write label, box in px, score and class of every cell, preceded by T and Z if the image has them.

    Parameters
    ----------
    path : Path
        The CSV to write.
    ledger : Ledger
        The ledger with the cells of each plane.
    indices : sequence of PlaneIndex
        Positions of the planes.
    names : sequence of str
        Names of the classes 1, 2, ...
    tables : sequence of ndarray of int32, optional
        If planes were linked: for each plane, the table from its labels to linked labels.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    EnvironmentFault
        If the file cannot be written.
    """
    count = 0
    with owned_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*indices[0], "label", "x1", "y1", "x2", "y2", "score", "class"])
        for cell in ledger.cells() if tables is None else _lasting(ledger.cells(), tables):
            box = [f"{side:.2f}" for side in cell.box]
            place = indices[cell.plane].values()
            writer.writerow([*place, cell.label, *box, f"{cell.score:.4f}", names[cell.kind - 1]])
            count += 1
    return count


def _lasting(cells: Iterator[RecordedCell], tables: Sequence[np.ndarray]) -> Iterator[RecordedCell]:
    """Yield cells with their linked labels, without those completely hidden by others."""
    for cell in cells:
        table = tables[cell.plane]
        if cell.label < len(table) and table[cell.label]:
            yield cell._replace(label=int(table[cell.label]))


def keep_table(table: Path) -> None:
    """Keep a hidden copy beside the table, because its content is stored nowhere else."""
    with writing(_copy_of(table)), atomic_write(_copy_of(table)) as temporary:
        temporary.write_bytes(gzip.compress(table.read_bytes(), 5))


def restore_copy(table: Path) -> bool:
    """Restore the table from its copy; return False if there is no readable copy."""
    try:
        content = gzip.decompress(_copy_of(table).read_bytes())
    except (OSError, EOFError, zlib.error):
        return False
    with owned_write(table) as temporary:
        temporary.write_bytes(content)
    return True


def _copy_of(table: Path) -> Path:
    return table.with_name(f".{table.name}.gz")
