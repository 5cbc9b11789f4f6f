"""The Train widget: train a model on annotated images, and watch it learn."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Image
from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QWidget,
)

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError, InputError
from napari_cupre.events import Event, Finished, RunState, Saved, StateChanged, StepDone, Validated
from napari_cupre.model.runs import start_of
from napari_cupre.model.zoo import BUNDLED, free_name, user_path
from napari_cupre.project.cells import State
from napari_cupre.widgets.arranging import in_row
from napari_cupre.widgets.captions import caption
from napari_cupre.widgets.controls import MessageLine, follow_layers, heading, labelled
from napari_cupre.widgets.cross_check_line import CrossCheckLine
from napari_cupre.widgets.curve import CurveView
from napari_cupre.widgets.enough_section import EnoughSection
from napari_cupre.widgets.help_button import beside_help
from napari_cupre.widgets.job_dock import JobDock
from napari_cupre.widgets.model_list import ModelChooser
from napari_cupre.widgets.next_steps import NextSteps
from napari_cupre.widgets.preferences import read_preferences
from napari_cupre.widgets.preview_layer import PreviewLayer
from napari_cupre.widgets.remembering import remember
from napari_cupre.widgets.snapshot import Snapshot, teaching_images
from napari_cupre.widgets.start_line import StartLine
from napari_cupre.widgets.teaching_list import TeachingList
from napari_cupre.widgets.timers import single_timer
from napari_cupre.widgets.training import TrainingPlan, resumable
from napari_cupre.words import counted

BEST = "Train best round"  # among the choices of the session, which a reopened dock knows
DEVICES = ("auto", "cpu", "cuda", "mps")
PREPARE_MS = 50
OTHERS_SHARE = 0.2  # share of the training time spent on images without annotation
OTHERS_TIP = (
    "Images without annotation take part too: the model gets used to how they look, and learns from\n"
    "what it is sure of in them. Off by default: it did not help on average in our tests, but it may here"
)
NONE_TICKED = "No image is ticked: tick those to learn from."
EMPTY = "Open an image and annotate a few cells first: this dock learns from them."


class TrainWidget(JobDock):
    """The dock that starts, shows, stops and resumes a training on annotated images."""

    title = "Train"
    needs_engine = True

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.job = self.session.training
        self.preferences = read_preferences()
        self._is_waiting = False
        self._make_choices()
        self._make_controls()
        self.curve = CurveView(self)
        self.curve.hide()
        self.preview = PreviewLayer(self.session)
        self._preparing = single_timer(self._prepare_preview, PREPARE_MS, parent=self)
        remember(self, minutes=self.minutes, device=self.device, others=self.others, live=self.live)
        remember(self, start=self.start_from)
        self.result = MessageLine()
        self._lay_out()
        follow_layers(self, self._list_images)
        self.listen(self.session.annotations_changed, self._list_images)
        self.listen(self.session.image_changed, self._suggest_name)
        self.listen(self.session.image_changed, self.preview.follow)
        self.listen(self.session.models_changed, self._show_models)
        self.listen(self.session.queue.changed, self._list_images)
        self.listen(self.session.cells_changed, self._cells_changed)
        self.start_from.removed.connect(self.session.models_changed.emit)
        for signal in (self.session.annotations_changed, self.session.image_changed):
            self.listen(signal, self._forget_refusal)
        self.listen(self.job.status.events, self._show_status)
        self.listen(self.job.status.events.state, self._show_resumable)
        self.listen(self.job.received, self._show_event)
        self.listen(self.job.previewed, self.preview.show)
        self._list_images()
        self._suggest_name()
        self._show_models()
        self._show_status()
        if self.job.curve.steps or self.job.status.is_active:  # the widget was closed and reopened
            self._show_curve()

    def _make_choices(self) -> None:
        self.start_from = ModelChooser(
            "Model to start from; it is never changed", True, self.session.known, self.session.rounds
        )
        self.start_from.value = BUNDLED
        self.minutes = QDoubleSpinBox()
        self.minutes.setRange(0.1, 24 * 60)
        self.minutes.setValue(self.preferences.minutes)
        self.minutes.setDecimals(1)
        self.minutes.setSuffix(" min")
        self.minutes.setToolTip("Training time; two minutes are enough for a first look")
        self.minutes.valueChanged.connect(lambda value: self._show_budget())
        self.budget = QLabel()
        self.device = QComboBox()
        self.device.addItems(DEVICES)
        self.device.setCurrentText(self.preferences.device)
        self.device.setToolTip("Device: auto uses the graphics card if there is one")
        self.device.setAccessibleName("Device")
        self.device.currentTextChanged.connect(lambda text: self._show_budget())
        self.images = TeachingList(self.session)
        self.images.itemChanged.connect(lambda item: self._show_use())
        self.name = QLineEdit()
        self.name.setToolTip("Name of the new model in Predict; no other model is overwritten")
        self.use = caption()
        self.others = QCheckBox()
        self.others.setAccessibleName("Learn from images without annotation")
        self.others.toggled.connect(lambda on: self._show_others())

    def _make_controls(self) -> None:
        self._make_button(self.job, "Train", "Train on the ticked images", self.train)
        self.resume_button = QPushButton("Resume")
        self.resume_button.setMinimumHeight(32)
        self.resume_button.setEnabled(False)
        self.resume_button.clicked.connect(lambda: self.attempt(self.resume))
        self.live = QCheckBox("Live preview on the image")
        self.live.setToolTip(
            "Show every few seconds what the model finds in the current view; slows training a little"
        )
        self.live.toggled.connect(self._switch_preview)
        # the hand is in the dock now; soon after *Train* it may draw
        self.live.clicked.connect(lambda on: self._preparing.start() if on else self._preparing.stop())
        self.next_steps = NextSteps(self)
        self.cross_check = CrossCheckLine(self)

    def _lay_out(self) -> None:
        column = self.column
        column.addLayout(beside_help(self, heading("Learn from")))
        column.addWidget(self.images)
        column.addWidget(self.use)
        column.addWidget(self.others)
        column.addWidget(heading("How"))
        column.addLayout(labelled("Start from", self.start_from))
        self.start_line = StartLine(self, self.start_from)
        column.addWidget(self.start_line)
        when = labelled("Time", self.minutes)  # one row for both leaves room for the curve
        when.addLayout(in_row(QLabel("on"), self.device))
        column.addLayout(when)
        self.naming = QWidget()
        self.naming.setLayout(labelled("Save as", self.name))
        column.addWidget(self.naming)
        column.addWidget(self.budget)
        buttons = QHBoxLayout()
        buttons.addWidget(self.button, 2)
        buttons.addWidget(self.resume_button, 1)
        column.addLayout(buttons)
        column.addWidget(self.bar)
        # above the curve, so that the verdict is visible without scrolling
        for line in (self.message, self.result, self.next_steps, self.cross_check):
            column.addWidget(line)
        column.addWidget(self.live)
        column.addWidget(self.curve)
        column.addWidget(self.notice)
        self.enough = EnoughSection(self)
        column.addWidget(self.enough)
        column.addStretch(1)

    # --- actions of the buttons ------------------------------------------------------------------

    def train(self) -> None:
        """Start a training of the ticked images.

        Raises
        ------
        InputError
            If no annotated image is ticked, or the annotation does not fit.
        """
        if not (self.images.layers() or self.images.stems()):
            raise InputError("There is no annotated image to learn from: annotate a few cells first.")
        if not self._is_waiting:
            self._is_waiting = True
            # images without a layer are read from the project, so everything must be saved first
            self.session.keeper.when_saved(lambda: self.attempt(self._train_now))

    def _train_now(self) -> None:
        self._is_waiting = False
        layers, rounds = self.images.layers(), self.session.rounds
        out = rounds.next_out()
        if out is None:
            first = layers[0].name if layers else self.images.stems()[0]
            name = free_name(self.name.text() or first)
            self.name.setText(name)
            out = user_path(name)
        self._begin(self._plan(self.start_from.value, out))

    def _plan(self, start: str, out: Path, resume: bool = False) -> TrainingPlan:
        project, stems = self.session.keeper.project, self.images.stems()
        return TrainingPlan(
            start,
            out,
            self._snapshots(),
            self.minutes.value(),
            self.device.currentText(),
            resume,
            project.folder if project is not None else None,
            stems,
            () if resume else self._others(),
        )

    def _others(self) -> tuple[CellImage | str, ...]:
        """Return the images without annotation to learn from."""
        items = self.session.queue.not_annotated() if self.others.isChecked() else []
        read: list[CellImage | str] = []
        for item in items:
            with suppress(CupreError):  # its axes are unknown, so it is left out
                read += [item.stem or "" if item.layer is None else self.session.cell_image(item.layer)]
        return tuple(read)

    def _snapshots(self) -> tuple[Snapshot, ...]:
        session = self.session
        return tuple(
            Snapshot.of(session.make_cells(layer), session.annotation(layer).background)
            for layer in self.images.layers()
        )

    def resume(self) -> None:
        """Continue the last training that was stopped or interrupted.

        Raises
        ------
        InputError
            If there is none.
        """
        out = resumable(self.job.plan, self.session.rounds.folder)
        if out is None:
            raise InputError("There is no training to resume: start one with Train.")
        self._begin(self._plan("", out, resume=True))

    def _begin(self, plan: TrainingPlan) -> None:
        self.result.clear()
        self.notice.clear()
        self.next_steps.clear()
        self.job.train(plan)
        self._show_curve()
        self._preparing.start()

    def _prepare_preview(self) -> None:
        """Make the layer of the preview, but not during a stroke, nor while a thread reads the annotation."""
        if not self.preview.is_on:
            return
        is_reading = self.job.status.is_active and not self.job.is_in_engine
        if is_reading or QApplication.mouseButtons() != Qt.MouseButton.NoButton:
            self._preparing.start()
        else:
            self.preview.prepare()

    def _switch_preview(self, on: bool) -> None:
        self.preview.is_on = on
        if on:
            if self.job.status.is_active:
                self._prepare_preview()
            self.preview.ask()
        else:
            self.preview.remove()

    # --- display ---------------------------------------------------------------------------------

    def _can_start(self) -> bool:
        return bool(self.images.chosen())

    def _list_images(self, event: Any = None) -> None:
        self.images.refresh()
        self._show_use()

    def _cells_changed(self, *args: Any) -> None:
        listed = {value for value in self.images.listed() if isinstance(value, Image)}
        if listed != set(teaching_images(self.session)):
            self._list_images()
        else:
            self._show_use()

    def _show_use(self, event: Any = None) -> None:
        """Show how much the ticked images contain to learn from."""
        cells = regions = images = 0
        for layer in self.images.layers():
            found = self.session.cells_of(layer)
            if found is not None:
                taught = found.cells.count(State.CHECKED, State.EDITED)
                cells, regions = cells + taught, regions + len(found.cells.regions)
                images += bool(taught or found.cells.regions)
        for entry in self.session.queue.taught_elsewhere():
            if entry.image.stem in self.images.stems():
                cells, images = cells + entry.checked, images + 1
                regions += len(entry.image.regions)
        text = _use_text(cells, images, regions) if self.session.queue.items() else EMPTY
        self.use.setText(text if self.images.chosen() or not self.images.listed() else NONE_TICKED)
        self._allow()
        self._show_budget()

    def _show_others(self) -> None:
        """Show how many images without annotation could take part, and how much time they would take."""
        count = len(self.session.queue.not_annotated())
        self.others.setVisible(count > 0 and bool(self.images.listed()))
        seconds = round(60 * self.minutes.value() * OTHERS_SHARE)
        self.others.setText(f"Learn from {counted(count, 'other image')} too ({seconds} s)")
        self.others.setToolTip(f"{OTHERS_TIP}. They take about {seconds} s of the training time.")

    def _show_budget(self) -> None:
        """Show the number of steps in the chosen time, once a training on this device has measured it."""
        self._show_others()
        pace = self.job.pace.get(self.device.currentText())
        self.budget.setVisible(pace is not None)
        if pace is not None:
            minutes = self.minutes.value()
            self.budget.setText(f"{minutes:g} min: about {max(1, round(pace * minutes))} steps")

    def _show_models(self) -> None:
        self.start_from.refresh()
        rounds, choices = self.session.rounds, self.session.choices
        start, before = rounds.start(), choices.get(BEST) or ""
        choices[BEST] = start
        # a choice by the user stays until there is another best round
        if (start or "") not in (before, str(rounds.where_now(before))):
            self.start_from.value = start or BUNDLED
        self._show_resumable()
        self.naming.setVisible(self.session.keeper.project is None)

    def _suggest_name(self, event: Any = None) -> None:
        """Suggest a free name for a model that is no round; the folder of models may be on a slow drive."""
        image = self.session.image
        if image is not None and not self.job.status.is_active and self.session.keeper.project is None:
            self._errands.do(partial(free_name, image.name), self.name.setText, lambda error: None)

    def _show_status(self, event: Any = None) -> None:
        status = self.job.status
        if status.state.is_over:
            self.preview.settle()
            self.curve.setVisible(bool(self.job.curve.steps))  # a refused training has none
        doing = _bar_text(status.state, status.remaining, status.message)
        self._show_job(self.job, "Train", "Stop", doing)
        if status.state in (RunState.DONE, RunState.STOPPED) and status.message:
            show = {"better": self.result.show_good, "worse": self.result.show_error}
            show.get(self.job.outcome, self.result.show_notice)(status.message)

    def _forget_refusal(self, event: Any = None) -> None:
        """Clear a refusal, which may no longer apply; keep the reason of a failed training."""
        if not self.job.status.error:
            self.message.clear()

    def _show_resumable(self, event: Any = None) -> None:
        """Look in the background for a training to resume."""
        if self.job.status.is_active:
            self._offer_resuming(None)
            return
        work = partial(resumable, self.job.plan, self.session.rounds.folder)
        self._errands.do(work, self._offer_resuming, lambda error: self._offer_resuming(None))

    def _offer_resuming(self, found: Path | None) -> None:
        out = None if self.job.status.is_active else found
        self.resume_button.setEnabled(out is not None)
        self.resume_button.setToolTip(f"Continue “{out.stem}”" if out else "Continue a stopped training")

    def _show_event(self, event: Event) -> None:
        if isinstance(event, StepDone | Validated):
            self._show_curve()
            self.preview.ask()
        elif isinstance(event, StateChanged) and event.state is RunState.RUNNING:
            self.preview.ask()  # with the first step, so that the first preview need not wait for the next
            if self.job.plan is not None and not self.job.plan.resume:
                self.session.rounds.settle(self.job.plan.settled)
        elif isinstance(event, Saved) and event.kind == "final":
            plan = self.job.plan
            if plan is not None and not self.session.rounds.is_round(plan.out):
                self.session.model_added(plan.out.stem)
        elif isinstance(event, Finished):
            self._finished(event)

    def _finished(self, event: Finished) -> None:
        """Add the round to the project, and offer the next steps."""
        plan, rounds = self.job.plan, self.session.rounds
        if plan is None:
            return
        kept = event.result.get("best_step", 1) > 0 and event.result.get("step", 1) > 0
        verdict = {
            "better": kept and self.job.outcome != "worse",
            "words": event.verdict,
            "decision": event.result.get("decision"),
            "steps": event.result.get("step"),
        }
        # a resumed plan does not contain the start, and two models may have the name that the engine reports
        start = plan.start or _start_of(plan.out) or event.result.get("parent") or BUNDLED
        entered = rounds.enter(plan.out, start, verdict)
        if entered is not None:
            self.session.model_added(str(plan.out))
            self._show_models()
        before = rounds.name_of(plan.start)
        self.next_steps.offer(before if before != plan.start else "")

    def _show_curve(self) -> None:
        self.curve.show()
        self.curve.show_curve(self.job.curve)


def _start_of(out: Path) -> str:
    """Return the model that a training started from; "" if its folder does not say."""
    try:
        return start_of(out)
    except InputError:
        return ""


def _use_text(cells: int, images: int, regions: int) -> str:
    """Say how much is learned from: "Uses 46 cells in 3 images, 2 regions"."""
    if not (cells or regions):
        return "Nothing is annotated yet: find cells in Annotate and accept some, or draw a few."
    text = f"Uses {counted(cells, 'cell')} in {counted(images, 'image')}"
    return text + (f", {counted(regions, 'region')}" if regions else "")


def _bar_text(state: RunState, remaining: float | None, message: str) -> str:
    if state is RunState.RUNNING and remaining is not None:
        return f"{int(remaining) // 60}:{int(remaining) % 60:02d} left"
    return message
