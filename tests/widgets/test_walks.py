"""Random walks of what a person does: no exception, nothing lost, the layer is the cells, all can be undone.

`benchmarks/walks.py` takes more and longer ones.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from outline_fakes import OutliningEngine
from project_walking import ProjectWalker, open_project, project_of_discs
from walking import SHAPE, Walker

from napari_cupre.widgets.looking import camera_of

WALKS, LONGEST = int(os.environ.get("CUPRE_WALKS", "20")), int(os.environ.get("CUPRE_WALK_STEPS", "15"))
IN_TIME = float(os.environ.get("CUPRE_WALK_SECONDS", "30"))  # a busy machine saves late
PLACES = st.tuples(st.integers(0, SHAPE[0] - 1), st.integers(0, SHAPE[1] - 1))
ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["click", "delete", "merge"]), PLACES),
    st.tuples(st.sampled_from(["paint", "erase"]), PLACES, PLACES, st.integers(1, 9)),
    st.tuples(st.just("fill"), PLACES, st.integers(0, 12)),
    st.tuples(st.sampled_from(["find", "exchange", "slide", "plane", "answer"]), st.integers(0, 100)),
    st.tuples(st.just("key"), st.sampled_from(["tab", "back", "accept", "accept all", "reject", "brush"])),
    st.tuples(st.sampled_from(["undo", "redo", "region"])),
)
SAYS = {"delete", "merge", "paint", "erase", "fill", "exchange", "undo", "redo", "answer"}
"""What may change cells that a person vouched for."""

BOLD = st.booleans()
PROJECT_ACTIONS = st.one_of(
    ACTIONS,
    st.tuples(st.sampled_from(["draw", "split", "escape", "frame"]), PLACES, PLACES),
    st.tuples(st.just("box"), PLACES, PLACES, BOLD),
    st.tuples(st.just("point"), PLACES, BOLD),
    st.tuples(st.sampled_from(["go", "go", "go", "turn"]), st.integers(0, 100)),
    st.tuples(st.just("reopen")),
)
PROJECT_SAYS = SAYS | {"split", "point", "turn", "go", "reopen"}

WALKED = settings(
    max_examples=WALKS // 2,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize="CUPRE_WALKS" not in os.environ,
    database=None,
)


@pytest.fixture(autouse=True)
def _no_engine(scripted_engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these needs a process that imports torch."""

    def made(is_urgent: bool = False) -> Any:
        if not is_urgent:
            return scripted_engine(lambda request: iter(()))
        (tmp_path / "outlines").mkdir()
        return OutliningEngine(tmp_path / "outlines")

    monkeypatch.setattr("napari_cupre.widgets.session.EngineProcess", made)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [SHAPE, (3, *SHAPE)])
def test_random_walks(workbench: Any, qtbot: Any, shape: tuple[int, ...]) -> None:
    viewer, session = workbench.viewer, workbench.annotate.session
    image = viewer.add_image(
        np.random.default_rng(0).integers(0, 255, shape, np.uint8), name="field", rgb=False
    )
    if len(shape) > 2:
        session.set_axes(image, "ZYX")
    session.image = image
    qtbot.waitUntil(lambda: camera_of(viewer).zoom > 1, timeout=20_000)

    @WALKED
    @given(st.lists(ACTIONS, min_size=5, max_size=LONGEST))
    def walk(actions: list[tuple[Any, ...]]) -> None:
        walker = Walker(workbench, image)
        for name, *values in actions:
            walker.act(lambda name=name, values=values: getattr(walker, name)(*values), says=name in SAYS)
        walker.end()
        walker.check_disk(IN_TIME)

    walk()


@pytest.mark.slow
def test_random_walks_through_a_project(workbench: Any, qtbot: Any, tmp_path: Path) -> None:
    session, folders = workbench.annotate.session, itertools.count()

    @WALKED
    @given(st.lists(PROJECT_ACTIONS, min_size=5, max_size=LONGEST))
    def walk(actions: list[tuple[Any, ...]]) -> None:
        folder = project_of_discs(tmp_path / str(next(folders)))
        open_project(session, folder, lambda holds: qtbot.waitUntil(holds, timeout=60_000))
        walker = ProjectWalker(workbench)
        for name, *values in actions:
            says = name in PROJECT_SAYS
            walker.act(lambda name=name, values=values: getattr(walker, name)(*values), says=says)
        walker.end()
        walker.check_disk(IN_TIME)

    walk()
