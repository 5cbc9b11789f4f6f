"""The table that `outline` reads: one box or point per row."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from napari_cupre.errors import InputError

BOXES = (
    ("x0", "y0", "x1", "y1"),
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("left", "top", "right", "bottom"),
)
SIZED_BOXES = (("bx", "by", "width", "height"), ("x", "y", "width", "height"), ("x", "y", "w", "h"))
POINTS = ("y", "x")
"""Names of the columns; the first for boxes with a size are ImageJ's."""

_AXIS = "axis-"
"""What napari calls its columns; the number of the dimension follows."""


class Prompts(NamedTuple):
    """Boxes, float64 (N, 4) of x0, y0, x1, y1, or points, float64 (N, 2) of y, x; the other is None."""

    boxes: np.ndarray | None
    points: np.ndarray | None


def read_prompts(path: Path) -> Prompts:
    """Read boxes or points from a CSV file.

    Parameters
    ----------
    path : Path
        Its first row names the columns, in any order and case: x0, y0, x1, y1 (or x1, y1, x2, y2; xmin, ...;
        left, top, ...; x, y, width, height; ImageJ's BX, BY, Width, Height) for boxes, y, x for points, or
        napari's for points and shapes (the boxes around the shapes are taken). Other columns are ignored.
        Commas, semicolons or tabs separate the columns; with semicolons or tabs, the decimal point may be a
        comma.

    Raises
    ------
    InputError
        If the file, its columns or its rows are missing, a value is not a number, or napari's points lie on
        several planes.
    """
    table = _Table(path, _rows(path))
    if not table.has_any():
        raise InputError(
            f'"{path}" has no columns x0, y0, x1, y1 (boxes) or y, x (points): add them to its first row.'
        )
    if len(table.rows) < 2:
        raise InputError(f'"{path}" names its columns but contains no row: give one for each cell.')
    for names in filter(table.has, BOXES):
        return Prompts(table.numbers(names), None)
    for names in filter(table.has, SIZED_BOXES):
        values = table.numbers(names)
        return Prompts(np.hstack([values[:, :2], values[:, :2] + values[:, 2:]]), None)
    if table.has(POINTS):
        return Prompts(None, table.numbers(POINTS))
    return _of_napari(table)


def _of_napari(table: _Table) -> Prompts:
    """Read points as napari saves them, or the boxes around shapes; y and x are the last dimensions."""
    *leading, rows, columns = table.axes
    planes = table.numbers(leading)
    if len(np.unique(planes, axis=0)) > 1:
        raise InputError(f'"{table.path}" has rows on several planes: save those of one plane by themselves.')
    points = table.numbers((rows, columns))
    if not table.has(("index", "vertex-index")):
        return Prompts(None, points)
    shapes = table.numbers(("index",))[:, 0]
    corners = [points[shapes == number, ::-1] for number in dict.fromkeys(shapes)]
    return Prompts(np.array([[*each.min(axis=0), *each.max(axis=0)] for each in corners]), None)


class _Table:
    """The rows of a file; the first names the columns."""

    def __init__(self, path: Path, rows: list[tuple[int, list[str]]]) -> None:
        self.path, self.rows = path, rows
        self.header = [name.strip().strip("\"'").lower() for name in rows[0][1]] if rows else []
        named = [name for name in self.header if name.startswith(_AXIS) and name[len(_AXIS) :].isdecimal()]
        self.axes = sorted(named, key=lambda name: int(name[len(_AXIS) :]))

    def has(self, names: Sequence[str]) -> bool:
        """Whether the table has all of these columns."""
        return set(names) <= set(self.header)

    def has_any(self) -> bool:
        """Whether the table has the columns for boxes or for points."""
        return len(self.axes) > 1 or any(map(self.has, (*BOXES, *SIZED_BOXES, POINTS)))

    def numbers(self, names: Sequence[str]) -> np.ndarray:
        """Return the values of some columns, float64 (N, len(names))."""
        places = [self.header.index(name) for name in names]
        return np.array([_numbers(self.path, line, row, places, names) for line, row in self.rows[1:]])


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the line number and cells of every row that is not empty."""
    text = _text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(";\t,", key=first.count)
    try:
        rows = list(enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=separator), start=1))
    except csv.Error as error:
        raise InputError(f'"{path}" is not a table ({error}): save it as CSV.') from error
    kept = [(line, row) for line, row in rows if any(cell.strip() for cell in row)]
    decimal = "." if separator == "," else ","
    return [(line, [cell.strip().replace(decimal, ".") for cell in row]) for line, row in kept]


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f'There is no file "{path}": check the path.') from error
    except OSError as error:
        raise InputError(f'"{path}" cannot be read ({error.strerror}): give a CSV file.') from error
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return content.decode("latin-1")  # any byte is valid there, and the column names are ASCII


def _numbers(
    path: Path, line: int, row: list[str], places: Sequence[int], names: Sequence[str]
) -> list[float]:
    numbers = []
    for place, name in zip(places, names):
        cell = row[place] if place < len(row) else ""
        try:
            numbers.append(float(cell))
        except ValueError as error:
            raise InputError(f'"{path}" has {cell!r} for {name} in row {line}: give a number.') from error
    return numbers
