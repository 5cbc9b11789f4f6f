"""A slow folder of models does not block the window."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtWidgets import QComboBox

from napari_cupre.model.seen_channels import SeenChannels
from napari_cupre.model.zoo import ZooEntry, find_model, models_of_package, user_path
from napari_cupre.widgets.model_list import ModelChooser
from napari_cupre.widgets.rival_chooser import RivalChooser
from napari_cupre.widgets.session import Session

HANGS_S, WAIT = 20.0, 5000
"""How long a look at the disk takes unless the test lets it end; far longer than a test may take."""

OWN = "my own"


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Hold back all that is read about models until this is set."""
    gate = threading.Event()

    def listed() -> list[ZooEntry]:
        gate.wait(HANGS_S)
        return [*models_of_package(), ZooEntry(OWN, user_path(OWN), "your model")]

    def found(name: str) -> Any:
        gate.wait(HANGS_S)
        return find_model("cupre" if name == OWN else name)

    def seen(model: str) -> SeenChannels:
        gate.wait(HANGS_S)
        return SeenChannels((1,))

    monkeypatch.setattr("napari_cupre.widgets.known_models.list_models", listed)
    monkeypatch.setattr("napari_cupre.widgets.known_models.seen_by", seen)
    monkeypatch.setattr("napari_cupre.widgets.model_watch.find_model", found)
    yield gate
    gate.set()


def names(combo: QComboBox) -> list[str]:
    return [combo.itemText(row) for row in range(combo.count())]


def test_no_list_of_models_waits_for_a_slow_folder(
    viewer: Any, no_engine: None, gate: threading.Event, qtbot: Any
) -> None:
    start = time.monotonic()
    session = Session.of(viewer)
    chooser, rival = ModelChooser("", True, session.known), RivalChooser(session, "")
    session.models_changed.connect(chooser.refresh)
    session.models_changed.connect(lambda: rival.refresh(set()))
    rival.refresh(set())
    chooser.choose(OWN)
    session.model = OWN
    assert time.monotonic() - start < HANGS_S / 4
    assert names(rival) == ["cupre", "nuclei", "cells"]
    assert chooser.value == OWN, "chosen before the folder said that it is there"
    gate.set()
    qtbot.waitUntil(lambda: session.known.is_complete and OWN in names(rival), timeout=WAIT)
    assert names(chooser.combo).count(OWN) == 1
    assert chooser.value == session.model == OWN
    assert not chooser.question.text
    assert chooser.delete_button.isEnabled()


def test_a_choice_that_the_slow_folder_does_not_have_is_reported(
    viewer: Any, no_engine: None, gate: threading.Event, qtbot: Any
) -> None:
    session = Session.of(viewer)
    chooser = ModelChooser("", False, session.known)
    session.models_changed.connect(chooser.refresh)
    chooser.choose("gone")
    gate.set()
    qtbot.waitUntil(lambda: chooser.value == "cupre", timeout=WAIT)
    assert "“gone” was deleted or moved" in chooser.question.text


def test_the_header_of_a_slow_model_is_taken_when_it_comes(
    viewer: Any, no_engine: None, gate: threading.Event, qtbot: Any
) -> None:
    viewer.add_image(np.zeros((2, 30, 30), np.uint8), name="field", channel_axis=None)
    start = time.monotonic()
    session = Session.of(viewer)
    heard: list[bool] = []
    session.models_changed.connect(lambda: heard.append(True))
    assert session.known.seen_by("cupre") == SeenChannels()
    assert time.monotonic() - start < HANGS_S / 4
    gate.set()
    qtbot.waitUntil(lambda: session.known.seen_by("cupre") == SeenChannels((1,)), timeout=WAIT)
    qtbot.waitUntil(lambda: bool(heard), timeout=WAIT)


def test_a_question_asked_again_while_it_is_open_is_put_once_more(
    viewer: Any, no_engine: None, qtbot: Any
) -> None:
    """What the first look found may be out of date."""
    known, gate, looks = Session.of(viewer).known, threading.Event(), []

    def work() -> int:
        gate.wait(HANGS_S)
        looks.append(True)
        return 1

    for _ in range(3):
        assert known.ask("key", work, 1, lambda: None) == 1
    gate.set()
    qtbot.waitUntil(lambda: len(looks) == 2, timeout=WAIT)


def test_a_fault_of_the_disk_is_raised_where_it_was_asked(
    viewer: Any, no_engine: None, tmp_path: Path
) -> None:
    known = Session.of(viewer).known
    with pytest.raises(FileNotFoundError):
        known.ask("key", lambda: (tmp_path / "none").stat(), None, lambda: None)
