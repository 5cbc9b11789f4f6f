"""Fingerprints of predictions: short texts of everything that their labels depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre.io.files import real_file
from napari_cupre.model.zoo import find_model

if TYPE_CHECKING:
    from napari_cupre.data.image import CellImage
    from napari_cupre.prediction.detecting import CellFinder
    from napari_cupre.prediction.predict_options import PredictOptions

LAYOUT = 5
"""Increase it when tiles, labels or edges change their places: a job keeps one layout to its end."""

SAMPLES = 64
"""Number of rows and columns that identify an image without a file."""


def json_digest(content: Any) -> str:
    """Return a short text that identifies JSON values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


def file_state(path: Path) -> list[int]:
    """Return size and time of change of a file, or of a Zarr folder's metadata; "" if it does not exist."""
    try:
        stat = real_file(path).stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]


def labels_depend_on(finder: CellFinder, image: CellImage, options: PredictOptions) -> dict[str, Any]:
    """Return everything that the labels of an image's planes depend on, by name, except linking.

    Parameters
    ----------
    finder : CellFinder
        The tensors of its model count, whatever its name and file, and whoever computes with them.
    image : CellImage
        Its size and axes count; see `result_digest` for its pixels.
    options : PredictOptions
        All options but the links.

    Returns
    -------
    dict of str to JSON value
        The names are shown to the user.
    """
    digest = hashlib.sha256()
    for name, content in finder.contents():
        digest.update(name.encode() + content)
    chosen = asdict(options)
    del chosen["link_z"], chosen["link_t"]
    shape = [int(side) for side in image.data.shape]
    return chosen | {
        "model": digest.hexdigest(),
        "image size": shape,
        "axes": image.axes,
        "layout of tiles": LAYOUT,
    }


def result_digest(settings: dict[str, Any], image: CellImage, options: PredictOptions) -> str:
    """Identify a finished result by `settings` (see `labels_depend_on`), links and image file."""
    links = options.links(image.result_axes)
    state: list[Any] = [settings, image.lacks, *([links] if any(links) else [])]
    return json_digest(state + (file_state(image.path) if image.path is not None else []))


def run_digest(
    model: str, seed: int, options: PredictOptions, axes: str | None, formats: Sequence[str]
) -> str:
    """Identify everything that the results of a run's files depend on.

    Parameters
    ----------
    model : str
        Name or path; the content of its file counts.
    seed : int
        Seed of the random weights of a model without a file.
    options : PredictOptions
        All options.
    axes : str, optional
        Letters that overrule what the files say.
    formats : sequence of str
        Names of the formats that are written.
    """
    path = find_model(model).path
    weights = f"random {seed}" if path is None else _content(path)
    chosen = {"weights": weights, "options": asdict(options), "axes": axes, "formats": sorted(formats)}
    return json_digest(chosen)


def request_digest(image: CellImage, file: Path, is_copy: bool, model: str, options: dict[str, Any]) -> str:
    """Identify a request of the window without opening the model.

    Parameters
    ----------
    image : CellImage
        Its name, axes, size and kind of pixels count.
    file : Path
        The file that the image was read from: its path, size and time of change count.
    is_copy : bool
        Whether the file is a copy in a temporary folder: then the pixels count instead.
    model : str
        Name or path; size and time of change of its file count.
    options : dict of str to JSON value
        Keyword arguments of `PredictOptions`.
    """
    identity: list[Any] = [image.name, image.axes, list(image.data.shape), str(image.data.dtype), image.lacks]
    if is_copy:
        thinned = tuple(slice(None, None, max(1, size // SAMPLES)) for size in image.data.shape)
        identity.append(hashlib.sha256(image.data[thinned].tobytes()).hexdigest())
    else:
        identity += [str(file.absolute()), *file_state(file)]
    weights = find_model(model).path
    identity += [model, [] if weights is None else file_state(weights), options]
    return json_digest(identity)


def _content(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
