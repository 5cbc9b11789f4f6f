"""OME-Zarr 0.4 and 0.5: the finest level of an image, read lazily with its axes and scale."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import zarr

from napari_cupre.data.axes import axes_from_labels, guess_axes
from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError

_CHUNK = 1024
_MAX_LISTED_CHUNKS = 1_000_000
"""To find what an array lacks its whole folder is listed; of a bigger one that would take too long."""

_MAX_COMPARED = 64
"""So many of the lacking chunks are compared with what lies beside them."""


def read_zarr(path: Path, axes: str | None = None) -> CellImage:
    """Read the finest level of an OME-Zarr image, or a plain Zarr array, as a dask array.

    Parameters
    ----------
    path : the folder of an image, of a plain array, or of a `bioformats2raw` collection, whose first image
        is read.
    axes : letters that overrule what the file says.

    Returns
    -------
    CellImage : axes, scale, origin and units from the metadata; axes are guessed for plain arrays. Chunks
        that are not there are noticed, since they read as zeros (writers leave out empty ones); where the
        picture goes on around them, `lacks` says that they are lost.

    Raises
    ------
    InputError : a plate or group without an image, or metadata that do not fit.
    """
    node: Any = zarr.open(str(path), mode="r")
    if isinstance(node, zarr.Array):
        return CellImage.from_array(
            _lazy(node), axes, name=path.name, path=path, **_found_lacking(node, path)
        )
    attributes = _ome_attributes(node)
    if "bioformats2raw.layout" in attributes and "multiscales" not in attributes and "0" in node:
        node = node["0"]
    return _read_multiscale(node, path, axes)


def read_zarr_labels(path: Path) -> Any:
    """The label image of an OME-Zarr as a dask array: the first under `labels/`, else the image itself."""
    node: Any = zarr.open(str(path), mode="r")
    if isinstance(node, zarr.Group) and "labels" in node:
        group: Any = node["labels"]
        names = _ome_attributes(group).get("labels") or sorted(group.group_keys())
        if names:
            return _read_multiscale(group[names[0]], path, None).data
    return read_zarr(path).data


def _ome_attributes(node: Any) -> Mapping[str, Any]:
    """OME metadata of a group: at the top in 0.4, under "ome" in 0.5."""
    attributes = dict(node.attrs)
    return attributes.get("ome", attributes)


def _read_multiscale(group: Any, path: Path, axes: str | None) -> CellImage:
    """The finest level of an OME-Zarr image group."""
    attributes = _ome_attributes(group)
    if not attributes.get("multiscales"):
        kind = "is a plate" if "plate" in attributes else "holds no OME-Zarr image"
        raise InputError(f'"{path}" {kind}: name the folder of one image in it.')
    multiscale = attributes["multiscales"][0]
    dataset = multiscale["datasets"][0]
    array = group[dataset["path"]]
    # Up to 0.3 axes were names alone, from 0.4 on they are named, typed and have units.
    entries = multiscale.get("axes") or []
    named = [entry if isinstance(entry, Mapping) else {"name": entry} for entry in entries]
    letters = axes_from_labels([entry["name"] for entry in named]) if len(named) == array.ndim else None
    if axes is None and named and letters is None:
        names = [entry["name"] for entry in named]
        raise InputError(f'"{path}" has axes {names}, which are not understood: name them, e.g. axes="ZYX".')
    steps = [*dataset.get("coordinateTransformations", ()), *multiscale.get("coordinateTransformations", ())]
    scale, translate = _transform(steps, array.ndim)
    known = letters or axes or guess_axes(array.shape)
    image = CellImage.from_array(
        _lazy(array),
        known,
        scale=dict(zip(known, scale)),
        translate=dict(zip(known, translate)),
        units={axis: entry.get("unit", "") for axis, entry in zip(known, named)},
        name=path.name,
        path=path,
        **_found_lacking(array, path),
    )
    image.guessed = letters is None and axes is None
    return image if axes is None else image.with_axes(axes)


def _transform(steps: Sequence[Mapping[str, Any]], ndim: int) -> tuple[list[float], list[float]]:
    """Scale and translation per dimension of a chain of transformations."""
    scale, translate = [1.0] * ndim, [0.0] * ndim
    for step in steps:
        factors = step.get("scale", [1.0] * ndim)
        shifts = step.get("translation", [0.0] * ndim)
        scale = [old * float(new) for old, new in zip(scale, factors)]
        translate = [old * float(factor) + float(new) for old, factor, new in zip(translate, factors, shifts)]
    return scale, translate


def _lazy(array: Any) -> da.Array:
    """A dask array whose chunks are several stored ones, so that the graph of a slide stays small."""
    last = array.ndim - 2
    chunks = [
        chunk if axis < last else min(size, -(-_CHUNK // chunk) * chunk)
        for axis, (size, chunk) in enumerate(zip(array.shape, array.chunks))
    ]
    return da.from_array(array, chunks=tuple(chunks), name=False)


def _found_lacking(array: Any, path: Path) -> dict[str, Any]:
    """`notices` or `lacks` of a `CellImage`."""
    sentence, is_lost = _absent_chunks(array, path)
    if is_lost:
        return {"lacks": sentence}
    return {"notices": (sentence,) if sentence else ()}


def _absent_chunks(array: Any, path: Path) -> tuple[str, bool]:
    """One sentence on chunks that are not there, "" without any, and whether they seem to be lost."""
    sides = array.shards or array.chunks  # of what is one file
    grid = [-(-size // side) for size, side in zip(array.shape, sides)]
    if math.prod(grid) > _MAX_LISTED_CHUNKS:
        return "", False
    stored = _files(path / array.path)
    absent = [at for at in np.ndindex(*grid) if array.metadata.encode_chunk_key(at) not in stored]
    if not absent:
        return "", False
    compared = absent[:: -(-len(absent) // _MAX_COMPARED)]
    hole = next((at for at in compared if _is_hole(array, at, sides, set(absent))), None)
    row, column = (position * side for position, side in zip((hole or absent[0])[-2:], sides[-2:]))
    sentence = (
        f'"{path.name}" lacks {len(absent)} of {math.prod(grid)} chunks, such as the one at row {row}, '
        f"column {column}, which read as {array.fill_value}"
    )
    return (f"{sentence}." if hole is None else f"{sentence}: copy it anew."), hole is not None


def _files(folder: Path) -> set[str]:
    """All files below a folder, by their path from there."""
    found: set[str] = set()
    for parent, _, names in os.walk(folder):
        above = Path(parent).relative_to(folder).as_posix()
        found.update(names if above == "." else (f"{above}/{name}" for name in names))
    return found


def _is_hole(array: Any, at: tuple[int, ...], sides: tuple[int, ...], absent: set[tuple[int, ...]]) -> bool:
    """Whether the picture goes on in three directions or four around a chunk that is not there.

    Writers leave out what is empty, and mosaics have empty corners; nothing ends along the lines of the
    chunks on all sides by itself.
    """
    part = [slice(n * side, min((n + 1) * side, size)) for n, side, size in zip(at, sides, array.shape)]
    content = 0
    for axis in (array.ndim - 2, array.ndim - 1):
        for step in (-1, 1):
            other = list(at)
            while tuple(other) in absent:
                other[axis] += step
            first, last = other[axis] * sides[axis], (other[axis] + 1) * sides[axis] - 1
            place = first if step > 0 else last
            if not 0 <= place < array.shape[axis]:
                continue
            edge = (*part[:axis], slice(place, place + 1), *part[axis + 1 :])
            try:
                content += bool((np.asarray(array[edge]) != array.fill_value).any())
            except Exception:
                continue  # a damaged neighbour is reported when it is read
    return content >= 3
