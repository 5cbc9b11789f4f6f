"""OME-Zarr 0.4 and 0.5: the finest level of an image, read lazily with its axes and scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import zarr

from napari_cupre.data.axes import axes_from_labels, guess_axes
from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError

_CHUNK = 1024
_MAX_COUNTED_CHUNKS = 20_000
"""Counting the chunks of an array lists its whole folder; of a bigger one that would take too long."""


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
        that were never written are noticed, since they read as zeros.

    Raises
    ------
    InputError : a plate or group without an image, or metadata that do not fit.
    """
    node: Any = zarr.open(str(path), mode="r")
    if isinstance(node, zarr.Array):
        notices = _missing_chunks(node, path)
        return CellImage.from_array(_lazy(node), axes, name=path.name, path=path, notices=notices)
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
        notices=_missing_chunks(array, path),
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


def _missing_chunks(array: Any, path: Path) -> tuple[str, ...]:
    if array.nchunks > _MAX_COUNTED_CHUNKS:
        return ()
    missing = array.nchunks - array.nchunks_initialized
    if missing <= 0:
        return ()
    return (f'"{path.name}" lacks {missing} of {array.nchunks} chunks, which read as {array.fill_value}.',)
