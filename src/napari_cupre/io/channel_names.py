"""The names that a file gives its channels, such as those of the stains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_cupre.data.image import CellImage
from napari_cupre.io.files import TIFF_SUFFIXES, is_tiff, is_zarr, split_scene

ChooseChannels = Callable[[CellImage], CellImage]
"""Function that returns an image with the channels that a network is to see; it shares the pixels."""


def as_it_is(image: CellImage) -> CellImage:
    """Leave the choice of channels as it is."""
    return image


def channel_names(path: Path, count: int, series: str | int | None = None) -> tuple[str, ...]:
    """Read the names of an image's channels from OME-TIFF, ImageJ or OME-Zarr metadata; no pixels are read.

    Parameters
    ----------
    path : Path
        A file, or the folder of an OME-Zarr.
    count : int
        Number of channels that the image has.
    series : str or int or None, optional
        The image in a file of several, see `read_image`.

    Returns
    -------
    tuple of str
        A name for each channel, all different; empty if the file does not give them, or cannot be read.
    """
    try:
        if is_zarr(path):
            found = _of_zarr(path)
        elif path.suffix.lower() in TIFF_SUFFIXES and is_tiff(path):
            found = _of_tiff(path, series)
        else:
            found = []
    except Exception:  # readers raise anything; the channels have numbers anyway
        return ()
    names = tuple(" ".join(str(name or "").split()) for name in found[:count])
    return names if len(names) == count and all(names) and len(set(names)) == count else ()


def names_of(image: CellImage) -> tuple[str, ...]:
    """Return the names of an image's channels: those it has already, or those of its file."""
    count = image.channel_count
    if count > 1 and not image.channel_names and image.path is not None:
        file, scene = (image.path, "") if image.path.exists() else split_scene(image.path)
        image.channel_names = channel_names(file, count, scene or None)
    return image.channel_names if len(image.channel_names) == count > 1 else ()


def _of_tiff(path: Path, series: str | int | None) -> Sequence[Any]:
    from napari_cupre.io.damages import listening
    from napari_cupre.io.scenes import choose_scenes
    from napari_cupre.io.tiff import open_tiff

    with listening(path, []), open_tiff(path) as opened:
        described = opened.images[choose_scenes(opened.scenes, series, path.name)[0].index]
        if described is not None:
            return [each.get("Name") for each in described.pixels if each.tag.endswith("}Channel")]
        # ImageJ labels planes, channels first; planes of one channel often share the label
        return list((opened.file.imagej_metadata or {}).get("Labels") or [])


def _of_zarr(path: Path) -> Sequence[Any]:
    import zarr

    attributes: Any = dict(zarr.open(str(path), mode="r").attrs)
    listed = attributes.get("ome", attributes).get("omero", {}).get("channels", [])
    return [each.get("label") for each in listed if isinstance(each, Mapping)]
