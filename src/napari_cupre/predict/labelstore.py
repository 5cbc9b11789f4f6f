"""A label image on disk as OME-Zarr 0.4, written by region; readable by others while it grows."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.errors import EnvironmentFault, InputError

CHUNK = 512
"""Side of a stored chunk, px."""

SMALLEST_LEVEL = 1024
"""Coarser levels are added until a plane is no longer than this."""

_BLOCK = 2048  # px; with 4096 a slide of 10,000 px peaked 155 MB higher
_MARK = "napari_cupre"
_AXIS_KIND = {"T": "time", "Z": "space", "Y": "space", "X": "space"}


class LabelStore:
    """The label image of one `CellImage`, a Zarr group with the levels of a pyramid.

    Parameters
    ----------
    path : folder of the group; one that was begun for an image of the same size is continued.
    image : gives size, axes, scale and units.

    Raises
    ------
    InputError
        If there is something else at `path`.
    EnvironmentFault
        If it cannot be written.
    """

    def __init__(self, path: Path, image: CellImage) -> None:
        self.path = path
        self._axes = image.result_axes
        try:
            if path.exists():
                self._group = self._reopen(image)
            else:
                self._group = self._create(image)
        except OSError as error:
            raise self._fault(error) from error
        self.labels: Any = self._group["0"]

    def _create(self, image: CellImage) -> Any:
        group = zarr.create_group(self.path, zarr_format=2)
        shape = image.result_shape
        _level(group, "0", shape)
        group.attrs.update(_metadata(image, levels=1) | {_MARK: {"complete": False}})
        return group

    def _reopen(self, image: CellImage) -> Any:
        try:
            group: Any = zarr.open_group(self.path, mode="r+", zarr_format=2)
            ours = _MARK in group.attrs and group["0"].shape == image.result_shape
        except (KeyError, ValueError, FileNotFoundError):
            ours = False
        if not ours:
            raise InputError(
                f'"{self.path}" is no label image of this image: move it or choose another folder.'
            )
        return group

    @property
    def complete(self) -> bool:
        """Whether the prediction that fills it has ended."""
        return bool(self._group.attrs[_MARK]["complete"])

    def plane(self, index: PlaneIndex) -> StoredPlane:
        """One plane to be read and written by region."""
        return StoredPlane(self, tuple(index[axis] for axis in self._axes[:-2]))

    def finish(self, image: CellImage, notes: dict[str, Any]) -> None:
        """Add the coarser levels, and mark the whole as complete."""
        names = ["0"]
        try:
            while max(self._group[names[-1]].shape[-2:]) > SMALLEST_LEVEL:
                names.append(str(len(names)))
                self._halve(names[-2], names[-1])
            self._group.attrs.update(_metadata(image, len(names)) | {_MARK: notes | {"complete": True}})
        except OSError as error:
            raise self._fault(error) from error

    def _halve(self, fine_name: str, coarse_name: str) -> None:
        """Every second row and column, block by block: labels must not be averaged."""
        fine = self._group[fine_name]
        rows, columns = (-(-side // 2) for side in fine.shape[-2:])
        coarse = _level(self._group, coarse_name, (*fine.shape[:-2], rows, columns))
        for index in np.ndindex(*fine.shape[:-2]):
            for top in range(0, rows, _BLOCK // 2):
                for left in range(0, columns, _BLOCK // 2):
                    block = fine[
                        (*index, slice(2 * top, 2 * top + _BLOCK), slice(2 * left, 2 * left + _BLOCK))
                    ]
                    small = block[::2, ::2]
                    where = (*index, slice(top, top + small.shape[0]), slice(left, left + small.shape[1]))
                    coarse[where] = small

    def _fault(self, error: OSError) -> EnvironmentFault:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else (error.strerror or str(error))
        return EnvironmentFault(
            f'"{self.path}" could not be written ({reason}): mend that, then run the same again; '
            "it continues where it was."
        )


class StoredPlane:
    """A (Y, X) view of one plane of a store, read and written by slices."""

    def __init__(self, store: LabelStore, index: tuple[int, ...]) -> None:
        self._store, self._index = store, index

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self._store.labels.shape[-2:]
        return rows, columns

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        return np.asarray(self._store.labels[(*self._index, *key)])

    def __setitem__(self, key: tuple[slice, slice], value: np.ndarray) -> None:
        try:
            self._store.labels[(*self._index, *key)] = value
        except OSError as error:
            raise self._store._fault(error) from error


def _level(group: Any, name: str, shape: tuple[int, ...]) -> zarr.Array:
    """An empty level, chunked in the plane."""
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
    """OME-Zarr 0.4 metadata of a label image."""
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
