"""Write the cells of one image in several formats."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.io.ownership import owned_write
from napari_cupre.io.writers.formats import choose_formats
from napari_cupre.io.writers.output_cells import Result, collect

PREDICTIONS = "predictions.json"
"""Name of the COCO document of a whole folder of results; see `CocoWriter`."""


def write(
    result: Result,
    stem: str | os.PathLike[str],
    formats: str | Sequence[str] = "tif",
    *,
    image: CellImage | None = None,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] = ("cell",),
    is_partial: bool = False,
) -> list[Path]:
    """Write the cells of one image, and record the files as ours (see `napari_cupre.io.ownership`).

    Existing files are replaced; `ownership.may_write` says beforehand whether they are a person's work.

    Parameters
    ----------
    result : Result
        A label image over the image's axes without channels, a prediction of one plane, or (index,
        prediction) of several planes.
    stem : str or os.PathLike[str]
        Path without ending; "out/a" gives "out/a.tif", "out/a_rois.zip", ...
    formats : str or Sequence[str], optional
        Any of "tif", "roi", "coco", "geojson", "csv"; as a list or as "tif,roi".
    image : CellImage or None, optional
        The image, for scale, units, intensities and stack positions.
    labels : numpy.ndarray or None, optional
        Label image of the whole that renames the cells of predictions, as linking of planes does.
    class_names : Sequence[str], optional
        Name of class 1, 2, ...
    is_partial : bool, optional
        Mark the files (TIFF, GeoJSON, COCO) as partial, because parts of the image are missing.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        Unknown format, or shapes that do not fit.
    EnvironmentFault
        Full or read-only disk; no file is left half written.
    """
    chosen = choose_formats(formats)
    cells = collect(
        result,
        image=image,
        name=Path(stem).name,
        labels=labels,
        class_names=class_names,
        is_partial=is_partial,
    )
    paths = [Path(f"{os.fspath(stem)}{each.ending}") for each in chosen]
    for each, path in zip(chosen, paths):
        with owned_write(path) as temporary:
            each.write(cells, temporary)
    return paths
