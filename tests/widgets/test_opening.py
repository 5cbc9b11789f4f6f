"""The plugin as napari sees it: a valid manifest, widgets that open without the network's libraries."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from napari_cupre.service.client import EngineProcess
from napari_cupre.widgets import doors, garbage
from napari_cupre.widgets.annotate_widget import AnnotateWidget
from napari_cupre.widgets.predict_widget import PredictWidget
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.train_widget import TrainWidget

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "pandas",
    "PIL",
    "scipy.sparse",
    "scipy.spatial",
    "skimage.measure",
    "skimage.draw",
    "pyqtgraph",
    "lightning",
    "zarr",
    "dask.distributed",
)
LATER = (
    "napari_cupre.service.protocol",
    "filelock",
    "tifffile",
    "napari_cupre.io.images",
    "napari_cupre.evaluation",
)
OPEN_ALL = f"""
import sys
import numpy as np
import napari
viewer = napari.Viewer(show=False)
viewer.add_image(np.zeros((64, 64)), name="a")
before = set(sys.modules)
viewer.window.add_plugin_dock_widget("napari-cupre")
from napari_cupre.widgets.session import Session
assert Session.of(viewer).training.curve is not None
print([name for name in {HEAVY!r} if name in set(sys.modules) - before])
viewer.close()
"""


def test_no_widget_imports_what_only_the_engine_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OPEN_ALL], capture_output=True, text=True, env=dict(os.environ), timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_the_first_dock_imports_nothing_that_it_does_not_show() -> None:
    code = (
        "import sys, napari_cupre.widgets.annotate_widget\n"
        f"print([name for name in {LATER!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_manifest_is_valid_and_every_command_can_be_found() -> None:
    from importlib.resources import files

    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(str(files("napari_cupre") / "napari.yaml"))
    manifest.validate_imports()
    assert manifest.name == "napari-cupre"
    for command in manifest.contributions.commands or []:
        module, name = str(command.python_name).split(":")
        assert callable(getattr(import_module(module), name))
    assert {"napari/layers/segment", "napari/layers/annotate"} <= set(manifest.contributions.menus or {})


@pytest.mark.parametrize("kind", [AnnotateWidget, TrainWidget, PredictWidget])
def test_a_widget_fits_a_narrow_dock(viewer: Any, kind: Any, qtbot: Any) -> None:
    viewer.add_image(
        np.zeros((5, 64, 64)), name="an image with a name that is much longer than any dock is wide"
    )
    widget = kind(viewer)
    viewer.window.add_dock_widget(widget)
    widget.resize(320, 700)
    qtbot.wait(50)
    assert widget.widget().minimumSizeHint().width() <= 320


def test_the_widgets_of_one_viewer_share_their_state_and_two_viewers_do_not(
    make_napari_viewer_proxy: Any,
) -> None:
    first, second = make_napari_viewer_proxy(), make_napari_viewer_proxy()
    assert AnnotateWidget(first).session is TrainWidget(first).session is PredictWidget(first).session
    assert Session.of(first) is not Session.of(second)


def test_the_three_docks_become_tabs(viewer: Any, qtbot: Any) -> None:
    widgets = [kind(viewer) for kind in (AnnotateWidget, TrainWidget, PredictWidget)]
    docks = [viewer.window.add_dock_widget(widget, name=str(n)) for n, widget in enumerate(widgets)]
    first = docks[0].__wrapped__
    qtbot.waitUntil(lambda: len(first.parentWidget().tabifiedDockWidgets(first)) == 2, timeout=60_000)


def test_annotating_starts_no_process(viewer: Any) -> None:
    widget = AnnotateWidget(viewer)
    viewer.window.add_dock_widget(widget)
    assert isinstance(widget.session.engine, EngineProcess)
    assert not widget.session.engine.is_running


def test_the_engine_starts_once_the_dock_is_drawn(
    viewer: Any, no_engine: None, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    """Started at once it would take a processor from what draws the dock."""
    started: list[Session] = []
    monkeypatch.setattr(Session, "warm_up", lambda session: started.append(session))
    widget = AnnotateWidget(viewer)
    viewer.window.add_dock_widget(widget)
    assert not started
    qtbot.waitUntil(lambda: started == [widget.session], timeout=60_000)


class Knot:
    """Refers to itself, so that only a search for garbage takes it away."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def nothing_apart() -> Iterator[None]:
    """As in napari, where nobody has frozen objects before us; the fixtures of our tests have."""
    gc.unfreeze()
    yield
    gc.collect()
    gc.freeze()


def test_a_dock_is_imported_beside_what_napari_holds_and_not_searched_with_it(
    nothing_apart: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One search of all that napari holds takes as long as the dock needs to open."""
    apart: list[int] = []

    def note(name: str) -> Any:
        apart.append(gc.get_freeze_count())
        return import_module(name)

    monkeypatch.setattr(doors, "import_module", note)
    assert doors.TrainWidget is TrainWidget
    assert apart[0] > 10_000
    assert gc.get_freeze_count() == 0


def test_garbage_is_found_meanwhile_and_afterwards(nothing_apart: None) -> None:
    old = weakref.ref(Knot())
    with garbage.old_objects_apart():
        new = weakref.ref(Knot())
        gc.collect()
        assert new() is None
    gc.collect()
    assert old() is None


def test_what_somebody_else_put_apart_stays_apart(nothing_apart: None) -> None:
    knot = Knot()
    theirs = weakref.ref(knot)
    gc.freeze()
    del knot  # garbage that no search takes away while it is apart
    try:
        with garbage.old_objects_apart():
            pass
        gc.collect()
        assert theirs() is not None
        assert gc.get_freeze_count() > 10_000  # not compared: objects go without a search too
    finally:
        gc.unfreeze()
    gc.collect()
    assert theirs() is None


def test_there_are_no_other_doors() -> None:
    with pytest.raises(AttributeError, match="NoSuchWidget"):
        _ = doors.NoSuchWidget
