"""Projects as input of commands that take images or labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.errors import InputError

if TYPE_CHECKING:
    from napari_cupre.io.annotated import Collected
    from napari_cupre.io.channel_names import ChooseChannels
    from napari_cupre.project.document import ProjectImage
    from napari_cupre.project.project import Project


def with_projects(given: Iterable[str], refused: Callable[[str, str], object]) -> list[str]:
    """Replace projects by their image files in a list of folders, globs and files.

    Parameters
    ----------
    given : iterable of str
        Projects, folders, globs and files.
    refused : callable
        Is told the path of each image of a project that cannot be found, and why, unless none can.

    Raises
    ------
    InputError
        If a project has no image, or no image can be found.
    """
    from napari_cupre.project.place import is_project

    paths: dict[str, None] = {}
    missing: dict[str, InputError] = {}
    for path in given:
        if not is_project(path):
            paths[path] = None
            continue
        project = project_with_images(path)
        for image in project.images:
            try:
                paths[str(_path_of(project, image))] = None
            except InputError as error:
                missing[image.path] = error
    if missing and not paths:
        raise next(iter(missing.values()))
    for path, reason in missing.items():
        refused(path, str(reason))
    return list(paths)


def channels_of(given: Iterable[str], said: tuple[int, ...] | None = None) -> tuple[int, ...] | None:
    """Return the channels that the given projects use; None for the first three.

    Parameters
    ----------
    given : iterable of str
        Projects, and files and folders, which have no choice of their own.
    said : tuple of int or None, optional
        The channels that the command names; they go first.

    Raises
    ------
    InputError
        If images of several channels use different ones.
    """
    from napari_cupre.project.place import is_project

    if said is not None:
        return said
    projects = [project_with_images(path) for path in given if is_project(path)]
    chosen = {entry.channels for project in projects for entry in project.images}
    if len(chosen) > 1:  # images of one channel have no choice
        several = (
            entry.channels
            for project in projects
            for entry in project.images
            if project.pixels(entry).channel_count > 1
        )
        chosen = set(several)
    if len(chosen) > 1:
        listed = "; ".join(sorted(",".join(map(str, each)) if each else "the first three" for each in chosen))
        raise InputError(
            f"The projects use different channels ({listed}): predict one at a time, or give --channels."
        )
    return next(iter(chosen), None)


def project_with_images(folder: str) -> Project:
    """A project, opened to look at; it must contain images."""
    from napari_cupre.project.project import Project

    project = Project.open(folder, look_only=True)
    if not project.images:
        raise InputError(f'The project "{folder}" contains no image: add one first.')
    return project


def collect_project(
    folder: str, images: str, limit: int | None, seed: int, choose: ChooseChannels | None = None
) -> Collected:
    """The annotated images of a project, for training.

    Parameters
    ----------
    folder : str
        The project.
    images : str
        Where to search for images that were moved; the project itself adds nothing.
    limit : int or None
        Use only this many of the annotated images.
    seed : int
        Seed for drawing them.
    choose : callable or None, optional
        Chooses the channels of images for which the project has no choice.

    Returns
    -------
    Collected

    Raises
    ------
    InputError
        If nothing is annotated, or an annotated image cannot be found.
    """
    from napari_cupre.io.annotated import Collected
    from napari_cupre.io.channel_names import as_it_is
    from napari_cupre.project.project import Project
    from napari_cupre.project.shots import image_shots, is_annotated

    project = Project.open(folder, look_only=True)
    stems = [entry.stem for entry, cells in project.all_cells() if is_annotated(cells)]
    if not stems:
        raise InputError(
            f'The project "{folder}" has no checked or edited cell and no region: annotate some cells first.'
        )
    if limit is not None and limit < len(stems):
        chosen = np.random.default_rng(seed).permutation(len(stems))[:limit]
        stems = [stems[number] for number in sorted(chosen)]
    elsewhere = (Path(images).expanduser(),) if Path(images).expanduser().is_dir() else ()
    shots = [shot for stem in stems for shot in image_shots(project, stem, elsewhere, choose or as_it_is)]
    return Collected(shots)


def annotated_files(folder: str) -> list[Path]:
    """The image files of a project in which something is annotated."""
    from napari_cupre.project.project import Project
    from napari_cupre.project.shots import is_annotated

    project = Project.open(folder, look_only=True)
    return [_path_of(project, entry) for entry, cells in project.all_cells() if is_annotated(cells)]


def _path_of(project: Project, image: ProjectImage) -> Path:
    """The file of an image, or the scene in it."""
    file = project.find(image)
    return file if image.series is None else file / str(image.series)


def truth_of_project(folder: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Labels and known area of each annotated image of a project, by the stem that predictions use."""
    from napari_cupre.project.project import Project
    from napari_cupre.project.shots import is_annotated, known_of, taught_labels

    project = Project.open(folder, look_only=True)
    return {
        entry.stem: (
            taught_labels(cells),
            known_of(cells, entry.certainty, project.background(entry.stem)),
        )
        for entry, cells in project.all_cells()
        if is_annotated(cells)
    }
