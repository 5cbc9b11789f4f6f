"""A real napari window under a virtual screen, and an engine that plays a script."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import itertools
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from window_fields import field_of_discs

from napari_cupre.events import Event, RunState, StateChanged
from napari_cupre.service.beside import TryRequest
from napari_cupre.service.client import EngineBusy
from napari_cupre.service.protocol import Request, Stop

napari = pytest.importorskip("napari", reason="the widgets need napari")
pytest.importorskip("qtpy", reason="the widgets need a Qt binding (napari[all])")
if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    pytest.skip("no display for a napari window: run under xvfb-run", allow_module_level=True)


def hold_none() -> None:
    """Take more references to None than anybody can give back.

    PySide6 6.12 gives back some that it never took, e.g. one per `QObject.property` of an absent name. Before
    3.12, Python counts them and aborts once none is left: after some windows, or when it ends.
    """
    ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40  # where CPython keeps the count


if os.environ.get("QT_API", "").lower() == "pyside6" and sys.version_info < (3, 12):
    hold_none()


# The LLVM in triton, which torch's optimisers load, crashes once Mesa's software renderer has loaded its own.
with contextlib.suppress(ImportError):
    importlib.import_module("triton")


def draw_in_own_context() -> None:
    """Have vispy talk to a canvas's own OpenGL context whenever it talks to one.

    napari 0.9 deletes a removed layer's shaders outside of painting, while the context of the whole window is
    current. Mesa's software renderer may then crash at the canvas's next drawing.
    """
    context = importlib.import_module("vispy.gloo.context").GLContext
    current = importlib.import_module("qtpy.QtGui").QOpenGLContext.currentContext
    flush = context.flush_commands

    def flush_in_own_context(self: Any, event: object = None) -> None:
        with contextlib.suppress(AttributeError, RuntimeError):  # no widget, or one that Qt has deleted
            widget = self.shared.ref
            if widget.isValid() and current() != widget.context():
                widget.makeCurrent()
        flush(self, event)

    context.flush_commands = flush_in_own_context


draw_in_own_context()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Leave out what PySide6 does when Python ends: after so many windows it may crash there."""
    if os.environ.get("QT_API", "").lower() == "pyside6" and "PYTEST_XDIST_WORKER" not in os.environ:
        session.config.add_cleanup(lambda: _end(int(exitstatus)))


def _end(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@pytest.fixture(scope="session")
def _windows() -> Iterator[int]:
    return itertools.count()


@pytest.fixture(autouse=True)
def short_collections(_windows: Iterator[int]) -> Iterator[None]:
    """Now and then, have the garbage collector leave alone what windows left in napari's and Qt's caches."""
    yield
    if next(_windows) % 10 == 0:
        gc.collect()
        gc.freeze()


Script = Callable[[Request], Iterator[Event]]


class ScriptedEngine:
    """Stands in for `EngineProcess`: plays events and remembers what it was asked.

    Parameters
    ----------
    script : gives the events that answer a request; one with `tries_models` is also asked which model to
        start from, which the Train dock wants to know whenever nothing else is done.
    """

    def __init__(self, script: Script, folder: Path) -> None:
        self.script, self.folder = script, folder
        self.requests: list[Request] = []
        self.sent: list[Request] = []
        self.stopped = threading.Event()
        self.is_closed = self.is_busy = False

    def start(self) -> None:
        """Nothing needs to be started."""

    def events(self, request: Request) -> Generator[Event | None, None, None]:
        if self.is_busy or (isinstance(request, TryRequest) and not hasattr(self.script, "tries_models")):
            raise EngineBusy("The engine is busy.")
        self.is_busy = True
        self.requests.append(request)
        self.stopped.clear()
        try:
            yield StateChanged(RunState.PREPARING, "Loading the model")
            for event in self.script(request):
                yield event
                yield None
        finally:
            self.is_busy = False

    def stop(self) -> None:
        self.stopped.set()

    def send(self, request: Request) -> None:
        self.sent.append(request)
        if isinstance(request, Stop):
            self.stop()

    def close(self, wait: float = 0.0) -> None:
        self.is_closed = True
        self.stop()


@pytest.fixture
def viewer(make_napari_viewer_proxy: Callable[..., Any]) -> Any:
    """An empty window, seen as napari lets plugins see it."""
    return make_napari_viewer_proxy(show=True)


@pytest.fixture
def scripted_engine(tmp_path: Path) -> Callable[[Script], ScriptedEngine]:
    """Makes an engine that plays a script."""
    folder = tmp_path / "exchange"
    folder.mkdir()
    return lambda script: ScriptedEngine(script, folder)


@pytest.fixture
def no_engine(scripted_engine: Callable[[Script], ScriptedEngine], monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that need no process that imports torch."""
    monkeypatch.setattr(
        "napari_cupre.widgets.session.EngineProcess", lambda **_: scripted_engine(lambda request: iter(()))
    )


@pytest.fixture
def training_engine(
    scripted_engine: Callable[[Script], ScriptedEngine], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Script], ScriptedEngine]:
    """Has the next window's training process play a script; returns it. Its other processes do the same."""

    def play(script: Script) -> ScriptedEngine:
        first = scripted_engine(script)
        engines = iter([first])
        monkeypatch.setattr(
            "napari_cupre.widgets.session.EngineProcess",
            lambda *_, **__: next(engines, None) or scripted_engine(script),
        )
        return first

    return play


@pytest.fixture
def discs() -> tuple[np.ndarray, np.ndarray]:
    """A noisy field of 30 discs of 16 px, and its label image."""
    return field_of_discs()


@dataclass(frozen=True)
class Workbench:
    """The docks as napari opened them, by its own door.

    Attributes
    ----------
    viewer : napari.Viewer
        An empty window.
    annotate, train, predict : widgets of those names
    """

    viewer: Any
    annotate: Any
    train: Any
    predict: Any


@pytest.fixture
def workbench(make_napari_viewer: Callable[..., Any], qtbot: Any) -> Workbench:
    """A window of 1280 x 720 with all docks open, as `napari -w napari-cupre` shows it."""
    from napari_cupre.widgets.docking import docked
    from napari_cupre.widgets.workbench import STEPS

    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 720)
    _, opened = viewer.window.add_plugin_dock_widget("napari-cupre")
    qtbot.waitUntil(lambda: opened.is_settled, timeout=60_000)
    return Workbench(viewer, *(docked(opened.session, kind) for kind, _ in STEPS))
