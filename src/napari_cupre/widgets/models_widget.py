"""The Models widget: list the models on this computer with origin and size; rename, delete, share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QLineEdit,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from napari_cupre.errors import InputError
from napari_cupre.io.ownership import as_named
from napari_cupre.model.cards import copy_model, rename_model
from napari_cupre.model.runs import delete_run
from napari_cupre.model.zoo import BUNDLED, SUFFIX, free_name, remove_model, user_path
from napari_cupre.project import rounds
from napari_cupre.project.recovery import project_title
from napari_cupre.widgets.asking import QuestionLine
from napari_cupre.widgets.captions import caption
from napari_cupre.widgets.controls import MessageLine, SessionWidget, labelled, primary_button, push_button
from napari_cupre.widgets.help_button import beside_help
from napari_cupre.widgets.model_gathering import ListedModel, gathered, megabytes, total_words
from napari_cupre.widgets.slides_row import SlidesRow
from napari_cupre.widgets.sources import sentence_of

MODEL_ROLE = int(Qt.ItemDataRole.UserRole)
FILTER = f"napari-cupre models (*{SUFFIX})"
ROW_HEIGHT, MOST_ROWS = 16, 11
INTRO = "Each training in a project is a round; without a project it becomes one of your models."


class ModelsWidget(SessionWidget):
    """The dock that lists all models with what is known about each."""

    title = "Models"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self._wanted = ""
        self._make_controls()
        self._lay_out()
        self.listen(self.session.models_changed, self.refresh)
        self.listen(self.session.keeper.opened, self._opened)
        self.refresh()

    def _make_controls(self) -> None:
        self.list = QTreeWidget()
        self.list.setHeaderHidden(True)
        self.list.setColumnCount(2)
        self.list.setAccessibleName("Models")
        self.list.setToolTip("Models from your projects, your own, and those included; choose one")
        self.list.currentItemChanged.connect(lambda *_: self._show_card())
        self.total = caption(role="plain")
        self.card = caption()
        self.card.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.use = primary_button("Use this model", "Annotate and Predict find cells with it from now on")
        self.use.clicked.connect(lambda: self.attempt(self._use))
        self.open = self._button(
            "Open its project", "Open the project that this round was trained in", self._open
        )
        self.rename = self._button("Rename", "Rename one of your models", self._ask_for_name)
        self.delete = self._button("Delete", "Delete the model and its training data; asks first", self._ask)
        self.take_in = self._button("Import …", "Copy a model file to your models", self._ask_for_file)
        self.export = self._button("Export …", "Write it to a file, to share it", self._ask_for_place)
        self.name = QLineEdit()
        self.name.setToolTip("New name; press Return to rename")
        self.name.returnPressed.connect(lambda: self.attempt(self._rename))
        self.naming = QWidget()
        self.naming.setLayout(labelled("New name", self.name))
        self.naming.hide()
        self.question = QuestionLine()
        self.done = MessageLine()
        self.slides = SlidesRow(self._errands, self.question, self.done)

    def _button(self, text: str, tooltip: str, action: Callable[[], Any]) -> QPushButton:
        return push_button(text, tooltip, lambda: self.attempt(action))

    def _lay_out(self) -> None:
        intro = caption(INTRO, "plain")
        column = self.column
        column.addLayout(beside_help(self, intro))
        grid = QGridLayout()
        grid.setSpacing(6)
        for place, button in enumerate((self.rename, self.delete, self.take_in, self.export)):
            grid.addWidget(button, place // 2, place % 2)
        grid.addWidget(self.open, 2, 0, 1, 2)
        column.addWidget(self.list)
        column.addWidget(self.total)
        column.addWidget(self.slides)
        column.addWidget(self.use)
        column.addLayout(grid)
        for widget in (self.naming, self.question, self.message, self.done, self.card):
            column.addWidget(widget)
        column.addStretch(1)

    # --- the list -------------------------------------------------------------------------------------

    @property
    def chosen(self) -> ListedModel | None:
        """Return the model in the chosen row."""
        item = self.list.currentItem()
        found = None if item is None else item.data(0, MODEL_ROLE)
        return found if isinstance(found, ListedModel) else None

    def refresh(self) -> None:
        """Read the list again, in the background."""
        self.slides.refresh()
        project = self.session.keeper.project
        folder, best, entries = None, None, []
        if project is not None:
            found = rounds.best_round(project)
            folder, best = project.folder, None if found is None else found.number
            for each in project.document.rounds:
                file = rounds.model_file(project, each)
                if file is not None:
                    entries.append((each, file))
        self._errands.do(
            partial(gathered, folder, entries, best),
            self._show,
            lambda error: self.message.show_error(sentence_of(error)),
        )

    def attempt(self, action: Callable[[], Any]) -> Any:
        """Run the action of a button after clearing earlier messages."""
        self.done.clear()
        return super().attempt(action)

    def _opened(self, project: Any) -> None:
        self.done.clear()
        self.refresh()

    def choose(self, value: str) -> None:
        """Choose the row of a model, by its name or path."""
        for group in (self.list.topLevelItem(row) for row in range(self.list.topLevelItemCount())):
            for row in range(0 if group is None else group.childCount()):
                item = None if group is None else group.child(row)
                if item is not None and item.data(0, MODEL_ROLE).value == value:
                    self.list.setCurrentItem(item)

    def _show(self, models: list[ListedModel]) -> None:
        chosen = self.chosen
        value = self._wanted or (self.session.model if chosen is None else chosen.value)
        self._wanted = ""
        self.list.blockSignals(True)
        self.list.clear()
        groups: dict[str, QTreeWidgetItem] = {}
        for model in models:
            key = str(model.project or model.group)
            if key not in groups:
                here = " (open)" if model.is_open else ""
                title = model.group if model.project is None else project_title(model.project)
                groups[key] = QTreeWidgetItem(self.list, [f"{title}{here}", ""])
                groups[key].setFlags(Qt.ItemFlag.ItemIsEnabled)
                groups[key].setFirstColumnSpanned(True)
                groups[key].setExpanded(True)
            item = QTreeWidgetItem(groups[key], [model.title, megabytes(model.card.size)])
            item.setData(0, MODEL_ROLE, model)
            if model.value == self.session.model:
                font = item.font(0)
                font.setBold(True)
                item.setFont(0, font)
                item.setToolTip(0, "Annotate and Predict use it")
        rows = len(models) + len(groups)
        self.list.setFixedHeight(min(rows, MOST_ROWS) * ROW_HEIGHT + 6)
        self.list.resizeColumnToContents(1)
        self.list.setColumnWidth(0, 190)
        self.choose(value)
        self.list.blockSignals(False)
        self.total.setText(total_words(models))
        self._show_card()

    def _show_card(self) -> None:
        model = self.chosen
        self.question.clear()
        self.naming.hide()
        self.card.setText("Choose a model to see where it comes from." if model is None else model.text())
        is_own, is_mine = model is not None and model.is_own, model is not None and model.is_open
        self.use.setEnabled(model is not None and model.value != self.session.model and not model.card.fault)
        self.rename.setEnabled(is_own)
        self.delete.setEnabled(is_own or is_mine)
        self.export.setEnabled(model is not None and not model.card.fault)
        self.open.setEnabled(model is not None and model.project is not None and not model.is_open)

    # --- actions of the buttons ------------------------------------------------------------------

    def _one(self) -> ListedModel:
        if self.chosen is None:
            raise InputError("Choose a model in the list first.")
        return self.chosen

    def _use(self) -> None:
        model = self._one()
        self.session.model = model.value
        self.done.show_good(f"Annotate and Predict use {model.title} now.")

    def _open(self) -> None:
        model = self._one()
        if model.project is not None:
            self.session.keeper.open(model.project)
            self.done.show_plain(f"Opening {project_title(model.project)} ...")

    def _ask_for_name(self) -> None:
        self.name.setText(self._one().title)
        self.naming.show()
        self.name.setFocus()
        self.name.selectAll()

    def _rename(self) -> None:
        model = self._one()
        new = rename_model(model.value, self.name.text())
        self.naming.hide()
        self._wanted = new.stem
        self.done.show_good(f"“{model.value}” is “{new.stem}” now.")
        if self.session.model == model.value:
            self.session.model = new.stem  # tells everybody
        else:
            self.session.models_changed.emit()

    def _ask(self) -> None:
        model = self._one()
        size = megabytes(model.card.size + model.card.run_size)
        later = " Later rounds stay." if model.round is not None else ""
        keep = ("Keep", "Delete nothing", self.question.clear)

        def sure() -> None:
            self.attempt(lambda: self._delete(model))

        self.question.ask(
            f"Delete “{model.title}” ({size})? This cannot be undone.{later}",
            [("Delete", "Delete the model and its training data", sure), keep],
        )

    def _delete(self, model: ListedModel) -> None:
        self.question.clear()
        if model.round is None:
            remove_model(model.value)
            self._deleted(model)
            return
        # deleting a round saves its project, which must not have other unsaved changes then
        self.session.keeper.when_saved(lambda: self.attempt(lambda: self._delete_round(model)))

    def _delete_round(self, model: ListedModel) -> None:
        project = self.session.keeper.project
        if project is None or model.round is None or project.folder != model.project:
            raise InputError("Another project is open: open this round's project first.")
        if project.read_only:
            raise InputError(project.read_only)
        delete_run(model.card.path)
        rounds.delete_round(project, model.round.number)
        self._deleted(model)

    def _deleted(self, model: ListedModel) -> None:
        self.session.known.deleted.add(model.value)
        self.done.show_good(f"“{model.title}” is deleted.")
        if self.session.model == model.value:
            self.session.model = self.session.rounds.start() or BUNDLED
        else:
            self.session.models_changed.emit()

    def _ask_for_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Model file to copy", "", FILTER)
        if path:
            self.import_file(Path(path))

    def import_file(self, path: Path) -> None:
        """Copy a model file to the user's models, under a free name."""
        name = free_name(path.stem)
        self._copy(path, user_path(name), f"“{name}” is one of your models now.", name)

    def _ask_for_place(self) -> None:
        model = self._one()
        stem = model.value
        if model.round is not None:  # an unnamed project is named by its time
            named = "" if self.session.keeper.is_scratch else f"{model.group}-"
            stem = f"{named}{model.round.name}"
        path, _ = QFileDialog.getSaveFileName(self, "File to write", f"{stem}{SUFFIX}", FILTER)
        if path:
            self.export_file(Path(path))

    def export_file(self, path: Path) -> None:
        """Write the chosen model to a file."""
        path = as_named(path, SUFFIX)
        self._copy(self._one().card.path, path, f"Written to {path.name}.", "")

    def _copy(self, source: Path, target: Path, sentence: str, wanted: str) -> None:
        def copied(file: Path) -> None:
            self.done.show_good(sentence)
            self._wanted = wanted
            self.session.models_changed.emit()

        self._errands.do(
            partial(copy_model, source, target),
            copied,
            lambda error: self.message.show_error(sentence_of(error)),
        )
