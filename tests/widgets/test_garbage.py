"""Python searches for garbage, which blocks the window, while nobody uses it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QWidget

from napari_cupre.widgets import garbage
from napari_cupre.widgets.garbage import SearchAtRest, search_at_rest

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def collector(monkeypatch: Any) -> Any:
    """Stands for Python's: counts searches of everything."""
    fake = SimpleNamespace(searches=0, younger=0, most=10, is_on=True)

    def collect() -> None:
        fake.searches, fake.younger = fake.searches + 1, 0

    calls = {
        "collect": collect,
        "isenabled": lambda: fake.is_on,
        "get_count": lambda: (0, 0, fake.younger),
        "get_threshold": lambda: (700, 10, fake.most),
    }
    monkeypatch.setattr(garbage, "gc", SimpleNamespace(**calls))
    monkeypatch.setattr(garbage, "REST_S", 0.0)
    return fake


@pytest.fixture
def search(qapp: Any, collector: Any) -> Any:
    """A search that ticks only when told to, beside none."""
    others = qapp.findChildren(SearchAtRest)
    made = SearchAtRest(qapp)
    for each in (made, *others):
        each._timer.stop()
    collector.searches = 0
    yield made
    for each in others:
        each._timer.start()
    qapp.removeEventFilter(made)
    made.setParent(None)
    made.deleteLater()


def test_it_searches_once_after_a_dock_opened_and_then_when_it_is_due(search: Any, collector: Any) -> None:
    search.ask()
    search.tick()
    search.tick()
    assert collector.searches == 1
    collector.younger = 11
    search.tick()
    search.tick()
    assert collector.searches == 2
    search.ask()
    search.tick()
    assert collector.searches == 3


@pytest.mark.parametrize("change", [{"is_on": False}, {"most": 0, "younger": 99}])
def test_it_leaves_a_python_alone_that_searches_otherwise(search: Any, collector: Any, change: Any) -> None:
    collector.younger = 11
    vars(collector).update(change)
    search.tick()
    assert collector.searches == 0


def test_it_waits_while_the_window_is_used(search: Any, collector: Any, qtbot: Any, monkeypatch: Any) -> None:
    now = [search._used_at]
    monkeypatch.setattr(garbage, "REST_S", 1.5)
    monkeypatch.setattr(garbage, "time", SimpleNamespace(monotonic=lambda: now[0]))
    widget = QWidget()
    qtbot.addWidget(widget)
    widget.show()
    for use in (
        search.ask,  # a dock opens
        lambda: QTest.mouseClick(widget, LEFT),
        lambda: QTest.keyClick(widget, Qt.Key.Key_A),
    ):
        now[0] += 10
        use()
        now[0] += 1
        search.tick()
        assert collector.searches == 0
    now[0] += 1
    search.tick()
    assert collector.searches == 1


def test_there_is_one_for_all_docks(qapp: Any) -> None:
    search_at_rest()
    search_at_rest()
    assert len(qapp.findChildren(SearchAtRest)) == 1
