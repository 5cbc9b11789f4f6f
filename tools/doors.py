"""Opens every door of the plugin in the napari of this environment, as a user would, and says how it went.

    python tools/doors.py [--pictures DIR]

Needs a display (`xvfb-run` will do) and neither torch nor the network. Exits with 1 if a door stays shut.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

PLUGIN = "napari-cupre"
DOCKS = ("Annotate", "Train", "Predict")
DEEPER = ("Results", "Compare", "Models", "Help")
SIZE = (1280, 720)
PATIENCE = 60.0  # seconds that a window may take


def main() -> int:
    """Try all doors, each in a process of its own: no window sees what another left behind."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="try this door in this process")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each dock in both themes")
    options = parser.parse_args()
    doors = all_doors()
    if options.only:
        shut = not is_open(options.only, *doors[options.only])
        os._exit(shut)  # what a Qt binding does when Python ends is no door
    shut = []
    for name in doors:
        done = subprocess.run([sys.executable, __file__, "--only", name])
        if done.returncode:
            shut.append(name)
            print(f"shut  {name} (exit status {done.returncode})", flush=True)
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
        pictures(new_viewer(), options.pictures)
    from importlib.metadata import version

    from qtpy import API_NAME

    print(f"napari {version('napari')}, {API_NAME}: {len(shut)} of {len(doors)} doors stay shut")
    return bool(shut)


def all_doors() -> dict[str, tuple[Callable[[], Any], Callable[[Any], None]]]:
    """By name: what makes a window, and what then opens the door."""
    doors = {f"script, {name}": by_script(name) for name in (*DOCKS, *DEEPER)}
    doors |= {
        f"Plugins menu, {name}": by_menu("plugins_menu", name) for name in ("Workbench", *DOCKS, *DEEPER)
    }
    in_layers = (*DOCKS, "Results", "Compare")
    doors |= {f"Layers menu, {name}": by_menu("layers_menu", name) for name in in_layers}
    doors |= {"script, no name": by_script(None), "samples": samples, "writers": writers}
    doors |= {"preferences": preferences, "File > Open of a project": project}
    return {name: (new_viewer, door) for name, door in doors.items()} | {
        "napari -w napari-cupre": (
            lambda: command_line("-w", PLUGIN),
            lambda viewer: wait_for(viewer, DOCKS),
        ),
        "napari work.cupre": (
            lambda: command_line(str(make_project())),
            lambda viewer: wait_for_layers(viewer, DOCKS),
        ),
    }


def new_viewer() -> Any:
    """An empty window."""
    import napari

    return napari.Viewer()


def is_open(name: str, make_viewer: Callable[[], Any], door: Callable[[Any], None]) -> bool:
    """Whether a door opens without an error; prints it."""
    viewer = make_viewer()
    viewer.window.resize(*SIZE)
    try:
        door(viewer)
    except Exception:
        traceback.print_exc()
        return False
    finally:
        viewer.close()
        process_events(0.2)
    print(f"open  {name}", flush=True)
    return True


def by_script(name: str | None) -> Callable[[Any], None]:
    """`add_plugin_dock_widget`, with or without a widget's name."""

    def door(viewer: Any) -> None:
        viewer.window.add_plugin_dock_widget(PLUGIN, *([name] if name else []))
        wait_for(viewer, (name,) if name else DOCKS)

    return door


def by_menu(menu: str, name: str) -> Callable[[Any], None]:
    """A press on an entry of a menu of the window."""

    def door(viewer: Any) -> None:
        process_events(0.2)
        (action,) = (x for x in actions_of(getattr(viewer.window, menu)) if x.text().startswith(f"{name} ("))
        action.trigger()
        wait_for(viewer, DOCKS if name == "Workbench" else (name,))

    return door


def actions_of(menu: Any) -> list[Any]:
    """The actions of a menu and of the menus in it."""
    menu.aboutToShow.emit()
    found: list[Any] = []
    for action in menu.actions():
        found += actions_of(action.menu()) if action.menu() is not None else [action]
    return found


def samples(viewer: Any) -> None:
    """File > Open Sample, all of ours."""
    from napari_cupre.io.samples import SAMPLES

    for info in SAMPLES:
        viewer.open_sample(PLUGIN, info.name)
        if info.name not in viewer.layers:
            raise AssertionError(f"the sample {info.name} brought no layer of its name")


def writers(viewer: Any) -> None:
    """File > Save of a Labels layer, in every format."""
    import numpy as np

    layer = viewer.add_labels(np.eye(32, dtype=np.int32), name="cells")
    with tempfile.TemporaryDirectory() as folder:
        for ending in (".tif", ".zip", ".csv", ".geojson", ".json"):
            path = Path(folder) / f"cells{ending}"
            if not layer.save(str(path), plugin=PLUGIN) or not path.stat().st_size:
                raise AssertionError(f"no {ending} was written")


def preferences(viewer: Any) -> None:
    """What the manifest offers under Preferences, where this napari has that for plugins (0.9)."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return
    if get_plugin_settings(PLUGIN).defaults.device != "auto":
        raise AssertionError("the preferences do not start with what napari.yaml says")


def make_project() -> Path:
    """A project of one image with one cell; napari knows the plugin, and asks for no reader."""
    import numpy as np
    import tifffile

    from napari_cupre.project.cells import Cells
    from napari_cupre.project.project import Project
    from napari_cupre.project.queue import add_files
    from napari_cupre.widgets.reading import claim_projects

    claim_projects()
    folder = Path(tempfile.mkdtemp())
    tifffile.imwrite(folder / "field.tif", np.eye(64, dtype=np.uint8))
    with Project.create(folder / "work") as project:
        add_files(project, folder / "field.tif")
        project.hold("field", Cells.of(np.eye(64, dtype=np.int32)))
        project.save()
        return project.folder


def project(viewer: Any) -> None:
    """File > Open and drag and drop: napari hands both to `viewer.open` after the same question."""
    from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
    from qtpy.QtGui import QDropEvent

    folder = make_project()
    carried = QMimeData()
    carried.setUrls([QUrl.fromLocalFile(str(folder))])
    drop = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        carried,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    viewer.window._qt_viewer.dropEvent(drop)
    wait_for_layers(viewer, DOCKS)


def command_line(*arguments: str) -> Any:
    """`napari` with arguments, run by napari's own function up to where it would wait for the user."""
    from unittest.mock import patch

    import napari
    from napari import __main__ as command

    with patch.object(sys, "argv", ["napari", *arguments]), patch.object(napari, "run", lambda **_: None):
        command._run()
    return napari.current_viewer()


def wait_for_layers(viewer: Any, docks: tuple[str, ...]) -> None:
    """Until the docks are open and a project shows its image and its cells."""
    wait_for(viewer, docks)
    end = time.monotonic() + PATIENCE
    while not {"field", "field cells"} <= {layer.name for layer in viewer.layers}:
        process_events(0.1)
        if time.monotonic() > end:
            raise AssertionError(f"the project shows {[layer.name for layer in viewer.layers]}")


def wait_for(viewer: Any, names: tuple[str, ...]) -> None:
    """Until docks of these titles are open, each once."""
    from qtpy.QtWidgets import QApplication, QDockWidget

    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        process_events(0.1)
        docks = [dock for dock in QApplication.allWidgets() if isinstance(dock, QDockWidget)]
        titles = [dock.windowTitle() for dock in docks if dock.isVisible()]
        if all(titles.count(name) == 1 for name in names):
            return
    raise AssertionError(f"of {', '.join(names)} only {', '.join(titles)} opened")


def pictures(viewer: Any, folder: Path) -> None:
    """Each dock in each theme, with a sample in the window."""
    from napari_cupre.widgets.docking import docked
    from napari_cupre.widgets.workbench import MORE

    viewer.window.resize(*SIZE)
    viewer.open_sample(PLUGIN, "nuclei_field")
    _, workbench = viewer.window.add_plugin_dock_widget(PLUGIN)
    process_events(2)
    for theme in ("dark", "light"):
        viewer.theme = theme
        for kind in (*workbench.buttons, *(kind for kind, _ in MORE)):
            workbench.show_dock(kind)
            process_events(1)
            if docked(workbench.session, kind).visibleRegion().isEmpty():
                raise AssertionError(f"{kind.title} cannot be seen")
            viewer.screenshot(str(folder / f"{kind.title}_{theme}.png"), canvas_only=False, flash=False)
    viewer.close()


def process_events(seconds: float) -> None:
    """Let the window work."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
