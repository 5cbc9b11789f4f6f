"""The position of the mouse on an image, also after the view has moved beneath it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.viewer import Viewer

from napari_cupre.widgets.looking import camera_of, zoom_of
from napari_cupre.widgets.session_part import SessionPart

if TYPE_CHECKING:
    from napari_cupre.widgets.session import Session


class Pointer(SessionPart):
    """Follows the mouse of a viewer; going to the next guess moves the view, not the mouse."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._flat = np.zeros(2)
        self._center, self._zoom = self._camera(session.viewer)
        session.viewer.cursor.events.position.connect(self._moved)

    @property
    def place(self) -> tuple[float, ...]:
        """Return the world position of the mouse, on the plane on show."""
        viewer = self._session.viewer
        center, zoom = self._camera(viewer)
        world = np.array(viewer.dims.point, float)
        world[self._shown(viewer)] = center + (self._flat - self._center) * self._zoom / zoom
        return tuple(map(float, world))

    def _moved(self, event: Any = None) -> None:
        viewer = self._session.viewer
        position = np.asarray(viewer.cursor.position, float)
        shown = self._shown(viewer)
        # napari also sets it when a slider or a layer moves, without a mouse move
        if max(shown) < len(position) and not np.array_equal(position[shown], self._flat):
            self._flat = position[shown]
            self._center, self._zoom = self._camera(viewer)

    @staticmethod
    def _shown(viewer: Viewer) -> list[int]:
        return list(viewer.dims.displayed)[-2:]

    @staticmethod
    def _camera(viewer: Viewer) -> tuple[np.ndarray, float]:
        return np.asarray(camera_of(viewer).center[-2:], float), zoom_of(viewer)
