"""The base of the plots in docks."""

from __future__ import annotations

from abc import abstractmethod
from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLabel, QWidget

from napari_cupre.widgets.arranging import in_column
from napari_cupre.widgets.controls import SessionWidget
from napari_cupre.widgets.theme import Palette, palette_of

if TYPE_CHECKING:
    from pyqtgraph import PlotWidget

TITLE_ROOM = 6  # px


class PlotView(QWidget):
    """A legend above a plot in the colours of napari's theme; the plot is created when needed.

    Parameters
    ----------
    owner : SessionWidget
        The dock; its viewer's theme gives the colours.
    name : str
        Name of the plot for screen readers.
    heights : tuple[int, int]
        Minimum and maximum height of the plot, px.
    """

    def __init__(self, owner: SessionWidget, name: str, heights: tuple[int, int]) -> None:
        super().__init__()
        self._viewer = owner.session.viewer
        self._name, self._heights = name, heights
        self._plot: PlotWidget | None = None
        self._legend = QLabel()
        self._column = in_column(self._legend, within=self, spacing=2)
        owner.listen(self._viewer.events.theme, self._wear_theme)

    @abstractmethod
    def _add_curves(self, plot: PlotWidget) -> None:
        """Add the (empty) curves to a new plot."""

    @abstractmethod
    def _entries(self, palette: Palette) -> list[tuple[str, str, str]]:
        """Return the legend: colour, mark and text of each curve."""

    @abstractmethod
    def _colour_curves(self, palette: Palette) -> None:
        """Set the colours of the curves."""

    def _made_plot(self) -> PlotWidget:
        """Return the plot; create it if there is none."""
        if self._plot is not None:
            return self._plot
        # importing takes half a second, too long for a widget that only opens; `first_labels` does it later
        import pyqtgraph

        plot = pyqtgraph.PlotWidget()
        plot.setMinimumHeight(self._heights[0])
        plot.setMaximumHeight(self._heights[1])
        plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        plot.setAccessibleName(self._name)
        plot.hideButtons()
        plot.setMenuEnabled(False)
        plot.setMouseEnabled(x=False, y=False)
        self._add_curves(plot)
        # pyqtgraph draws the title of the axis a few px below it, where the plot would end
        plot.getPlotItem().layout.setContentsMargins(1, 1, 1, TITLE_ROOM)
        self._column.addWidget(plot)
        self._plot = plot
        self._wear_theme()
        return plot

    def _wear_theme(self, event: Any = None) -> None:
        palette = palette_of(self._viewer.theme)
        entries = (
            f'<span style="color:{colour}">{mark}</span> {escape(words)}'
            for colour, mark, words in self._entries(palette)
        )
        self._legend.setText(" &nbsp; ".join(entries))
        if self._plot is None:
            return
        self._plot.setBackground(palette.background)
        for side in ("left", "bottom"):
            axis = self._plot.getAxis(side)
            axis.setPen(palette.faint)
            axis.setTextPen(palette.faint)
        self._colour_curves(palette)


def veiled(colour: str, opacity: int) -> QColor:
    """Return a translucent colour; an `opacity` of 0 is invisible, 255 is opaque."""
    veil = QColor(colour)
    veil.setAlpha(opacity)
    return veil
