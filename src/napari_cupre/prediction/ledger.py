"""The progress of a long prediction on disk, so that a killed one can continue.

It is one SQLite file beside the result. A tile is entered in two steps: before its labels are written, the
labels that they replace are stored; afterwards, one transaction enters the tile as done and drops the copy.
If the process is killed in between, the next start restores the copy and repeats the tile.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.prediction.choice import Choice
from napari_cupre.prediction.stitch import RECORD, TilePatch
from napari_cupre.prediction.tiles import Window

_TABLES = """
CREATE TABLE IF NOT EXISTS settings (document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS choice (diameter REAL NOT NULL, score REAL NOT NULL);
CREATE TABLE IF NOT EXISTS tiles (plane INTEGER, tile INTEGER, fault TEXT, PRIMARY KEY (plane, tile));
CREATE TABLE IF NOT EXISTS cells (
    plane INTEGER, row INTEGER, x1 REAL, y1 REAL, x2 REAL, y2 REAL, score REAL,
    kind INTEGER, tile INTEGER, cut INTEGER, alive INTEGER, PRIMARY KEY (plane, row));
CREATE TABLE IF NOT EXISTS undo (plane INTEGER, y0 INTEGER, x0 INTEGER, y1 INTEGER, x1 INTEGER, labels BLOB);
"""


class RecordedCell(NamedTuple):
    """A cell of a plane.

    Attributes
    ----------
    plane : int
        Number of the plane.
    label : int
        Its value in the plane's labels.
    box : tuple of float
        x1, y1, x2, y2 in px.
    score : float
        Certainty of the network, 0..1.
    kind : int
        Its class, from 1 on.
    """

    plane: int
    label: int
    box: tuple[float, float, float, float]
    score: float
    kind: int


class Ledger:
    """The file of one prediction.

    Parameters
    ----------
    path : Path
        The file; it is made if it does not exist.
    settings : dict of str to Any
        Everything that the result depends on, as JSON values; a job with other settings is not continued.

    Raises
    ------
    InputError
        If the file belongs to a job with other settings, or is damaged.

    Attributes
    ----------
    is_new : bool
        Whether nothing was entered before.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        try:
            self._base = sqlite3.connect(path)
            try:
                self._base.executescript(_TABLES)
                self._check(settings)
            except BaseException:
                self._base.close()
                raise
        except sqlite3.OperationalError as error:
            raise EnvironmentFault(f'"{path}" cannot be written ({error}): choose another folder.') from error
        except sqlite3.DatabaseError as error:
            raise self._damaged() from error

    def _check(self, settings: dict[str, Any]) -> None:
        found = self._first("SELECT document FROM settings")
        self.is_new = found is None
        if found is None:
            with self._base:
                self._base.execute("INSERT INTO settings VALUES (?)", (json.dumps(settings),))
            return
        with self._reading():
            before = dict(json.loads(found[0]))
        now = json.loads(json.dumps(settings))
        other = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
        if other:
            raise InputError(
                f'"{self.path}" belongs to an unfinished prediction with another {" and ".join(other)}: '
                "repeat it with the same, or delete that file to start again."
            )

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def choice(self, choose: Callable[[], Choice]) -> Choice:
        """Return the diameter for planning the tiles, and the score; they are chosen once, then kept."""
        found = self._first("SELECT diameter, score FROM choice")
        if found is not None:
            with self._reading():
                return Choice(float(found[0]), float(found[1]))
        choice = choose()
        with self._writing():
            self._base.execute("INSERT INTO choice VALUES (?, ?)", (choice.diameter, choice.score))
        return choice

    def done(self, plane: int) -> set[int]:
        """Return the indices of painted tiles."""
        query = "SELECT tile FROM tiles WHERE plane = ? AND fault IS NULL"
        return {tile for (tile,) in self._each(query, plane)}

    def records(self, plane: int) -> np.ndarray:
        """Return the stitcher's records of a plane (see `stitch.RECORD`)."""
        columns = "row, x1, y1, x2, y2, score, kind, tile, cut, alive"
        found = list(self._each(f"SELECT {columns} FROM cells WHERE plane = ? ORDER BY row", plane))
        with self._reading():
            if [row[0] for row in found] != list(range(len(found))):
                raise ValueError("cells are missing")
            return np.array([(row[1:5], *row[5:]) for row in found], dtype=RECORD)

    def keep(self, plane: int, patch: TilePatch) -> None:
        """Store what a patch is about to replace."""
        blob = zlib.compress(np.ascontiguousarray(patch.before, dtype="<i4").tobytes(), 1)
        with self._writing():
            self._base.execute("DELETE FROM undo")
            self._base.execute("INSERT INTO undo VALUES (?, ?, ?, ?, ?, ?)", (plane, *patch.window, blob))

    def enter(self, plane: int, tile: int, rows: np.ndarray, records: np.ndarray) -> None:
        """Enter a tile as done, with the records that it created or changed."""
        with self._writing():
            self._base.executemany(
                "INSERT OR REPLACE INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                _cells(plane, rows, records),
            )
            self._base.execute("INSERT OR REPLACE INTO tiles VALUES (?, ?, NULL)", (plane, tile))
            self._base.execute("DELETE FROM undo")

    def fail(self, plane: int, tile: int, fault: str) -> None:
        """Enter a tile as one that could not be read; the next run tries it again."""
        with self._writing():
            self._base.execute("INSERT OR REPLACE INTO tiles VALUES (?, ?, ?)", (plane, tile, fault))

    def undone(self) -> tuple[int, Window, np.ndarray] | None:
        """Return plane, window and labels to restore if the writing of a tile was interrupted."""
        found = self._first("SELECT * FROM undo")
        if found is None:
            return None
        with self._reading():
            plane, *corners, blob = found
            window = Window(*corners)
            return plane, window, np.frombuffer(zlib.decompress(blob), dtype="<i4").reshape(window.shape)

    def forget_undo(self) -> None:
        """Drop the stored copy, because it has been restored."""
        with self._writing():
            self._base.execute("DELETE FROM undo")

    def cells(self) -> Iterator[RecordedCell]:
        """Yield every cell, plane by plane."""
        query = (
            "SELECT plane, row + 1, x1, y1, x2, y2, score, kind FROM cells WHERE alive ORDER BY plane, row"
        )
        for plane, label, x1, y1, x2, y2, score, kind in self._each(query):
            yield RecordedCell(plane, label, (x1, y1, x2, y2), score, int(kind))

    def _each(self, query: str, *values: int) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query."""
        try:
            yield from self._base.execute(query, values)
        except sqlite3.DatabaseError as error:
            raise self._damaged() from error

    def _first(self, query: str, *values: int) -> tuple[Any, ...] | None:
        return next(self._each(query, *values), None)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn errors of reading into a message, because somebody must have changed the file."""
        try:
            yield
        except (ValueError, TypeError, IndexError, zlib.error) as error:
            raise self._damaged() from error

    def _damaged(self) -> InputError:
        return InputError(f'"{self.path}" is damaged: delete it to start this image again.')

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Run one transaction."""
        try:
            with self._base:
                yield
        except sqlite3.OperationalError as error:
            raise EnvironmentFault(
                f'"{self.path}" could not be written ({error}): free some space, then run the same again; '
                "it continues where it was."
            ) from error
        except sqlite3.DatabaseError as error:
            raise self._damaged() from error


def _cells(plane: int, rows: np.ndarray, records: np.ndarray) -> Iterable[tuple[Any, ...]]:
    """Return one tuple of plain values per changed row."""
    for row, record in zip(rows.tolist(), records[rows]):
        box = (float(value) for value in record["box"])
        flags = (int(record[name]) for name in ("kind", "tile", "cut", "alive"))
        yield (plane, row, *box, float(record["score"]), *flags)
