"""The Annotate widget: layers to annotate cells in, and a count of what is annotated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Shapes
from napari.utils.notifications import show_warning
from napari.viewer import Viewer
from qtpy.QtWidgets import QFileDialog, QGridLayout, QLabel, QPushButton, QWidget

from napari_cupre.errors import CupreError, InputError
from napari_cupre.widgets.annotation import Annotation
from napari_cupre.widgets.asking import QuestionLine
from napari_cupre.widgets.controls import (
    ImageChooser,
    MessageLine,
    SessionWidget,
    follow_layers,
    heading,
    labelled,
    layer_combo,
    primary_button,
)
from napari_cupre.widgets.counting import Counter, Counts
from napari_cupre.widgets.importing import FILE_FILTER, Imported, read_annotations, take_over
from napari_cupre.widgets.layers import in_units, layer_axes
from napari_cupre.widgets.mending import Mender, fresh_numbers
from napari_cupre.widgets.queue_row import QueueRow
from napari_cupre.widgets.save_line import SaveLine
from napari_cupre.widgets.scene_note import SceneNote
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.tool_row import ToolRow

NEXT_CELL_KEY = "n"
PAINT_EVENTS = ("paint", "labels_update", "set_data", "data")


class AnnotateWidget(SessionWidget):
    """Makes the annotation layers of an image, puts the right brush into the hand, and counts.

    Parameters
    ----------
    napari_viewer : Viewer
        napari.viewer.Viewer The viewer, or napari's proxy of it. napari passes it by this name.
    """

    title = "Annotate"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.new_layers = primary_button(
            "New annotation layers", "Add a layer for cells and a layer for regions to the chosen image"
        )
        self.new_layers.clicked.connect(lambda: self.attempt(self.make_layers))
        self.cells = layer_combo(
            self.session, Labels, "The Labels layer with your cells, one label per cell", nullable=True
        )
        self.cells.changed.connect(self._cells_chosen)
        self.import_button = _tool(
            "Import …",
            "Read cells from another program: label images, ImageJ ROIs, GeoJSON, COCO, Cellpose",
            lambda: self.attempt(self._ask_and_import),
        )
        self._imported_for: Image | None = None
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.brush_hint = QLabel()
        self.brush_hint.setWordWrap(True)
        self.advice = MessageLine()
        self.question = QuestionLine()
        self.mender = Mender(self.session, self.attempt, lambda: self._counter.all_changed())
        self._counter = Counter(self.session, self, self._show_counts)
        self._counts_failed = False
        self._followed: list[tuple[Any, Any]] = []
        self._lay_out()
        napari_viewer.bind_key(NEXT_CELL_KEY, _next_cell_key(self.session), overwrite=True)
        follow_layers(self, self._refresh)
        self.listen(self.session.annotations_changed, self._refresh)
        self.listen(self.session.cells_changed, lambda *_: self._counter.plane_changed())
        self.listen(self.session.importing.received, self._show_import)
        self.listen(self.session.image_changed, self._refresh)
        self._refresh()

    def _lay_out(self) -> None:
        column = self.column
        self.queue_row = QueueRow(self)
        column.addWidget(self.queue_row)
        self.image = ImageChooser(self)
        column.addWidget(self.image)
        self.scenes = SceneNote(self)
        column.addWidget(self.scenes)
        column.addWidget(self.new_layers)
        row = labelled("Cells in", self.cells.native)
        row.addWidget(self.import_button)
        column.addLayout(row)
        column.addWidget(heading("Draw"))
        self.tool_row = ToolRow(self)
        column.addWidget(self.tool_row)
        column.addWidget(self._tools())
        column.addWidget(self.brush_hint)
        column.addWidget(heading("Annotated so far"))
        column.addWidget(self.status)
        column.addWidget(self.question)
        column.addWidget(self.advice)
        column.addWidget(self.message)
        column.addStretch(1)
        self.save_line = SaveLine(self)
        column.addWidget(self.save_line)

    def _tools(self) -> QWidget:
        self.next_cell = _tool(
            f"Next cell ({NEXT_CELL_KEY.upper()})",
            "Start a new cell with the next unused label",
            lambda: self.attempt(lambda: next_cell(self.session)),
        )
        self.background = _tool(
            "Background brush",
            "Paint background; anything you leave out is unknown and teaches nothing",
            lambda: self.attempt(self.paint_background),
        )
        self.all_marked = _tool(
            "Everything is annotated",
            "Every cell of this plane is annotated; the rest is background",
            lambda: self.attempt(self.mark_all_known),
        )
        self.region = _tool(
            "Region",
            "Draw a rectangle in which every cell is annotated; the rest of it is background",
            lambda: self.attempt(self.draw_region),
        )
        box = QWidget()
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(6)
        buttons = (self.next_cell, self.background, self.region, self.all_marked)
        for position, button in enumerate(buttons):
            grid.addWidget(button, position // 2, position % 2)
        return box

    # --- what the buttons do --------------------------------------------------------------------------

    def make_layers(self) -> None:
        """Add what is missing of the chosen image's annotation layers and take the cell brush."""
        self.session.make_annotation_layers(_chosen_image(self.session))
        next_cell(self.session)

    def paint_background(self) -> None:
        """Take the background brush; its layer is made at the first use."""
        layer = self.session.make_background_layer(_chosen_image(self.session))
        layer.selected_label = 1
        _take(self.session, layer, "paint")

    def draw_region(self) -> None:
        """Draw rectangles in which every cell is annotated."""
        layer = _annotation_with_layers(self.session).regions
        if isinstance(layer, Shapes):
            _take(self.session, layer, "add_rectangle")

    def mark_all_known(self) -> None:
        """Draw a region around the whole plane on show."""
        session = self.session
        image = _chosen_image(session)
        regions = session.make_annotation_layers(image).regions
        if regions is None:
            return
        height, width = session.cell_image(image).plane_shape
        corners = np.array([[0, 0], [0, width], [height, width], [height, 0]]) - 0.5
        cell, index = session.cell_image(image), session.plane_on_show(image)
        corner = {axis: np.full(4, index.get(axis, 0)) for axis in "TZC"} | dict(zip("YX", corners.T))
        axes = layer_axes(cell) if regions.ndim == len(layer_axes(cell)) else "YX"
        pixels = np.stack([corner[axis] for axis in axes], axis=1)
        if (cells := session.annotation(image).cells) is not None and cells.ndim == regions.ndim:
            # the regions may have been drawn elsewhere, with a place of their own
            world = [in_units(cells.data_to_world(p), cells.units, regions.units) for p in pixels]
            pixels = np.array([regions.world_to_data(point) for point in world])
        regions.add_polygons(pixels)

    def import_file(self, path: Path) -> None:
        """Read annotations that another program has written.

        Raises
        ------
        InputError
            If there is no image, or another file is being read.
        """
        session = self.session
        image = _chosen_image(session)
        self._imported_for = image
        session.importing.start(read_annotations, path, session.cell_image(image))

    def _ask_and_import(self) -> None:
        _chosen_image(self.session)
        path, _ = QFileDialog.getOpenFileName(self, "Annotations to read", "", FILE_FILTER)
        if path:
            self.import_file(Path(path))

    # --- what is shown --------------------------------------------------------------------------------

    def _ask(self, image: Image | None, counts: Counts) -> None:
        questions = [] if image is None else self.mender.open_questions(image, counts.findings)
        if image is None or not questions:
            self.question.clear()
            return
        first = questions[0]
        key = (id(image), first.kind, first.place, first.labels)
        self.question.ask(first.sentence, self.mender.answers(image, first), key)

    def _refresh(self, event: Any = None) -> None:
        self.message.clear()
        image = self.session.image
        annotation = None if image is None else self.session.annotation(image)
        with self.cells.changed.blocked():
            self.cells.reset_choices()
            cells = None if annotation is None else annotation.cells
            self.cells.value = cells if cells in self.cells.choices else None
        has_layers = annotation is not None and annotation.cells is not None
        is_complete = annotation is not None and has_layers and annotation.regions is not None
        self.new_layers.setEnabled(image is not None)
        self.new_layers.setVisible(not is_complete)
        for button in (self.next_cell, self.background, self.region, self.all_marked):
            button.setEnabled(has_layers)
        if image is None:
            self.advice.show_notice(
                "Open an image first: drag a file into the window, or File > Open Sample."
            )
        elif not has_layers:
            self.advice.show_notice('Press "New annotation layers", then paint a few cells.')
        self._follow_annotation()
        self._counter.all_changed()

    def _follow_annotation(self) -> None:
        """Count again when something is painted or drawn."""
        for signal, callback in self._followed:
            signal.disconnect(callback)
        self._followed.clear()
        for annotation in self.session.annotated():
            painted = {annotation.cells, annotation.background, *annotation.result_layers()} - {None}
            for labels in sorted(painted, key=id):
                for name in PAINT_EVENTS:
                    self._follow(getattr(labels.events, name), self._counter.plane_changed)
            if annotation.regions is not None:
                self._follow(annotation.regions.events.data, self._counter.all_changed)

    def _follow(self, signal: Any, callback: Any) -> None:
        signal.connect(callback)
        self._followed.append((signal, callback))

    def _show_import(self, event: Any) -> None:
        image = self._imported_for
        if isinstance(event, Imported) and image in self.session.images():
            take_over(self.session, image, event.labels)
        status = self.session.importing.status
        if status.error:
            self.message.show_error(status.error, status.details)

    def _cells_chosen(self, labels: Labels | None) -> None:
        if self.session.image is not None:
            self.session.choose_cells(self.session.image, labels)

    def _show_counts(self, counts: Counts | str) -> None:
        if isinstance(counts, str):
            self.message.show_error(counts)
            self.question.clear()
            self._counts_failed = True
            return
        if self._counts_failed:  # other messages are not this one's to take away
            self.message.clear()
            self._counts_failed = False
        image = self.session.image
        self._ask(image, counts)
        if image is None or self.session.annotation(image).cells is None:
            self.status.setText("Nothing is annotated yet.")
            self.brush_hint.setText("")
            return
        self.status.setText(_status_text(counts))
        self.brush_hint.setText(_brush_text(counts))
        (self.advice.show_good if counts.ready else self.advice.show_notice)(counts.advice)


def _status_text(counts: Counts) -> str:
    cells = f"<b>{counts.cells}</b> {'cell' if counts.cells == 1 else 'cells'}"
    known = f"<b>{100 * counts.known:.0f} %</b> of the area known"
    text = f"{cells}, {known}"
    if counts.all_images > 1:
        text += f"<br>In total: <b>{counts.all_cells}</b> cells in {counts.all_images} images"
    return text


def _brush_text(counts: Counts) -> str:
    if np.isnan(counts.diameter):
        return "Use a brush of about half a cell (change it with [ and ])."
    size = max(1, round(counts.diameter / 2.5))
    return (
        f"Cells are about {counts.diameter:.0f} px wide. Try a brush of {size} px (change it with [ and ])."
    )


def _tool(text: str, tooltip: str, action: Any) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tooltip)
    button.clicked.connect(lambda: action())
    return button


def _chosen_image(session: Session) -> Image:
    if session.image is None:
        raise InputError("There is no image to annotate: open one first.")
    return session.image


def _annotation_with_layers(session: Session) -> Annotation:
    return session.make_annotation_layers(_chosen_image(session))


def next_cell(session: Session) -> None:
    """Take the brush of the cell layer with the next unused label.

    Raises
    ------
    InputError
        If there is no image.
    """
    layer = _annotation_with_layers(session).cells
    if layer is not None:
        layer.selected_label = fresh_numbers(layer)
        _take(session, layer, "paint")


def _take(session: Session, layer: Labels | Shapes, mode: str) -> None:
    """Make a layer the active one, in a mode of drawing."""
    session.viewer.layers.selection.active = layer
    layer.mode = mode


def _next_cell_key(session: Session) -> Any:
    def next_cell_of_image(viewer: Viewer) -> None:
        """Take the brush for the next cell (napari-cupre)."""
        if session.image is not None and session.annotation(session.image).cells is not None:
            try:
                next_cell(session)
            except CupreError as error:  # there may be no dock to say it in
                show_warning(str(error))

    return next_cell_of_image
