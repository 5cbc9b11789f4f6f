"""The user's settings for this plugin in napari's Preferences."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from npe2 import PluginManager

PLUGIN = "napari-cupre"


@dataclass(frozen=True)
class Preferences:
    """Initial settings of the widgets; the defaults are those of `napari.yaml`.

    `certainty` is the minimum score of a cell in per cent, 0 to leave it to the model. `model` is a name;
    if there is no such model, another one is used. `formats` lists the formats ticked at first, separated by
    commas. `slides_gb` limits the disk space for results of large images; beyond it the oldest are deleted.
    """

    minutes: float = 2.0
    device: str = "auto"
    certainty: int = 0
    model: str = "cupre"
    formats: str = "tif, roi, csv"
    slides_gb: float = 20.0

    @property
    def ticked(self) -> set[str]:
        """Return the formats as a list."""
        return {name.strip().lower() for name in self.formats.split(",")}


def read_preferences() -> Preferences:
    """Return the current preferences; the defaults in napari before 0.9, which has none for plugins."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return Preferences()
    try:
        with _without_search():
            chosen = get_plugin_settings(PLUGIN).defaults
    except KeyError:  # the widgets are used without the plugin enabled
        return Preferences()
    return Preferences(
        float(chosen.minutes),
        str(chosen.device),
        int(chosen.certainty),
        str(chosen.model),
        str(chosen.formats),
        float(chosen.slides_gb),
    )


@contextlib.contextmanager
def _without_search() -> Iterator[None]:
    """Stop napari from reading the manifests of all plugins again, which would block its window.

    It would do so at the first access to plugin settings, although it has known the plugins since its start.
    """
    manager = PluginManager.instance()
    if PLUGIN not in manager:  # napari was not started in the usual way
        yield
        return
    known = vars(manager)
    known["discover"] = lambda *_, **__: 0
    try:
        yield
    finally:
        del known["discover"]
