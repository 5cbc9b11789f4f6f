"""Frames of regions are as wide on the screen at any zoom: seen from afar, and no cell is hidden up close."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes

from napari_cupre.widgets.looking import LEAST_ZOOM, camera_of, zoom_of
from napari_cupre.widgets.session_part import SessionPart
from napari_cupre.widgets.timers import single_timer

if TYPE_CHECKING:
    from napari_cupre.widgets.session import Session

ON_SCREEN = 3.0
"""How wide a frame is, in px of the screen."""

PAUSE_MS, MOST = 150, 200
"""How long the zoom has rested; and how many shapes at most are drawn anew, which takes time."""


class FrameWidth(SessionPart):
    """Keeps the width of all frames of a viewer, unless a person chose another for a layer."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._given: weakref.WeakKeyDictionary[Shapes, float] = weakref.WeakKeyDictionary()
        self._timer = single_timer(self.set_all, PAUSE_MS)
        self._camera = camera_of(session.viewer)
        self._camera.events.zoom.connect(self._start)
        session.annotations_changed.connect(self._start)

    def set_all(self) -> None:
        """Give the frames the width that fits the zoom."""
        session = self._session
        if not session.is_open or zoom_of(session.viewer) == LEAST_ZOOM:  # nothing can be seen anyway
            return
        for image in session.images():
            frames = session.annotation(image).regions
            if frames is not None:
                self._set(frames, zoom_of(session.viewer))

    def close(self) -> None:
        """Follow the zoom no longer."""
        self._timer.stop()
        self._camera.events.zoom.disconnect(self._start)

    def _start(self, event: Any = None) -> None:
        self._timer.start()

    def _set(self, frames: Shapes, zoom: float) -> None:
        given = self._given.setdefault(frames, frames.current_edge_width)
        if (
            frames.current_edge_width != given
            or len(frames.data) > MOST
            or getattr(frames, "_is_creating", 0)
        ):
            return
        pixel = float(np.min(np.abs(frames.scale[-2:])))
        width = ON_SCREEN / (zoom * pixel)
        if not 0.8 < width / given < 1.25:
            frames.current_edge_width = self._given[frames] = width
            frames.edge_width = width
