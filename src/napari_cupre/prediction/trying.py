"""Try several models on one part of a plane, to compare what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from napari_cupre.prediction.choice import Choice, choose
from napari_cupre.prediction.detecting import CellFinder
from napari_cupre.prediction.plane import predict_plane
from napari_cupre.prediction.tiles import Window

TRIED_SIDE = 512
"""Side in network px of the part that models search: some 200 cells, half a second per model."""

MOST_ZOOM = 2.0
"""Largest side of the part relative to the side that the model with the smallest cells needs."""


@dataclass(frozen=True)
class Attempt:
    """The cells that one model finds in the part that all models search.

    Attributes
    ----------
    model : str
        Name of the model, as it was given.
    window : Window
        The part that is searched, the same for all models, in px of the view.
    step : int
        Every `step`-th row and column of the part is kept, so that a cell stays as wide as the network sees
        it.
    labels : numpy.ndarray
        int32 (Y, X) of the kept pixels, with the cells that *Find cells* would show; label i is row i - 1 of
        `scores`.
    scores : numpy.ndarray
        float32 (N,), falling.
    diameter : float
        The cell diameter in image px that the model used.
    """

    model: str
    window: Window
    step: int
    labels: np.ndarray
    scores: np.ndarray
    diameter: float


def try_models(
    finders: Mapping[str, CellFinder],
    view: np.ndarray,
    diameter: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Attempt]:
    """Let each model find cells as it would in *Find cells*, in the middle of a view.

    All search the same part, about `TRIED_SIDE` px wide at the network's scale.

    Parameters
    ----------
    finders : mapping of str to CellFinder
        Models by name.
    view : numpy.ndarray
        float32 (Y, X, 3), normalised as its plane is.
    diameter : float or None, optional
        Cell diameter in image px, if known; None lets each model estimate it.
    should_stop : callable, optional
        Asked between two models and between two tiles; when it returns True, the search ends.

    Yields
    ------
    Attempt
        One for each model, in their order.
    """
    choices: dict[str, Choice] = {}
    for name, finder in finders.items():
        if should_stop():
            return
        choices[name] = choose(finder, [view], diameter, None)
    if not choices:
        return
    window = tried_window(view.shape[:2], finders, choices)
    rows, columns = window.slices
    step = max(1, max(window.shape) // TRIED_SIDE)
    for name, finder in finders.items():
        chosen = choices[name]
        found = predict_plane(
            finder,
            view[rows, columns],
            diameter=chosen.diameter,
            score=chosen.score,
            should_stop=should_stop,
        )
        if not found.complete or should_stop():
            return
        yield Attempt(name, window, step, found.labels[::step, ::step].copy(), found.scores, chosen.diameter)


def tried_window(
    shape: tuple[int, ...], finders: Mapping[str, CellFinder], choices: Mapping[str, Choice]
) -> Window:
    """Return the part of a view (Y, X) that all models search: its middle, `TRIED_SIDE` px wide for most.

    A model that takes specks for cells would see it many times larger; `MOST_ZOOM` limits that.
    """
    scales = [choices[name].diameter / finders[name].diameter for name in choices]
    side = max(1, round(TRIED_SIDE * min(float(np.median(scales)), MOST_ZOOM * min(scales))))
    top, left = (max(0, (length - side) // 2) for length in shape[:2])
    return Window(top, left, min(shape[0], top + side), min(shape[1], left + side))
