"""OME-Zarr 0.4 and 0.5: the finest level of an image, read lazily with its axes and scale."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import zarr

from napari_cupre.data.axes import axes_from_labels, guess_axes
from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.io.files import natural_key, split_scene
from napari_cupre.io.scenes import Scene, choose_scenes, list_names, name_scenes, what_is_left
from napari_cupre.words import some_of

_CHUNK = 1024
_MAX_LISTED_CHUNKS = 1_000_000
"""Most chunks of an array whose folder is listed to find missing chunks; listing more takes too long."""

_MAX_COMPARED = 64
"""Number of missing chunks that are compared with their neighbours."""


@dataclass(frozen=True)
class _Image:
    """One image of a Zarr hierarchy: an array, or one of the multiscale images of a group."""

    node: Any
    number: int = 0


def read_zarr(path: Path, axes: str | None = None, *, series: str | int | None = None) -> CellImage:
    """Read the finest level of an OME-Zarr image, or a plain Zarr array, as a dask array.

    Parameters
    ----------
    path : Path
        The folder of an image, of a plain array, of a `bioformats2raw` collection, or of a plate or well.
    axes : str or None, optional
        Letters that overrule what the file says.
    series : str or int or None, optional
        Name or number of the image, in a folder of several; None takes the first.

    Returns
    -------
    CellImage
        Axes, scale, origin and units come from the metadata; axes of plain arrays are guessed. A notice names
        missing chunks, which read as zeros (writers leave out empty ones). If the image continues around
        them, they are lost, and `lacks` says so.

    Raises
    ------
    InputError
        A plate or group without an image, no such series, or metadata that do not fit.
    """
    folder = path if path.exists() else split_scene(path)[0]
    node = _opened(folder)
    found = _images(node, folder)
    scenes = _scenes(found)
    scene = choose_scenes(scenes, series, path.name)[0]
    image = _read_one(found[scene.index][1], folder, path, axes)
    if series is None:
        image.notices = (*what_is_left(scenes, scene, path.name), *image.notices)
    return image


def zarr_scenes(path: Path) -> list[Scene]:
    """List the images of a Zarr folder, without their lower resolution levels.

    Raises
    ------
    InputError
        A plate or group without an image.
    """
    return _scenes(_images(_opened(path), path))


def absent_images(path: Path) -> list[str]:
    """List the images that a plate, a well or a collection names but does not contain.

    Parameters
    ----------
    path : Path
        A Zarr folder.
    """
    node = _opened(path)
    if isinstance(node, zarr.Array):
        return []
    attributes = _ome_attributes(node)
    if attributes.get("multiscales") or not {"plate", "well", "bioformats2raw.layout"} & set(attributes):
        return []
    return [key for key in _image_keys(node, attributes) if key not in node]


def _opened(folder: Path) -> Any:
    try:
        return zarr.open(str(folder), mode="r")
    except FileNotFoundError as error:  # zarr's own message is about its stores
        raise InputError(
            f'"{folder}" contains no OME-Zarr image, as its metadata are missing: copy it again.'
        ) from error


def _scenes(found: Sequence[tuple[str, _Image]]) -> list[Scene]:
    scenes, titles = [], []
    for number, (key, image) in enumerate(found):
        array, letters, title = _array_of(image)
        scenes.append(Scene(title, number, letters, tuple(array.shape)))
        titles.append(key)
    # An image in a folder of its own is named after the folder; labels and overviews keep their names.
    return [replace(scene, name=key or scene.name) for scene, key in zip(name_scenes(scenes), titles)]


def _array_of(image: _Image) -> tuple[Any, str, str]:
    """Return the finest level, its axes as far as they are known, and the name of the image."""
    if isinstance(image.node, zarr.Array):
        return image.node, "I" * (image.node.ndim - 2) + "YX", ""
    multiscale = _ome_attributes(image.node)["multiscales"][image.number]
    array: Any = image.node[multiscale["datasets"][0]["path"]]
    entries = multiscale.get("axes") or []
    named = [entry["name"] if isinstance(entry, Mapping) else entry for entry in entries]
    letters = axes_from_labels(named) if len(named) == array.ndim else None
    return array, letters or "I" * (array.ndim - 2) + "YX", str(multiscale.get("name") or "")


def _images(node: Any, path: Path) -> list[tuple[str, _Image]]:
    """List all images below a group, with the folder of each; "" where several share one folder.

    Raises
    ------
    InputError
        There is no image.
    """
    if isinstance(node, zarr.Array):
        return [("", _Image(node))]
    attributes = _ome_attributes(node)
    if attributes.get("multiscales"):
        return [("", _Image(node, number)) for number in range(len(attributes["multiscales"]))]
    keys = [key for key in _image_keys(node, attributes) if key in node]
    found = [(key, _Image(node[key])) for key in keys]
    usable = [(key, image) for key, image in found if _is_image(image.node)]
    if usable:
        return usable
    kind = "is a plate without any fields" if "plate" in attributes else "contains no OME-Zarr image"
    inside = sorted(node.keys())
    names = f" (it contains {some_of(inside)})" if inside else ""
    raise InputError(f'"{path}" {kind}{names}: give the folder of one image in it.')


def _is_image(node: Any) -> bool:
    return isinstance(node, zarr.Array) or bool(_ome_attributes(node).get("multiscales"))


def _image_keys(node: Any, attributes: Mapping[str, Any]) -> list[str]:
    """List the folders of the images in a plate, a well, or a collection of `bioformats2raw`."""
    if "plate" in attributes:
        wells = [well["path"] for well in attributes["plate"].get("wells", ())]
        return [
            key
            for well in wells
            for key in (
                [f"{well}/{field}" for field in _image_keys(node[well], _ome_attributes(node[well]))]
                if well in node
                else [str(well)]
            )
        ]
    if "well" in attributes:
        return [str(field["path"]) for field in attributes["well"].get("images", ())]
    children = sorted(node.keys(), key=lambda key: natural_key(Path(key)))
    if "bioformats2raw.layout" in attributes:
        listed = _ome_attributes(node["OME"]).get("series") if "OME" in node else None
        return [str(key) for key in listed or children if key != "OME"]
    arrays = [key for key in children if isinstance(node[key], zarr.Array)]
    groups = [key for key in children if key not in arrays and key != "labels"]
    images = [key for key in groups if _is_image(node[key])]
    # A group of several plain arrays does not say what they are; they may be the levels of a pyramid.
    return images or (arrays if len(arrays) == 1 else [])


def read_zarr_labels(path: Path, series: str | int | None = None) -> CellImage:
    """Read the label image of an OME-Zarr: the one under `labels/`, else the image itself.

    Raises
    ------
    InputError
        There are several, and none is chosen.
    """
    folder = path if path.exists() else split_scene(path)[0]
    node = _opened(folder)
    if not (isinstance(node, zarr.Group) and "labels" in node):
        return read_zarr(path, series=series)
    group: Any = node["labels"]
    names = list(_ome_attributes(group).get("labels") or sorted(group.group_keys()))
    if not names:
        return read_zarr(path, series=series)
    scenes = [Scene(str(name), number, "", ()) for number, name in enumerate(names)]
    if series is None and len(names) > 1:
        raise InputError(
            f'"{path}" has {len(names)} label images ({list_names(scenes)}): give the folder of one, such '
            f'as "{path / "labels" / names[0]}".'
        )
    chosen = choose_scenes(scenes, series, path.name)[0] if len(names) > 1 else scenes[0]
    return _read_one(_Image(group[chosen.name]), folder, path, None)


def _ome_attributes(node: Any) -> Mapping[str, Any]:
    """Return the OME metadata of a group: at the top in 0.4, under "ome" in 0.5."""
    attributes = dict(node.attrs)
    return attributes.get("ome", attributes)


def _read_one(image: _Image, folder: Path, path: Path, axes: str | None) -> CellImage:
    """Read the finest level of an image; `path` is its name, `folder` the root of the hierarchy."""
    if isinstance(image.node, zarr.Array):
        lacking = _found_lacking(image.node, folder)
        return CellImage.from_array(_lazy(image.node), axes, name=path.name, path=path, **lacking)
    attributes = _ome_attributes(image.node)
    if not attributes.get("multiscales"):
        raise InputError(f'"{path}" contains no OME-Zarr image: give the folder of one image in it.')
    multiscale = attributes["multiscales"][image.number]
    dataset = multiscale["datasets"][0]
    array = image.node[dataset["path"]]
    # Up to 0.3 axes have only names; from 0.4 on they have names, types and units.
    entries = multiscale.get("axes") or []
    named = [entry if isinstance(entry, Mapping) else {"name": entry} for entry in entries]
    letters = axes_from_labels([entry["name"] for entry in named]) if len(named) == array.ndim else None
    if axes is None and named and letters is None:
        names = [entry["name"] for entry in named]
        raise InputError(f'"{path}" has axes {names}, which are not understood: give them, e.g. axes="ZYX".')
    steps = [*dataset.get("coordinateTransformations", ()), *multiscale.get("coordinateTransformations", ())]
    scale, translate = _transform(steps, array.ndim)
    known = letters or axes or guess_axes(array.shape)
    result = CellImage.from_array(
        _lazy(array),
        known,
        scale=dict(zip(known, scale)),
        translate=dict(zip(known, translate)),
        units={axis: entry.get("unit", "") for axis, entry in zip(known, named)},
        name=path.name,
        path=path,
        **_found_lacking(array, folder),
    )
    result.guessed = letters is None and axes is None
    return result if axes is None else result.with_axes(axes)


def _transform(steps: Sequence[Mapping[str, Any]], ndim: int) -> tuple[list[float], list[float]]:
    """Return scale and translation per dimension of a chain of transformations."""
    scale, translate = [1.0] * ndim, [0.0] * ndim
    for step in steps:
        factors = step.get("scale", [1.0] * ndim)
        shifts = step.get("translation", [0.0] * ndim)
        scale = [old * float(new) for old, new in zip(scale, factors)]
        translate = [old * float(factor) + float(new) for old, factor, new in zip(translate, factors, shifts)]
    return scale, translate


def _lazy(array: Any) -> da.Array:
    """Make a dask array; each chunk joins several stored ones, so that the graph of a slide stays small."""
    last = array.ndim - 2
    chunks = [
        chunk if axis < last else min(size, -(-_CHUNK // chunk) * chunk)
        for axis, (size, chunk) in enumerate(zip(array.shape, array.chunks))
    ]
    return da.from_array(array, chunks=tuple(chunks), name=False)


def _found_lacking(array: Any, path: Path) -> dict[str, Any]:
    """Return `notices` or `lacks` for a `CellImage`."""
    sentence, is_lost = _absent_chunks(array, path)
    if is_lost:
        return {"lacks": sentence}
    return {"notices": (sentence,) if sentence else ()}


def _absent_chunks(array: Any, path: Path) -> tuple[str, bool]:
    """Return one sentence about missing chunks ("" if there are none), and whether they seem to be lost."""
    sides = array.shards or array.chunks  # of the part that is stored as one file
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
    return (f"{sentence}." if hole is None else f"{sentence}: copy it again."), hole is not None


def _files(folder: Path) -> set[str]:
    """List all files below a folder, as paths relative to it."""
    found: set[str] = set()
    for parent, _, names in os.walk(folder):
        above = Path(parent).relative_to(folder).as_posix()
        found.update(names if above == "." else (f"{above}/{name}" for name in names))
    return found


def _is_hole(array: Any, at: tuple[int, ...], sides: tuple[int, ...], absent: set[tuple[int, ...]]) -> bool:
    """Whether the image continues in at least three directions around a missing chunk.

    Writers leave out empty chunks, and mosaics have empty corners. But nothing in an image ends exactly at a
    chunk's borders on all sides.
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
