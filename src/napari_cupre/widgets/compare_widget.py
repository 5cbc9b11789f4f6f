"""The Compare widget: two rounds or models side by side, or one judged by checked cells."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Image
from napari.viewer import Viewer
from qtpy.QtWidgets import QFileDialog, QRadioButton

from napari_cupre.errors import CupreError, InputError
from napari_cupre.evaluation.side_by_side import Difference
from napari_cupre.events import Event, RunState
from napari_cupre.io.files import atomic_write
from napari_cupre.io.ownership import as_named
from napari_cupre.widgets.captions import caption
from napari_cupre.widgets.comparing import ComparisonPlan, ImageCompared, PackedDifference, Rival
from napari_cupre.widgets.controls import (
    MessageLine,
    choice_row,
    follow_layers,
    labelled,
    push_button,
)
from napari_cupre.widgets.difference_layers import COLOURS, DifferenceLayers
from napari_cupre.widgets.figure_table import FigureTable
from napari_cupre.widgets.help_button import beside_help
from napari_cupre.widgets.job_dock import JobDock
from napari_cupre.widgets.layers import source_path
from napari_cupre.widgets.preferences import read_preferences
from napari_cupre.widgets.remembering import remember
from napari_cupre.widgets.rival_chooser import RivalChooser
from napari_cupre.widgets.verdict_words import columns_for, joint_row, row_of, verdict_words
from napari_cupre.words import counted

EMPTY = (
    "Compare two rounds, two models, or a layer from another program, and see which cells only one of them "
    "finds. Or judge one by the cells you checked."
)
NO_IMAGE = "Open an image first: drag a file into the window, or File > Open Sample."
NEXT = "Click a row to show its image; < and > in Annotate do the same."

GROUND = "#202020"
"""Behind the colours in the legend: they are bright, as outlines on dark images must be, in any theme."""


class CompareWidget(JobDock):
    """The dock that says which of two models is better, and shows where they differ."""

    title = "Compare"
    needs_engine = True

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.job = self.session.comparison
        self._shown = ""
        self.differences = DifferenceLayers(self.session)
        self._make_choices()
        self._make_results()
        self._lay_out()
        follow_layers(self, self._show_choices)
        self.listen(self.session.models_changed, self._show_choices)
        self.listen(self.session.queue.changed, self._queue_changed)
        self.listen(self.session.cells_changed, lambda *_: self._count_images())
        self.listen(self.session.image_changed, lambda image: self._show_difference())
        self.listen(self.job.status.events, self._show_status)
        self.listen(self.job.received, self._received)
        self._show_choices()
        self._choose_first()
        remember(self, first=self.first, second=self.second)
        self._show_rows()
        self._show_status()

    def _make_choices(self) -> None:
        self.first = RivalChooser(self.session, "Compare this round, model or layer of cells")
        self.second = RivalChooser(
            self.session, "Compare it with your checked cells, a round, a model or a layer", with_checked=True
        )
        for chooser in (self.first, self.second):
            chooser.currentIndexChanged.connect(lambda _: self._show_scope())
        self.one_image = QRadioButton("this image")
        self.one_image.setToolTip("Compare on the current image")
        self.annotated = QRadioButton("images with checked cells")
        self.annotated.setToolTip("Compare on every image of the project that has checked or edited cells")
        self._make_button(
            self.job, "Compare", "Find cells with both, and show where they differ", self.compare
        )

    def _make_results(self) -> None:
        self.empty = caption(EMPTY, "plain")
        self.verdict = MessageLine()
        self.basis = MessageLine()
        self.legend = caption()
        self.legend.setToolTip("Outlines on the current image; each kind is a layer you can hide")
        self.table = FigureTable("Comparison by image", "A row for each image; click one to show it")
        self.table.chosen.connect(lambda name: self.attempt(lambda: self._show_image(name)))
        self.save_button = push_button(
            "Save table …", "Write the table to a CSV file", lambda: self.attempt(self._ask_and_save)
        )

    def _lay_out(self) -> None:
        column = self.column
        column.addLayout(beside_help(self, self.empty))
        column.addLayout(labelled("Compare", self.first))
        column.addLayout(labelled("with", self.second))
        column.addLayout(choice_row(self.one_image, self.annotated))
        for widget in (
            *(self.button, self.bar, self.message, self.verdict, self.basis, self.legend),
            *(self.table, self.save_button, self.notice),
        ):
            column.addWidget(widget)
        column.addStretch(1)

    def _choose_first(self) -> None:
        """Start with the best round against the one before it, or the chosen model against the cells."""
        entries = self.session.rounds.entries()
        self.second.choose(entries[0].value if len(entries) > 1 else "")
        self.first.choose(entries[1].value if len(entries) > 1 else self.session.model)
        self.annotated.setChecked(bool(self._annotated_stems()))

    # --- actions of the button -------------------------------------------------------------------

    def compare(self) -> None:
        """Compare the chosen models.

        Raises
        ------
        InputError
            There is nothing to compare, or no image to compare on.
        """
        first, second = self.first.rival(), self.second.rival()
        rivals = tuple(rival for rival in (first, second) if rival is not None)
        if len({(rival.model, rival.name) for rival in rivals}) < len(rivals):
            raise InputError("Both are the same: choose two different ones, or your checked cells.")
        if self.session.prediction.status.is_active:
            raise InputError("Cells are being found: wait until that has finished.")
        # images are read from the project, so everything must be saved first
        self.session.keeper.when_saved(lambda: self.attempt(lambda: self._begin(rivals)))

    def _begin(self, rivals: tuple[Rival, ...]) -> None:
        self.job.compare(self._plan(rivals))
        self._shown = ""
        self._show_rows()

    def _plan(self, rivals: tuple[Rival, ...]) -> ComparisonPlan:
        session, device = self.session, read_preferences().device
        project = session.keeper.project
        folder = None if project is None else project.folder
        if self.annotated.isChecked() and self.annotated.isEnabled():
            stems = tuple(self._annotated_stems())
            if not stems:
                raise InputError("No image has a checked cell yet: check some in Annotate.")
            return ComparisonPlan(rivals, folder, stems, device=device)
        image = session.image_to("compare on")
        stem = session.keeper.stem_of(image)
        if stem is not None:
            return ComparisonPlan(rivals, folder, (stem,), device=device)
        return ComparisonPlan(rivals, image=session.cell_image(image), file=source_path(image), device=device)

    def _annotated_stems(self) -> list[str]:
        """Return the images of the project with a checked or edited cell, or a region."""
        session = self.session
        found = {entry.image.stem for entry in session.queue.taught_elsewhere()}
        for image in session.images():
            stem, cells = session.keeper.stem_of(image), session.cells_of(image)
            if stem is not None and cells is not None:
                now = cells.cells
                if now.regions or any(cell.state.teaches for _, cell in now):
                    found.add(stem)
        return [item.stem for item in session.queue.items() if item.stem in found and item.stem]

    # --- display ---------------------------------------------------------------------------------

    def _show_choices(self, event: Any = None) -> None:
        for chooser in (self.first, self.second):
            chooser.refresh(self.differences.names)
        self._show_scope()

    def _can_start(self) -> bool:
        return bool(self.session.queue.items())

    def _queue_changed(self) -> None:
        self._lead()
        self._allow()
        self._count_images()
        self._show_difference()

    def _count_images(self) -> None:
        count = len(self._annotated_stems())
        self.annotated.setText(
            f"{counted(count, 'image')} with checked cells" if count else "images with checked cells"
        )
        has_layer = self.first.is_layer or self.second.is_layer
        self.annotated.setEnabled(bool(count) and not has_layer)
        if not self.annotated.isEnabled():
            self.one_image.setChecked(True)

    def _show_scope(self) -> None:
        """Allow only the current image if a layer is chosen, because a layer belongs to one image."""
        self._count_images()
        if not self.job.status.is_active:
            self.button.setText("Compare" if self.second.value else "Evaluate")

    def _received(self, event: Event) -> None:
        if isinstance(event, ImageCompared):
            self._show_rows()
            self._show_difference()

    def _show_rows(self) -> None:
        rows, plan = self.job.rows, self.job.plan
        has_rows = bool(rows) and plan is not None
        for widget in (self.table, self.save_button):
            widget.setVisible(has_rows)
        self._lead()
        if not has_rows or plan is None:
            self.verdict.clear()
            self.basis.clear()
            self.legend.hide()
            return
        columns, filled = self._filled()
        self.table.fill(columns, filled[: len(rows)], filled[-1] if len(rows) > 1 else None)
        sentence, basis, kind = verdict_words(rows, [rival.name for rival in plan.rivals])
        {"good": self.verdict.show_good, "error": self.verdict.show_error}.get(kind, self.verdict.show_plain)(
            sentence
        )
        self.basis.show_plain(basis)

    def _lead(self) -> None:
        """Say what to do first, or next."""
        has_rows = bool(self.job.rows) and self.job.plan is not None
        self.empty.setText(NEXT if has_rows else EMPTY if self._can_start() else NO_IMAGE)

    def _filled(self) -> tuple[list[tuple[str, str]], list[list[Any]]]:
        rows, plan = self.job.rows, self.job.plan
        assert plan is not None
        names = [rival.name for rival in plan.rivals]
        with_truth = any(row.scores for row in rows)
        filled = [row_of(row, names, with_truth) for row in rows]
        if len(rows) > 1:
            filled.append(joint_row(rows, names, with_truth))
        return columns_for(names, with_truth), filled

    def _show_image(self, name: str) -> None:
        """Show the image of a row."""
        for item in self.session.queue.items():
            if item.name == name:
                self.session.queue.show(item)

    def _show_difference(self) -> None:
        """Draw the outlines on the current image once they are unpacked."""
        image = self.session.image
        name = "" if image is None else self.session.keeper.stem_of(image) or image.name
        packed = self.job.parts.get(name)
        if image is None or packed is None:
            self._shown = ""
            self.differences.hide()
            self.legend.hide()
            return
        self.table.select(name)
        if self._shown != name:
            self._shown = name
            self._errands.do(packed.unpacked, partial(self._show_parts, image, packed), self._not_shown)

    def _not_shown(self, error: Exception) -> None:
        self.message.show_error(f"The differences cannot be shown ({error}).")

    def _show_parts(self, image: Image, packed: PackedDifference, parts: Difference) -> None:
        plan, session = self.job.plan, self.session
        if plan is None or session.image is not image or packed not in self.job.parts.values():
            return  # the image or the comparison has changed in the meantime
        try:
            self.differences.show(image, session.cell_image(image), parts, plan.layer_names)
        except CupreError as error:
            self.message.show_error(str(error))
            return
        row = next(row for row in self.job.rows if self.job.parts.get(row.name) is packed)
        counts = (row.both, row.only_first, row.only_second)
        squares = [
            f'<span style="color:{colour};background:{GROUND}">&nbsp;■&nbsp;</span>&nbsp;'
            f"{name.replace(' ', '&nbsp;')}&nbsp;<b>{count}</b>"
            for colour, name, count in zip(COLOURS, plan.layer_names, counts)
        ]
        self.legend.setText(" &nbsp; ".join(squares))
        self.legend.show()

    def _show_status(self, event: Any = None) -> None:
        self._show_job(self.job, "Compare" if self.second.value else "Evaluate")
        if self.job.status.state is RunState.PREPARING:
            self.notice.clear()

    # --- saving ---------------------------------------------------------------------------------------

    def _ask_and_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Table of the comparison", "comparison.csv", "CSV (*.csv)"
        )
        if path:
            self.save(Path(path))

    def save(self, path: Path) -> None:
        """Write the table.

        Raises
        ------
        EnvironmentFault
            Full or read-only disk.
        """
        columns, rows = self._filled()
        path = as_named(path, ".csv")
        with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow([title for title, _ in columns])
            writer.writerows([["" if value is None else value for value in row] for row in rows])
        self.notice.show_plain(f"Saved as {path.name}.")
