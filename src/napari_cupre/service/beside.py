"""Messages about what the child does in the background: rating images, measuring, trying models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from napari_cupre import events
from napari_cupre.service.protocol import Request


@dataclass(frozen=True)
class RateRequest(Request):
    """Rate images by how much they would teach; answered by `Rated`.

    Attributes
    ----------
    model : str
        Name or path.
    project : str
        Folder of the project whose images are rated, as they are on disk; "" for none.
    files : dict[str, str]
        Other images by name: their files.
    channels : tuple[int, ...] or None
        Channels to use of these other images; None for the first three.
    most : int
        Maximum number of images and fields to search for cells.
    """

    model: str
    project: str = ""
    files: dict[str, str] = field(default_factory=dict)
    device: str = "auto"
    most: int = 24
    channels: tuple[int, ...] | None = None


@dataclass(frozen=True)
class LessonRequest(Request):
    """Measure one more point of a project's learning curve; `Finished` says how many are "left".

    `start` is a model that has seen nothing of the project; `steps` is the length of a training.
    """

    project: str
    start: str
    steps: int
    device: str = "auto"


@dataclass(frozen=True)
class TryRequest(Request):
    """Let several models find cells in the visible part; answered by one `Tried` for each.

    Attributes
    ----------
    models : Sequence[str]
        Names or paths; one that cannot be read is left out.
    view : numpy.ndarray
        float32 (Y, X, 3), normalised as its plane is.
    diameter : float or None
        Diameter of the cells in image px, if known.
    """

    models: Sequence[str]
    view: np.ndarray
    diameter: float | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Tried(events.Event):
    """The cells found by one model in the part of the view that all models searched.

    Attributes
    ----------
    model : str
        As in the request.
    box : Sequence[int]
        Top, left, bottom, right of that part, in px of the view.
    step : int
        Step between the rows and columns that are kept.
    labels : numpy.ndarray
        int32 (Y, X) at these rows and columns; label i is row i - 1 of `scores`.
    scores : numpy.ndarray
        float32 (N,).
    """

    model: str
    box: Sequence[int]
    step: int
    labels: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Rated(events.Event):
    """Images, and fields of large ones, with the most instructive first.

    Attributes
    ----------
    names : Sequence[str]
        Stems in the project, or names of the request's files.
    fields : Sequence[Sequence[int] or None]
        Top, left, bottom, right of each in px; None for all of an image.
    reasons : Sequence[str]
        Reasons in words.
    pictures : numpy.ndarray
        uint8 (N, 64, 64, 3).
    notice : str
        A message about what was left out, and why.
    """

    names: Sequence[str]
    fields: Sequence[Sequence[int] | None]
    reasons: Sequence[str]
    pictures: np.ndarray
    notice: str = ""
