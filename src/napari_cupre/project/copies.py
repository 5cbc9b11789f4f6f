"""Copy images without a file of their own, so that their cells can be shown again."""

from __future__ import annotations

import re

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.io.files import atomic_write
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.place import IMAGES
from napari_cupre.project.project import Project

LARGEST_COPY = 1 << 30
"""Size in bytes of the largest image that a project copies."""


def keep_copy(project: Project, image: CellImage) -> ProjectImage:
    """Copy an image into the project's folder; return an entry that is not in the project yet.

    Raises
    ------
    InputError
        It is too large, or cannot be read.
    EnvironmentFault
        Full or read-only disk.
    """
    size = int(np.prod(image.data.shape)) * image.data.dtype.itemsize
    if size > LARGEST_COPY:
        raise InputError(
            f'"{image.name}" has no file and is too large to be copied ({size / 1e9:.0f} GB): '
            "save it as a file and open that; otherwise its cells are not saved automatically."
        )
    name = re.sub(r"[^\w.-]+", "_", image.name)[:60].strip("._") or "image"
    number, path = 1, project.folder / IMAGES / f"{name}.tif"
    while path.exists():
        number += 1
        path = path.with_name(f"{name}_{number}.tif")
    import tifffile

    pixels = np.asarray(image.data)
    photometric = "rgb" if image.is_rgb else "minisblack"
    with atomic_write(path) as temporary:
        tifffile.imwrite(
            temporary, pixels.astype(np.uint8) if pixels.dtype == bool else pixels, photometric=photometric
        )
    return project.draft(path, axes=image.axes)
