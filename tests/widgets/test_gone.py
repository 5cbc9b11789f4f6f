"""A window may go without a word to what was started in it: by a script, or with napari itself."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_cupre.project.project import Project
from napari_cupre.project.queue import add_files

WAIT = 60_000


@pytest.fixture
def project(tmp_path: Path, discs: Any) -> Path:
    folder = tmp_path / "plate.cupre"
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", discs[0])
    with Project.create(folder) as made:
        add_files(made, [tmp_path / f"{name}.tif" for name in ("a", "b")])
        made.save()
    return folder


@pytest.fixture
def left(project: Path, qtbot: Any) -> Any:
    """The session of a viewer without docks, with an unsaved cell; the viewer is gone."""
    from napari.components import ViewerModel

    from napari_cupre.project.gestures import draw
    from napari_cupre.widgets.session import Session

    viewer = ViewerModel()
    session = Session.of(viewer)
    session.keeper.open(project)
    qtbot.waitUntil(lambda: session.image is not None and not session.queue.is_busy, timeout=WAIT)
    cells = session.make_cells(session.image)
    corners = np.array([(10, 10), (10, 22), (22, 22), (22, 10)])
    cells.do(lambda now: draw(now, corners))
    session.tools.prompter._layer = session.image
    gone = weakref.ref(viewer)
    del viewer
    gc.collect()
    assert gone() is None
    yield session
    session.close()


@pytest.mark.parametrize(
    "clock",
    [
        "idling._timer",
        "idling._looking",
        "queue._ahead",
        "what_next._arriving",
        "keeper._timer",
        "tools.prompter._settled",
        "tools.prompter._aiming",
    ],
)
def test_a_clock_that_strikes_after_the_end_finds_nothing_to_do(left: Any, clock: str, qtbot: Any) -> None:
    """An exception in a slot fails the test by itself."""
    assert not left.is_open
    assert left.images() == left.all_cells() == left.annotated() == []
    part = left
    for name in clock.split("."):
        part = getattr(part, name)
    part.timeout.emit()
    qtbot.wait(20)


def test_what_was_drawn_is_saved_though_the_window_went_without_a_word(
    left: Any, project: Path, qtbot: Any
) -> None:
    left.idling.tick()
    with Project.open(project) as found:
        assert sum(len(np.unique(found.cells(each.stem).labels)) - 1 for each in found.images) == 1
