"""The control to choose a model by name or from a file."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QPushButton, QWidget

from napari_cupre.errors import CupreError
from napari_cupre.model.runs import run_path, size_of
from napari_cupre.model.zoo import BUNDLED, SCRATCH, SUFFIX, ZooEntry, remove_model, user_path
from napari_cupre.widgets.arranging import in_column, in_row
from napari_cupre.widgets.asking import QuestionLine
from napari_cupre.widgets.known_models import KnownModels
from napari_cupre.widgets.model_watch import gone_words
from napari_cupre.widgets.training_rounds import TrainingRounds

BUTTON_WIDTH = 24


class ModelChooser(QWidget):
    """A list of the models on this computer; `value` is a name or a path.

    Parameters
    ----------
    tooltip : str
        Explains what the chosen model is used for.
    with_scratch : bool
        Also offer random weights.
    known : KnownModels
        The models on this computer.
    rounds : TrainingRounds or None, optional
        Rounds of the project, listed first.
    """

    changed = Signal(str)
    removed = Signal()
    picked = Signal()
    """Emitted when a person, not a program, chose a model."""

    def __init__(
        self, tooltip: str, with_scratch: bool, known: KnownModels, rounds: TrainingRounds | None = None
    ) -> None:
        super().__init__()
        self._with_scratch, self._known, self._rounds = with_scratch, known, rounds
        self._own: set[str] = set()
        self._files: list[Path] = []
        self.combo = QComboBox()
        self.setToolTip(tooltip)
        self.combo.setToolTip(tooltip)
        self.combo.setAccessibleName("Model")
        self.setFocusProxy(self.combo)
        self.combo.setMinimumContentsLength(6)
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        browse = QPushButton("…")
        browse.setToolTip("Choose a model file (.safetensors)")
        browse.setAccessibleName("Choose a model file")
        browse.setFixedWidth(BUTTON_WIDTH)
        browse.clicked.connect(self._browse)
        self.delete_button = QPushButton("×")
        self.delete_button.setToolTip("Delete your model and its training data")
        self.delete_button.setAccessibleName("Delete the chosen model")
        self.delete_button.setFixedWidth(BUTTON_WIDTH)
        self.delete_button.clicked.connect(self._ask_to_delete)
        self.question = QuestionLine()
        row = in_row(self.combo, browse, self.delete_button, spacing=4, wide=self.combo)
        in_column(row, self.question, within=self)
        self.combo.currentIndexChanged.connect(lambda _: self._choice_changed())
        self.combo.currentIndexChanged.connect(lambda _: self.changed.emit(self.value))
        self.combo.activated.connect(lambda _: self.picked.emit())
        self.refresh()

    @property
    def value(self) -> str:
        """Return the name or path of the chosen model."""
        return self.combo.currentData() or ""

    @value.setter
    def value(self, name: str) -> None:
        position = self.combo.findData(name)
        if position < 0 and Path(name).is_file():
            self._files.append(Path(name))
            self.refresh()
            position = self.combo.findData(name)
        if position < 0 and self._is_awaited(name):
            self.combo.addItem(name, name)
            position = self.combo.count() - 1
        if position >= 0:
            self.combo.setCurrentIndex(position)

    def choose(self, name: str) -> None:
        """Choose a model by name or path; do nothing if there is no such model."""
        self.value = name

    def refresh(self) -> None:
        """Read the list of models again, keeping the choice."""
        chosen = self.value
        self.combo.blockSignals(True)
        self.combo.clear()
        rounds = [] if self._rounds is None else self._rounds.entries()
        for each in rounds:
            self.combo.addItem(each.title, each.value)
            self.combo.setItemData(self.combo.count() - 1, each.tooltip, Qt.ItemDataRole.ToolTipRole)
        entries = self._known.entries()
        self._own = {entry.name for entry in entries if entry.path == user_path(entry.name)}
        for entry in entries:
            if entry.path is not None or self._with_scratch:
                self.combo.addItem(_title(entry), entry.name)
                self.combo.setItemData(self.combo.count() - 1, entry.description, Qt.ItemDataRole.ToolTipRole)
        for path in self._files:
            if path.is_file() and str(path) not in {each.value for each in rounds}:
                self.combo.addItem(path.name, str(path))
        position = self._found_again(chosen)
        self.combo.setCurrentIndex(max(0, position))
        self.combo.blockSignals(False)
        self._show_deletable()  # a message stays until the user has read it or chosen another model
        if chosen and position < 0 and chosen not in self._known.deleted:
            self.say(gone_words(chosen, self.combo.currentText()))

    def _found_again(self, chosen: str) -> int:
        """Return the row of the chosen model, even if its project was moved or closed; -1 if it is gone."""
        position, path = self.combo.findData(chosen), Path(chosen)
        if position < 0 and self._is_awaited(chosen):
            self.combo.addItem(chosen, chosen)
            return self.combo.count() - 1
        moved = None if self._rounds is None else self._rounds.where_now(chosen)
        if position < 0 and moved is not None and self.combo.findData(str(moved)) >= 0:
            return self.combo.findData(str(moved))
        if position < 0 and path.suffix == SUFFIX and path.is_file():
            self._files.append(path)
            self.combo.addItem(path.name, chosen)
            return self.combo.count() - 1
        return position

    def _is_awaited(self, name: str) -> bool:
        """Whether a name may be that of a user's model, and the user's folder has not answered yet."""
        return bool(name) and Path(name).name == name and not self._known.is_complete

    def say(self, sentence: str) -> None:
        """Show a message below the list until it is dismissed or another model is chosen."""
        self.question.ask(sentence, [("OK", "Dismiss this message", self.question.clear)])

    def _choice_changed(self) -> None:
        self.question.clear()
        self._show_deletable()

    def _show_deletable(self) -> None:
        self.delete_button.setEnabled(self.value in self._own - {BUNDLED, SCRATCH})

    def _ask_to_delete(self) -> None:
        name = self.value
        path = user_path(name)
        model, run = (size_of(each) / 1e6 for each in (path, run_path(path)))
        trained = f", and {run:.0f} MB for Resume" if run >= 1 else ""
        keep = ("Keep", "Delete nothing", self.question.clear)
        self.question.ask(
            f"Delete “{name}” ({model:.0f} MB{trained})? This cannot be undone.",
            [("Delete", "Delete the model and its training data", lambda: self._delete(name)), keep],
        )

    def _delete(self, name: str) -> None:
        try:
            remove_model(name)
        except CupreError as error:
            self.say(str(error))
            return
        self.refresh()
        self.question.clear()
        self.removed.emit()

    def _browse(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Model file", "", f"napari-cupre models (*{SUFFIX})")
        if path:
            self.value = path
            self.picked.emit()


def _title(entry: ZooEntry) -> str:
    if entry.path is None:
        return f"{entry.name} (random weights)"
    return entry.name
