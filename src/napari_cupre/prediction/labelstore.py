"""A label image on disk as OME-Zarr 0.4, written by window; readable by others while it grows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.errors import EnvironmentFault, InputError, system_reason

if TYPE_CHECKING:  # this import takes half a second, too long for a window that only opens
    import zarr

CHUNK = 512
"""Side of a stored chunk, px."""

SMALLEST_LEVEL = 1024
"""Coarser levels are added until a plane is no longer than this, px."""

_MARK = "napari_cupre"
_AXIS_KIND = {"T": "time", "Z": "space", "Y": "space", "X": "space"}


class LabelStore:
    """The label image of one `CellImage` on disk, a `canvas.Canvas`.

    It is a Zarr group with the levels of a pyramid, which grow together: a viewer can show the whole of a
    slide while it is predicted.

    Parameters
    ----------
    path : Path
        Folder of the group; one that was begun for an image of the same size is continued.
    image : CellImage
        Gives size, axes, scale and units.

    Raises
    ------
    InputError
        If there is something else at `path`.
    EnvironmentFault
        If it cannot be written.
    """

    largest_tile = 2048
    """Largest side of a tile in image px, which limits the memory however large the cells are."""

    def __init__(self, path: Path, image: CellImage) -> None:
        self.path = path
        self._axes = image.result_axes
        try:
            self.is_new = not path.exists()
            if not self.is_new:
                self._group = self._reopen(image)
            else:
                self._group = self._create(image)
        except OSError as error:
            raise self._fault(error) from error
        self.levels: list[Any] = [self._group[name] for name in _level_names(image.result_shape)]

    def _create(self, image: CellImage) -> Any:
        import zarr

        group = zarr.create_group(self.path, zarr_format=2)
        *leading, rows, columns = image.result_shape
        names = _level_names(image.result_shape)
        for level, name in enumerate(names):
            _level(group, name, (*leading, -(-rows // 2**level), -(-columns // 2**level)))
        group.attrs.update(_metadata(image, len(names)) | {_MARK: {"complete": False}})
        return group

    def _reopen(self, image: CellImage) -> Any:
        import zarr

        try:
            group: Any = zarr.open_group(self.path, mode="r+", zarr_format=2)
            levels = [group[name] for name in _level_names(image.result_shape)]
            mark: Any = group.attrs[_MARK]
            ours = isinstance(mark["complete"], bool) and levels[0].shape == image.result_shape
        except (KeyError, ValueError, TypeError, AttributeError, FileNotFoundError, NotADirectoryError):
            ours = False
        if not ours:
            raise InputError(
                f'"{self.path}" is not a label image of this image: move it or choose another folder.'
            )
        return group

    @property
    def complete(self) -> bool:
        """Whether the prediction that fills it is complete."""
        return bool(self._group.attrs[_MARK]["complete"])

    def parts(self) -> int:
        """Return the number of files with labels; blocks without a cell have no file."""
        return sum(1 for level in self.levels for _ in _files(self.path / level.basename))

    def plane(self, index: PlaneIndex) -> StoredPlane:
        """Return one plane to read and write by window."""
        return StoredPlane(self, tuple(index[axis] for axis in self._axes[:-2]))

    def finish(self, notes: dict[str, Any]) -> None:
        """Mark the whole as complete."""
        self._note(notes | {"complete": True})

    def mark_linked(self) -> None:
        """Record that these are linked labels, which are not in a ledger."""
        self._note({"complete": False, "linked": True})

    def _note(self, notes: dict[str, Any]) -> None:
        try:
            self._group.attrs.update({_MARK: notes})
        except OSError as error:
            raise self._fault(error) from error

    def _fault(self, error: OSError) -> EnvironmentFault:
        return EnvironmentFault(
            f'"{self.path}" could not be written, {system_reason(error)}; then run the same again: it '
            "continues where it was."
        )


def cells_table(path: Path) -> Path:
    """Return the path of the CSV with box, score and class of every cell, written at the end."""
    return path.with_name(f"{path.stem}_cells.csv")


def _files(folder: Path) -> Iterator[Path]:
    """Return the chunk files of a level."""
    return (file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))


def read_notes(path: Path) -> dict[str, Any]:
    """Read the notes stored with the labels at `path`; empty if the labels are not ours.

    The keys are "complete" and "linked", and once the labels are complete "cells" and "diameter".
    """
    import zarr

    try:
        attributes: Any = zarr.open_group(path, mode="r", zarr_format=2).attrs.asdict()
        return dict(attributes[_MARK])
    except (KeyError, ValueError, TypeError, AttributeError, OSError):
        return {}


class StoredPlane:
    """A (Y, X) view of one plane of a store, read and written by slices."""

    def __init__(self, store: LabelStore, index: tuple[int, ...]) -> None:
        self._store, self._index = store, index

    @property
    def shape(self) -> tuple[int, int]:
        """Return the rows and columns of the plane."""
        rows, columns = self._store.levels[0].shape[-2:]
        return rows, columns

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        return np.asarray(self._store.levels[0][(*self._index, *key)])

    def __setitem__(self, key: tuple[slice, slice], value: np.ndarray) -> None:
        try:
            for level, labels in enumerate(self._store.levels):
                # Labels must not be averaged, so every second row and column goes to the next level.
                (rows, first_row), (columns, first_column) = (_thinned(side, 2**level) for side in key)
                small = value[first_row :: 2**level, first_column :: 2**level]
                if small.size:
                    labels[(*self._index, rows, columns)] = small
        except OSError as error:
            raise self._store._fault(error) from error


def _thinned(part: slice, step: int) -> tuple[slice, int]:
    """Return where every `step`-th px of a part goes, and the offset of the first one in the part."""
    start, stop = -(-part.start // step), -(-part.stop // step)
    return slice(start, stop), start * step - part.start


def _level_names(shape: tuple[int, ...]) -> list[str]:
    """Return a name for each level of a pyramid on `shape`, finest first."""
    names, side = ["0"], max(shape[-2:])
    while side > SMALLEST_LEVEL:
        names.append(str(len(names)))
        side = -(-side // 2)
    return names


def _level(group: Any, name: str, shape: tuple[int, ...]) -> zarr.Array[Any]:
    """Create an empty level, chunked in the plane."""
    chunks = (*(1 for _ in shape[:-2]), min(CHUNK, shape[-2]), min(CHUNK, shape[-1]))
    return group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype="int32",
        fill_value=0,
        chunk_key_encoding={"name": "v2", "separator": "/"},
        overwrite=True,
    )


def _metadata(image: CellImage, levels: int) -> dict[str, Any]:
    """Return the OME-Zarr 0.4 metadata of a label image."""
    letters = image.result_axes
    axes = []
    for letter in letters:
        axis = {"name": letter.lower(), "type": _AXIS_KIND[letter]}
        if image.units[letter] != "pixel":
            axis["unit"] = image.units[letter]
        axes.append(axis)
    datasets = []
    for level in range(levels):
        factor = {"Y": 2.0**level, "X": 2.0**level}
        scale = [image.scale[letter] * factor.get(letter, 1.0) for letter in letters]
        shift = [image.translate[letter] for letter in letters]
        steps = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    multiscale = {"version": "0.4", "name": image.name, "axes": axes, "datasets": datasets}
    return {"multiscales": [multiscale], "image-label": {"version": "0.4"}}
