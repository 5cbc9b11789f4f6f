"""The cells of all images in one table, and the projects that are remembered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_cupre.data.image import CellImage
from napari_cupre.project import recent
from napari_cupre.project.cells import Cells, State
from napari_cupre.project.measurements import (
    by_image,
    measure_cells,
    measured_columns,
    stored_cells,
    write_tables,
)
from napari_cupre.project.project import Project
from napari_cupre.project.queue import add_files
from napari_cupre.project.recent import LIST, recent_projects, remember_project, remember_shown, shown_last


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two images: three cells in one, of which one guess is hidden; none in the other."""
    for name, grey in (("a", 10), ("b", 20)):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.full((20, 30), grey, np.uint8))
    labels = np.zeros((20, 30), np.int32)
    labels[0:4, 0:4], labels[0:6, 10:16], labels[10:13, 0:3] = 1, 2, 5
    states = {1: State.CHECKED, 2: State.GUESS, 5: State.GUESS}
    with Project.create(tmp_path / "work") as project:
        add_files(project, [tmp_path / "a.tif", tmp_path / "b.tif"])
        project.hold("a", Cells.of(labels, states, scores={2: 0.9, 5: 0.3}))
        project.image("a").certainty = 0.5
        project.save()
        return project.folder


def table_of(folder: Path) -> pd.DataFrame:
    with Project.open(folder, look_only=True) as project:
        parts = [measure_cells(*stored_cells(project, stem), project.cells(stem)) for stem in ("a", "b")]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def test_every_cell_on_show_has_a_row_with_its_image(project: Path) -> None:
    table = table_of(project)
    assert list(table["image"]) == ["a", "a"]
    assert list(table["label"]) == [1, 2], "a guess that is hidden does not count"
    assert list(table["area_px"]) == [16, 36]
    assert list(table["intensity_mean"]) == [10, 10]
    assert list(table["state"]) == ["checked", "guess"]
    assert table.columns[0] == "image"
    assert measured_columns(table)[:2] == ["area_px", "intensity_mean"]


def test_images_and_all_together(project: Path, tmp_path: Path) -> None:
    table = table_of(project)
    images = by_image(table, ["a", "b"])
    assert list(images["image"]) == ["a", "b", "all images"]
    assert list(images["cells"]) == [2, 0, 2]
    assert list(images["checked"]) == [1, 0, 1]
    assert images["median_area_px"].tolist()[0] == 26
    assert np.isnan(images["median_area_px"].tolist()[1])
    cells, summary = write_tables(table, images, tmp_path / "out" / "results.csv")
    assert len(pd.read_csv(cells)) == 2
    assert list(pd.read_csv(summary)["cells"]) == [2, 0, 2]
    assert summary.name == "results_images.csv"


def test_a_cell_of_several_planes_is_one_cell() -> None:
    labels = np.zeros((4, 20, 30), np.int32)
    labels[:3, 2:8, 2:8], labels[2:, 10:16, 10:16] = 1, 2
    image = CellImage(np.ones((4, 20, 30), np.uint8), "ZYX", name="stack")
    table = measure_cells(image, labels, Cells.of(labels, {1: State.CHECKED, 2: State.GUESS}))
    assert len(table) == 5, "an outline in each plane"
    images = by_image(table, ["stack"])
    assert list(images["cells"]) == [2, 2]
    assert list(images["checked"]) == [1, 1]


def test_projects_are_remembered_the_latest_first(project: Path, tmp_path: Path, own_projects: Path) -> None:
    with Project.create(tmp_path / "other") as other:
        pass
    for folder in (project, other.folder, project):
        remember_project(folder)
    assert recent_projects() == [project, other.folder]
    (other.folder / "project.json").unlink()
    assert recent_projects() == [project], "one that is gone is not offered"
    with Project.create(own_projects / "scratch") as scratch:
        remember_project(scratch.folder)
    assert recent_projects() == [project], "nor one without a place"
    (own_projects / LIST).write_text("{")
    assert recent_projects() == []


def test_the_image_on_show_is_remembered_for_each_project(
    own_projects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown_last("first") is None
    monkeypatch.setattr(recent, "MOST_SHOWN", 2)
    for project, stem in (("first", "a"), ("second", "b"), ("first", "c"), ("third", "d")):
        remember_shown(project, stem)
    assert [shown_last(each) for each in ("first", "second", "third")] == ["c", None, "d"]
    (own_projects / recent.SHOWN).write_text("[]")
    assert shown_last("first") is None
