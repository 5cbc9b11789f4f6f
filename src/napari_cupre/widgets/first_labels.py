"""What is loaded for the first cells and the first training, in a thread while nobody waits."""

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
"""Modules for messages to the engine, saving, the table of cells, the curve of a training, files, judging.

No dock needs them to open.
"""


TRIANGLES = "napari.layers.shapes._accelerated_triangulate_dispatch"


class FirstLabels:
    """Spares the first tool a second or two: it makes a layer, for which napari loads its compiler."""

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
    """What the first tool waits for, then the modules of `LATER`."""
    load_for_labels()
    for name in LATER:
        importlib.import_module(name)


def load_for_labels() -> None:
    """Map two labels to colours, which compiles what does it, and work out the dashes of overlays.

    No layer is made: units of layers come from a registry that two threads must not begin to fill at once.
    """
    with contextlib.suppress(ImportError, AttributeError):  # another napari
        label_colormap(HUES)._data_to_texture(np.zeros((2, 2), np.int32))
    with contextlib.suppress(ImportError, AttributeError):  # another vispy
        importlib.import_module("vispy.visuals.line.dash_atlas").DashAtlas()
    with contextlib.suppress(ImportError, AttributeError):  # another napari; compiles what regions need
        importlib.import_module(TRIANGLES).warmup_numba_cache()
