"""Label images of planes that are larger than memory should hold, written tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_cupre.data.image import CellImage
from napari_cupre.io.files import atomic_write

TILE = 1024


def write_large_labels(path: Path, labels: Any, image: CellImage) -> None:
    """Write a plane's labels as a tiled, deflated int32 OME-BigTIFF, whole or not at all.

    Parameters
    ----------
    path : Path
        The file to write.
    labels : Any
        Whole numbers (Y, X), a dask array; a band of tiles is in memory at a time.
    image : CellImage
        Whose pixel size the file gets.

    Raises
    ------
    EnvironmentFault
        Full or read-only disk; an older file of that name is kept.
    """
    metadata: dict[str, Any] = {"axes": "YX", "Name": path.name}
    if image.pixel_size_um is not None:
        metadata |= {f"PhysicalSize{axis}": image.scale[axis] for axis in "XY"}
        metadata |= {f"PhysicalSize{axis}Unit": _SYMBOLS.get(image.units[axis], "µm") for axis in "XY"}
    with atomic_write(path) as temporary:
        tifffile.imwrite(
            temporary,
            _tiles(labels),
            shape=labels.shape,
            dtype=np.int32,
            tile=(TILE, TILE),
            bigtiff=True,
            ome=True,
            photometric="minisblack",
            compression="zlib",
            metadata=metadata,
        )


_SYMBOLS = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "centimeter": "cm", "meter": "m"}


def _tiles(labels: Any) -> Iterator[np.ndarray]:
    """Row by row; those of the last row and column are filled up with background."""
    for top in range(0, labels.shape[0], TILE):
        band = np.asarray(labels[top : top + TILE], np.int32)
        for left in range(0, labels.shape[1], TILE):
            part = band[:, left : left + TILE]
            yield np.pad(part, ((0, TILE - part.shape[0]), (0, TILE - part.shape[1])))
