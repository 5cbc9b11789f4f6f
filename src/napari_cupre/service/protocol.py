"""The messages between the window and the child: one JSON document per line.

Every message is a dataclass. Arrays travel as `.npy` files in a shared folder; the receiver removes them.
Nothing is pickled, and a file name outside the folder is refused.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from napari_cupre import events
from napari_cupre.errors import InputError

ARRAY_KEY = "$npy"

URGENT = "--urgent"
"""Argument of a child whose answers a person waits for."""


@dataclass(frozen=True)
class Request:
    """Base of all requests of the window."""


@dataclass(frozen=True)
class FinetuneRequest(Request):
    """Train on a training set that is already on disk.

    Attributes
    ----------
    start : str
        Name or path of the model to start from; not read when `resume` is set.
    shots : str
        List of the annotated images in the run's folder, by `io.shot_store.ShotWriter.stage`; not read when
        `resume` is set.
    out : str
        Path of the model file to write; its run folder lies beside it.
    settings : dict[str, Any]
        Keyword arguments of `finetuning.finetune_settings.FinetuneSettings`.
    resume : bool
        Continue the run that lies beside `out`.
    annotation : dict[str, str] or None
        `io.shot_store.digests` of the present annotation, to report how a resumed run's own set differs.
    """

    start: str
    shots: str
    out: str
    settings: dict[str, Any] = field(default_factory=dict)
    resume: bool = False
    annotation: dict[str, str] | None = None


@dataclass(frozen=True)
class ImageRequest(Request):
    """Base of requests to a model about an image.

    Attributes
    ----------
    model : str
        Name or path.
    image : str
        File of the whole array.
    axes : str
        One letter per dimension of the array, as in `data.image.CellImage`.
    name : str
        Name of the image, for messages.
    device : str
        Where to compute: auto, cpu, cuda or mps.
    is_copy : bool
        Whether the file is an `.npy` to read by memory map and remove afterwards; otherwise it is the user's
        own, of any kind that `io.images.read_image` reads.
    channels : list[int] or None
        Channels to use; None for the first three.
    """

    model: str
    image: str
    axes: str
    name: str = ""
    device: str = "auto"
    is_copy: bool = True
    channels: list[int] | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class PredictRequest(ImageRequest):
    """Segment one image, plane by plane.

    Attributes
    ----------
    options : dict[str, Any]
        Keyword arguments of `prediction.predict_options.PredictOptions`.
    to_disk : bool
        Write the labels to an OME-Zarr, tile by tile (see `SlideGrown`), or continue it.
    keep_bytes : int or None
        Disk space for such results: beyond it the oldest are deleted. None keeps all.
    """

    options: dict[str, Any] = field(default_factory=dict)
    to_disk: bool = False
    keep_bytes: int | None = None


@dataclass(frozen=True)
class PreviewRequest(Request):
    """Show the current state of a running training on part of a plane.

    `image` is float32 (h, w, 3): what the user looks at, normalised as its plane is.
    """

    image: np.ndarray


@dataclass(frozen=True)
class OutlineRequest(ImageRequest):
    """Be ready to outline cells of one plane until `Stop`; `OutlinesReady` says when.

    Attributes
    ----------
    index : dict[str, int]
        Position of the plane along T and Z.
    diameter : float or None
        Diameter of the cells in image px; None takes the model's, or estimates it from the plane.
    """

    index: dict[str, int] = field(default_factory=dict)
    diameter: float | None = None


@dataclass(frozen=True)
class WindowRequest(Request):
    """Compute the features of the visible part ahead; a newer request replaces it, and prompts go first.

    `box` is top, left, bottom, right in image px.
    """

    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class AimRequest(Request):
    """Compute ahead the features for a click at `point` (y, x in image px), where the mouse is."""

    point: tuple[float, float]


@dataclass(frozen=True)
class PromptRequest(Request):
    """Outline the cells at boxes or points; answered by one `Outlined` or `PromptRefused`.

    Attributes
    ----------
    number : int
        Returned with the answer.
    boxes : Sequence[Sequence[float]]
        x0, y0, x1, y1 each, in image px.
    points : Sequence[Sequence[float]]
        y, x each, in image px; used if there are no boxes.
    all_readings : bool
        Return everything that the first point may mean, from the smallest to the largest.
    """

    number: int
    boxes: Sequence[Sequence[float]] = ()
    points: Sequence[Sequence[float]] = ()
    all_readings: bool = False


@dataclass(frozen=True)
class Stop(Request):
    """End the running job soon; a training saves itself first."""


@dataclass(frozen=True)
class Quit(Request):
    """Exit the process."""


@dataclass(frozen=True)
class SlideGrown(events.Event):
    """An OME-Zarr has new labels: `path` is its folder, `index` the plane."""

    path: str
    index: dict[str, int]


@dataclass(frozen=True)
class PlaneDone(events.Event):
    """The cells of one plane.

    Attributes
    ----------
    index : dict[str, int]
        Position of the plane along T and Z; empty for a plane image.
    labels : numpy.ndarray
        int32 (Y, X), 0 = background; no label is on two planes.
    ids : numpy.ndarray
        int32 (N,), the label for each row of the following arrays.
    boxes : numpy.ndarray
        float32 (N, 4), x1, y1, x2, y2 in image px.
    scores : numpy.ndarray
        float32 (N,).
    classes : numpy.ndarray
        int64 (N,), 1-based.
    masks : numpy.ndarray
        float16 (N, S, S), the overlapping masks as probabilities over their boxes.
    diameter : float
        Cell diameter in image px by which the plane was scaled.
    class_names : Sequence[str]
        Name of class 1, 2, ...
    """

    index: dict[str, int]
    labels: np.ndarray
    ids: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    masks: np.ndarray
    diameter: float
    class_names: Sequence[str] = ("cell",)


@dataclass(frozen=True)
class PlaneRelabelled(events.Event):
    """The labels of a plane after the planes were linked; fields as in `PlaneDone`."""

    index: dict[str, int]
    labels: np.ndarray
    ids: np.ndarray


@dataclass(frozen=True)
class OutlinesReady(events.Event):
    """Prompts are answered from now on; cells are assumed to have a `diameter` in image px."""

    diameter: float


@dataclass(frozen=True)
class WindowReady(events.Event):
    """All features are ready for cells of usual size inside `box` (top, left, bottom, right).

    The first click in a part of the image still needs more: it also tries larger and smaller cells.
    """

    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Outlined(events.Event):
    """The answer to a prompt.

    Attributes
    ----------
    number : int
        Number of the request.
    boxes : numpy.ndarray
        int32 (N, 4), x0, y0, x1, y1 in image px, ends exclusive.
    pixels : numpy.ndarray
        bool, the masks of all boxes, row by row, one after the other; see `masks`.
    scores : numpy.ndarray
        float32 (N,).
    classes : numpy.ndarray
        int64 (N,), 1-based.
    best : int
        Index of the likeliest of all readings of a point; 0 otherwise.
    """

    number: int
    boxes: np.ndarray
    pixels: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    best: int = 0

    @property
    def masks(self) -> list[np.ndarray]:
        """Bool (rows, columns) each, as large as its box."""
        widths, heights = self.boxes[:, 2] - self.boxes[:, 0], self.boxes[:, 3] - self.boxes[:, 1]
        parts = np.split(self.pixels, np.cumsum(widths.astype(np.int64) * heights)[:-1])
        return [part.reshape(size) for part, *size in zip(parts, heights.tolist(), widths.tolist())]


@dataclass(frozen=True)
class PromptRefused(events.Event):
    """A prompt that cannot be answered; the next ones can."""

    number: int
    message: str


@dataclass(frozen=True)
class Failed(events.Event):
    """A job ended with an error: a sentence to show, and the traceback or log if that says more."""

    message: str
    details: str = ""


@dataclass(frozen=True)
class JobEnded(events.Event):
    """The job has ended; it sends nothing more."""


def _subclasses(base: type) -> Iterator[type]:
    child: type
    for child in base.__subclasses__():
        yield child
        yield from _subclasses(child)


def _message_types() -> dict[str, type]:
    return {t.__name__: t for base in (Request, events.Event) for t in _subclasses(base)}


def encode(message: Request | events.Event, folder: Path) -> dict[str, Any]:
    """Turn a message into a JSON-ready dict, its arrays into files in `folder`."""
    fields = {f.name: _pack(getattr(message, f.name), folder) for f in dataclasses.fields(message)}
    return {"type": type(message).__name__, **fields}


def decode(document: dict[str, Any], folder: Path) -> Any:
    """Rebuild a message; its array files are read without unpickling and removed.

    Raises
    ------
    InputError
        If the document has an unknown type, lacks fields, or names a file outside `folder`.
    """
    known = _message_types()
    name = document.get("type", "")
    if name not in known:
        raise InputError(f"The engine process sent a message of unknown type {name!r}; update napari-cupre.")
    cls = known[name]
    hints = get_type_hints(cls)
    values = {}
    for f in dataclasses.fields(cls):
        if f.name in document:
            value = _unpack(document[f.name], folder)
            hint = hints[f.name]
            values[f.name] = hint(value) if isinstance(hint, type) and issubclass(hint, Enum) else value
    try:
        return cls(**values)
    except TypeError as err:
        raise InputError(f"The message {name!r} of the engine process is incomplete ({err}).") from err


def _pack(value: Any, folder: Path) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.ndarray):
        name = f"{uuid.uuid4().hex}.npy"
        np.save(folder / name, value, allow_pickle=False)
        return {ARRAY_KEY: name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {str(k): _pack(v, folder) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(v, folder) for v in value]
    return value


def _unpack(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        if set(value) == {ARRAY_KEY}:
            return _take_array(str(value[ARRAY_KEY]), folder)
        return {k: _unpack(v, folder) for k, v in value.items()}
    if isinstance(value, list):
        return [_unpack(v, folder) for v in value]
    return value


def _take_array(name: str, folder: Path) -> np.ndarray:
    if Path(name).name != name:
        raise InputError(f"The engine process named an array file outside its folder: {name!r}.")
    path = folder / name
    array = np.load(path, allow_pickle=False)
    path.unlink()
    return array
