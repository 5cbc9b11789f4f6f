"""Where the window keeps predictions of images larger than memory, so that repeating one continues it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from napari_cupre.data.image import CellImage
from napari_cupre.prediction.fingerprint import request_digest


def slides_folder() -> Path:
    """Folder of the label images, which stay until the user deletes them.

    The environment variable NAPARI_CUPRE_SLIDES overrides it.
    """
    chosen = os.environ.get("NAPARI_CUPRE_SLIDES")
    return Path(chosen) if chosen else user_data_path("napari-cupre", appauthor=False) / "slides"


def slide_path(image: CellImage, file: Path, is_copy: bool, model: str, options: dict[str, Any]) -> Path:
    """The OME-Zarr of one image predicted by one model with these options: the same for the same.

    Parameters
    ----------
    image : CellImage
        How the image was read.
    file : Path
        What it was read from.
    is_copy : bool
        The file is a copy in a temporary folder: its pixels say which image it is, not its name.
    model : str
        Name or path.
    options : dict of str to JSON value
        Keyword arguments of `prediction.predict_options.PredictOptions`.

    Returns
    -------
    Path
        In `slides_folder`.
    """
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(image.name).stem)[:40] or "slide"
    return slides_folder() / f"{stem}-{request_digest(image, file, is_copy, model, options)[:12]}.zarr"
