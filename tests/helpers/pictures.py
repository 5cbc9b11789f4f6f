"""Image files by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def write_pictures(folder: Path, pictures: Mapping[str, np.ndarray]) -> Path:
    """A new folder of PNG files by their stems, 8 bit."""
    folder.mkdir()
    for stem, picture in pictures.items():
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{stem}.png")
    return folder
