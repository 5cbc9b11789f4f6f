"""Scratch projects, saved automatically before the user chose a place, and how to recover them."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import platformdirs

from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.project.disk import current
from napari_cupre.project.document import DOCUMENT, read_document
from napari_cupre.project.identity import relative_to, resolved
from napari_cupre.project.lock import is_open_elsewhere
from napari_cupre.project.painted import has_background
from napari_cupre.project.place import BACKGROUND, ENDING, IMAGES
from napari_cupre.project.project import Project
from napari_cupre.project.tables import files_of, read_table
from napari_cupre.words import counted

STAMP = "%Y-%m-%d %H.%M.%S.%f"
"""Format of the time that names a project until it gets a name."""


@dataclass(frozen=True)
class Recoverable:
    """A project that was never given a place; `text` describes it: "41 cells from today 14:02"."""

    folder: Path
    cells: int
    text: str


def scratch_folder() -> Path:
    """Return the folder of scratch projects; the variable NAPARI_CUPRE_PROJECTS sets another."""
    chosen = os.environ.get("NAPARI_CUPRE_PROJECTS")
    return Path(chosen) if chosen else platformdirs.user_data_path("napari-cupre") / "projects"


def new_scratch() -> Project:
    """Create and open a project for a user who has not chosen a place."""
    return Project.create(scratch_folder() / f"{datetime.now().strftime(STAMP)}{ENDING}")


def scratch_projects() -> list[Path]:
    """Return the folders of all scratch projects, the latest first."""
    return sorted(scratch_folder().glob(f"*{ENDING}"), reverse=True)


def project_title(folder: Path) -> str:
    """Return the title of a project: its name, or the time when it was begun.

    Examples
    --------
    >>> project_title(Path("plate 2.cupre"))
    'plate 2'
    """
    if folder.parent.resolve() == scratch_folder().resolve():
        with contextlib.suppress(ValueError):
            return f"begun {datetime.strptime(folder.stem, STAMP):%Y-%m-%d %H:%M}"
    return folder.stem


def recoverable() -> list[Recoverable]:
    """Return scratch projects with work in them that no window has open, the latest first."""
    found = []
    for folder in scratch_projects():
        if is_open_elsewhere(folder):
            continue
        cells = cells_on_disk(folder)
        if cells or _has_areas(folder):
            when = datetime.fromtimestamp(folder.joinpath(DOCUMENT).stat().st_mtime)
            files = (*(folder / "cells").glob("*.csv"), *(folder / BACKGROUND).glob("*.tif"))
            when = max([when, *(datetime.fromtimestamp(file.stat().st_mtime) for file in files)])
            today = when.date() == datetime.now().date()
            day = "today" if today else f"{when:%Y-%m-%d}"
            what = counted(cells, "cell") if cells else "regions or background"
            found.append(Recoverable(folder, cells, f"{what} from {day} {when:%H:%M}"))
    return found


def holds_work(folder: Path) -> bool:
    """Whether a person or a model made anything in a project on disk: cells, regions or background."""
    return bool(cells_on_disk(folder)) or _has_areas(folder)


def _has_areas(folder: Path) -> bool:
    """Whether there are regions or painted background in a project on disk."""
    if has_background(folder):
        return True
    try:
        return any(image.regions for image in read_document(current(folder, DOCUMENT)).images)
    except (InputError, OSError):
        return False


def cells_on_disk(folder: Path) -> int:
    """Count the cells of a project on disk, including noted changes; 0 if it cannot be read."""
    try:
        project = Project.open(folder, look_only=True)
        count = 0
        for image in project.images:
            cells = project.loaded(image.stem)
            table = current(folder, files_of(image.stem)[1])
            if cells is not None:
                count += len(cells)
            elif table.is_file():
                count += len(read_table(table)[0])
        return count
    except (InputError, OSError):
        return 0


def discard(folder: Path) -> None:
    """Delete a scratch project.

    Raises
    ------
    InputError
        It is not a scratch project, or a window has it open.
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
    moved = copied_to(project, folder)
    old = project.folder
    project.close()
    if old.parent == scratch_folder().resolve():
        discard(old)
    return moved


def copied_to(project: Project, folder: str | Path) -> Project:
    """Copy a project, with its unsaved changes, to another place and open the copy.

    Raises
    ------
    InputError
        Something already exists.
    EnvironmentFault
        Full or read-only disk.
    """
    copy = Project.create(folder)
    try:
        _fill(copy, project)
    except OSError as error:
        copy.close()
        shutil.rmtree(copy.folder, ignore_errors=True)
        raise EnvironmentFault(
            f'"{folder}" could not be written ({error.strerror}): choose another place.'
        ) from error
    except BaseException:
        copy.close()
        shutil.rmtree(copy.folder, ignore_errors=True)
        raise
    return copy


def _fill(copy: Project, project: Project) -> None:
    for image in project.images:
        path = resolved(image.path, project.folder)
        inside = path.is_relative_to(project.folder / IMAGES)
        copy.images.append(replace(image, path=image.path if inside else relative_to(path, copy.folder)))
    for name in ("classes", "rounds", "next_round", "best", "others"):
        setattr(copy.document, name, getattr(project.document, name))
    copy.document.id = project.document.id  # the folds of the learning curve depend on it
    for part in ("cells", "models", IMAGES, BACKGROUND):
        if (project.folder / part).is_dir():
            shutil.copytree(project.folder / part, copy.folder / part)
    for stem in project.in_memory:
        cells = project.loaded(stem)
        if cells is not None:
            copy.hold(stem, cells)
            if not project.is_held(stem):
                copy.let_go(stem)
    for stem, mask in project.painted.unsaved().items():
        copy.painted.hold(stem, mask)
    copy.save()
