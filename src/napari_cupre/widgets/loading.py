"""Load images of a project: read them in the background, then make layers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from napari.layers import Image

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError, InputError
from napari_cupre.io.channel_names import channel_names
from napari_cupre.project.cells import Cells
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.project import Project
from napari_cupre.project.tables import read_cells
from napari_cupre.widgets.channel_contrast import Limits, limits_of
from napari_cupre.widgets.layers import CHANNELS_KEY
from napari_cupre.widgets.state_colours import StateColormap

IN_MEMORY = 512 * 2**20
"""Images of up to this many bytes are read into memory; larger ones are read lazily."""


@dataclass(frozen=True)
class Item:
    """One image of the queue.

    `stem` is its name in the project, None for a layer outside it. `layer` is None while no layer shows it.
    """

    name: str
    stem: str | None = None
    layer: Image | None = None


@dataclass(frozen=True)
class Loaded:
    """An image that was read, with its `entry` in the project.

    `limits` are the grey values shown as black and white, None for colours. `cells` are the stored cells
    (possibly none); None if they are already in memory. `colours` are the colours of the cells, None for a
    stack, because the plane to show is not known. `notices` lists oddities of the files,
    `channels` the names that the file gives its channels, if it does.
    """

    entry: ProjectImage
    image: CellImage
    limits: Limits | None
    cells: Cells | None
    colours: StateColormap | None = None
    notices: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


def load(project: Project, entry: ProjectImage, has_cells: bool) -> Loaded:
    """Read an image of a project and its cells, in a thread.

    Raises
    ------
    InputError
        The image is gone, cannot be read, or has another size than when its cells were drawn.
    """
    image = project.pixels(entry)
    size = int(np.prod(image.data.shape)) * image.data.dtype.itemsize
    if image.is_lazy and size <= IN_MEMORY:
        image = replace(image, data=np.asarray(image.data))
    limits = None if image.is_rgb else _limits(image)
    project.room.reserve(tuple(entry.shape))
    cells, notices = (None, []) if has_cells else read_cells(project.folder, entry.stem, entry.regions)
    colours = None
    if cells is None and not has_cells:
        cells = Cells(np.zeros(entry.shape, np.int32), {}, entry.regions)
    if cells is not None and cells.labels.ndim == 2:
        colours = StateColormap.of(cells, entry.certainty)
    with contextlib.suppress(InputError):  # whoever shows it tells
        project.background(entry.stem)  # so that the window's thread need not read it
    names = _names(project, entry, image)
    return Loaded(entry, image, limits, cells, colours, tuple(notices), names)


def _names(project: Project, entry: ProjectImage, image: CellImage) -> tuple[str, ...]:
    if image.channel_count < 2:
        return ()
    return channel_names(project.find(entry), image.channel_count, entry.series)


def layer_of(loaded: Loaded) -> Image:
    """Make a layer for an image that was read."""
    image = loaded.image
    axes = image.axes.replace("S", "")
    options = {} if loaded.limits is None else {"contrast_limits": loaded.limits}
    return Image(
        image.data,
        name=loaded.entry.stem,
        rgb=image.is_rgb,
        axis_labels=tuple(axes),
        metadata={CHANNELS_KEY: loaded.channels} if loaded.channels else None,
        **image.values_for(axes),
        **options,
    )


def _limits(image: CellImage) -> Limits | None:
    """Return the contrast limits of the channel that is shown first."""
    channel = (image.chosen_channels or (0,))[0]
    return limits_of(image, channel, next(iter(image.plane_indices())))


def drafted(
    makers: list[Callable[[], ProjectImage]], notices: list[str]
) -> tuple[list[ProjectImage], list[str]]:
    """Make the entries in the thread; return them with messages about unreadable files and `notices`."""
    drafts, faults = [], []
    for make in makers:
        try:
            drafts.append(make())
        except CupreError as error:
            faults.append(str(error))
    if len(faults) > 1:
        faults = [f"{len(faults)} of {len(makers)} files could not be read, such as: {faults[0]}"]
    return drafts, faults + notices
