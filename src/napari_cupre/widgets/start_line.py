"""The line below a choice of model that suggests the one that finds most in the current view."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import QLabel, QPushButton

from napari_cupre.widgets.arranging import in_column
from napari_cupre.widgets.controls import DockPart, SessionWidget
from napari_cupre.widgets.model_list import ModelChooser
from napari_cupre.widgets.theme import set_role

TICK_MS = 1500
"""Models are tried once the view has been still for this long, ms."""

LINES = 2

TRYING = "Trying which model finds most here …"
CHOSEN = "Chosen for you: "


class RoomyLabel(QLabel):
    """A label that always has room for `LINES` lines, whatever font napari's settings give it."""

    @property
    def _room(self) -> int:
        return int(self.fontMetrics().size(0, "\n".join("M" * LINES)).height())

    def _with_room(self, hint: QSize) -> QSize:
        return hint.expandedTo(QSize(0, self._room))

    def sizeHint(self) -> QSize:
        """Return the preferred size."""
        return self._with_room(super().sizeHint())

    def minimumSizeHint(self) -> QSize:
        """Return the smallest size."""
        return self._with_room(super().minimumSizeHint())

    def heightForWidth(self, width: int) -> int:
        """Return the height of the wrapped text."""
        return int(max(super().heightForWidth(width), self._room))


class StartLine(DockPart):
    """Says which model finds most here, and chooses it for a first training until the user chooses.

    Hidden without an image, and once a project has a round to start from. Otherwise it has room for two
    lines, so that nothing below moves under the mouse when the text changes.

    Parameters
    ----------
    owner : SessionWidget
        The dock.
    chooser : ModelChooser
        The choice of the model to start from.
    """

    def __init__(self, owner: SessionWidget, chooser: ModelChooser) -> None:
        super().__init__(owner)
        self._trials, self._chooser = self._session.trials, chooser
        self.label = RoomyLabel()
        self.label.setWordWrap(True)
        self.label.setTextFormat(Qt.TextFormat.PlainText)
        self.label.setToolTip(
            "The models included in napari-cupre were tried on the middle of the current view.\n"
            "A cell counts if another model finds it too; from 5 on, your annotated cells decide"
        )
        set_role(self.label, "plain")
        self.label.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.button = QPushButton()
        self.button.clicked.connect(self._take)
        in_column(self.label, self.button, within=self, spacing=4)
        self._ticking = QTimer(self)
        self._ticking.setInterval(TICK_MS)
        self._ticking.timeout.connect(self._tick)
        self._ticking.start()
        chooser.picked.connect(self._picked)
        chooser.changed.connect(self._show)  # before `picked` tells who chose
        owner.listen(self._trials.changed, self._propose)
        owner.listen(self._session.models_changed, self._propose)
        self._propose()

    def _tick(self) -> None:
        """Try the models, but only while the dock is visible."""
        if not self._owner.visibleRegion().isEmpty():
            self._trials.tick()

    def _picked(self) -> None:
        """Stop choosing automatically, because the user chose a model."""
        self._trials.is_chosen = True
        self._show()

    def _take(self) -> None:
        """Accept the proposal for the user."""
        advice = self._trials.advice
        if advice is not None and advice.best:
            self._chooser.value = advice.best
            self._picked()

    def _propose(self, *args: Any) -> None:
        """Choose the best model here, unless the user chose one; a running training keeps its start."""
        trials = self._trials
        best = "" if trials.advice is None or not trials.is_needed else trials.advice.best
        if best and not trials.is_chosen and not self._session.training.status.is_active:
            self._chooser.value = best
        self._show()

    def _show(self, *args: Any) -> None:
        """Show the reason for the suggestion, and offer the model if it is not chosen."""
        trials = self._trials
        advice = trials.advice if trials.is_needed else None
        text, best = "", "" if advice is None else advice.best
        if advice is not None:
            is_ours = bool(best) and best == self._chooser.value and not trials.is_chosen
            text = f"{CHOSEN}{advice.sentence}" if is_ours else advice.sentence
        elif trials.is_needed and trials.job.status.is_active:
            text = TRYING
        self.label.setText(text)
        self.button.setText(f"Start from {best}")
        self.button.setToolTip(f"Start the training from {best}, which finds most here")
        self.button.setVisible(bool(best) and best != self._chooser.value)
        self.setVisible(trials.is_needed)
