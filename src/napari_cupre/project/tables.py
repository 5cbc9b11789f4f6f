"""The files of an image's cells: `cells/<stem>.tif` and `cells/<stem>.csv`."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.project.boxes import measured
from napari_cupre.project.cells import Cell, Cells, Region, State
from napari_cupre.project.disk import current

COLUMNS = ("label", "state", "score", "author", "time")

Row = tuple[State, float, str, str]


def files_of(stem: str) -> tuple[str, str]:
    """Return the paths of an image's label image and table, relative to the project."""
    return f"cells/{stem}.tif", f"cells/{stem}.csv"


def write_table(path: Path, rows: Iterable[tuple[int, Cell]]) -> None:
    """Write the table of cells as CSV."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for number, cell in rows:
            score = "" if math.isnan(cell.score) else repr(cell.score)
            writer.writerow([number, cell.state.value, score, cell.author, cell.time])


def read_table(path: Path) -> tuple[dict[int, Row], list[str]]:
    """Read a table of cells, even if a spreadsheet saved it.

    Returns
    -------
    rows, notices : dict[int, Row], list[str]
        The rows by label; one sentence for each line without a state.

    Raises
    ------
    InputError
        The file cannot be read, or is not a table of cells.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'"{path}" cannot be read ({error}): copy it again.') from error
    head = text.partition("\n")[0]
    comma = max(",;\t", key=head.count)
    reader = csv.DictReader(text.splitlines(), delimiter=comma)
    if not {"label", "state"} <= set(reader.fieldnames or ()):
        raise InputError(f'"{path}" is not a table of cells: its columns are {", ".join(COLUMNS)}.')
    rows: dict[int, Row] = {}
    notices = []
    for line, entry in enumerate(reader, start=2):
        try:
            score = (entry.get("score") or "nan").replace(",", ".")
            state = State(entry["state"].strip().lower())
            rows[int(entry["label"])] = (
                state,
                float(score),
                entry.get("author") or "",
                entry.get("time") or "",
            )
        except (ValueError, TypeError, AttributeError):
            notices.append(f'"{path.name}" has no state in line {line}: that cell counts as edited.')
    return rows, notices


def read_cells(folder: Path, stem: str, regions: Iterable[Region] = ()) -> tuple[Cells | None, list[str]]:
    """Read the cells of an image.

    A cell without a row counts as edited, so that no guess replaces what a person drew.

    Returns
    -------
    cells, notices : Cells or None, list[str]
        None if nothing is saved; one sentence for each repair.

    Raises
    ------
    InputError
        The label image is damaged; the message names it.
    """
    from napari_cupre.io.images import read_labels

    tif, table = (current(folder, name) for name in files_of(stem))
    if not tif.is_file():
        return None, [f'"{table.name}" has no label image: its cells are lost.'] if table.is_file() else []
    labels = read_labels(tif)
    rows: dict[int, Row] = {}
    notices: list[str] = []
    try:
        rows, notices = read_table(table)
    except InputError as error:
        if labels.any():
            notices = [f"{str(error).rstrip('.')}; until then all cells of {stem} count as edited."]
    blank: Row = (State.EDITED, float("nan"), "", "")
    cells = {}
    for number, (box, area) in measured(labels).items():
        state, score, author, time = rows.get(number, blank)
        cells[number] = Cell(state, box, area, score, author, time)
    strangers = len(cells.keys() - rows.keys())
    if rows and strangers and not notices:
        notices.append(f'{strangers} cells of "{tif.name}" are missing from its table: they count as edited.')
    return Cells(np.ascontiguousarray(labels), cells, regions), notices
