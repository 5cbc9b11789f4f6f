"""Open projects and image folders through napari: File > Open, drag and drop, `napari work.cupre`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.settings import get_settings
from qtpy.QtCore import QTimer

from napari_cupre.errors import InputError
from napari_cupre.io.files import image_stem, list_images
from napari_cupre.project.document import DOCUMENT
from napari_cupre.project.place import ENDING, is_project
from napari_cupre.project.project import Project
from napari_cupre.widgets.preferences import PLUGIN

if TYPE_CHECKING:
    from napari_cupre.widgets.session import Session

PATTERN = f"*{ENDING}*"
"""napari appends a separator to the name of a folder."""

LayerData = tuple[Any, ...]
NOTHING: list[LayerData] = [(None,)]
"""The value that tells npe2 "read, but no layer to add"."""


def claim_projects() -> None:
    """Make napari open project folders with this plugin; otherwise it would ask which reader to use."""
    readers = get_settings().plugins.extension2reader
    if PATTERN not in readers:
        get_settings().plugins.extension2reader = {**readers, PATTERN: PLUGIN}


def project_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return a function that opens a project, or a folder of images as a queue; None for other paths.

    napari tries every folder reader on any folder, so none may raise an error.
    """
    paths = [path] if isinstance(path, str) else list(path)
    if len(paths) == 1 and is_project(paths[0]):
        return open_project
    return open_folders if all(Path(each).is_dir() for each in paths) else None


def open_folders(path: str | list[str]) -> list[LayerData]:
    """Add the images of folders to the queue of the current window, and show the Annotate dock.

    Without a window, return them as layers.
    """
    folders = [Path(each) for each in ([path] if isinstance(path, str) else path)]
    viewer = napari.current_viewer()
    if viewer is None:
        return [_layer_of(file) for file in list_images(folders)]
    QTimer.singleShot(0, lambda: _session_of(viewer).queue.add_files(folders))
    return NOTHING


def open_project(path: str | list[str]) -> list[LayerData]:
    """Open a project in the current window, and show the Annotate dock.

    Without a window, e.g. in a script, return its first image and its cells as layers.
    """
    folder = Path(path if isinstance(path, str) else path[0]).expanduser()
    folder = folder.parent if folder.name == DOCUMENT else folder
    viewer = napari.current_viewer()
    if viewer is None:
        return _first_layers(folder)
    # the window is still opening the path, and at start-up it is not even visible
    QTimer.singleShot(0, lambda: _session_of(viewer).keeper.open(folder))
    return NOTHING


def _session_of(viewer: Any) -> Session:
    """Return the session of a window, with its docks."""
    from napari_cupre.widgets.session import Session

    viewer.window.add_plugin_dock_widget(PLUGIN, "Workbench")
    return Session.of(viewer)


def _layer_of(file: Path) -> LayerData:
    from napari_cupre.io.images import read_image

    image = read_image(file)
    about = {"name": image_stem(file), "rgb": image.is_rgb, **image.values_for(image.axes.replace("S", ""))}
    return image.data, about, "image"


def _first_layers(folder: Path) -> list[LayerData]:
    with Project.open(folder, look_only=True) as project:
        if not project.images:
            raise InputError(f'The project "{folder.name}" has no images yet: add some in Annotate.')
        entry = project.images[0]
        image, cells = project.pixels(entry), project.cells(entry.stem)
        shown = {"name": entry.stem, "rgb": image.is_rgb, **image.values_for(image.axes.replace("S", ""))}
        labels = {"name": f"{entry.stem} cells", **image.values_for(image.result_axes)}
        return [(np.asarray(image.data), shown, "image"), (cells.labels, labels, "labels")]
