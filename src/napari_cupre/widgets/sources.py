"""Images of the window as entries of a project: by their file, or by a copy."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError, system_reason
from napari_cupre.project import recovery
from napari_cupre.project.copies import keep_copy
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.project import Project
from napari_cupre.project.unsaved import SaveReport, UnsavedWork
from napari_cupre.widgets.layers import source_path

if TYPE_CHECKING:
    from napari_cupre.widgets.cells_layer import CellsLayer


@dataclass(frozen=True)
class Source:
    """An image of the window to add to a project, and the file that napari read it from, if any."""

    image: CellImage
    path: Path | None


def source_of(cells: CellsLayer) -> Source:
    """Return the source of the image of some cells."""
    return Source(cells.reading, source_path(cells.image))


def prepared(
    project: Project | None, sources: list[Source]
) -> tuple[Project, list[ProjectImage | CupreError]]:
    """Create a project if there is none, and an entry for each image; for the thread."""
    project = recovery.new_scratch() if project is None else project
    drafts: list[ProjectImage | CupreError] = []
    for source in sources:
        try:
            drafts.append(draft_of(project, source))
            project.room.reserve(source.image.result_shape)
        except CupreError as error:
            drafts.append(error)
    return project, drafts


def draft_of(project: Project, source: Source) -> ProjectImage:
    """Return the entry of an image: its file if that contains what the window shows, else a copy."""
    image = source.image
    if source.path is not None:
        for axes in ("", image.axes):
            try:
                draft = project.draft(source.path, axes=axes)
            except CupreError:
                continue
            if draft.shape == image.result_shape:
                return draft
    return keep_copy(project, image)


def sentence_of(error: Exception) -> str:
    """Return an error as a sentence for the dock."""
    if isinstance(error, CupreError):
        return str(error)
    if isinstance(error, OSError):
        where = f'"{error.filename}"' if error.filename else "The project"
        return f"{where} could not be written: {system_reason(error)}."
    return f"Something unexpected went wrong ({type(error).__name__}: {error}): save the project elsewhere."


def written(project: Project, snapshot: UnsavedWork) -> tuple[SaveReport, float]:
    """Save a snapshot in the thread; return the report and the time it took."""
    began = time.perf_counter()
    return project.write(snapshot), time.perf_counter() - began


def is_open_here(project: Project | None, folder: Path) -> bool:
    """Whether a folder or `project.json` is the project that this window saves."""
    if project is None or project.read_only:
        return False
    return project.folder in (folder.resolve(), folder.resolve().parent)


def leave(project: Project, is_scratch: bool) -> None:
    """Close a project; delete it if it is a scratch project in which nobody made anything."""
    project.close()
    if is_scratch and not recovery.holds_work(project.folder):
        try:
            recovery.discard(project.folder)
        except (CupreError, OSError):
            return
