"""The Annotate widget: guesses, tools to correct them, counts and questions."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari.layers import Image, Labels, Shapes
from napari.viewer import Viewer
from qtpy.QtWidgets import QFileDialog, QGridLayout, QPushButton, QWidget

from napari_cupre.events import Finished
from napari_cupre.project.cells import Change, State
from napari_cupre.project.gestures import hidden
from napari_cupre.project.questions import Question
from napari_cupre.project.shots import enough
from napari_cupre.widgets.annotation_layers import refusal
from napari_cupre.widgets.asking import QuestionLine
from napari_cupre.widgets.canvas_keys import leave_keys_to_canvas
from napari_cupre.widgets.captions import caption
from napari_cupre.widgets.cells_layer import CellsLayer
from napari_cupre.widgets.channel_row import ChannelRow
from napari_cupre.widgets.controls import (
    ImageChooser,
    MessageLine,
    SessionWidget,
    follow_layers,
    heading,
    labelled,
    push_button,
)
from napari_cupre.widgets.find_row import FindRow
from napari_cupre.widgets.help_button import beside_help
from napari_cupre.widgets.importing import FILE_FILTER, Imported, read_annotations, take_up, targets_of
from napari_cupre.widgets.layer_choice import LayerChoice
from napari_cupre.widgets.looking import check_flat, plane_on_show
from napari_cupre.widgets.questioner import Questioner
from napari_cupre.widgets.queue_row import QueueRow
from napari_cupre.widgets.save_line import SaveLine
from napari_cupre.widgets.scene_note import SceneNote
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.shortcuts import key_of, with_key
from napari_cupre.widgets.suggestion_list import SuggestionList
from napari_cupre.widgets.tool_row import ToolRow
from napari_cupre.words import counted

MOUSE_TOLD = {
    "": "Click a guess to accept it, Ctrl-click to delete it, {merge} to merge it with the last cell.",
    **dict.fromkeys(
        ("paint", "erase", "fill"), "Ctrl-click a cell to delete it, {merge} to merge it with the last one."
    ),
}
"""What clicks on cells do, by what is in hand; with anything else they do nothing."""
ELSEWHERE = "elsewhere"
"""In hand is a layer with which neither clicks nor keys mean cells."""
OPEN_IMAGE = "Open an image first: drag a file into the window, press +, or choose File > Open Sample."
NO_CELLS = "No cells yet."
CHOOSE_IMAGE = "No image is visible: choose one at the top."
HAND_TOLD = {
    "erase": "Erase parts of cells; a cell of which nothing is left is deleted. Hold Space to move the view.",
    "paint": "Paint on a cell to correct it, elsewhere to start a new one. Press again for one that touches "
    "the last one. Hold Space to move the view.",
    "background": "Paint where there is no cell; the rest is unknown. Press again to move the view.",
    "region": "Drag a rectangle in which every cell is annotated. Press again to move the view.",
}
UNDO_TOLD = "Ctrl-Z: undo. Ctrl-Shift-Z: redo."
KEYS_TOLD = {
    "next_guess": "next guess",
    "accept": "accept it",
    "reject": "reject it",
    "accept_all": "accept all in view",
}


class AnnotateWidget(SessionWidget):
    """The dock that shows guesses, offers tools to correct them, counts cells and asks questions."""

    title = "Annotate"
    needs_engine = True

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.cells = LayerChoice(
            self.session, Labels, "The Labels layer with the cells of this image", is_optional=True
        )
        self.cells.changed.connect(self._cells_chosen)
        self.import_button = push_button(
            "Import …",
            "Read cells from other programs, also many files at once:\n"
            "label images, ImageJ ROIs, GeoJSON, COCO, LabelMe, VIA, Cellpose",
            lambda: self.attempt(self._ask_and_import),
        )
        self.status = caption()
        self.hint = caption(role="plain")
        self.advice = MessageLine()
        self.question = QuestionLine()
        self.questioner = Questioner(self.session, self, self.attempt, self._ask)
        self._fault = self._hand = ""
        self._followed: weakref.WeakSet[Labels] = weakref.WeakSet()
        self._watched: weakref.WeakSet[Labels | Shapes] = weakref.WeakSet()
        self._lay_out()
        self.session.shortcuts.offer("brush", lambda: self._take_or_leave("paint"))
        self.listen(self.session.shortcuts.changed, self._show_keys)
        self._show_keys()
        follow_layers(self, self._refresh)
        self.listen(self.session.annotations_changed, self._refresh)
        self.listen(self.session.queue.changed, self._offer_choice)
        self.listen(self.session.queue.changed, self._show_count)
        self.listen(self.session.cells_changed, self._cells_changed)
        self.listen(self.session.importing.received, self._show_import)
        self.listen(self.session.image_changed, self._refresh)
        self.listen(self.session.viewer.layers.selection.events.active, self._show_hand)
        self._refresh()
        leave_keys_to_canvas(self)

    def _lay_out(self) -> None:
        column = self.column
        self.suggestions = SuggestionList(self)
        self.queue_row = QueueRow(self, self.suggestions.button)
        column.addLayout(beside_help(self, self.queue_row))
        column.addWidget(self.suggestions)
        self.image = ImageChooser(self)
        column.addWidget(self.image)
        self.channels = ChannelRow(self)
        column.addWidget(self.channels)
        self.scenes = SceneNote(self)
        column.addWidget(self.scenes)
        row = labelled("Cells in", self.cells)
        row.addWidget(self.import_button)
        column.addLayout(row)
        column.addWidget(self.status)
        self.find_row = FindRow(self)
        column.addWidget(self.find_row)
        column.addWidget(heading("Draw"))
        self.tool_row = ToolRow(self)
        column.addWidget(self.tool_row)
        column.addWidget(self._tools())
        column.addWidget(self.tool_row.line)
        column.addWidget(self.question)
        column.addWidget(self.advice)
        column.addWidget(self.message)
        self.listen(self.session.model_watch.lost, self.message.show_notice)
        column.addStretch(1)
        self.save_line = SaveLine(self)
        column.addWidget(self.save_line)
        column.addWidget(self.hint)  # last: what is only told may be below the edge of a low window

    def _tools(self) -> QWidget:
        self.next_cell = push_button(
            "Brush",
            "Paint cells: each blob becomes a cell; on a cell, the brush corrects it",
            lambda: self.attempt(lambda: self._take_or_leave("paint")),
        )
        self.background = push_button(
            "Background brush",
            "Paint background; what you leave out is unknown, and nothing is learned from it",
            lambda: self.attempt(lambda: self._take_or_leave("background")),
        )
        self.all_marked = push_button(
            "Everything is annotated",
            "Every cell of this plane is annotated; the rest is background",
            lambda: self.attempt(self.mark_all_known),
        )
        self.region = push_button(
            "Region",
            "Draw a rectangle in which every cell is annotated; the rest of it is background",
            lambda: self.attempt(lambda: self._take_or_leave("region")),
        )
        self._hands: dict[str, tuple[QPushButton, Callable[[], None]]] = {
            "paint": (self.next_cell, lambda: next_cell(self.session)),
            "background": (self.background, self.paint_background),
            "region": (self.region, self.draw_region),
        }
        for button, _ in self._hands.values():
            button.setCheckable(True)
        box = QWidget()
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(6)
        buttons = (self.next_cell, self.background, self.region, self.all_marked)
        for position, button in enumerate(buttons):
            grid.addWidget(button, position // 2, position % 2)
        return box

    def _show_keys(self) -> None:
        """Show the current keys in the texts; a user can change them in napari's shortcuts dialog."""
        self.next_cell.setText(with_key("Brush", "brush"))
        told = [f"{key_of(name)}: {text}." for name, text in KEYS_TOLD.items() if key_of(name)]
        merge = " or ".join(filter(None, ("Alt-click", key_of("merge"))))
        mouse = MOUSE_TOLD.get(self._hand, "").format(merge=merge)
        if self._hand == ELSEWHERE:
            self.hint.setText(self._way_back())
        elif self._hand in ("background", "region"):  # napari has other keys for their layers
            self.hint.setText(UNDO_TOLD)
        else:
            self.hint.setText(" ".join(filter(None, [mouse, *told, UNDO_TOLD])))

    def _way_back(self) -> str:
        """Say how the mouse and the keys mean cells again."""
        image = self.session.image
        if image is None or refusal(self.session, image):
            return ""
        back = self.session.annotation(image).cells or image
        return f"Click “{back.name}” in the layer list to use the keys for cells."

    # --- actions of the buttons ------------------------------------------------------------------

    def _take_or_leave(self, name: str) -> None:
        """Choose a brush of `HAND_TOLD`, or put it down if it is in use; *Brush* starts the next cell."""
        _, take = self._hands[name]
        try:
            active: Any = self.session.viewer.layers.selection.active
            if name != "paint" and self._in_hand() == name:
                active.mode = "pan_zoom"
                back = self.session.make_cells(_drawn_on(self.session)).layer
                self.session.viewer.layers.selection.active = back  # or the keys would not mean cells
            else:
                take()
        finally:
            self._show_hand()  # Qt checks the button at a press even if the tool could not be taken

    def paint_background(self) -> None:
        """Take the background brush; the first use creates its layer."""
        layer = self.session.make_background_layer(_drawn_on(self.session))
        layer.selected_label = 1
        _take(self.session, layer, "paint")

    def draw_region(self) -> None:
        """Draw rectangles in which every cell is annotated."""
        _take(self.session, self.session.make_regions(_drawn_on(self.session)), "add_rectangle")

    def mark_all_known(self) -> None:
        """Say that every cell of the current plane is annotated."""
        session, image = self.session, _drawn_on(self.session)
        cells = session.make_cells(image)
        place = plane_on_show(session.viewer, cells)
        height, width = cells.cells.shape[-2:]
        flat = [(-0.5, -0.5), (-0.5, width - 0.5), (height - 0.5, width - 0.5), (height - 0.5, -0.5)]
        region = tuple((*map(float, place), *corner) for corner in flat)
        before = cells.cells.regions
        if region not in before:
            cells.do(Change("Everything is annotated", regions=(before, (*before, region))))

    def import_files(self, *paths: Path) -> None:
        """Read annotations written by other programs.

        A single one is that of the chosen image; several are matched with all images by name.

        Raises
        ------
        InputError
            If there is no image, or another file is being read.
        """
        session = self.session
        session.image_to("annotate")
        session.importing.start(read_annotations, paths, targets_of(session), session.keeper.project)

    def _ask_and_import(self) -> None:
        self.session.image_to("annotate")
        paths, _ = QFileDialog.getOpenFileNames(self, "Annotations to read", "", FILE_FILTER)
        if paths:
            self.import_files(*map(Path, paths))

    # --- display ---------------------------------------------------------------------------------

    def _ask(self, cells: CellsLayer | None, questions: list[Question]) -> None:
        if cells is None or not questions:
            self.question.clear()
            return
        first, answers = questions[0], self.questioner.answers(cells, questions)
        self.question.ask(first.text, answers, (id(cells), first.key, len(questions)))

    def _refresh(self, event: Any = None) -> None:
        self.message.clear()
        session, image = self.session, self.session.image
        self._offer_choice()
        annotation = None if image is None else session.annotation(image)
        self.cells.refresh()
        self.cells.display(None if annotation is None else annotation.cells)
        is_possible = image is not None and not refusal(session, image)
        for button in (self.next_cell, self.background, self.region, self.all_marked, self.import_button):
            button.setEnabled(is_possible)
        for labels in {annotation.cells for annotation in session.annotated()}:
            self._follow(labels)
        self._show_hand()
        self._show_count()
        self.questioner.start()

    def _in_hand(self) -> str:
        """Return what is in use: a brush of `HAND_TOLD`, another mode of the cells, `ELSEWHERE`, or ""."""
        session, image = self.session, self.session.image
        active = session.viewer.layers.selection.active
        if image is None or active is image:
            return ""
        layers, mode = session.annotation(image), str(getattr(active, "mode", ""))
        if active is not None and active is layers.cells:
            return "" if mode == "pan_zoom" else mode
        for name, layer, its_mode in (
            ("background", layers.background, "paint"),
            ("region", layers.regions, "add_rectangle"),
        ):
            if active is not None and active is layer and mode == its_mode:
                return name
        return ELSEWHERE

    def _show_hand(self, event: Any = None) -> None:
        """Highlight the button of the current tool, and say how to use it."""
        active = self.session.viewer.layers.selection.active
        if isinstance(active, Labels | Shapes) and active not in self._watched:
            self._watched.add(active)
            self.listen(active.events.mode, self._show_hand)
        self._hand = hand = self._in_hand()
        for name, (button, _) in self._hands.items():
            button.setChecked(name == hand)
        self.tool_row.tell_of_brush(HAND_TOLD.get(hand, ""))
        self._show_keys()

    def _offer_choice(self) -> None:
        """Show the list of images if several are visible at once; otherwise the queue names the image."""
        self.image.offer_choice(self.session.queue.leaves_a_choice)

    def _follow(self, labels: Labels | None) -> None:
        """Watch a layer that could not be used so far: a script may replace its content."""
        if labels is not None and labels not in self._followed:
            self._followed.add(labels)
            self.listen(labels.events.data, self._show_count)

    def _cells_changed(self, cells: CellsLayer, change: Change) -> None:
        self._show_count()
        self.questioner.start()

    def _show_count(self, event: Any = None) -> None:
        """Show the counts; they come from the table of cells, so they are never out of date."""
        session, image = self.session, self.session.image
        self.status.setVisible(image is not None)
        if image is None:
            self.advice.show_notice(CHOOSE_IMAGE if session.queue.items() else OPEN_IMAGE)
            return
        cells = session.cells_of(image)
        fault = session.fault_of(image) or (
            "" if cells is None or cells.regions is None else cells.regions.fault
        )
        if fault:
            self.message.show_error(fault)
        elif self._fault and self.message.text == self._fault:  # leave other messages alone
            self.message.clear()
        self._fault = fault
        self.status.setText(status_text(cells, *self._taught()) or self._stored_text())
        every = [(each.cells, session.annotation(each.image).background) for each in session.all_cells()]
        others = session.queue.taught_elsewhere()
        ready, advice = enough(
            [(cells, brush is not None) for cells, brush in every],
            sum(entry.checked for entry in others),
            is_known_elsewhere=any(entry.image.regions for entry in others),
        )
        refused = refusal(session, image)
        (self.advice.show_good if ready and not refused else self.advice.show_notice)(refused or advice)

    def _taught(self) -> tuple[int, int]:
        """Count the checked and edited cells of all images, and the images that contain them."""
        session = self.session
        counts = [each.cells.count(State.CHECKED, State.EDITED) for each in session.all_cells()]
        counts += [entry.checked for entry in session.queue.taught_elsewhere()]
        return sum(counts), sum(count > 0 for count in counts)

    def _stored_text(self) -> str:
        """Say how many cells the project has for an image whose layer of cells was removed."""
        queue = self.session.queue
        items = queue.items()
        place = queue.position(items)
        stored = queue.state(items[place]) if place >= 0 else ""
        if not stored[:1].isdigit():
            return NO_CELLS
        return f"{stored}. Their layer was removed: choose any tool to show them again."

    def _show_import(self, event: Any) -> None:
        if isinstance(event, Imported):
            take_up(self.session, event)
        status = self.session.importing.status
        if status.error:
            self.message.show_error(status.error, status.details)
        elif isinstance(event, Finished):
            self.message.show_notice(event.verdict)

    def _cells_chosen(self, labels: Labels | None) -> None:
        if self.session.image is not None:
            self.session.choose_cells(self.session.image, labels)


def status_text(cells: CellsLayer | None, taught: int, images: int) -> str:
    """Say how many cells are visible, by state, and how many teach in all images; "" without a layer."""
    if cells is None or not (cells.cells.rows or cells.cells.regions):
        return "" if cells is None else NO_CELLS
    now = cells.cells
    unseen = len(hidden(now, cells.certainty))
    total = len(now) - unseen
    parts = [
        f"{count} {word}{'es' if word == 'guess' and count != 1 else ''}"
        for word, count in (
            ("checked", now.count(State.CHECKED)),
            ("edited", now.count(State.EDITED)),
            ("guess", now.count(State.GUESS) - unseen),
        )
        if count
    ]
    text = f"<b>{total}</b> {'cell' if total == 1 else 'cells'}" + (f": {', '.join(parts)}" if parts else "")
    if unseen:
        text += f" ({counted(unseen, 'less certain one is', 'less certain are')} hidden)"
    if now.regions:
        text += f"; {counted(len(now.regions), 'region')}"
    if images > 1:
        text += f"<br>In total: <b>{taught}</b> checked or edited in {images} images"
    return text


def _drawn_on(session: Session) -> Image:
    """Return the chosen image if it is shown in 2D."""
    image = session.image_to("annotate")
    check_flat(session.viewer)
    return image


def next_cell(session: Session) -> None:
    """Start a new cell of the chosen image: take the brush, with the next unused label.

    Raises
    ------
    InputError
        There is no image, or its cells cannot be painted.
    """
    cells = session.make_cells(_drawn_on(session))
    session.keeper.expect(cells)
    cells.settle()
    cells.layer.selected_label = cells.cells.free_numbers()[0]
    _take(session, cells.layer, "paint")


def _take(session: Session, layer: Labels | Shapes, mode: str) -> None:
    """Make a layer the active one, in a drawing mode."""
    session.viewer.layers.selection.active = layer
    layer.mode = mode
