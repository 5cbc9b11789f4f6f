"""The frame of a region is as wide on the screen at any zoom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_cupre.widgets.frame_width import ON_SCREEN, FrameWidth
from napari_cupre.widgets.looking import camera_of, seen_box
from napari_cupre.widgets.pointer import Pointer

WAIT = 20_000


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_a_frame_hides_no_cell_up_close_and_is_seen_from_afar(
    workbench: Any, no_engine: None, scale: float, qtbot: Any
) -> None:
    viewer, session = workbench.viewer, workbench.annotate.session
    image = viewer.add_image(np.zeros((3000, 3000), np.uint8), name="slide", scale=(scale, scale))
    frames = session.make_regions(image)
    frames.add_rectangles(np.array([[10, 10], [60, 60]], float))
    qtbot.waitUntil(lambda: len(session.cells_of(image).cells.regions) == 1, timeout=WAIT)
    regions = session.cells_of(image).cells.regions
    for zoom in (8.0 / scale, 0.1 / scale):
        camera_of(viewer).zoom = zoom
        width = ON_SCREEN / (zoom * scale)
        qtbot.waitUntil(lambda width=width: abs(frames.edge_width[0] / width - 1) < 0.25, timeout=WAIT)
        assert frames.current_edge_width == frames.edge_width[0], "the next one is as wide"
    qtbot.wait(300)
    assert session.cells_of(image).cells.regions == regions
    frames.current_edge_width = 40.0
    camera_of(viewer).zoom = 3.0
    qtbot.wait(300)
    assert frames.current_edge_width == 40.0, "a person chose it"
    assert isinstance(session.frames, FrameWidth)


def test_a_window_without_height_is_no_division_by_zero(workbench: Any, no_engine: None, qtbot: Any) -> None:
    viewer, session = workbench.viewer, workbench.annotate.session
    image = viewer.add_image([np.zeros((3000, 3000), np.uint8), np.zeros((1500, 1500), np.uint8)])
    session.make_regions(image).add_rectangles(np.array([[10, 10], [60, 60]], float))
    qtbot.waitUntil(lambda: len(session.cells_of(image).cells.regions) == 1, timeout=WAIT)
    session.sizes.say(image, 30.0)
    camera, pointer = camera_of(viewer), Pointer(session)
    before = session.annotation(image).regions.current_edge_width
    with camera.events.zoom.blocker():  # as napari sets it, from a canvas without height
        camera.zoom = 0.0
    session.frames.set_all()
    assert session.annotation(image).regions.current_edge_width == before
    assert np.isfinite(pointer.place).all()
    top, left, bottom, right = seen_box(viewer, image, session.cell_image(image), 2048)
    assert 0 < bottom - top <= 2048
    assert 0 < right - left <= 2048
    qtbot.wait(300)  # the timer of the frames
    camera.zoom = 1.0
    session.frames.set_all()
    assert session.annotation(image).regions.edge_width[0] == pytest.approx(ON_SCREEN, rel=0.25)
