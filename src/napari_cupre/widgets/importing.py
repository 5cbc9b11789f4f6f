"""Annotations of other programs into the layers of an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from napari.layers import Image, Labels

from napari_cupre.data.image import CellImage
from napari_cupre.events import Event, Finished, RunState, StateChanged
from napari_cupre.widgets.checks import refuse_grey_values
from napari_cupre.widgets.layers import to_layer
from napari_cupre.widgets.session import Session

FILE_FILTER = "Annotations (*.tif *.tiff *.png *.zip *.roi *.geojson *.json *.npy);;All files (*)"


@dataclass(frozen=True)
class Imported(Event):
    """Labels that were read for an image: int32, of its `result_shape`."""

    labels: np.ndarray


def read_annotations(path: Path, image: CellImage) -> Iterator[Event | None]:
    """Read what a file or folder says about an image; a generator for `Job.start`.

    Raises
    ------
    InputError
        If nothing in it belongs to the image, the sizes differ, no region is a cell, or it is a picture.
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
    read = f"{cells} {'cell' if cells == 1 else 'cells'} read from {path.name}."
    yield Finished(" ".join([read, *said]))
    yield StateChanged(RunState.DONE)


def take_over(session: Session, image: Image, labels: np.ndarray) -> Labels:
    """Put imported labels into the image's cell layer if that is empty, else into a new one, which is chosen.

    What was painted by hand is so never lost.
    """
    annotation = session.make_annotation_layers(image)
    cells = annotation.cells
    if cells is None or np.any(cells.data):
        cells = annotation.new_cells(session.cell_image(image))
        cells.name = f"{image.name} cells (imported)"
        session.viewer.add_layer(cells)
        session.choose_cells(image, cells)
    cells.data = to_layer(labels, session.cell_image(image))
    return cells
