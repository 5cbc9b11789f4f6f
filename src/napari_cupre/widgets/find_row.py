"""The row to find cells in the current image and to set the certainty of visible guesses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari.layers import Image
from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSlider

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.data.labels import USUAL_SCORE
from napari_cupre.errors import CupreError, InputError
from napari_cupre.events import RunState
from napari_cupre.prediction.limits import is_big
from napari_cupre.project.boxes import Box
from napari_cupre.project.gestures import LEAST
from napari_cupre.widgets.annotation_layers import refusal
from napari_cupre.widgets.arranging import in_column
from napari_cupre.widgets.cells_layer import CellsLayer
from napari_cupre.widgets.controls import (
    DockPart,
    JobBar,
    SessionWidget,
    job_words,
    labelled,
    primary_button,
)
from napari_cupre.widgets.finding import GuessSink
from napari_cupre.widgets.layers import source_path
from napari_cupre.widgets.looking import seen_box
from napari_cupre.widgets.predicting import PredictionPlan
from napari_cupre.widgets.preferences import read_preferences
from napari_cupre.widgets.prompts import LARGE, grown
from napari_cupre.widgets.remembering import remember

FOUND_FROM = 0.2
"""Minimum certainty of a guess; the slider shows and hides guesses above it."""


class FindRow(DockPart):
    """A button that renews the guesses of the current plane, and a slider that hides uncertain ones."""

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__(owner)
        self._job = self._session.prediction
        self._is_mine = False
        self.button = primary_button("Find cells", "Guess where the cells are; your own cells stay")
        self.button.clicked.connect(lambda: owner.start_or_stop(self._job, self.find_cells))
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(round(100 * LEAST), 100)
        self.slider.setPageStep(5)
        self.slider.setValue(read_preferences().certainty or round(100 * USUAL_SCORE))
        self.slider.setToolTip("Hide guesses the model is less sure of; this does not search again")
        remember(owner, certainty=self.slider)
        self.slider.valueChanged.connect(self._certainty_chosen)
        self.figure = QLabel()
        self.figure.setMinimumWidth(44)
        self.bar = JobBar()
        row = labelled("Certainty", self.slider)
        row.addWidget(self.figure)
        in_column(self.button, self.bar, row, within=self)
        owner.listen(self._job.status.events, self._show_status)
        owner.listen(self._session.image_changed, self.refresh)
        owner.listen(self._session.cells_changed, self.refresh)
        self.refresh()
        self._show_status()

    # --- finding ---------------------------------------------------------------------------------

    def find_cells(self) -> None:
        """Renew the guesses of the current plane; on a slide, only those in view.

        Raises
        ------
        InputError
            There is no image or no model, too much of a slide is in view, or a prediction is running.
        """
        session = self._session
        image = session.image_to("find cells in")
        if not session.model:
            raise InputError("There is no model yet: train one first, or choose a file in Predict.")
        index = session.plane_on_show(image)
        whole = session.cell_image(image)
        reading = plane_of(whole, index)
        window = None
        if is_big(reading):
            session.make_cells(image)  # raises if the image is too large
            window = _view(session.viewer, image, whole)
            reading = cut_out(reading, window)
        file = source_path(image) if reading is whole else None
        width, device = session.sizes.width, read_preferences().device
        plan = PredictionPlan(session.model, (reading,), (file,), width, FOUND_FROM, device=device)
        certainty = self.slider.value() / 100
        sink = GuessSink(session, image, whole, session.model, certainty, index, window)
        self._is_mine = True
        self._job.predict(plan, [sink])

    def _certainty_chosen(self, value: int) -> None:
        self.figure.setText(f"{value} %")
        cells = self._cells()
        if cells is not None and round(cells.certainty * 100) != value:
            cells.certainty = value / 100

    # --- display ---------------------------------------------------------------------------------

    def _cells(self) -> CellsLayer | None:
        image: Image | None = self._session.image
        return None if image is None else self._session.cells_of(image)

    def refresh(self, *args: Any) -> None:
        """Show the certainty of the chosen image; keep the current value if nobody has set one."""
        cells = self._cells()
        if cells is not None and cells.cells.rows and cells.certainty:
            self.slider.setValue(round(cells.certainty * 100))
        self.figure.setText(f"{self.slider.value()} %")
        self._allow()
        if not self._job.status.is_active:
            self.button.setText(self._offer())

    def _offer(self) -> str:
        """Set the text of the button; on a slide it searches only the view."""
        image = self._session.image
        try:
            is_slide = image is not None and is_big(
                plane_of(self._session.cell_image(image), self._session.plane_on_show(image))
            )
        except CupreError:  # the axes are unknown
            is_slide = False
        return "Find cells in view" if is_slide else "Find cells"

    def _allow(self) -> None:
        """Offer to find cells, or to stop, only where that is possible."""
        status, image = self._job.status, self._session.image
        can_start = image is not None and not refusal(self._session, image)
        self.button.setEnabled((status.is_active or can_start) and status.state is not RunState.STOPPING)

    def _show_status(self, event: Any = None) -> None:
        status = self._job.status
        self.button.setText(job_words(status, self._offer()))
        self._allow()
        self.bar.follow(status, status.message, status.is_active)
        if self._is_mine and status.state.is_over:
            self._is_mine = False
            if status.error:
                self._owner.message.show_error(status.error, status.details)


def _view(viewer: Viewer, layer: Image, image: CellImage) -> Box:
    """Return the rows and columns of a slide to search: the view plus a margin.

    Raises
    ------
    InputError
        The view is larger than what can be searched at once.
    """
    shown = seen_box(viewer, layer, image, max(image.plane_shape))
    if max(shown[2] - shown[0], shown[3] - shown[1]) > LARGE:
        raise InputError(
            f'"{layer.name}" is too large to be searched whole here: zoom in until {LARGE:,} px or fewer '
            "can be seen, or find all of its cells in Predict."
        )
    top, left, bottom, right = grown(shown, image.plane_shape)
    return (top, bottom), (left, right)


def cut_out(image: CellImage, window: Box) -> CellImage:
    """Return some rows and columns of an image as an image of its own, without reading pixels."""
    sides = {axis: slice(*side) for axis, side in zip("YX", window)}
    return replace(image, data=image.data[tuple(sides.get(axis, slice(None)) for axis in image.axes)])


def plane_of(image: CellImage, index: PlaneIndex) -> CellImage:
    """Return one plane of a stack as an image of its own; the image itself if it has only one plane."""
    data, axes = image.data, image.axes
    for axis, at in index.items():
        data = data[(slice(None),) * axes.index(axis) + (at,)]
        axes = axes.replace(axis, "")
    return replace(image, data=data, axes=axes) if index else image
