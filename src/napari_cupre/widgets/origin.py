"""What a layer's file says about the layer; napari's own reader passes on only the pixels."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from napari.layers import Image

from napari_cupre.data.axes import AXIS_LETTERS, axes_from_labels
from napari_cupre.data.image import CellImage
from napari_cupre.io.channel_names import channel_names
from napari_cupre.io.files import TIFF_SUFFIXES, is_tiff
from napari_cupre.io.scenes import Scene, choose_scenes
from napari_cupre.widgets.layers import CHANNELS_KEY, cell_image, source_path


@dataclass(frozen=True)
class Origin:
    """What is known about a layer's file.

    Attributes
    ----------
    axes : str or None
        One letter per dimension of the layer's data; None if the file does not say.
    others : tuple[Scene, ...]
        Images in the file that the layer does not show.
    is_other : bool
        The layer shows something else than the file's images: a thumbnail, or planes in another order.
    shown : str
        Name of the image that the layer shows.
    lacks : str
        One sentence on what the file lacks, or "".
    colours : str
        What the values mean if napari wrongly shows them as light; else "".
    channels : tuple[str, ...]
        Names of the channels, as far as the file gives them and the layer has several.
    scale, units : dict
        Pixel size by axis letter, as far as the file gives it.
    """

    axes: str | None = None
    others: tuple[Scene, ...] = ()
    is_other: bool = False
    shown: str = ""
    lacks: str = ""
    colours: str = ""
    channels: tuple[str, ...] = ()
    scale: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)


_origins: weakref.WeakKeyDictionary[Image, tuple[tuple[int, ...], Origin]] = weakref.WeakKeyDictionary()


def origin_of(layer: Image) -> Origin:
    """Return what a layer's file says; reads the metadata only once."""
    data = layer.data[0] if layer.multiscale else layer.data
    shape = tuple(int(size) for size in data.shape)
    known = _origins.get(layer)
    if known is None or known[0] != shape:
        known = _origins[layer] = shape, _read(layer, shape)
    return known[1]


def reading_of(layer: Image, axes: str | None = None) -> CellImage:
    """Return the image of a layer, with the pixel size of its file if the layer has none.

    Sizes are then the same whichever reader opened the file. The layer itself stays as it is.

    Parameters
    ----------
    axes : str or None, optional
        Letters given by the user; None takes those of the file, else guesses them.
    """
    origin = origin_of(layer)
    image = cell_image(layer, axes or origin.axes)
    if not np.allclose(layer.scale, 1.0) or set(map(str, layer.units)) != {"pixel"}:
        return image
    return replace(image, scale=image.scale | origin.scale, units=image.units | origin.units)


def channels_on(layer: Image, count: int) -> tuple[str, ...]:
    """Return the names of a layer's channels; none if the file does not give as many."""
    names = tuple(layer.metadata.get(CHANNELS_KEY) or origin_of(layer).channels)
    return names if len(names) == count > 1 else ()


def _read(layer: Image, shape: tuple[int, ...]) -> Origin:
    path = source_path(layer)
    if path is None or path.suffix.lower() not in TIFF_SUFFIXES or not is_tiff(path):
        return Origin()
    from napari_cupre.io.tiff import tiff_overview

    try:
        stored = tiff_overview(path)
    except Exception:  # readers raise anything; the pixels are available anyway
        return Origin()
    found = stored.scenes
    fitting = [(scene, axes) for scene in found if (axes := _axes(scene, shape, layer.rgb)) is not None]
    if not fitting:
        main = [scene for scene in found if not scene.is_extra]
        is_other = not any(_is_alike(scene, shape) for scene in found)
        return Origin(None, tuple(main) if is_other else (), is_other, lacks=stored.lacks)
    shown, axes = fitting[0]
    is_named = axes_from_labels(layer.axis_labels) is not None
    others = tuple(x for x in found if x is not shown and not x.is_extra)
    known = None if is_named or set(axes) - set(AXIS_LETTERS) else axes
    count = shape[axes.index("C")] if "C" in axes else 1
    names = channel_names(path, count, shown.index) if count > 1 else ()
    is_measured = shown == choose_scenes(found, None, path.name)[0]
    scale, _, units = stored.scales if is_measured else ({}, {}, {})
    return Origin(known, others, False, shown.name, stored.lacks, stored.colours, names, scale, units)


def _is_alike(scene: Scene, shape: Sequence[int]) -> bool:
    """Whether a layer shows a scene, or one channel of it, in any order of axes."""
    sizes = sorted(size for size in shape if size > 1)
    plain = [size for axis, size in zip(scene.axes, scene.shape) if axis not in "CS"]
    return sizes in [sorted(size for size in each if size > 1) for each in (scene.shape, plain)]


def _axes(scene: Scene, shape: Sequence[int], rgb: bool) -> str | None:
    """Return the axes of a layer that shows a scene or one of its channels; None for another image."""
    letters, sizes = list(scene.axes), list(scene.shape)
    if "S" in letters and not rgb:
        letters[letters.index("S")] = "S" if "C" in letters else "C"
    if rgb and "S" in letters:
        at = letters.index("S")
        letters.append(letters.pop(at))
        sizes.append(sizes.pop(at))
    whole = "".join(letters), tuple(sizes)
    if whole[1] == tuple(shape):
        return whole[0]
    if "C" in letters:
        at = letters.index("C")
        if (*sizes[:at], *sizes[at + 1 :]) == tuple(shape):
            return "".join(letters[:at] + letters[at + 1 :])
    return None
