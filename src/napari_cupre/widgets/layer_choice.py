"""The control to choose one of the viewer's layers."""

from __future__ import annotations

from napari.layers import Layer
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox

from napari_cupre.widgets.session import Session

NOTHING = "-----"


class LayerChoice(QComboBox):
    """A list of the viewer's layers of one kind.

    Parameters
    ----------
    session : Session
        Of the viewer.
    kind : type[Layer]
        The class of the layers.
    tooltip : str
        Explains what the chosen layer is used for.
    is_optional : bool, optional
        Whether "no layer" is a choice, too.
    """

    changed = Signal(object)
    """Emits the layer, or None, that a person or a script has chosen."""

    def __init__(self, session: Session, kind: type[Layer], tooltip: str, is_optional: bool = False) -> None:
        super().__init__()
        self._session, self._kind, self._is_optional = session, kind, is_optional
        self._rows: list[Layer | None] = []
        self.setToolTip(tooltip)
        # a layer with a long name must not push the dock wider than the window
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(7)
        self.currentIndexChanged.connect(lambda row: self.changed.emit(self.value))
        self.refresh()

    @property
    def choices(self) -> list[Layer]:
        """Return the listed layers."""
        return [layer for layer in self._rows if layer is not None]

    @property
    def value(self) -> Layer | None:
        """Return the chosen layer."""
        row = self.currentIndex()
        return self._rows[row] if 0 <= row < len(self._rows) else None

    @value.setter
    def value(self, layer: Layer | None) -> None:
        if layer in self._rows:
            self.setCurrentIndex(self._rows.index(layer))

    def display(self, layer: Layer | None) -> None:
        """Show a layer as the chosen one, without `changed`; do nothing if it is not in the list."""
        with QSignalBlocker(self):
            self.value = layer

    def refresh(self) -> None:
        """Read the viewer's layers again, keeping the choice, without `changed`."""
        chosen = self.value
        layers = [layer for layer in self._session.viewer.layers if isinstance(layer, self._kind)]
        self._rows = [None, *layers] if self._is_optional else [*layers]
        with QSignalBlocker(self):
            self.clear()
            self.addItems([NOTHING if layer is None else layer.name for layer in self._rows])
            self.value = chosen
