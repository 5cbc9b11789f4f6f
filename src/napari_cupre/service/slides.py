"""Where the window keeps predictions of images larger than memory, so that repeating one continues it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from napari_cupre.data.image import CellImage
from napari_cupre.model.zoo import find_model

SAMPLES = 64
"""Of an image without a file so many rows and columns tell it from others."""


def slides_folder() -> Path:
    """Folder of the label images, which stay until the user deletes them; the environment variable
    NAPARI_CUPRE_SLIDES overrides it.
    """
    chosen = os.environ.get("NAPARI_CUPRE_SLIDES")
    return Path(chosen) if chosen else user_data_path("napari-cupre", appauthor=False) / "slides"


def slide_path(image: CellImage, file: Path, is_copy: bool, model: str, options: dict[str, Any]) -> Path:
    """The OME-Zarr of one image predicted by one model with these options: the same for the same.

    Parameters
    ----------
    file : Path
        What the image was read from.
    is_copy : bool
        The file is a copy in a temporary folder: its pixels say which image it is, not its name.
    model : str
        Name or path.
    options : dict[str, Any]
        Keyword arguments of `predict.image.PredictOptions`.
    """
    identity: list[Any] = [image.name, image.axes, list(image.data.shape), str(image.data.dtype), image.lacks]
    digest = hashlib.sha256()
    if is_copy:
        thinned = [slice(None, None, max(1, size // SAMPLES)) for size in image.data.shape]
        digest.update(image.data[tuple(thinned)].tobytes())
    else:
        identity += [str(file.absolute()), *_state(file)]
    weights = find_model(model).path
    identity += [model, _state(weights) if weights is not None else [], options]
    digest.update(json.dumps(identity, sort_keys=True).encode())
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(image.name).stem)[:40] or "slide"
    return slides_folder() / f"{stem}-{digest.hexdigest()[:12]}.zarr"


def _state(path: Path) -> list[int]:
    """Size and time of change; of a folder, those of the folder itself."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]
