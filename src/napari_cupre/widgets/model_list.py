"""The choice of a model by name, or from a file."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QPushButton, QWidget

from napari_cupre.model.zoo import SUFFIX, ZooEntry, list_models


class ModelChooser(QWidget):
    """A list of the models on this computer; `value` is a name or a path."""

    changed = Signal(str)

    def __init__(self, tooltip: str, with_scratch: bool) -> None:
        super().__init__()
        self._with_scratch = with_scratch
        self._files: list[Path] = []
        self.combo = QComboBox()
        self.setToolTip(tooltip)
        self.combo.setToolTip(tooltip)
        self.combo.setAccessibleName("Model")
        self.setFocusProxy(self.combo)
        self.combo.setMinimumContentsLength(10)
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        browse = QPushButton("…")
        browse.setToolTip("Choose a model file (.safetensors)")
        browse.setAccessibleName("Choose a model file")
        browse.setFixedWidth(30)
        browse.clicked.connect(self._browse)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.combo, 1)
        row.addWidget(browse)
        self.combo.currentIndexChanged.connect(lambda _: self.changed.emit(self.value))
        self.refresh()

    @property
    def value(self) -> str:
        """Name or path of the chosen model."""
        return self.combo.currentData() or ""

    @value.setter
    def value(self, name: str) -> None:
        position = self.combo.findData(name)
        if position < 0 and Path(name).is_file():
            self._files.append(Path(name))
            self.refresh()
            position = self.combo.findData(name)
        if position >= 0:
            self.combo.setCurrentIndex(position)

    def refresh(self) -> None:
        """Read the list of models anew, keeping the choice."""
        chosen = self.value
        self.combo.blockSignals(True)
        self.combo.clear()
        for entry in list_models():
            if entry.path is not None or self._with_scratch:
                self.combo.addItem(_title(entry), entry.name)
                self.combo.setItemData(self.combo.count() - 1, entry.description, Qt.ItemDataRole.ToolTipRole)
        for path in self._files:
            self.combo.addItem(path.name, str(path))
        self.combo.setCurrentIndex(max(0, self.combo.findData(chosen)))
        self.combo.blockSignals(False)

    def _browse(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Model file", "", f"napari-cupre models (*{SUFFIX})")
        if path:
            self.value = path


def _title(entry: ZooEntry) -> str:
    if entry.path is None:
        return f"{entry.name} (random weights)"
    return entry.name
