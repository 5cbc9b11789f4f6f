"""Letters that napari draws with its first layer of shapes, drawn while nobody waits."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

from napari.viewer import Viewer

from napari_cupre.widgets.timers import single_timer

WAIT_MS, TURN_MS = 1500, 20

MEASURED = "ÅÉÑŐjgpqy "
"""Of any text, also of the empty one of a layer, vispy first draws these, to know how tall letters are."""


class FirstText:
    """Spares the first region 70 ms: draws one letter in each turn of the window.

    Parameters
    ----------
    viewer : Viewer
        Whose letters they are; they can be drawn in the window's thread alone.
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
        font[self._left.pop(0)]  # it is drawn when it is asked for
        self._timer.start(TURN_MS)

    def close(self) -> None:
        """Draw nothing more."""
        self._timer.stop()


def font_of(viewer: Viewer | None) -> Any:
    """Letters of a window by character; None where napari, before 0.9, keeps them elsewhere."""
    with contextlib.suppress(AttributeError, RuntimeError):
        info = viewer.window._qt_viewer.canvas.font_info()  # type: ignore[union-attr]
        return info.font_manager.get_font(info.face)
    return None
