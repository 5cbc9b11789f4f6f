"""Tables of all cells of a project: a row for each cell, and a row for each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.io.files import atomic_write
from napari_cupre.project.cells import Cells
from napari_cupre.project.gestures import hidden
from napari_cupre.project.project import Project

if TYPE_CHECKING:
    import pandas as pd

IMAGE, JOINT = "image", "all images"
IMAGES_ENDING = "_images.csv"
"""Ending of the table of images, after the stem of the other table."""

PLACES = ("label", "t", "z", "class", "score", "state")
"""Columns that identify a cell; the others are measurements."""


def cells_to_show(cells: Cells, certainty: float) -> np.ndarray:
    """Return the label image without less certain guesses, int32."""
    unseen = hidden(cells, certainty)
    return np.where(np.isin(cells.labels, unseen), 0, cells.labels) if unseen else cells.labels


def stored_cells(project: Project, stem: str) -> tuple[CellImage, np.ndarray]:
    """Return an image of a project, named by its stem, and the label image of its visible cells.

    Raises
    ------
    InputError
        The image is gone, cannot be read, or has another size than its cells.
    """
    entry = project.image(stem)
    image = replace(project.pixels(entry), name=stem)
    return image, cells_to_show(project.cells(stem), entry.certainty)


def measure_cells(image: CellImage, labels: np.ndarray, cells: Cells | None = None) -> pd.DataFrame:
    """Measure every cell of an image; the first column is its name; see `io.writers.csv_writer.measure`.

    Parameters
    ----------
    labels : numpy.ndarray
        int32, over `image.result_axes`.
    cells : Cells or None, optional
        Adds the columns `state` and `score`.
    """
    from napari_cupre.io.writers.csv_writer import measure
    from napari_cupre.io.writers.output_cells import collect

    table = measure(collect(labels, image=image, name=image.name))
    table.insert(0, IMAGE, image.name)
    if cells is not None:
        rows = [cells.rows.get(int(number)) for number in table["label"]]
        table["state"] = ["" if row is None else str(row.state) for row in rows]
        table["score"] = [np.nan if row is None else row.score for row in rows]
    return table


def measured_columns(table: pd.DataFrame) -> list[str]:
    """Return the measured columns, the most popular first: size, intensity, shape."""
    names = [name for name in table.columns if name != IMAGE and name not in PLACES]
    names = [name for name in names if not name.startswith(("y_", "x_"))]
    order = ("area_um2", "area_px", "intensity_mean", "perimeter", "major", "minor")

    def rank(name: str) -> int:
        return next((at for at, start in enumerate(order) if name.startswith(start)), len(order))

    return sorted(names, key=rank)


def distinct_cells(table: pd.DataFrame) -> int:
    """Count the cells in rows of `measure_cells`; a cell that spans several planes has several rows."""
    return len(table.drop_duplicates([IMAGE, "label"]))


def by_image(table: pd.DataFrame, images: Sequence[str]) -> pd.DataFrame:
    """Return a row for each image and one for all: number of cells and median of each figure.

    A cell that spans several planes counts once; its outline in each plane is measured.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of `measure_cells` of all images.
    images : sequence of str
        All images, also those without a cell.

    Returns
    -------
    pandas.DataFrame
        Columns `image`, `cells`, `checked` where states are known, `mean_` and `sd_` of the area, and
        `median_` of every measured column.
    """
    import pandas as pd

    figures = measured_columns(table)
    area = next((name for name in figures if name.startswith("area")), None)
    rows = []
    for name in [*images, JOINT]:
        its = table if name == JOINT else table[table[IMAGE] == name]
        row: dict[str, object] = {IMAGE: name, "cells": distinct_cells(its)}
        if "state" in its:
            row["checked"] = distinct_cells(its[its["state"].isin(["checked", "edited"])])
        row |= {f"median_{figure}": its[figure].median() for figure in figures}
        if area is not None:
            row |= {f"mean_{area}": its[area].mean(), f"sd_{area}": its[area].std()}
        rows.append(row)
    return pd.DataFrame(rows)


def write_tables(cells: pd.DataFrame, images: pd.DataFrame, path: Path) -> tuple[Path, Path]:
    """Write a row for each cell, and beside it a row for each image, as `<name>_images.csv`.

    Raises
    ------
    EnvironmentFault
        Full or read-only disk.
    """
    summary = path.with_name(f"{path.stem}{IMAGES_ENDING}")
    for table, file in ((cells, path), (images, summary)):
        with atomic_write(file) as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g")
    return path, summary
