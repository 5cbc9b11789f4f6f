"""The Predict widget: find every cell of one image or of all images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.viewer import Viewer
from qtpy.QtWidgets import (
    QCheckBox,
    QRadioButton,
    QSpinBox,
)

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError, InputError
from napari_cupre.events import RunState
from napari_cupre.prediction.limits import is_big
from napari_cupre.widgets.captions import caption
from napari_cupre.widgets.channel_row import ChannelRow
from napari_cupre.widgets.controls import (
    ImageChooser,
    MessageLine,
    choice_row,
    follow_layers,
    heading,
    labelled,
)
from napari_cupre.widgets.finding import GuessSink
from napari_cupre.widgets.help_button import beside_help
from napari_cupre.widgets.job_dock import JobDock
from napari_cupre.widgets.layers import source_path
from napari_cupre.widgets.loading import Item
from napari_cupre.widgets.model_list import ModelChooser
from napari_cupre.widgets.predicting import PredictionPlan, StoredImage
from napari_cupre.widgets.preferences import read_preferences
from napari_cupre.widgets.queue_finding import StoredSink
from napari_cupre.widgets.remembering import remember
from napari_cupre.widgets.results import SlideSink
from napari_cupre.widgets.save_row import SaveRow
from napari_cupre.widgets.scene_note import SceneNote
from napari_cupre.widgets.size_row import WidthBox
from napari_cupre.widgets.stored_images import stored_image

EMPTY = "Open an image first: drag a file into the window, or File > Open Sample."
ResultSink = GuessSink | StoredSink | SlideSink


class PredictWidget(JobDock):
    """The dock that finds cells with a model; they become guesses of each image."""

    title = "Predict"
    needs_engine = True

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.job = self.session.prediction
        self._results: list[ResultSink] = []
        self.preferences = read_preferences()
        self._make_choices()
        self._make_links()
        tooltip = "Guess where the cells are; cells you checked or edited stay"
        self._make_button(self.job, "Find cells", tooltip, self.predict)
        self.saver = SaveRow(self, self._chosen_items)
        self.first = caption(role="plain")
        self.result = MessageLine()
        self._lay_out()
        remember(self, score=self.score, all_images=self.all_images, augment=self.augment)
        remember(self, link_z=self.link_z, link_t=self.link_t)
        self.listen(self.session.models_changed, self._show_models)
        self.listen(self.job.status.events, self._show_status)
        self.listen(self.session.image_changed, self._show_links)
        self.listen(self.session.image_changed, self._forget_messages)
        self.listen(self.session.queue.changed, self._count_images)
        follow_layers(self, self._forget_messages)
        self.model.removed.connect(self.session.models_changed.emit)
        self._show_models()
        self._show_links()
        self._count_images()
        self._show_status()

    def _make_choices(self) -> None:
        self.model = ModelChooser(
            "Model that finds the cells; models you trained are listed as well",
            False,
            self.session.known,
            self.session.rounds,
        )
        self.model.changed.connect(self._model_chosen)
        self.one_image = QRadioButton("this image")
        self.all_images = QRadioButton("all images")
        self.one_image.setToolTip("Find the cells of the image chosen above")
        self.all_images.setToolTip(
            "Find the cells of every image of the project and the window, one after another; "
            "cells you checked or edited stay"
        )
        self.diameter = WidthBox(self)
        self.score = QSpinBox()
        self.score.setRange(0, 95)
        self.score.setSingleStep(5)
        self.score.setSuffix(" %")
        self.score.setSpecialValueText("auto")
        self.score.setToolTip(
            "Minimum certainty; lower finds more cells and more false positives; "
            "auto is 45 % or more, depending on the image"
        )
        self.score.setValue(self.preferences.certainty)

    def _make_links(self) -> None:
        self.augment = QCheckBox("Look twice (up to twice the time)")
        self.augment.setToolTip(
            "Search each image and its mirror image, and average the results: "
            "fewer mistakes where the model is unsure"
        )
        self.link_z = QCheckBox("Join planes into 3-D cells")
        self.link_z.setToolTip("Overlapping cells in neighbouring planes get the same label")
        self.link_t = QCheckBox("Follow cells through time")
        self.link_t.setToolTip("A cell keeps its label through time")

    def _lay_out(self) -> None:
        column = self.column
        column.addLayout(beside_help(self, self.first))
        column.addLayout(labelled("Model", self.model))
        self.image = ImageChooser(self)
        column.addWidget(self.image)
        self.channels = ChannelRow(self)
        column.addWidget(self.channels)
        self.scenes = SceneNote(self)
        column.addWidget(self.scenes)
        column.addLayout(choice_row(self.one_image, self.all_images))
        column.addWidget(heading("How"))
        column.addLayout(labelled("Cell width", self.diameter))
        column.addLayout(labelled("Certainty", self.score))
        column.addWidget(self.augment)
        column.addWidget(self.link_z)
        column.addWidget(self.link_t)
        column.addWidget(self.button)
        column.addWidget(self.bar)
        column.addWidget(self.saver)
        for line in (self.result, self.notice, self.message):
            column.addWidget(line)
        column.addStretch(1)

    # --- actions of the button -------------------------------------------------------------------

    def predict(self) -> None:
        """Find the cells of the chosen image, or of all images.

        Raises
        ------
        InputError
            If there is no image, its axes cannot be read, or a prediction is running.
        """
        self.diameter.interpretText()  # a button may be pressed before the box takes up what was typed
        model = self.model.value
        items = self._chosen_items()
        if not model:
            raise InputError("There is no model yet: train one first, or choose a file with the … button.")
        images, sinks = zip(*(self._aim(item, model) for item in items))
        plan = PredictionPlan(
            model,
            images,
            tuple(_file_of(item, image) for item, image in zip(items, images)),
            self.session.sizes.width,
            self.score.value() / 100 or None,
            self.link_z.isChecked(),
            self.link_t.isChecked(),
            self.preferences.device,
            augment=self.augment.isChecked(),
        )
        self.result.clear()
        self.notice.clear()
        self._results = list(sinks)
        self.job.predict(plan, self._results)

    def _aim(self, item: Item, model: str) -> tuple[CellImage | StoredImage, ResultSink]:
        """Return the image to search for an entry of the queue, and the sink for its results."""
        session, score, layer = self.session, self.score.value() / 100, item.layer
        project = session.keeper.project
        if layer is None and project is not None and item.stem is not None:
            return (
                stored_image(project, item.stem),
                StoredSink(session, item.stem, model, score),
            )
        if layer is None:
            raise InputError(f'"{item.name}" is no longer in a project: open it again.')
        image = session.cell_image(layer)
        if is_big(image):
            return image, SlideSink(session, layer, image, model)
        live = GuessSink(session, layer, image, model, score)
        if item.stem is None:
            return image, live
        return image, StoredSink(session, item.stem, model, score, live)

    def _chosen_items(self) -> list[Item]:
        session = self.session
        items = session.queue.items()
        if self.all_images.isChecked() and items:
            return items
        image = session.image_to("find cells in")
        return [Item(image.name, session.keeper.stem_of(image), image)]

    # --- display ---------------------------------------------------------------------------------

    def _forget_messages(self, event: Any = None) -> None:
        """Clear messages once their subject is gone: a refusal with its cause, a verdict with its layers."""
        if self.job.status.is_active:
            return
        if not self.job.status.error:
            self.message.clear()
        layers = self.session.viewer.layers
        if self._results and not any(result.is_shown_in(layers) for result in self._results):
            self.result.clear()
            self.notice.clear()

    def _show_models(self) -> None:
        self.model.refresh()
        self.model.value = self.session.model
        self.session.model = self.model.value  # another model if its file is gone

    def _show_links(self, event: Any = None) -> None:
        """Offer linking only along axes that the chosen image has."""
        image = self.session.image
        try:
            axes = "" if image is None else self.session.cell_image(image).axes
        except CupreError:  # the image chooser reports this
            axes = ""
        self.link_z.setVisible("Z" in axes)
        self.link_t.setVisible("T" in axes)

    def _count_images(self) -> None:
        count = len(self.session.queue.items())
        self.first.setText("Finds every cell of one image, or of all." if count else EMPTY)
        self.all_images.setText(f"all {count} images" if count > 1 else "all images")
        self._allow()

    def _can_start(self) -> bool:
        return bool(self.session.queue.items())

    def _model_chosen(self, name: str) -> None:
        self.session.model = name

    def _show_status(self, event: Any = None) -> None:
        status = self.job.status
        self._show_job(self.job, "Find cells")
        if status.state is RunState.DONE:
            self.result.show_good(status.message)
        elif status.state is RunState.STOPPED:
            self.result.show_notice("Cancelled. The cells found so far are kept.")


def _file_of(item: Item, image: CellImage | StoredImage) -> Path | None:
    if isinstance(image, StoredImage):
        return image.file
    return None if item.layer is None else source_path(item.layer)
