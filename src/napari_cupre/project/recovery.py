"""Projects that were saved by themselves before the person chose a place, and how to get them back."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import platformdirs

from napari_cupre.errors import InputError
from napari_cupre.project.disk import current
from napari_cupre.project.document import DOCUMENT, read_document
from napari_cupre.project.lock import is_open_elsewhere
from napari_cupre.project.project import ENDING, Project
from napari_cupre.project.tables import files_of, read_table


@dataclass(frozen=True)
class Recoverable:
    """A project that nobody gave a place yet.

    Attributes
    ----------
    folder : Path
        Where it is.
    cells : int
        How many it contains.
    text : str
        "41 cells from today 14:02".
    """

    folder: Path
    cells: int
    text: str


def scratch_folder() -> Path:
    """Where projects without a place are saved; the variable NAPARI_CUPRE_PROJECTS names another."""
    chosen = os.environ.get("NAPARI_CUPRE_PROJECTS")
    return Path(chosen) if chosen else platformdirs.user_data_path("napari-cupre") / "projects"


def new_scratch() -> Project:
    """A project for a person who has not chosen a place, open."""
    stamp = datetime.now().strftime("%Y-%m-%d %H.%M.%S.%f")
    return Project.create(scratch_folder() / f"{stamp}{ENDING}")


def recoverable() -> list[Recoverable]:
    """Projects without a place that hold cells and that no window has open, the latest first."""
    found = []
    for folder in sorted(scratch_folder().glob(f"*{ENDING}"), reverse=True):
        if is_open_elsewhere(folder):
            continue
        cells = _count(folder)
        if cells:
            when = datetime.fromtimestamp(folder.joinpath(DOCUMENT).stat().st_mtime)
            tables = [file.stat().st_mtime for file in (folder / "cells").glob("*.csv")]
            when = max([when, *map(datetime.fromtimestamp, tables)])
            today = when.date() == datetime.now().date()
            day = "today" if today else f"{when:%Y-%m-%d}"
            number = "1 cell" if cells == 1 else f"{cells} cells"
            found.append(Recoverable(folder, cells, f"{number} from {day} {when:%H:%M}"))
    return found


def _count(folder: Path) -> int:
    try:
        document = read_document(current(folder, DOCUMENT))
        tables = [current(folder, files_of(image.stem)[1]) for image in document.images]
        return sum(len(read_table(table)[0]) for table in tables if table.is_file())
    except (InputError, OSError):
        return 0


def discard(folder: Path) -> None:
    """Delete a project without a place.

    Raises
    ------
    InputError
        It is none, or a window has it open.
    """
    if folder.resolve().parent != scratch_folder().resolve() or is_open_elsewhere(folder):
        raise InputError(f'"{folder}" is in use or has a place of its own: it is kept.')
    shutil.rmtree(folder)


def save_as(project: Project, folder: str | Path) -> Project:
    """Copy a project to a (new) place and open it there.

    The old one is closed, and deleted if it had no place of its own.

    Raises
    ------
    InputError
        Something already exists.
    EnvironmentFault
        Full or read-only disk; the old project stays open.
    """
    moved = project.copied_to(folder)
    old = project.folder
    project.close()
    if old.parent == scratch_folder().resolve():
        discard(old)
    return moved
