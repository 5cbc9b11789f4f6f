"""The cells of all images in one table and one plot, in a real window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from docks import run_job

from napari_cupre.project.cells import Cells, State
from napari_cupre.project.gestures import delete
from napari_cupre.project.project import Project
from napari_cupre.project.queue import add_files
from napari_cupre.widgets.distribution import bins_of, share_in
from napari_cupre.widgets.results_widget import ResultsWidget

WAIT = 60_000


@pytest.fixture
def project(tmp_path: Path, discs: Any) -> Path:
    """Five images, twice as bright each; cells in three of them."""
    folder = tmp_path / "plate"
    folder.mkdir()
    with Project.create(tmp_path / "work") as project:
        for number in range(1, 6):
            tifffile.imwrite(folder / f"well_{number}.tif", discs[0].astype(np.uint16) * number)
        add_files(project, folder)
        for number, state in ((1, State.CHECKED), (2, State.EDITED), (5, State.GUESS)):
            project.hold(f"well_{number}", Cells.of(discs[1].copy(), state))
        project.save()
        return project.folder


@pytest.fixture
def widget(viewer: Any, project: Path, qtbot: Any) -> ResultsWidget:
    widget = ResultsWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Results")
    assert "first" in widget.empty.text()
    assert not widget.button.isEnabled()
    session = widget.session
    session.keeper.open(project)
    qtbot.waitUntil(lambda: session.image is not None and not session.queue.is_busy, timeout=WAIT)
    return widget


def texts(widget: ResultsWidget, column: int) -> list[str]:
    return [widget.table.item(row, column).text() for row in range(widget.table.rowCount())]


def test_all_images_are_in_one_table_shown_or_not(widget: ResultsWidget, tmp_path: Path, qtbot: Any) -> None:
    assert widget.button.text() == "Measure all 5 images"
    run_job(widget, "tables", qtbot)
    assert texts(widget, 0) == ["all images", *(f"well_{number}" for number in range(1, 6))]
    assert texts(widget, 1) == ["108", "36", "36", "0", "0", "36"]
    assert texts(widget, 2) == ["72", "36", "36", "0", "0", "0"]
    bright = [float(text) for text in texts(widget, 4) if text]
    assert bright[2] == pytest.approx(2 * bright[1], rel=0.02)
    assert "108 cells in 5 images" in widget.result.text
    widget.save(tmp_path / "out.csv")
    qtbot.waitUntil(lambda: bool(widget.notice.text), timeout=WAIT)
    cells = pd.read_csv(tmp_path / "out.csv")
    assert cells["image"].value_counts().to_dict() == {"well_1": 36, "well_2": 36, "well_5": 36}
    assert len(pd.read_csv(tmp_path / "out_images.csv")) == 6


def test_a_row_shows_its_image_beside_all(widget: ResultsWidget, qtbot: Any) -> None:
    run_job(widget, "tables", qtbot)
    session = widget.session
    widget.figure.setCurrentIndex(widget.figure.findData("intensity_mean"))
    widget.table.selectRow(5)
    qtbot.waitUntil(lambda: session.image.name == "well_5" and not session.queue.is_busy, timeout=WAIT)
    everywhere, here = widget.plot.shares
    assert everywhere.sum() == pytest.approx(100)
    assert here.sum() == pytest.approx(100)
    assert here[-5:].sum() > 50 > everywhere[-5:].sum(), "the brightest image"
    assert widget.table.selected == "well_5"
    for row in range(1, 6):  # images that come back in the layers of others
        widget.table.selectRow(row)
        qtbot.waitUntil(lambda row=row: session.image.name == f"well_{row}", timeout=WAIT)
    assert not widget.notice.text, "to look at an image changes nothing"


def test_what_changes_afterwards_is_said_and_counted_when_measured_again(
    widget: ResultsWidget, qtbot: Any
) -> None:
    run_job(widget, "tables", qtbot)
    session = widget.session
    cells = session.cells_of(session.image)
    name = session.image.name
    cells.do(lambda now: delete(now, now.numbers()[:6]))
    assert "measure again" in widget.notice.text
    run_job(widget, "tables", qtbot)
    assert texts(widget, 1)[texts(widget, 0).index(name)] == "30"
    assert widget.notice.text == ""


def test_the_tables_outlive_the_dock(widget: ResultsWidget, viewer: Any, qtbot: Any) -> None:
    run_job(widget, "tables", qtbot)
    again = ResultsWidget(viewer)
    qtbot.addWidget(again)
    assert again.table.rowCount() == 6


def test_bins_hold_every_value_once() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(100, 10, 500), [10_000.0]])
    edges = bins_of(values)
    assert edges[-1] < 200, "one value far out makes the bins no wider"
    assert share_in(values, edges).sum() == pytest.approx(100)
    assert len(bins_of(np.zeros(0))) == 2
    assert share_in(np.zeros(0), np.array([0.0, 1.0])).tolist() == [0.0]
    assert share_in(np.full(3, 7.0), bins_of(np.full(3, 7.0))).sum() == pytest.approx(100)
