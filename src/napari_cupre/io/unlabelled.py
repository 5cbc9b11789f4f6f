"""Unlabelled images: an index on disk for any number of files, and crops drawn from it.

Crops are drawn from all images of a file, their planes and channels. Indexing lists names and decodes
nothing, so that a folder of a million files is ready in seconds; the list lives in a SQLite file, so that
memory does not grow with it. Crop `i` of a seed is always the same crop, whoever draws it.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.io.files import (
    PICTURE_SUFFIXES,
    TIFF_SUFFIXES,
    ZARR_SUFFIX,
    image_stem,
    is_junk,
    is_zarr,
    list_images,
)
from napari_cupre.io.pairing import LABEL_WORDS, without_labels
from napari_cupre.io.windows import ImageCache, ReadablePlane, image_sizes

_SUFFIXES = (*PICTURE_SUFFIXES, *TIFF_SUFFIXES)

FLAT_DEVIATION = 0.04
"""A crop contains no cell if its smoothed brightness varies less than this (units of the stretched image)."""

_MEASURED = 200
"""Maximum number of files whose sizes are read to estimate how much there is to crop."""

_PLACES, _FILES = 6, 20
"""How many places to try in an image until one is not flat, and how many files until one opens."""


def walk_images(folder: Path) -> Iterator[str]:
    """Yield image files below a folder; an OME-Zarr counts as one; junk and hidden files are left out."""
    pending = [str(folder.resolve())]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                name = entry.name.lower()
                # The cheap test comes first: with a million files, the others take noticeable time.
                if name.endswith(_SUFFIXES):
                    if not is_junk(Path(name)):
                        yield entry.path
                elif entry.is_dir(follow_symlinks=False) and not is_junk(Path(name)):
                    if name.endswith(ZARR_SUFFIX):
                        yield entry.path
                    else:
                        pending.append(entry.path)


def _images_of(path: Path) -> Iterator[str]:
    """Yield the images below a folder; for a single file the file itself, or the files that it describes.

    Raises
    ------
    InputError
        If a single file is not an image.
    """
    if path.is_dir() and not is_zarr(path):
        return walk_images(path)
    return (str(image.resolve()) for image in list_images(path))


def _is_kept(image: str, exclude: frozenset[str], met: set[str]) -> bool:
    """Whether an image is kept; if it is left out, its stem is added to `met`."""
    stem = image_stem(image)
    if stem in exclude:
        met.add(stem)
    return stem not in exclude


def _drop_labels(connection: sqlite3.Connection, named: Sequence[Path]) -> list[Path]:
    """Remove label files that lie beside their images from the index, and return them.

    Only folders with a file named like labels are checked, one at a time.
    """
    like = " OR ".join(f"lower(path) LIKE '%{word}%'" for word in LABEL_WORDS)
    suspects = connection.execute(f"SELECT DISTINCT folder FROM found WHERE {like} ORDER BY folder")
    dropped: list[Path] = []
    for (folder,) in suspects.fetchall():
        listed = connection.execute("SELECT path FROM found WHERE folder = ? ORDER BY path", (folder,))
        _, labels = without_labels([Path(path) for (path,) in listed], named)
        dropped += labels
    connection.executemany("DELETE FROM found WHERE path = ?", ((str(path),) for path in dropped))
    return dropped


class UnlabelledIndex:
    """The sorted list of all unlabelled files, in a SQLite file.

    Parameters
    ----------
    path : Path
        The file that `build` wrote.

    Attributes
    ----------
    unmet : frozenset[str]
        Stems to leave out that no file has; set only on the result of `build`.
    labels : list[Path]
        Label files beside their images, which are left out; set only on the result of `build`.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.unmet: frozenset[str] = frozenset()
        self.labels: list[Path] = []
        self._connection: sqlite3.Connection | None = None
        self._pid = -1
        self._length = int(self._query("SELECT COUNT(*) FROM files")[0])

    @classmethod
    def build(
        cls, path: Path, folders: Sequence[Path], exclude: frozenset[str] = frozenset()
    ) -> UnlabelledIndex:
        """List the images of folders (or single files) into a new index at `path`, which is replaced.

        Parameters
        ----------
        path : Path
            Where to write the index.
        folders : Sequence[Path]
            Folders, searched with their subfolders, or single images.
        exclude : frozenset[str], optional
            Stems (file names without suffixes) to leave out, e.g. held-out test images.

        Raises
        ------
        InputError
            If a folder does not exist, or no folder contains an image.
        """
        for folder in folders:
            if not folder.exists():
                raise InputError(f"The unlabelled folder {folder} does not exist; check --unlabelled.")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        temporary.unlink(missing_ok=True)
        met: set[str] = set()
        connection = sqlite3.connect(temporary)
        try:
            connection.execute("CREATE TABLE found (path TEXT, folder TEXT)")
            connection.executemany(
                "INSERT INTO found VALUES (?, ?)",
                (
                    (image, os.path.dirname(image))
                    for folder in folders
                    for image in _images_of(folder)
                    if not exclude or _is_kept(image, exclude, met)
                ),
            )
            labels = _drop_labels(connection, [folder.resolve() for folder in folders])
            # Sorted by SQLite, on disk if need be: the order of a directory listing differs between machines.
            connection.execute("CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT)")
            connection.execute("INSERT INTO files (path) SELECT DISTINCT path FROM found ORDER BY path")
            connection.execute("DROP TABLE found")
            connection.commit()
        finally:
            connection.close()
        os.replace(temporary, path)
        index = cls(path)
        index.unmet, index.labels = exclude - met, labels
        if not len(index):
            named = ", ".join(str(folder) for folder in folders)
            raise InputError(
                f"No images were found in {named}; give folders with PNG, JPEG, TIFF or OME-Zarr images."
            )
        return index

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> Path:
        row = self._query("SELECT path FROM files WHERE id = ?", (number + 1,))
        return Path(row[0])

    def __iter__(self) -> Iterator[Path]:
        return (self[number] for number in range(len(self)))

    def _query(self, sql: str, values: tuple[int, ...] = ()) -> tuple[Any, ...]:
        # A connection must not be used in a forked worker: each process opens its own.
        if self._connection is None or self._pid != os.getpid():
            self._connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False
            )
            self._pid = os.getpid()
            weakref.finalize(self, self._connection.close)
        row = self._connection.execute(sql, values).fetchone()
        if row is None:
            raise IndexError(f"{self.path} has no file number {values}")
        return row

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    def distinct_crops(self, side: int) -> int:
        """Estimate how many non-overlapping crops of `side` px the images contain.

        Sizes are read from the headers of at most `_MEASURED` files spread over the list; each image of a
        file counts for at least one.
        """
        numbers = np.unique(np.linspace(0, len(self) - 1, min(_MEASURED, len(self))).astype(int))
        counts = []
        for number in numbers:
            try:
                sizes = image_sizes(self[int(number)])
            except Exception:
                counts.append(0)  # unreadable: reported when it is drawn
                continue
            counts.append(sum(max(1, height // side) * max(1, width // side) for height, width in sizes))
        return round(float(np.mean(counts)) * len(self))


@dataclass
class Crop:
    """A piece of an unlabelled image.

    Attributes
    ----------
    image : numpy.ndarray
        float32 (side, side, C), normalised; C is 1 for grey and 3 for colour.
    number : int
        The file's number in the index.
    skipped : list[tuple[str, str]]
        Files that could not be read on the way to this crop, with the reason.
    """

    image: np.ndarray
    number: int
    skipped: list[tuple[str, str]]


class UnlabelledCrops:
    """An endless stream of crops; crop `i` depends only on the seed, `i` and the index.

    Parameters
    ----------
    index : UnlabelledIndex
        The files.
    side : int
        Side of a crop in px of the image; each crop's own side varies by `zoom` around it.
    seed : int
        Seed of the whole stream.
    weights : numpy.ndarray or None, optional
        (len(index),) how often each file is drawn, relative to the others; None = all equally often.
    zoom : float, optional
        A crop's side is `side` times a factor drawn log-uniformly from [1/zoom, zoom].
    """

    def __init__(
        self,
        index: UnlabelledIndex,
        side: int,
        seed: int,
        weights: np.ndarray | None = None,
        zoom: float = 1.4,
    ) -> None:
        self.index = index
        self.side = side
        self.seed = seed
        self.zoom = zoom
        self._cumulative = None if weights is None else np.cumsum(weights, dtype=np.float64)
        self._cache = ImageCache()
        self._turn = -1
        self._order = np.zeros(0, np.int64)

    def draw(self, number: int) -> tuple[Crop, np.random.Generator]:
        """Return crop `number`, and the generator that drew it for anything random that follows.

        Raises
        ------
        InputError
            If many files in a row cannot be read.
        """
        rng = np.random.default_rng([self.seed, number])
        skipped: list[tuple[str, str]] = []
        for attempt in range(_FILES):
            file = int(rng.integers(len(self.index))) if attempt else self._draw_file(number, rng)
            path = self.index[file]
            try:
                pixels = self._textured_window(self._cache.draw(path, rng).draw_plane(rng), rng)
            except Exception as reason:  # reading a window of a damaged file may raise anything
                skipped.append((str(path), " ".join(str(reason).split())))
                continue
            return Crop(pixels, file, skipped), rng
        raise InputError(
            f"{_FILES} unlabelled files in a row could not be read, the last being {skipped[-1][0]} "
            f"({skipped[-1][1]}); check the folders given by --unlabelled."
        )

    def _draw_file(self, number: int, rng: np.random.Generator) -> int:
        """Choose a file: by weights if there are any, else each file once per pass, in a new order."""
        if self._cumulative is not None:
            place = rng.random() * self._cumulative[-1]
            return min(int(np.searchsorted(self._cumulative, place, side="right")), len(self.index) - 1)
        turn, place_in_turn = divmod(number, len(self.index))
        if turn != self._turn:
            self._turn = turn
            self._order = np.random.default_rng([self.seed, turn, 1]).permutation(len(self.index))
        return int(self._order[place_in_turn])

    def _textured_window(self, plane: ReadablePlane, rng: np.random.Generator) -> np.ndarray:
        """Return the first of a few random windows that is not flat, else the least flat one."""
        factor = np.exp(rng.uniform(-np.log(self.zoom), np.log(self.zoom)))
        side = min(round(self.side * factor), plane.height, plane.width)
        best: np.ndarray | None = None
        best_deviation = -1.0
        for _ in range(_PLACES):
            y = int(rng.integers(plane.height - side + 1))
            x = int(rng.integers(plane.width - side + 1))
            window = plane.window(y, x, side, side)
            deviation = smooth_deviation(window)
            if deviation > best_deviation:
                best, best_deviation = window, deviation
            if deviation >= FLAT_DEVIATION:
                break
        if best is None:
            raise ValueError("the image has no pixels")
        return best


def smooth_deviation(window: np.ndarray) -> float:
    """Return the standard deviation of the means of 4 x 4 blocks: noise averages out, cells do not."""
    block = 4
    grey = window.mean(axis=-1)
    height, width = (size // block * block for size in grey.shape)
    if not height or not width:
        return float(grey.std())
    blocks = grey[:height, :width].reshape(height // block, block, width // block, block)
    return float(blocks.mean(axis=(1, 3)).std())
