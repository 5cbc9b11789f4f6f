"""The section *Is it enough?* at the end of the Train dock: a sentence and a learning curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QPushButton

from napari_cupre.evaluation.enough import Enough
from napari_cupre.evaluation.project_curve import ProjectCurve
from napari_cupre.widgets.arranging import in_column
from napari_cupre.widgets.captions import caption
from napari_cupre.widgets.controls import DockPart, SessionWidget
from napari_cupre.widgets.plot_view import PlotView, veiled
from napari_cupre.widgets.remembering import remember
from napari_cupre.widgets.theme import Palette, set_role
from napari_cupre.words import counted

if TYPE_CHECKING:
    from pyqtgraph import PlotWidget

HEIGHT = 130
SHADE = 60  # opacity of the likely range, out of 255
NOTHING = "Not measured yet: train a model first. The rest happens while the computer is idle."


class EnoughSection(DockPart):
    """A section that is closed at first; a click on its title opens it."""

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__(owner)
        self._measuring = self._session.idling
        self.button = QPushButton("Is it enough?")
        self.button.setCheckable(True)
        self.button.setToolTip("Show whether more annotated cells would help")
        self.button.toggled.connect(lambda on: self.refresh())
        self.sentence = caption()
        self.sentence.setTextFormat(Qt.TextFormat.PlainText)
        self.state = caption(role="plain")
        self.idle = QCheckBox("Measure while the computer is idle")
        self.idle.setToolTip(
            "Train on parts of your cells, at low priority, while you do not train, find cells or annotate"
        )
        self.idle.setChecked(self._measuring.is_wanted)
        self.idle.toggled.connect(self._measuring.want)
        self.plot = LearningCurveView(owner)
        parts = (self.button, self.sentence, self.plot, self.state, self.idle)
        self._column = in_column(*parts, within=self, spacing=4)
        owner.listen(self._measuring.changed, self.refresh)
        owner.listen(self._measuring.job.status.events, self.refresh)
        self.refresh()
        remember(owner, enough=self.button)

    def refresh(self, event: Any = None) -> None:
        """Show the answer and the progress of the measurement."""
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
        self.plot.setVisible(is_open and has_curve)
        if found is not None and has_curve and is_open:
            self.plot.show_curve(found)

    def _progress(self) -> str:
        status, left = self._measuring.job.status, self._measuring.left
        if status.is_active:
            return f"Measuring: {status.message or 'starting'} ({status.fraction:.0%})"
        if left:
            return (
                f"{counted(left, 'more training', 'more trainings')} on parts of your cells will tell more."
            )
        return ""


class LearningCurveView(PlotView):
    """Correct cells against the number of cells learned from, with the likely range between and beyond."""

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__(owner, "Learning curve", (HEIGHT, HEIGHT))
        self._legend.setToolTip(
            "How many of 100 found or invented cells are correct. Each training is judged on other cells"
        )
        self._wear_theme()

    def show_curve(self, found: ProjectCurve) -> None:
        """Draw the measurements."""
        self._made_plot()
        numbers = [number for number, _ in found.band]
        for line, side in ((self._low, "low"), (self._high, "high"), (self._middle, "middle")):
            line.setData(numbers, [100 * getattr(each, side) for _, each in found.band])
        for marks, is_round in ((self._parts, False), (self._rounds, True)):
            points = [point for point in found.points if point.is_round == is_round]
            marks.setData([point.cells for point in points], [100 * point.value for point in points])

    def _add_curves(self, plot: PlotWidget) -> None:
        import pyqtgraph

        plot.setToolTip("Correct cells out of 100, by the number of cells learned from")
        plot.setLabel("bottom", "cells")
        self._low, self._high = pyqtgraph.PlotDataItem(), pyqtgraph.PlotDataItem()
        self._shade = pyqtgraph.FillBetweenItem(self._low, self._high)
        plot.addItem(self._shade)
        self._middle = plot.plot()
        self._parts = plot.plot(pen=None, symbol="o", symbolSize=7)
        self._rounds = plot.plot(pen=None, symbol="d", symbolSize=9, symbolBrush=None)

    def _entries(self, palette: Palette) -> list[tuple[str, str, str]]:
        return [(palette.validation, "●", "part of the cells"), (palette.validation, "◇", "round")]

    def _colour_curves(self, palette: Palette) -> None:
        self._shade.setBrush(veiled(palette.training, SHADE))
        self._middle.setPen(palette.training, width=2)
        self._parts.setSymbolPen(palette.validation)
        self._parts.setSymbolBrush(palette.validation)
        self._rounds.setSymbolPen(palette.validation)


def _helps(outcome: Enough) -> bool:
    return outcome in (Enough.HELPS, Enough.LONGER)
