"""The control to choose what to compare: a round, a model, or a layer of cells."""

from __future__ import annotations

from pathlib import Path

from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox

from napari_cupre.errors import InputError
from napari_cupre.project.document import Round
from napari_cupre.widgets.comparing import CHECKED, Rival
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.taking_over import fitting_labels

LAYER = "layer:"


class RivalChooser(QComboBox):
    """A list of the project's rounds, the models on this computer and the window's Labels layers.

    Parameters
    ----------
    session : Session
        Of the viewer.
    tooltip : str
        Explains the choice.
    with_checked : bool, optional
        Also offer the checked cells, as the first entry.
    """

    def __init__(self, session: Session, tooltip: str, with_checked: bool = False) -> None:
        super().__init__()
        self._session, self._with_checked = session, with_checked
        self.setToolTip(tooltip)
        self.setMinimumContentsLength(8)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)

    @property
    def value(self) -> str:
        """Return the choice; "" for the checked cells, or for no choice."""
        return self.currentData() or ""

    @property
    def is_layer(self) -> bool:
        """Whether a layer is chosen; a layer belongs to one image only."""
        return self.value.startswith(LAYER)

    def choose(self, value: str) -> None:
        """Choose a model or layer by its `value`; do nothing if it is not in the list."""
        place = self.findData(value)
        if place >= 0:
            self.setCurrentIndex(place)

    def refresh(self, left_out: set[str]) -> None:
        """Read the lists again, keeping the choice.

        Parameters
        ----------
        left_out : set of str
            Names of layers to leave out.
        """
        chosen = self.value
        self.blockSignals(True)
        self.clear()
        if self._with_checked:
            self._add(CHECKED, "", "Judge by the cells that you checked or edited, and by your regions")
        for entry in self._session.rounds.entries():
            self._add(entry.title, entry.value, entry.tooltip)
        for model in self._session.known.entries():
            if model.path is not None:
                self._add(model.name, model.name, model.description)
        for layer in self._session.viewer.layers:
            if isinstance(layer, Labels) and not layer.multiscale and layer.name not in left_out:
                self._add(f"layer {layer.name}", LAYER + layer.name, "Cells of a layer of this window")
        self.setCurrentIndex(max(0, self.findData(chosen)))
        self.blockSignals(False)

    def rival(self) -> Rival | None:
        """Return the choice, ready to be compared; None for the checked cells.

        Raises
        ------
        InputError
            Nothing is chosen, or the layer does not fit the current image.
        """
        value = self.value
        if self.is_layer:
            name, image = value.removeprefix(LAYER), self._session.image
            layer = next((x for x in self._session.viewer.layers if x.name == name), None)
            if layer is None or image is None:
                raise InputError(f'The layer "{name}" or its image is gone: choose another.')
            labels = fitting_labels(layer, self._session.cell_image(image)).copy()
            return Rival(name, labels=labels)
        if not value:
            if self._with_checked:
                return None
            raise InputError("There is no model to compare yet: train one first.")
        found = self._round_of(value)
        learned = "" if found is None else found.time
        return Rival(self._session.rounds.name_of(value), value, learned=learned)

    def _round_of(self, value: str) -> Round | None:
        project = self._session.keeper.project
        if project is None or not self._session.rounds.is_round(Path(value)):
            return None
        return next((x for x in project.document.rounds if x.name == Path(value).stem), None)

    def _add(self, title: str, value: str, tooltip: str) -> None:
        self.addItem(title, value)
        self.setItemData(self.count() - 1, tooltip, Qt.ItemDataRole.ToolTipRole)
