"""What napari needs for its first layer of labels is there before a person takes a tool."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from qtpy.QtTest import QTest

from napari_cupre.widgets import first_labels
from napari_cupre.widgets.first_labels import FirstLabels, load_for_labels
from napari_cupre.widgets.first_text import FirstText, font_of


def test_a_window_loads_it_in_a_thread(monkeypatch: pytest.MonkeyPatch, qtbot: Any) -> None:
    threads: list[threading.Thread] = []
    monkeypatch.setattr(first_labels, "load_for_labels", lambda: threads.append(threading.current_thread()))
    first = FirstLabels()
    qtbot.waitUntil(lambda: bool(threads), timeout=20_000)
    assert threads[0] is not threading.main_thread()
    first.close()


def test_a_window_that_closed_loads_nothing(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []
    monkeypatch.setattr(first_labels, "load_for_labels", lambda: loaded.append(1))
    monkeypatch.setattr(first_labels, "WAIT_MS", 10)
    FirstLabels().close()
    QTest.qWait(100)  # type: ignore[call-arg, arg-type, unused-ignore]
    assert not loaded


def test_modules_for_later_are_loaded_with_it() -> None:
    code = (
        "import sys; from napari_cupre.widgets.first_labels import LATER, load_ahead\n"
        "print(set(LATER) & set(sys.modules)); load_ahead(); print(set(LATER) <= set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.stdout.splitlines() == ["set()", "True"], done.stderr


def test_the_dashes_of_overlays_are_worked_out_once() -> None:
    load_for_labels()
    atlas = pytest.importorskip("vispy.visuals.line.dash_atlas")
    if not hasattr(atlas, "_make_pattern"):
        pytest.skip("another vispy")
    before = atlas._make_pattern.cache_info().misses
    atlas.DashAtlas()
    assert atlas._make_pattern.cache_info().misses == before


def test_what_regions_need_is_compiled_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first press on Everything is annotated waited for it, on a new computer for seconds."""
    triangles = pytest.importorskip(first_labels.TRIANGLES)
    compiled: list[int] = []
    monkeypatch.setattr(triangles, "warmup_numba_cache", lambda: compiled.append(1))
    load_for_labels()
    assert compiled == [1]


def test_letters_of_the_first_region_are_drawn_before_it(
    viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = viewer.__wrapped__
    font = font_of(viewer)
    if font is None:
        pytest.skip("napari draws letters in another way")
    first = FirstText(viewer)
    qtbot.waitUntil(lambda: not first._left and not first._timer.isActive(), timeout=20_000)
    drawn: list[str] = []
    monkeypatch.setattr(type(font), "_load_char", lambda self, char: drawn.append(char))
    viewer.add_image(np.zeros((20, 20)))
    viewer.add_shapes([[[2, 2], [2, 9], [9, 9], [9, 2]]], shape_type="polygon")
    viewer.screenshot(flash=False)
    assert not drawn


def test_a_window_that_closed_draws_no_letters(viewer: Any, qtbot: Any) -> None:
    viewer = viewer.__wrapped__
    first = FirstText(viewer)
    first.close()
    assert not first._timer.isActive()
    assert font_of(None) is None
