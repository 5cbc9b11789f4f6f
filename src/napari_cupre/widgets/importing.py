"""Annotations of other programs into the layers of an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from napari.layers import Image, Labels

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.events import Event, Finished, RunState, StateChanged
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
        If nothing there belongs to the image, or its size is another.
    """
    from napari_cupre.io.importers import import_annotations

    found = import_annotations(path, image.result_shape)
    labels = _of_image(found, image.name, path)
    if labels.size != np.prod(image.result_shape) or labels.shape[-2:] != image.plane_shape:
        raise InputError(
            f'The annotation "{path.name}" has shape {labels.shape}, but the image "{image.name}" needs '
            f"{image.result_shape}: choose the annotation of this image."
        )
    labels = labels.reshape(image.result_shape).astype(np.int32, copy=False)
    yield Imported(labels)
    cells = len(np.unique(labels[labels > 0]))
    yield Finished(f"{cells} {'cell' if cells == 1 else 'cells'} read from {path.name}.")
    yield StateChanged(RunState.DONE)


def _of_image(found: dict[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    """The entry of the image's name; the only one counts as well, however it is called."""
    if name in found:
        return found[name]
    if len(found) == 1:
        return next(iter(found.values()))
    listed = ", ".join(list(found)[:5])
    raise InputError(
        f'"{path.name}" holds annotations of {len(found)} images ({listed}), none called "{name}": '
        "rename the image layer."
    )


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
    cells.data = labels
    return cells
