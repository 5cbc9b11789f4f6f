"""Images of a project without a layer: read them in the background, and collect their results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.events import Event
from napari_cupre.project.identity import resolved
from napari_cupre.project.project import Project
from napari_cupre.widgets.predicting import StoredImage


def found_in(shape: tuple[int, ...], events: Sequence[Event]) -> tuple[np.ndarray, dict[int, float]]:
    """Return the label image of a prediction, int32, and the score of each label.

    Parameters
    ----------
    shape : tuple of int
        Shape of the label image, with planes in front.
    events : sequence of Event
        The `PlaneDone` and `PlaneRelabelled` events of all planes.
    """
    from napari_cupre.service.protocol import PlaneDone, PlaneRelabelled

    found = np.zeros(shape, np.int32)
    scores: dict[int, float] = {}
    ids: dict[tuple[int, ...], np.ndarray] = {}
    by_plane: dict[tuple[int, ...], np.ndarray] = {}
    for event in events:
        if isinstance(event, PlaneDone | PlaneRelabelled):
            place = tuple(event.index.values())
            found[place] = event.labels
            ids[place] = event.ids
        if isinstance(event, PlaneDone):
            by_plane[place] = event.scores
    for place, values in by_plane.items():
        for label, score in zip(map(int, ids[place]), map(float, values)):
            scores[label] = max(score, scores.get(label, 0.0))
    return found, scores


def stored_image(project: Project, stem: str) -> StoredImage:
    """Return an image of a project that the background thread will read."""
    entry = project.image(stem)
    whole = not entry.plane and entry.field is None and entry.series is None
    file = resolved(entry.path, project.folder) if whole else None

    def read() -> CellImage:
        return project.pixels(entry)

    return StoredImage(stem, read, file)
