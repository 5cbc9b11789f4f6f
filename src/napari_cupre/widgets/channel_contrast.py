"""The contrast of images with several channels: each has its own, worked out when it is first shown."""

from __future__ import annotations

import contextlib
from collections.abc import Container
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.errors import CupreError
from napari_cupre.widgets.errands import Errands
from napari_cupre.widgets.layers import source_path
from napari_cupre.widgets.session_part import SessionPart
from napari_cupre.widgets.timers import single_timer

if TYPE_CHECKING:
    from napari_cupre.widgets.session import Session

Limits = tuple[float, float]

SAMPLE = 512
"""Number of rows and columns sampled to set the contrast."""


def limits_of(image: CellImage, channel: int, index: PlaneIndex) -> Limits | None:
    """Return contrast limits for a channel that ignore a few very bright spots; None if it is all alike.

    Parameters
    ----------
    image : CellImage
        Not RGB.
    channel : int
        Counted from 0; 0 for an image without channels.
    index : PlaneIndex
        The plane to look at.
    """
    plane = image.lazy_plane(index, [channel])
    steps = [max(1, size // SAMPLE) for size in plane.shape[:2]]
    sample = np.asarray(plane[:: steps[0], :: steps[1]], dtype=np.float32)
    low, high = np.nanpercentile(sample, (0.1, 99.8))
    return (float(low), float(high)) if np.isfinite([low, high]).all() and high > low else None


def show_limits(layer: Image, limits: Limits) -> None:
    """Show a layer with these contrast limits; its sliders may reach further, but never less far."""
    low, high = layer.contrast_limits_range
    layer.contrast_limits_range = (min(low, limits[0]), max(high, limits[1]))
    layer.contrast_limits = limits


class ChannelContrast(SessionPart):
    """Gives each channel of an image its own contrast when the slider goes there.

    A channel that was shown before has the contrast that the user left it with.

    Parameters
    ----------
    session : Session
        Of the viewer.
    ours : Container[Image]
        Layers that were made with the contrast of their first chosen channel. The same is done for files that
        napari opened itself, with one contrast for all channels. The contrast of arrays is their owner's.
    """

    def __init__(self, session: Session, ours: Container[Image]) -> None:
        super().__init__(session)
        self._ours = ours
        self._errands = Errands()
        self._on_show: WeakKeyDictionary[Image, int] = WeakKeyDictionary()
        self._kept: WeakKeyDictionary[Image, dict[int, Limits]] = WeakKeyDictionary()
        # the slider passes many channels in one drag; only where it stops matters
        self._looking = single_timer(self._look)
        session.viewer.dims.events.current_step.connect(self._moved)
        session.image_changed.connect(self._moved)

    def _moved(self, event: object = None) -> None:
        image = self._session.image if self._session.is_open else None
        if image is not None and self._is_followed(image):
            self._looking.start()

    def _is_followed(self, image: Image) -> bool:
        return image in self._ours or source_path(image) is not None

    def _look(self) -> None:
        """Change the contrast if another channel of the current image is on show than before."""
        image = self._session.image
        if not self._session.is_open or image is None or image.rgb or not self._is_followed(image):
            return
        with contextlib.suppress(CupreError):  # the axes are unknown
            reading = self._session.cell_image(image)
            channel = _channel_on_show(image, reading, self._session.viewer.dims.point)
            if channel is None:
                return
            before = self._on_show[image] if image in self._on_show else self._first(image, reading, channel)
            self._on_show[image] = channel
            if channel == before:
                return
            kept = self._kept.setdefault(image, {})
            low, high = image.contrast_limits
            now = float(low), float(high)
            if before is not None:
                kept[before] = now
            if channel in kept:
                show_limits(image, kept[channel])
                return
            work = partial(limits_of, reading, channel, self._session.plane_on_show(image))
            self._errands.do(work, partial(self._show, image, channel, now), lambda error: None)

    def _first(self, image: Image, reading: CellImage, channel: int) -> int | None:
        """Return the channel that an image has the contrast of when it is first seen; None for none of them.

        What napari chose for all channels spans the whole slider; what a person chose for `channel` does not.
        """
        if image in self._ours:
            return (reading.chosen_channels or (0,))[0]
        return None if tuple(image.contrast_limits) == tuple(image.contrast_limits_range) else channel

    def _show(self, image: Image, channel: int, before: Limits, limits: Limits | None) -> None:
        """Show the contrast of a channel, unless somebody has set another one meanwhile."""
        is_there = self._session.is_open and image in self._session.images()
        if not is_there or tuple(image.contrast_limits) != before:
            return
        if limits is not None and self._on_show.get(image) == channel:
            show_limits(image, limits)

    def close(self) -> None:
        """Look no more; the viewer may be gone by now."""
        self._looking.stop()
        self._errands.close()


def _channel_on_show(layer: Image, reading: CellImage, point: tuple[float, ...]) -> int | None:
    """Return the channel where the slider stands; None for an image without channels."""
    axes = reading.axes.replace("S", "")
    if "C" not in axes:
        return None
    axis = axes.index("C")
    at = round(float(layer.world_to_data(point[-layer.ndim :])[axis]))
    return min(max(at, 0), reading.channel_count - 1)
