"""A plot of the distribution of one measurement, in all images and in the chosen one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.widgets.controls import SessionWidget
from napari_cupre.widgets.plot_view import PlotView, veiled
from napari_cupre.widgets.theme import Palette

if TYPE_CHECKING:
    from pyqtgraph import PlotWidget

MOST_BINS, FEWEST_BINS = 40, 5
VEILED = 90  # opacity of filled areas, out of 255
TAIL = 0.5
"""Percentage of the values at either end that do not stretch the axis."""


class DistributionView(PlotView):
    """Histograms in per cent of the cells, so that one image can be compared with all images.

    Attributes
    ----------
    shares : tuple of numpy.ndarray
        Percentage of cells in each bin, for all images and for the chosen one, as drawn.
    """

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__(owner, "Distribution of the cells", (130, 150))
        self._drawn: tuple[np.ndarray, np.ndarray, str, str, str] | None = None
        self.shares: tuple[np.ndarray, np.ndarray] = (np.zeros(0), np.zeros(0))
        self._legend.setWordWrap(True)
        self._legend.setToolTip("Share of the cells; choose a row of the table to see its image beside all")

    def show_values(
        self, values: np.ndarray, chosen: np.ndarray, title: str, name: str, noun: str = "cells"
    ) -> None:
        """Draw the distribution of a measurement.

        Parameters
        ----------
        values, chosen : numpy.ndarray
            Values of all cells, and of the cells of the chosen image; empty without a chosen image.
        title : str
            Name of the measurement, with its unit.
        name : str
            Name of the chosen image; "" for none.
        noun : str, optional
            What has these values: "cells", or "outlines" if a cell has one in each of its planes.
        """
        finite, its = values[np.isfinite(values)], chosen[np.isfinite(chosen)]
        self._drawn = (finite, its, title, name, noun)
        self._draw(self._made_plot())

    def _add_curves(self, plot: PlotWidget) -> None:
        plot.setLabel("left", "% of the cells")
        self._all = plot.plot(stepMode="center", fillLevel=0)
        self._one = plot.plot(stepMode="center", fillLevel=0)

    def _draw(self, plot: PlotWidget) -> None:
        if self._drawn is None:
            return
        values, chosen, title, *_ = self._drawn
        edges = bins_of(values)
        self.shares = share_in(values, edges), share_in(chosen, edges)
        self._all.setData(edges, self.shares[0])
        self._one.setData(edges, self.shares[1])
        self._one.setVisible(bool(len(chosen)))
        plot.setLabel("bottom", title)
        plot.setToolTip(f"Distribution of {title}")
        self._wear_theme()

    def _colour_curves(self, palette: Palette) -> None:
        for curve, colour in ((self._all, palette.training), (self._one, palette.validation)):
            curve.setPen(colour, width=2)
            curve.setBrush(veiled(colour, VEILED))

    def _entries(self, palette: Palette) -> list[tuple[str, str, str]]:
        if self._drawn is None:
            return []
        values, chosen, _, name, noun = self._drawn
        entries = [(palette.training, "■", f"all {len(values)} {noun}")]
        if len(chosen):
            entries.append((palette.validation, "■", f"{name} ({len(chosen)})"))
        return entries


def bins_of(values: np.ndarray) -> np.ndarray:
    """Return the edges of the bins for these values; a few outliers do not widen the bins."""
    if not len(values):
        return np.array([0.0, 1.0])
    low, high = np.percentile(values, [TAIL, 100 - TAIL])
    if high <= low:
        low, high = float(values.min()) - 0.5, float(values.max()) + 0.5
    count = int(np.clip(round(2 * len(values) ** (1 / 3)), FEWEST_BINS, MOST_BINS))
    return np.linspace(low, high, count + 1)


def share_in(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the percentage of values in each bin; values beyond the ends count in the outer bins."""
    inside = np.clip(values, edges[0], edges[-1])
    counts = np.histogram(inside, edges)[0]
    return 100.0 * counts / max(len(values), 1)
