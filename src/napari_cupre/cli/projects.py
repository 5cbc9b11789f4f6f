"""A project where a command takes images or labels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.errors import InputError

if TYPE_CHECKING:
    from napari_cupre.io.annotated import Collected


def with_projects(given: Iterable[str]) -> list[str]:
    """Folders, globs and files, with the image files of a project in its place.

    Raises
    ------
    InputError : a project without an image, or one whose image is nowhere.
    """
    from napari_cupre.project.project import Project, is_project

    paths: dict[str, None] = {}
    for path in given:
        if not is_project(path):
            paths[path] = None
            continue
        project = Project.open(path, look_only=True)
        if not project.images:
            raise InputError(f'The project "{path}" holds no image: add one first.')
        paths.update(dict.fromkeys(str(project.find(image)) for image in project.images))
    return list(paths)


def collect_project(folder: str, images: str, limit: int | None, seed: int) -> Collected:
    """What a project teaches.

    Parameters
    ----------
    folder : the project.
    images : where to look for images that were moved; the project itself says nothing more.
    limit, seed : use so many of the annotated images, drawn by seed.

    Raises
    ------
    InputError : nothing is annotated, or an annotated image is nowhere.
    """
    from napari_cupre.io.annotated import Collected
    from napari_cupre.project.project import Project
    from napari_cupre.project.shots import image_shots, is_annotated

    project = Project.open(folder, look_only=True)
    stems = [entry.stem for entry, cells in project.all_cells() if is_annotated(cells)]
    if not stems:
        raise InputError(f'Nothing is checked, edited or complete in "{folder}": mark some cells first.')
    if limit is not None and limit < len(stems):
        chosen = np.random.default_rng(seed).permutation(len(stems))[:limit]
        stems = [stems[number] for number in sorted(chosen)]
    elsewhere = (Path(images).expanduser(),) if Path(images).expanduser().is_dir() else ()
    shots = [shot for stem in stems for shot in image_shots(project, stem, elsewhere)]
    return Collected(shots)


def annotated_files(folder: str) -> list[Path]:
    """Image files of a project in which something is annotated."""
    from napari_cupre.project.project import Project
    from napari_cupre.project.shots import is_annotated

    project = Project.open(folder, look_only=True)
    return [project.find(entry) for entry, cells in project.all_cells() if is_annotated(cells)]


def truth_of_project(folder: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Labels and known area by the stem that predictions have, of the annotated images of a project."""
    from napari_cupre.project.project import Project
    from napari_cupre.project.shots import is_annotated, known_of, taught_labels

    project = Project.open(folder, look_only=True)
    return {
        entry.stem: (taught_labels(cells), known_of(cells, entry.certainty))
        for entry, cells in project.all_cells()
        if is_annotated(cells)
    }
