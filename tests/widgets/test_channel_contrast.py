"""The contrast follows the channel on show, in a real window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

WAIT = 20_000
DARK, BRIGHT = (10, 60), (40_000, 60_000)


@pytest.fixture
def pair(no_engine: None, workbench: Any, tmp_path: Path, qtbot: Any) -> Any:
    """The layer of an image with a dim and a bright channel, opened through the queue."""
    rng = np.random.default_rng(0)
    planes = [rng.integers(*DARK, (64, 64)), rng.integers(*BRIGHT, (64, 64)), np.full((64, 64), 7)]
    pixels = np.stack(planes).astype(np.uint16)
    tifffile.imwrite(tmp_path / "pair.tif", pixels, metadata={"axes": "CYX"}, ome=True)
    session = workbench.annotate.session
    session.queue.add_files([tmp_path / "pair.tif"])
    qtbot.waitUntil(lambda: session.image is not None and not session.queue.is_busy, timeout=WAIT)
    return session.image


def is_in(layer: Any, span: tuple[int, int]) -> bool:
    low, high = layer.contrast_limits
    return span[0] <= low < high <= span[1]


def test_a_channel_is_neither_black_nor_white_when_it_is_shown(pair: Any, workbench: Any, qtbot: Any) -> None:
    dims = workbench.viewer.dims
    assert dims.current_step[0] == 0, "not in the middle, where napari begins"
    qtbot.waitUntil(lambda: is_in(pair, DARK), timeout=WAIT)
    dims.set_current_step(0, 2)
    qtbot.wait(100)  # all pixels are alike: nothing to go by
    dims.set_current_step(0, 1)
    qtbot.waitUntil(lambda: is_in(pair, BRIGHT), timeout=WAIT)


def test_a_contrast_that_a_person_set_comes_back_with_its_channel(
    pair: Any, workbench: Any, qtbot: Any
) -> None:
    dims = workbench.viewer.dims
    dims.set_current_step(0, 1)
    qtbot.waitUntil(lambda: is_in(pair, BRIGHT), timeout=WAIT)
    pair.contrast_limits = 20, 30
    dims.set_current_step(0, 0)
    qtbot.waitUntil(lambda: is_in(pair, DARK) and tuple(pair.contrast_limits) != (20, 30), timeout=WAIT)
    dims.set_current_step(0, 1)
    qtbot.waitUntil(lambda: tuple(pair.contrast_limits) == (20, 30), timeout=WAIT)


def test_a_channel_that_is_ticked_is_seen_and_other_layers_are_left_alone(
    pair: Any, workbench: Any, qtbot: Any
) -> None:
    session, viewer = workbench.annotate.session, workbench.viewer
    session.channels.choose((1,))
    qtbot.waitUntil(lambda: is_in(pair, BRIGHT), timeout=WAIT)
    theirs = viewer.add_image(np.arange(3 * 64 * 64).reshape(3, 64, 64), name="theirs")
    session.set_axes(theirs, "CYX")
    session.image = theirs
    before = tuple(theirs.contrast_limits)
    viewer.dims.set_current_step(0, 2)
    qtbot.wait(100)
    assert tuple(theirs.contrast_limits) == before


def test_a_file_that_napari_opened_has_the_contrast_of_its_channel_unless_a_person_set_it(
    no_engine: None, workbench: Any, tmp_path: Path, qtbot: Any
) -> None:
    session, viewer = workbench.annotate.session, workbench.viewer
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.integers(*span, (64, 64)) for span in (DARK, BRIGHT)]).astype(np.uint16)
    for name in ("one", "two"):
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", pixels, metadata={"axes": "CYX"})
    (first,) = viewer.open(tmp_path / "one.ome.tif", plugin="napari")
    viewer.dims.set_current_step(0, 0)
    qtbot.waitUntil(lambda: is_in(first, DARK), timeout=WAIT)
    viewer.dims.set_current_step(0, 1)
    qtbot.waitUntil(lambda: is_in(first, BRIGHT), timeout=WAIT)
    (second,) = viewer.open(tmp_path / "two.ome.tif", plugin="napari")
    second.contrast_limits = 20, 30
    assert session.image is second
    qtbot.wait(100)
    assert tuple(second.contrast_limits) == (20, 30)
