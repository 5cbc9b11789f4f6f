"""The table that `outline` takes: boxes or points, one a row."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from napari_cupre.errors import InputError

BOXES = (("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2"))
POINTS = (("y", "x"), ("axis-0", "axis-1"))
"""Names of the columns; the last are those of napari's points."""


class Prompts(NamedTuple):
    """What a table holds; one of the two is None.

    Attributes
    ----------
    boxes : numpy.ndarray or None
        float64 (N, 4), x0, y0, x1, y1.
    points : numpy.ndarray or None
        float64 (N, 2), y, x.
    """

    boxes: np.ndarray | None
    points: np.ndarray | None


def read_prompts(path: Path) -> Prompts:
    """Read boxes or points of a CSV file.

    Parameters
    ----------
    path : Path
        Its first row names the columns, in any order and case: x0, y0, x1, y1 (or x1, y1, x2, y2) for boxes,
        y, x for points; other columns are left out. Commas, semicolons or tabs separate them, and beside
        semicolons and tabs a comma may be the decimal point.

    Raises
    ------
    InputError
        If there is no such file, no such columns or no row, or a value is no number.
    """
    rows = _rows(path)
    header = [name.strip().strip("\"'").lower() for name in rows[0][1]] if rows else []
    for kinds, is_box in ((BOXES, True), (POINTS, False)):
        for names in kinds:
            if set(names) <= set(header):
                places = [header.index(name) for name in names]
                values = np.array([_numbers(path, line, row, places, names) for line, row in rows[1:]])
                if not len(values):
                    raise InputError(
                        f'"{path}" names its columns but contains no row: give one for each cell.'
                    )
                return Prompts(values, None) if is_box else Prompts(None, values)
    raise InputError(
        f'"{path}" has no columns x0, y0, x1, y1 (boxes) or y, x (points): add them to its first row.'
    )


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and cells of every row that is not empty."""
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
        return content.decode("latin-1")  # any byte means something there, and the columns are plain


def _numbers(path: Path, line: int, row: list[str], places: list[int], names: tuple[str, ...]) -> list[float]:
    numbers = []
    for place, name in zip(places, names):
        cell = row[place] if place < len(row) else ""
        try:
            numbers.append(float(cell))
        except ValueError as error:
            raise InputError(f'"{path}" has {cell!r} for {name} in row {line}: give a number.') from error
    return numbers
