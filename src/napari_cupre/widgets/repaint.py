"""Show changed pixels of a Labels layer without sending the whole layer to the graphics card again.

napari repaints a part of a layer after a stroke, but lets nobody else ask for it: a whole layer of 4096 x
4096 px takes a quarter of a second. What is used here of napari's inside is looked for first; without it
the whole layer is repainted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Labels

MOST_PARTS = 1000
"""More parts than this are repainted as one."""

WORTH = 0.25
"""From this share of the plane on, the whole layer is repainted."""


def repaint(layer: Labels, *parts: tuple[slice, ...]) -> None:
    """Show what changed in some parts of a layer's data, given as slices with start and stop."""
    if not parts:
        return
    if len(parts) > MOST_PARTS:
        parts = (tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*parts)),)
    try:
        shown = [flat for flat in (_on_plane(layer, part) for part in parts) if flat is not None]
        raw = layer._slice.image.raw
        is_small = sum((a.stop - a.start) * (b.stop - b.start) for a, b in shown) < WORTH * raw.size
        if (
            layer.contour == 0
            and layer._slice_input.ndisplay == 2
            and layer._slicing_state.loaded
            and is_small
        ):
            for flat in shown:
                _send(layer, raw, flat)
            return
    except (AttributeError, IndexError, ValueError):  # another napari
        pass
    layer.refresh(extent=False)


def _on_plane(layer: Labels, part: tuple[slice, ...]) -> tuple[slice, slice] | None:
    """Rows and columns of the plane on show, as displayed; None where the part lies on another plane."""
    shown = layer._slice_input.displayed
    point = np.round(layer.world_to_data(layer._slice.slice_input.world_slice.point)).astype(int)
    for axis, place in enumerate(part):
        if axis not in shown and not place.start <= point[axis] < place.stop:
            return None
    return part[shown[0]], part[shown[1]]


def _send(layer: Labels, raw: Any, flat: tuple[slice, slice]) -> None:
    around = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in flat)  # an edge depends on the next pixel
    inner = tuple(slice(s.start - a.start, s.stop - a.start) for s, a in zip(flat, around))
    colours = layer.colormap._data_to_texture(np.asarray(raw[around]))[inner]
    layer._slice.image.view[flat] = colours
    layer.events.labels_update(data=colours, offset=[s.start for s in flat])
