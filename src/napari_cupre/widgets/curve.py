"""The live curve of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_cupre.widgets.training import Curve

if TYPE_CHECKING:
    from pyqtgraph import PlotWidget

REDRAW_MS = 250
BACKGROUND = "#1e1f24"
AXIS_COLOR = "#9aa4b2"
TRAINING_COLOR = "#58a6ff"  # blue and orange: told apart by all kinds of eyes
FAINT_TRAINING = (88, 166, 255, 110)
VALIDATION_COLOR = "#f0883e"


class CurveView(QWidget):
    """Training and validation loss over the steps; redrawn a few times a second, however fast they come.

    Attributes
    ----------
    points : number of training and of validation points that are drawn.
    """

    def __init__(self) -> None:
        super().__init__()
        legend = QLabel(
            f'<span style="color:{TRAINING_COLOR}">━</span> training loss &nbsp; '
            f'<span style="color:{VALIDATION_COLOR}">●</span> loss on held-out cells'
        )
        legend.setToolTip("Both should fall; held-out cells are not learned from, so they tell the truth")
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        self._column.addWidget(legend)
        self._plot: PlotWidget | None = None
        self._curve = Curve()
        self.points = (0, 0)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REDRAW_MS)
        self._timer.timeout.connect(self._redraw)

    def show_curve(self, curve: Curve) -> None:
        """Draw a curve soon; it may have grown by then."""
        self._curve = curve
        if self._plot is None:
            self._make_plot()
        if not self._timer.isActive():
            self._timer.start()

    def _make_plot(self) -> None:
        # half a second of import that a widget which only opens must not pay
        import pyqtgraph

        plot = pyqtgraph.PlotWidget(background=BACKGROUND)
        plot.setMinimumHeight(150)
        plot.setMaximumHeight(220)
        plot.hideButtons()
        plot.setMenuEnabled(False)
        plot.setMouseEnabled(x=False, y=False)
        plot.setLabel("bottom", "step")
        for side in ("left", "bottom"):
            axis = plot.getAxis(side)
            axis.setPen(AXIS_COLOR)
            axis.setTextPen(AXIS_COLOR)
        plot.showGrid(x=False, y=True, alpha=0.15)
        # dots, so that the first step is seen as well
        self._raw = plot.plot(
            pen=None, symbol="o", symbolSize=4, symbolBrush=pyqtgraph.mkBrush(FAINT_TRAINING), symbolPen=None
        )
        self._smooth = plot.plot(pen=pyqtgraph.mkPen(TRAINING_COLOR, width=2))
        self._validation = plot.plot(
            pen=pyqtgraph.mkPen(VALIDATION_COLOR, width=2),
            symbol="o",
            symbolSize=6,
            symbolBrush=VALIDATION_COLOR,
            symbolPen=None,
        )
        self._column.addWidget(plot)
        self._plot = plot

    def _redraw(self) -> None:
        curve = self._curve
        self._raw.setData(curve.steps, curve.training)
        self._smooth.setData(curve.steps, curve.smooth)
        self._validation.setData(curve.validation_steps, curve.validation)
        self.points = (len(curve.steps), len(curve.validation_steps))
