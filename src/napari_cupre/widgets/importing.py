"""Import annotations of other programs into the layers of an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from napari.layers import Image, Labels

from napari_cupre.data.image import CellImage
from napari_cupre.data.labels import refuse_grey_values
from napari_cupre.events import Event, Finished, RunState, StateChanged
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.taking_over import exchanged
from napari_cupre.words import counted

FILE_FILTER = "Annotations (*.tif *.tiff *.png *.zip *.roi *.geojson *.json *.npy);;All files (*)"


@dataclass(frozen=True)
class Imported(Event):
    """Labels read for an image: int32, with the image's `result_shape`."""

    labels: np.ndarray


def read_annotations(path: Path, image: CellImage) -> Iterator[Event | None]:
    """Read the annotation of an image from a file or folder; a generator for `Job.start`.

    Raises
    ------
    InputError
        If it contains nothing for this image, the sizes differ, no outline is a cell, or it is a picture.
    """
    from napari_cupre.io.importers import Frame, read_for_image

    said: list[str] = []
    labels = read_for_image(path, Frame.of(image), image.name, on_partial=said.append, on_note=said.append)
    labels = labels.reshape(image.result_shape).astype(np.int32, copy=False)
    for plane in labels.reshape(-1, *image.plane_shape):
        refuse_grey_values(plane, path.name)
        yield None
    yield Imported(labels)
    cells = len(np.unique(labels[labels > 0]))
    read = f"{counted(cells, 'cell')} read from {path.name}."
    yield Finished(" ".join([read, *said]))
    yield StateChanged(RunState.DONE)


def take_over(session: Session, image: Image, labels: np.ndarray) -> Labels:
    """Make imported labels the cells of an image, as a person's; keep earlier cells in another layer.

    Returns
    -------
    Labels
        The layer with the imported cells, now the chosen one.
    """
    cells = session.cells_of(image)
    if cells is None or len(cells.cells):
        reading = session.cell_image(image)
        layer = session.annotation(image).new_cells(reading, labels.astype(np.int32))
        if cells is not None:
            layer.name = f"{image.name} cells (imported)"
        session.viewer.add_layer(layer)
        session.choose_cells(image, layer)
        return layer
    cells.do(lambda now: exchanged(now, labels, verb="Import cells"))
    return cells.layer
