"""Predict one plane of any size in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.events import TileDone
from napari_cupre.prediction.canvas import ArrayCanvas
from napari_cupre.prediction.detecting import CellFinder
from napari_cupre.prediction.filling import Filling
from napari_cupre.prediction.instances import Instances
from napari_cupre.prediction.mirrored import finder_for
from napari_cupre.prediction.predict_options import PredictOptions
from napari_cupre.prediction.reader import ArraySource

if TYPE_CHECKING:
    from napari_cupre.model.checkpoint import Model


def predict_plane(
    model: Model | CellFinder,
    image: np.ndarray,
    *,
    diameter: float | None = None,
    score: float | None = None,
    tile: int | None = None,
    augment: bool = False,
    on_tile: Callable[[TileDone], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Instances:
    """Find every cell of one plane.

    Parameters
    ----------
    model : Model or CellFinder
        A `CellFinder` saves making the model ready again for every plane.
    image : ndarray of float32, shape (Y, X, 3)
        Normalised (see `napari_cupre.data.image.normalise`).
    diameter, score, tile, augment : float, float, int and bool, optional
        See `PredictOptions`.
    on_tile : callable, optional
        Called with a `TileDone` after every tile.
    should_stop : callable, optional
        Asked after every tile but the last; returns bool. If True, the cells found so far are returned and
        `complete` is False.

    Returns
    -------
    Instances
        The cells, by falling score.

    Raises
    ------
    InputError
        If the image is not a plane of three channels, or an option is out of its range.
    """
    source = ArraySource(image)
    options = PredictOptions(diameter, score, tile, augment=augment)
    detector = finder_for(model, options)
    filling = Filling(detector, source, options, ArrayCanvas(source.plane_shape), should_stop=should_stop)
    for event in filling.events():
        if on_tile is not None and isinstance(event, TileDone):
            on_tile(event)
    return filling.planes[0][1]
