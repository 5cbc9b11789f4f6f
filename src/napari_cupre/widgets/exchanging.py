"""Show another image of a project in the layers of one that was shown long ago.

napari takes half a second to create the two layers of an image and a quarter to remove one, however small
they are. Exchanging their content costs little more than sending it to the graphics card.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image

from napari_cupre.project.cells import Cells
from napari_cupre.widgets.annotation_layers import CELLS, REGIONS
from napari_cupre.widgets.channel_contrast import show_limits
from napari_cupre.widgets.layers import METADATA_KEY, result_placement, source_path
from napari_cupre.widgets.loading import Loaded

if TYPE_CHECKING:
    from napari_cupre.widgets.session import Session


def may_leave(session: Session, layer: Image) -> bool:
    """Whether an image of the project has nothing in progress, and nothing that only its layers hold."""
    annotation = session.annotation(layer)
    is_ours = session.keeper.stem_of(layer) is not None and source_path(layer) is None
    return is_ours and not (
        session.prediction.is_searching(layer)
        or session.importing.status.is_active
        or layer in session.slides
        or annotation.background is not None
        or annotation.is_chosen
    )


def can_take(session: Session, layer: Image, loaded: Loaded) -> bool:
    """Whether the layers of an image may show another one."""
    image, annotation, cells = loaded.image, session.annotation(layer), session.cells_of(layer)
    return (
        layer is not session.image
        and may_leave(session, layer)
        and cells is not None
        and not layer.multiscale
        and (layer.ndim, layer.rgb, layer.data.ndim) == (2, image.is_rgb, image.data.ndim)
        and cells.layer.ndim == 2
        and cells.reading.axes == image.axes
        and (annotation.regions is None or annotation.regions.ndim == 2)
    )


def exchange(session: Session, layer: Image, loaded: Loaded, cells: Cells) -> None:
    """Show another image and its cells in the existing layers of an image; the layers stay hidden.

    Raises
    ------
    InputError
        The cells have another size.
    """
    held = session.cells_of(layer)
    assert held is not None
    held.settle()
    session.keeper.let_go(layer)
    session.sizes.forget(layer)
    session.tools.forget()
    session.gestures.forget(held)
    _show_pixels(layer, loaded)
    reading, annotation = session.cell_image(layer), session.annotation(layer)
    placement = result_placement(layer, reading)
    for role, other in ((CELLS, annotation.cells), (REGIONS, annotation.regions)):
        if other is not None:
            other.name = f"{layer.name} {role}"
            other.metadata = {key: value for key, value in other.metadata.items() if key != METADATA_KEY}
            for key, value in placement.items():
                if np.any(np.asarray(getattr(other, key)) != np.asarray(value)):
                    setattr(other, key, value)
    session.keeper.attach(layer, loaded.entry.stem, cells, reading, loaded.colours)
    for each in (layer, held.layer):
        each.translate = each.translate  # of a hidden layer, napari remembers how far the former data reached


def _show_pixels(layer: Image, loaded: Loaded) -> None:
    image = loaded.image
    axes = image.axes.replace("S", "")
    layer.name = loaded.entry.stem
    layer.data = image.data
    if loaded.limits is not None:
        show_limits(layer, loaded.limits)
    elif not image.is_rgb:
        layer.reset_contrast_limits()
    layer.axis_labels = tuple(axes)
    for key, value in image.values_for(axes).items():
        if tuple(map(str, getattr(layer, key))) != tuple(map(str, value)):
            setattr(layer, key, value)
