"""Controls for the cell width: a number that is the same in every dock, and a circle to drag."""

from __future__ import annotations

from napari.layers import Image
from qtpy.QtWidgets import QDoubleSpinBox, QPushButton

from napari_cupre.widgets.controls import DockPart, SessionWidget, labelled
from napari_cupre.widgets.looking import check_flat
from napari_cupre.widgets.sizing import LARGEST


class WidthBox(QDoubleSpinBox):
    """The cell width in px of the chosen image; a value typed in one dock appears in the others.

    Parameters
    ----------
    owner : SessionWidget
        The dock.
    tells_best : bool, optional
        If no width is set, show the one that the brush and the circle use.
    """

    def __init__(self, owner: SessionWidget, *, tells_best: bool = False) -> None:
        super().__init__()
        self._session, self._tells_best = owner.session, tells_best
        self.setRange(0, LARGEST)
        self.setDecimals(1)
        self.setSuffix(" px")
        self.setKeyboardTracking(False)
        self.setToolTip(
            "Typical cell width in px, the same in Annotate and Predict and for all images; "
            "auto uses the model's, unless the image clearly shows another size"
        )
        self.valueChanged.connect(self._typed)
        for signal in (self._session.sizes.changed, self._session.image_changed, self._session.queue.changed):
            owner.listen(signal, self.refresh)
        self.refresh()

    def refresh(self, *args: object) -> None:
        """Show the width for the chosen image."""
        image, sizes = self._session.image, self._session.sizes
        said, best = sizes.said(image), sizes.best(image) if self._tells_best else None
        self.blockSignals(True)
        self.setSpecialValueText("auto" if best is None else f"auto ({best:.0f} px)")
        self.setValue(said or 0)
        self.blockSignals(False)

    def _typed(self, value: float) -> None:
        self._session.sizes.say(self._session.image, value or None)
        self.refresh()  # the value may have been clipped to the allowed range


class SizeRow(DockPart):
    """A field for the width, and a button for the circle."""

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__(owner)
        self._sizes = self._session.sizes
        self.number = WidthBox(owner, tells_best=True)
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
        """Show whether the circle is on, and whether it is possible."""
        self.circle.setEnabled(self._session.image is not None)
        self.circle.setChecked(self._sizes.is_shown)

    def _image_changed(self, image: Image | None) -> None:
        self._sizes.hide_circle()
        self.refresh()

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
