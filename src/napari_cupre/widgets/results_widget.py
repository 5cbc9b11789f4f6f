"""The Results widget: the cells of all images in one table and one plot."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from napari.viewer import Viewer
from qtpy.QtWidgets import QComboBox, QFileDialog

from napari_cupre.data.image import CellImage
from napari_cupre.events import RunState
from napari_cupre.io.ownership import as_named
from napari_cupre.project.cells import Change
from napari_cupre.project.measurements import (
    IMAGE,
    IMAGES_ENDING,
    JOINT,
    distinct_cells,
    measured_columns,
    write_tables,
)
from napari_cupre.widgets.captions import caption
from napari_cupre.widgets.cells_layer import SHOW_OTHERS, CellsLayer
from napari_cupre.widgets.controls import (
    MessageLine,
    job_words,
    labelled,
    push_button,
)
from napari_cupre.widgets.distribution import DistributionView
from napari_cupre.widgets.figure_table import FigureTable
from napari_cupre.widgets.help_button import beside_help
from napari_cupre.widgets.job_dock import JobDock
from napari_cupre.widgets.measuring import MeasuringPlan
from napari_cupre.widgets.remembering import remember
from napari_cupre.widgets.saving import Savable, has_cells, savable
from napari_cupre.widgets.sources import sentence_of

EMPTY = (
    "All cells of all images in one table: how many, how large, how bright. Find or draw cells first, then "
    "measure."
)
NEXT = "Click a row to show its image, and its cells in the plot."
WORDS = {"um2": "µm²", "um": "µm", "px": "px", "rad": "rad"}


class ResultsWidget(JobDock):
    """The dock that measures every image of the project and of the window."""

    title = "Results"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.job = self.session.measuring
        self._is_stale = False
        self._make_controls()
        self._lay_out()
        self.listen(self.session.queue.changed, self._count_images)
        self.listen(self.session.cells_changed, self._cells_changed)
        self.listen(self.session.image_changed, lambda image: self._follow_image())
        self.listen(self.job.status.events, self._show_status)
        self._count_images()
        self._show_tables()
        remember(self, figure=self.figure)
        self._show_status()

    def _make_controls(self) -> None:
        self.empty = caption(EMPTY, "plain")
        tooltip = "Measure the cells of all images: checked ones and visible guesses"
        self._make_button(self.job, "Measure", tooltip, self.measure)
        self.result = MessageLine()
        self.table = FigureTable(
            "Results by image", "All images together on top, then a row for each; click one to show it"
        )
        self.table.chosen.connect(lambda name: self.attempt(lambda: self._show_image(name)))
        self.figure = QComboBox()
        self.figure.setToolTip("What the plot shows")
        self.figure.currentIndexChanged.connect(lambda _: self._draw())
        self.plot = DistributionView(self)
        self.save_button = push_button(
            "Save tables …",
            "Write two CSV files: a row for each cell, and a row for each image",
            lambda: self.attempt(self._ask_and_save),
        )

    def _lay_out(self) -> None:
        column = self.column
        column.addLayout(beside_help(self, self.empty))
        for widget in (self.button, self.bar, self.message, self.result, self.table):
            column.addWidget(widget)
        self._figure_row = labelled("Plot", self.figure)
        column.addLayout(self._figure_row)
        for part in (self.plot, self.save_button, self.notice):
            column.addWidget(part)
        column.addStretch(1)

    # --- actions of the buttons ------------------------------------------------------------------

    def measure(self) -> None:
        """Measure all images, once the changes in the window are saved."""
        self.session.keeper.when_saved(lambda: self.attempt(self._begin))

    def _begin(self) -> None:
        session, project = self.session, self.session.keeper.project
        stems: list[str] = []
        loose: list[tuple[CellImage, np.ndarray]] = []
        slides: list[str] = []
        for item in session.queue.items():
            if item.stem is not None:
                stems.append(item.stem)
            elif item.layer is not None and has_cells(session, item.layer):
                found = savable(session, item.layer)
                if isinstance(found, Savable):
                    loose.append((found.image, found.labels))
                else:
                    slides.append(item.name)
        self._is_stale = False
        self.notice.clear()
        self.job.measure(
            MeasuringPlan(None if project is None else project.folder, tuple(stems), tuple(loose))
        )
        if slides:
            self.notice.show_notice(
                f"{', '.join(slides)} is larger than memory: Save results in Predict writes its table."
            )

    def _ask_and_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Table of all cells", "results.csv", "CSV (*.csv)")
        if path:
            self.save(Path(path))

    def save(self, path: Path) -> None:
        """Write both tables, in the background."""
        tables = self.job.tables
        if tables is not None:
            self._errands.do(
                partial(write_tables, tables.cells, tables.images, as_named(path, ".csv", [IMAGES_ENDING])),
                lambda files: self.notice.show_good(f"Saved as {files[0].name} and {files[1].name}."),
                lambda error: self.message.show_error(sentence_of(error)),
            )

    # --- display ---------------------------------------------------------------------------------

    def _count_images(self) -> None:
        self._count = len(self.session.queue.items())
        self._show_button()

    def _show_button(self) -> None:
        status = self.job.status
        start = f"Measure all {self._count} images" if self._count > 1 else "Measure"
        self.button.setText(job_words(status, start))
        self._allow()

    def _can_start(self) -> bool:
        return self._count > 0

    def _cells_changed(self, cells: CellsLayer, change: Change) -> None:
        """Say that the figures are out of date, unless a layer only shows the cells of another image."""
        if change.verb == SHOW_OTHERS:
            return
        if self.job.tables is not None and not self._is_stale and not self.job.status.is_active:
            self._is_stale = True
            self.notice.show_notice("Cells have changed since: measure again to include them.")

    def _show_tables(self) -> None:
        tables = self.job.tables
        has_tables = tables is not None
        for widget in (self.table, self.plot, self.save_button, self.figure):
            widget.setVisible(has_tables)
        label = self._figure_row.itemAt(0)
        if label is not None and (text := label.widget()) is not None:
            text.setVisible(has_tables)
        self.empty.setText(NEXT if has_tables else EMPTY)
        if tables is None:
            return
        figures = measured_columns(tables.cells)
        columns = [
            (IMAGE, "Click a row to show the image"),
            ("cells", "All visible cells; one of several planes counts once"),
            ("checked", "Cells that you checked or edited"),
            *(
                (column_in_words(name), f"Median of {column_in_words(name)} over the cells of the image")
                for name in figures
            ),
        ]
        names = [IMAGE, "cells", "checked", *(f"median_{name}" for name in figures)]
        rows = tables.images.reindex(columns=names).to_numpy(object).tolist()
        self.table.fill(columns, rows[:-1], rows[-1])
        chosen = self.figure.currentData()
        self.figure.blockSignals(True)
        self.figure.clear()
        for name in figures:
            self.figure.addItem(column_in_words(name), name)
        self.figure.setCurrentIndex(max(0, self.figure.findData(chosen)))
        self.figure.blockSignals(False)
        self._follow_image()

    def _follow_image(self) -> None:
        image = self.session.image
        if image is not None and self.job.tables is not None:
            self.table.select(self.session.keeper.stem_of(image) or image.name)
            self._draw()

    def _draw(self) -> None:
        tables, figure = self.job.tables, self.figure.currentData()
        if tables is None or figure is None:
            return
        name = self.table.selected
        values = tables.cells[figure].to_numpy(float)
        is_its = (tables.cells[IMAGE] == name).to_numpy()
        noun = "cells" if distinct_cells(tables.cells) == len(values) else "outlines"
        self.plot.show_values(
            values, values[is_its] if name != JOINT else np.zeros(0), column_in_words(figure), name, noun
        )

    def _show_image(self, name: str) -> None:
        """Show the image of a row, and draw its cells in the plot beside all cells."""
        self._draw()
        for item in self.session.queue.items():
            if item.name == name and name != JOINT:
                self.session.queue.show(item)

    def _show_status(self, event: Any = None) -> None:
        status = self.job.status
        self._show_job(self.job, "Measure")
        self._show_button()
        if status.state is RunState.PREPARING:
            self.result.clear()
        if status.state is RunState.DONE:
            self.result.show_good(status.message)
            self._show_tables()


def column_in_words(column: str) -> str:
    """Return the name of a measured column in plain words.

    Examples
    --------
    >>> [column_in_words(each) for each in ("area_um2", "intensity_mean", "major_axis_px", "solidity")]
    ['area (µm²)', 'intensity mean', 'major axis (px)', 'solidity']
    """
    name, _, unit = column.rpartition("_")
    if unit in WORDS and name:
        return f"{name.replace('_', ' ')} ({WORDS[unit]})"
    return column.replace("_", " ")
