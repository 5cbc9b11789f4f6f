"""Folders of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile


def write_plate(folder: Path, image: np.ndarray, count: int) -> Path:
    """Write `well_1.tif`, `well_2.tif`, ...: the image, moved sideways so that each differs."""
    folder.mkdir()
    for number in range(1, count + 1):
        tifffile.imwrite(folder / f"well_{number}.tif", np.roll(image, 3 * number, axis=1))
    return folder
