"""Load what the first cells and the first training need, in a thread while nobody waits."""

from __future__ import annotations

import contextlib
import importlib

import numpy as np
from napari.utils.colormaps import label_colormap

from napari_cupre.widgets.errands import Errands
from napari_cupre.widgets.state_colours import HUES
from napari_cupre.widgets.timers import single_timer

WAIT_MS = 1000
"""The docks open first."""

LATER = (
    "napari_cupre.service.beside",
    "filelock",
    "pandas",
    "pyqtgraph",
    "napari_cupre.io.images",
    "napari_cupre.evaluation.project_curve",
)
"""Modules for messages to the engine, saving, the cell table, the training curve, files and evaluation.

Docks open without them.
"""


TRIANGLES = "napari.layers.shapes._accelerated_triangulate_dispatch"


class FirstLabels:
    """Saves the first tool a second or two: it creates a layer, for which napari loads its compiler."""

    def __init__(self) -> None:
        self._errands = Errands()
        self._timer = single_timer(self._begin, WAIT_MS)
        self._timer.start()

    def _begin(self) -> None:
        self._errands.do(load_ahead, lambda _: None, lambda error: None)

    def close(self) -> None:
        """Load nothing more."""
        self._timer.stop()
        self._errands.close()


def load_ahead() -> None:
    """Load what the first tool needs, then the modules of `LATER`."""
    load_for_labels()
    for name in LATER:
        importlib.import_module(name)


def load_for_labels() -> None:
    """Map two labels to colours, which compiles that code, and compute the dashes of overlays.

    This creates no layer: the units of layers come from a registry that two threads must not fill at once.
    """
    with contextlib.suppress(ImportError, AttributeError):  # another version of napari
        label_colormap(HUES)._data_to_texture(np.zeros((2, 2), np.int32))
    with contextlib.suppress(ImportError, AttributeError):  # another version of vispy
        importlib.import_module("vispy.visuals.line.dash_atlas").DashAtlas()
    with contextlib.suppress(ImportError, AttributeError):  # another version; this compiles what regions need
        importlib.import_module(TRIANGLES).warmup_numba_cache()
