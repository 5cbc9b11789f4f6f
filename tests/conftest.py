"""What tests of several parts share."""

from __future__ import annotations

import gc
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

# What passed once passes again: property tests draw the same examples each time, here and in CI, so that a
# commit is not refused for a fault that it did not bring. `make explore` draws new ones.
# A machine that does other things as well is slow, not wrong: no example has a deadline.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("new", print_blob=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


WINDOWS = Path(__file__).parent / "widgets"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that open windows come last; of both kinds, files with slow tests first, and then long files.

    pytest-xdist hands out files in this order: a long one at the end would keep the other processes waiting.
    """
    sizes = Counter(item.path for item in items)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.is_relative_to(WINDOWS), item.path not in slow, -sizes[item.path]))


def pytest_collection_finish() -> None:
    """Have the garbage collector leave alone what stays: all modules, and thousands of collected tests.

    napari collects everything with each window and each layer that goes: a fifth of the window tests' time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images, which is not part of the repository; tests without it are skipped."""
    folder = Path(os.environ.get("CUPRE_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real images are not there: {folder} (CUPRE_DATA names another place)")
    return folder


@pytest.fixture(autouse=True)
def own_models(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of models, so that no test sees or changes those of whoever runs it."""
    return _own("models", tmp_path_factory, monkeypatch)


@pytest.fixture(autouse=True)
def own_slides(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for what is found in large images; the same."""
    folder = tmp_path_factory.mktemp("slides") / "slides"
    monkeypatch.setenv("NAPARI_CUPRE_SLIDES", str(folder))
    return folder


@pytest.fixture(autouse=True)
def own_projects(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for projects without a place, so that no test sees those of whoever runs it."""
    return _own("projects", tmp_path_factory, monkeypatch)


def _own(what: str, factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = factory.mktemp(what)
    monkeypatch.setenv(f"NAPARI_CUPRE_{what.upper()}", str(folder))
    return folder
