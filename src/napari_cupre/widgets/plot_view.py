"""What the plots in docks have in common."""

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


class PlotView(QWidget):
    """A legend above a plot in the colours of napari's theme; the plot is made when it is needed.

    Parameters
    ----------
    owner : SessionWidget
        Whose viewer's theme gives the colours.
    name : str
        Of the plot, for screen readers.
    heights : tuple[int, int]
        The lowest and the highest the plot may be, px.
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
        """Put the curves into a new plot, still empty."""

    @abstractmethod
    def _entries(self, palette: Palette) -> list[tuple[str, str, str]]:
        """The legend: colour, mark and words of each curve."""

    @abstractmethod
    def _colour_curves(self, palette: Palette) -> None:
        """Give the curves their colours."""

    def _made_plot(self) -> PlotWidget:
        """The plot, which is made if there is none."""
        if self._plot is not None:
            return self._plot
        # half a second of import that a widget which only opens must not pay; `first_labels` loads it later
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
    """A colour through which others are seen; of 255 parts of `opacity`, 0 is invisible."""
    veil = QColor(colour)
    veil.setAlpha(opacity)
    return veil
