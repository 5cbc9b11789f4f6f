"""Images of the window as a project knows them: by their file, or by a copy."""

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
    """An image of the window for a project to know, and the file that napari has it from, if any."""

    image: CellImage
    path: Path | None


def source_of(cells: CellsLayer) -> Source:
    """Where the image of some cells comes from."""
    return Source(cells.reading, source_path(cells.image))


def prepared(
    project: Project | None, sources: list[Source]
) -> tuple[Project, list[ProjectImage | CupreError]]:
    """In the thread: a project if there is none, and each image as it will know it."""
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
    """The entry of an image: its file where that holds what the window shows, else a copy."""
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
    """What went wrong, for the dock."""
    if isinstance(error, CupreError):
        return str(error)
    if isinstance(error, OSError):
        where = f'"{error.filename}"' if error.filename else "The project"
        return f"{where} could not be written: {system_reason(error)}."
    return f"Something unexpected went wrong ({type(error).__name__}: {error}): save the project elsewhere."


def written(project: Project, snapshot: UnsavedWork) -> tuple[SaveReport, float]:
    """In the thread: save a snapshot, and how long it took."""
    began = time.perf_counter()
    return project.write(snapshot), time.perf_counter() - began


def is_open_here(project: Project | None, folder: Path) -> bool:
    """Whether the project in a folder, or of a `project.json`, is the one that this window saves."""
    if project is None or project.read_only:
        return False
    return project.folder in (folder.resolve(), folder.resolve().parent)


def leave(project: Project, is_scratch: bool) -> None:
    """Close a project; a scratch one without cells goes."""
    project.close()
    if is_scratch and not recovery.cells_on_disk(project.folder):
        try:
            recovery.discard(project.folder)
        except (CupreError, OSError):
            return
