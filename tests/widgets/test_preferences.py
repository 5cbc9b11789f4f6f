"""What is set under napari's Preferences is what the widgets start with."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
import yaml

from napari_cupre.widgets.predict_widget import PredictWidget
from napari_cupre.widgets.preferences import PLUGIN, Preferences, read_preferences
from napari_cupre.widgets.train_widget import DEVICES, TrainWidget

settings = pytest.importorskip("napari.settings")


@pytest.fixture
def chosen(request: pytest.FixtureRequest, viewer: Any) -> Any:
    """The plugin's preferences of this test alone."""
    request.getfixturevalue("plugin_settings")
    request.getfixturevalue("npe2pm").register(str(files("napari_cupre") / "napari.yaml"))
    return settings.get_plugin_settings(PLUGIN).defaults


# Not in the fixture: a test that skips before it began breaks the end of napari 0.7's own fixture.
@pytest.mark.skipif(
    not hasattr(settings, "get_plugin_settings"), reason="this napari has no preferences of plugins (0.9 has)"
)
def test_the_widgets_start_with_what_was_chosen(viewer: Any, chosen: Any) -> None:
    assert read_preferences() == Preferences()
    chosen.minutes, chosen.device, chosen.certainty = 7.5, "cpu", 35
    train, predict = TrainWidget(viewer), PredictWidget(viewer)
    assert (train.minutes.value(), train.device.currentText()) == (7.5, "cpu")
    assert predict.score.value() == 35
    assert predict.preferences.device == "cpu"


@pytest.mark.skipif(
    not hasattr(settings, "get_plugin_settings"), reason="this napari has no preferences of plugins (0.9 has)"
)
def test_the_plugins_of_the_computer_are_not_searched_again(
    request: pytest.FixtureRequest, viewer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes longer the more plugins there are, and the first dock would wait for it."""
    request.getfixturevalue("plugin_settings")
    manager, searches = request.getfixturevalue("npe2pm"), []
    monkeypatch.setattr(type(manager), "discover", lambda *_, **__: searches.append(1))
    read_preferences()
    assert searches  # napari does not know the plugin yet
    manager.register(str(files("napari_cupre") / "napari.yaml"))
    searches.clear()
    assert read_preferences() == Preferences()
    assert settings.get_plugin_settings(PLUGIN).defaults.minutes == Preferences().minutes
    assert not searches
    manager.discover()
    assert searches  # and later it may search


def test_the_manifest_offers_what_the_widgets_take() -> None:
    manifest = yaml.safe_load((files("napari_cupre") / "napari.yaml").read_text(encoding="utf-8"))
    properties = manifest["contributions"]["configurations"]["defaults"]["properties"]
    assert Preferences(**{name: entry["default"] for name, entry in properties.items()}) == Preferences()
    assert tuple(properties["device"]["enum"]) == DEVICES


def test_an_older_napari_has_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(settings, "get_plugin_settings", raising=False)
    assert read_preferences() == Preferences()
