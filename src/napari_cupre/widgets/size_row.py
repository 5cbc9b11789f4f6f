"""The cell width of the chosen image, as a number to type and a circle to drag."""

from __future__ import annotations

from napari.layers import Image
from qtpy.QtWidgets import QDoubleSpinBox, QPushButton

from napari_cupre.widgets.controls import DockPart, SessionWidget, labelled
from napari_cupre.widgets.looking import check_flat
from napari_cupre.widgets.sizing import LARGEST


class SizeRow(DockPart):
    """The diameter as a number that can be typed, and a button for the circle."""

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__(owner)
        self._sizes = self._session.sizes
        self.number = QDoubleSpinBox()
        self.number.setRange(0, LARGEST)
        self.number.setDecimals(1)
        self.number.setSuffix(" px")
        self.number.setKeyboardTracking(False)
        self.number.setToolTip("Width of a typical cell in px of the image; 0 leaves it to the model")
        self.number.valueChanged.connect(self._typed)
        self.circle = QPushButton("Circle")
        self.circle.setCheckable(True)
        self.circle.setToolTip("Show a circle on the image and drag its edge to the size of a cell")
        self.circle.setAccessibleName("Show the cell width as a circle")
        self.circle.clicked.connect(lambda on: owner.attempt(lambda: self._circle_pressed(on)))
        row = labelled("Cell width", self.number)
        row.addWidget(self.circle)
        self.setLayout(row)
        owner.listen(self._sizes.changed, self.refresh)
        owner.listen(self._session.image_changed, self._image_changed)
        self.refresh()

    def refresh(self) -> None:
        """Show the diameter of the chosen image."""
        image = self._session.image
        said, best = self._sizes.said(image), self._sizes.best(image)
        self.circle.setEnabled(image is not None)
        self.number.blockSignals(True)
        self.number.setSpecialValueText("auto" if best is None else f"auto ({best:.0f} px)")
        self.number.setValue(said or 0)
        self.number.blockSignals(False)
        self.circle.setChecked(self._sizes.is_shown)

    def _image_changed(self, image: Image | None) -> None:
        self._sizes.hide_circle()
        self.refresh()

    def _typed(self, value: float) -> None:
        if self._session.image is not None:
            self._sizes.say(self._session.image, value or None)

    def _circle_pressed(self, is_on: bool) -> None:
        image = self._session.image
        try:
            if is_on and image is not None:
                check_flat(self._session.viewer)
                self._sizes.show_circle(image)
            else:
                self._sizes.hide_circle()
        finally:
            self.refresh()
