"""The live curve of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cupre.widgets.controls import SessionWidget
from napari_cupre.widgets.plot_view import PlotView, veiled
from napari_cupre.widgets.theme import Palette
from napari_cupre.widgets.timers import single_timer
from napari_cupre.widgets.training import Curve

if TYPE_CHECKING:
    from pyqtgraph import PlotWidget

REDRAW_MS = 250
LOW_AND_HIGH = (96, 120)  # px; low enough to be seen whole in a window of 720
FAINT = 110  # opacity of the individual losses, out of 255


class CurveView(PlotView):
    """Training and validation loss over the steps; redrawn at most a few times a second.

    Attributes
    ----------
    points : tuple[int, int]
        Number of training and validation points drawn.
    """

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__(owner, "Training curve", LOW_AND_HIGH)
        self._legend.setToolTip(
            "Both should fall. The model does not learn from held-out cells, so they show its real progress"
        )
        self._curve = Curve()
        self.points = (0, 0)
        self._timer = single_timer(self._redraw, REDRAW_MS, parent=self)
        self._wear_theme()

    def show_curve(self, curve: Curve) -> None:
        """Draw a curve soon, together with points that arrive in the meantime."""
        self._curve = curve
        if not self._timer.isActive():
            self._timer.start()

    def _add_curves(self, plot: PlotWidget) -> None:
        plot.setToolTip("Loss per step; lower is better")
        plot.setLabel("bottom", "step")
        plot.showGrid(x=False, y=True, alpha=0.15)
        # dots, so that a single first step is visible too
        self._raw = plot.plot(pen=None, symbol="o", symbolSize=4, symbolPen=None)
        self._smooth = plot.plot()
        self._validation = plot.plot(symbol="o", symbolSize=6, symbolPen=None)

    def _entries(self, palette: Palette) -> list[tuple[str, str, str]]:
        held_out = (palette.validation, "●", "loss on held-out cells")
        return [(palette.training, "━", "training loss"), held_out]

    def _colour_curves(self, palette: Palette) -> None:
        self._raw.setSymbolBrush(veiled(palette.training, FAINT))
        self._smooth.setPen(palette.training, width=2)
        self._validation.setPen(palette.validation, width=2)
        self._validation.setSymbolBrush(palette.validation)

    def _redraw(self) -> None:
        self._made_plot()
        curve = self._curve
        self._raw.setData(curve.steps, curve.training)
        self._smooth.setData(curve.steps, curve.smooth)
        self._validation.setData(curve.validation_steps, curve.validation)
        self.points = (len(curve.steps), len(curve.validation_steps))
