"""A window that is killed loses at most the last stroke."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from scripts import load_script


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, which dies more often."""
    module = load_script("benchmarks/kill.py")
    # so that the child's place is forgotten with this test
    monkeypatch.setenv("NAPARI_CUPRE_PROJECTS", os.environ.get("NAPARI_CUPRE_PROJECTS", ""))
    return module


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("seconds", [3.3, 7.8])
def test_a_window_that_is_killed_loses_at_most_the_last_stroke(
    kill: ModuleType, tmp_path: Path, seconds: float
) -> None:
    drawn, found = kill.one_death(tmp_path, seconds, pause=1.0)
    assert drawn >= 2
    assert drawn - found <= 1
