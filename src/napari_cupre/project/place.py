"""The names of projects on disk."""

from __future__ import annotations

from pathlib import Path

from napari_cupre.errors import InputError
from napari_cupre.project.document import DOCUMENT

ENDING = ".cupre"
"""Ending of the name of a project folder."""

IMAGES = "images"
"""Folder in a project for copies of images without a file of their own."""

BACKGROUND = "background"
"""Folder in a project for the background that was painted in its images."""


def is_project(path: str | Path) -> bool:
    """Whether a path is a project folder, or the `project.json` of one."""
    path = Path(path).expanduser()
    if path.name == DOCUMENT:
        path = path.parent
    return path.suffix.lower() == ENDING and path.is_dir()


def project_folder(path: str | Path) -> Path:
    """Return the folder of a project, given the folder or its document.

    Raises
    ------
    InputError : there is none.
    """
    path = Path(path).expanduser()
    folder = path.parent if path.name == DOCUMENT else path
    if not folder.is_dir():
        raise InputError(f'There is no project "{folder}": check the path.')
    return folder
