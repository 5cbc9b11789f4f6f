"""Is it enough? A sentence and a learning curve, at the end of the Train dock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_cupre.evaluation.enough import Enough
from napari_cupre.widgets.controls import SessionWidget
from napari_cupre.widgets.theme import palette_of, set_role
from napari_cupre.words import counted

if TYPE_CHECKING:
    from pyqtgraph import PlotWidget

HEIGHT = 130
NOTHING = "Not measured yet: train a model first. The rest is done while the machine is idle."


class EnoughSection(QWidget):
    """Closed at first; a press on its title opens it.

    Parameters
    ----------
    owner : SessionWidget
        The dock.
    """

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__()
        self._viewer, self._measuring = owner.session.viewer, owner.session.idling
        self.button = QPushButton("Is it enough?")
        self.button.setCheckable(True)
        self.button.setToolTip("Show whether more annotated cells would help")
        self.button.toggled.connect(lambda on: self.refresh())
        self.sentence = QLabel()
        self.sentence.setWordWrap(True)
        self.sentence.setTextFormat(Qt.TextFormat.PlainText)
        self.state = QLabel()
        self.state.setWordWrap(True)
        set_role(self.state, "plain")
        self.idle = QCheckBox("Measure when the machine is idle")
        self.idle.setToolTip(
            "Train on parts of your cells while nobody trains, finds or annotates; low priority"
        )
        self.idle.setChecked(self._measuring.is_wanted)
        self.idle.toggled.connect(self._measuring.want)
        self._plot: PlotWidget | None = None
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(4)
        for widget in (self.button, self.sentence, self.state, self.idle):
            self._column.addWidget(widget)
        owner.listen(self._measuring.changed, self.refresh)
        owner.listen(self._measuring.job.status.events, self.refresh)
        owner.listen(self._viewer.events.theme, self.refresh)
        self.refresh()

    def refresh(self, event: Any = None) -> None:
        """Show the answer, and what is being measured."""
        found, is_open = self._measuring.found, self.button.isChecked()
        verdict = None if found is None else found.verdict
        self.sentence.setText(NOTHING if verdict is None else verdict.sentence)
        outcome = Enough.UNKNOWN if verdict is None else verdict.outcome
        set_role(
            self.sentence, "plain" if outcome is Enough.UNKNOWN else "notice" if _helps(outcome) else "good"
        )
        self.state.setText(self._progress())
        self.state.setVisible(is_open and bool(self.state.text()))
        for widget in (self.sentence, self.idle):
            widget.setVisible(is_open)
        has_curve = found is not None and len(found.points) > 1
        if is_open and has_curve and self._plot is None:
            self._make_plot()
        if self._plot is not None:
            self._plot.setVisible(is_open and has_curve)
            if is_open and has_curve:
                self._draw()

    def _progress(self) -> str:
        status, left = self._measuring.job.status, self._measuring.left
        if status.is_active:
            return f"Measuring: {status.message or 'starting'} ({status.fraction:.0%})"
        if left:
            return (
                f"{counted(left, 'more training', 'more trainings')} on parts of your cells will tell more."
            )
        return ""

    def _make_plot(self) -> None:
        import pyqtgraph  # half a second that a closed section must not pay

        plot = pyqtgraph.PlotWidget()
        plot.setFixedHeight(HEIGHT)
        plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        plot.setToolTip(
            "Of 100 cells found or invented, how many are right, by the number of cells learned from; "
            "rings are rounds"
        )
        plot.setAccessibleName("Learning curve")
        plot.hideButtons()
        plot.setMenuEnabled(False)
        plot.setMouseEnabled(x=False, y=False)
        plot.setLabel("bottom", "cells")
        self._column.insertWidget(2, plot)
        self._plot = plot

    def _draw(self) -> None:
        import pyqtgraph

        found, plot = self._measuring.found, self._plot
        if found is None or plot is None:
            return
        palette = palette_of(self._viewer.theme)
        plot.clear()
        plot.setBackground(palette.background)
        for side in ("left", "bottom"):
            axis = plot.getAxis(side)
            axis.setPen(palette.faint)
            axis.setTextPen(palette.faint)
        numbers = [number for number, _ in found.band]
        low, high = (
            pyqtgraph.PlotDataItem(numbers, [100 * getattr(each, side) for _, each in found.band])
            for side in ("low", "high")
        )
        shade = pyqtgraph.mkColor(palette.training)
        shade.setAlpha(60)
        plot.addItem(pyqtgraph.FillBetweenItem(low, high, brush=shade))
        middle = [100 * each.middle for _, each in found.band]
        plot.plot(numbers, middle, pen=pyqtgraph.mkPen(palette.training, width=2))
        for is_round, symbol in ((False, "o"), (True, "d")):
            points = [point for point in found.points if point.is_round == is_round]
            plot.plot(
                [point.cells for point in points],
                [100 * point.value for point in points],
                pen=None,
                symbol=symbol,
                symbolSize=7,
                symbolPen=palette.validation,
                symbolBrush=None if is_round else palette.validation,
            )


def _helps(outcome: Enough) -> bool:
    return outcome in (Enough.HELPS, Enough.LONGER)
