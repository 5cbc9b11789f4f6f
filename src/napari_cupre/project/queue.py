"""The queue of a project: its images in order with their states, and ways to add images."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.io.files import is_image_file, is_zarr, natural_key, split_scene, walk
from napari_cupre.project.cells import State
from napari_cupre.project.disk import current
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.project import Added, Project
from napari_cupre.project.recent import shown_last
from napari_cupre.project.tables import files_of, read_table
from napari_cupre.words import counted


@dataclass(frozen=True)
class QueueEntry:
    """One image of the queue, with its numbers of cells, checked cells and guesses.

    Edited cells count as checked; hidden guesses do not count. `certainty` is the mean score of its guesses,
    NaN without guesses.
    """

    image: ProjectImage
    cells: int
    checked: int
    guesses: int
    certainty: float

    @property
    def state(self) -> str:
        """Return a word: "never seen", "guesses", "checked" (no guess is left), "begun" or "empty"."""
        if not self.cells:
            return "empty" if self.image.seen else "never seen"
        if not self.checked:
            return "guesses"
        return "begun" if self.guesses else "checked"


@lru_cache(maxsize=1)
def in_natural_order(stems: tuple[str, ...]) -> tuple[str, ...]:
    """Sort stems so that "t2" comes before "t10".

    The last result is cached: several docks call this after each gesture, and a thousand stems take 9 ms.
    """
    return tuple(sorted(stems, key=lambda stem: natural_key(Path(stem))))


def queue(project: Project, worth: Mapping[str, float] | None = None) -> list[QueueEntry]:
    """Return all images with their state; reads only tables, not pixels.

    Parameters
    ----------
    worth : Mapping[str, float] or None, optional
        How much an image would teach, by stem; the highest comes first. None sorts by name.
    """
    entries = [entry_of(project, image) for image in project.images]
    by_name = sorted(entries, key=lambda entry: natural_key(Path(entry.image.stem)))
    if worth is None:
        return by_name
    return sorted(by_name, key=lambda entry: -worth.get(entry.image.stem, -np.inf))


def entry_of(project: Project, image: ProjectImage) -> QueueEntry:
    """Return the state of one image."""
    rows = list(_rows(project, image.stem))
    guesses = [s for state, s in rows if state is State.GUESS and not s < image.certainty]
    checked = sum(state.teaches for state, _ in rows)
    scores = [score for score in guesses if not np.isnan(score)]
    return QueueEntry(
        image,
        checked + len(guesses),
        checked,
        len(guesses),
        float(np.mean(scores)) if scores else float("nan"),
    )


def _rows(project: Project, stem: str) -> Iterator[tuple[State, float]]:
    """Return the state and score of each cell, from memory if possible."""
    loaded = project.loaded(stem)
    if loaded is not None:
        yield from ((cell.state, cell.score) for _, cell in loaded)
        return
    table = current(project.folder, files_of(stem)[1])
    if table.is_file():
        try:
            yield from ((state, score) for state, score, _, _ in read_table(table)[0].values())
        except InputError:
            yield from ((cell.state, cell.score) for _, cell in project.cells(stem))


def last_shown(project: Project, stems: Sequence[str]) -> str:
    """Return the image that was on show last, else the one whose cells were saved last, else the first."""
    shown = shown_last(project.document.id)
    if shown is not None and shown in stems:
        return shown
    tables = {stem: project.folder / "cells" / f"{stem}.csv" for stem in stems}
    return max(stems, key=lambda stem: tables[stem].stat().st_mtime if tables[stem].is_file() else 0.0)


def add_files(project: Project, paths: str | Path | Iterable[str | Path]) -> list[Added]:
    """Add images by files, folders and globs, each image of a file separately; see `find_inputs`."""
    return [project.enter(make()) for make in drafts_of(project, paths)[0]]


def drafts_of(
    project: Project, paths: str | Path | Iterable[str | Path]
) -> tuple[list[Callable[[], ProjectImage]], list[str]]:
    """Return the images of files, folders and globs, as entries that are not in the project yet.

    Parameters
    ----------
    paths : str, Path or iterable of str or Path
        Files, folders and globs; each image of a file is an entry, and label files are ignored. A folder
        without images of its own stands for its subfolders.

    Returns
    -------
    makers : list of callable
        Each reads an image and makes its entry.
    notices : list of str
        One sentence about everything that was left out.

    Raises
    ------
    InputError
        See `find_inputs`.
    """
    from napari_cupre.io.inputs import CHOOSE, find_inputs

    given = [paths] if isinstance(paths, str | Path) else paths
    inputs = find_inputs([_or_subfolders(Path(path)) for path in given])
    makers: list[Callable[[], ProjectImage]] = []
    for path in inputs.paths:
        file, scene = split_scene(path)
        makers.append(partial(project.draft, file, series=scene or None))
    return makers, [notice for notice in inputs.notices if not notice.endswith(CHOOSE)]


def _or_subfolders(path: Path) -> Path:
    """Return a glob of all images below a folder if only its subfolders have some, else the path itself."""
    folder = path.expanduser()
    if not folder.is_dir() or is_zarr(folder) or any(map(is_image_file, folder.iterdir())):
        return path
    return Path(glob.escape(str(folder)), "**", "*") if next(walk(folder), None) is not None else path


def add_planes(project: Project, path: str | Path, axes: str = "") -> list[Added]:
    """Add every plane of a stack as a separate image."""
    return [project.enter(draft) for draft in planes_of(project, path, axes)]


def add_fields(project: Project, path: str | Path, side: int, most: int = 24) -> list[Added]:
    """Add fields of a slide; see `fields_of`."""
    return [project.enter(draft) for draft in fields_of(project, path, side, most)]


def planes_of(project: Project, path: str | Path, axes: str = "") -> Iterator[ProjectImage]:
    """Return every plane of a stack, as entries that are not in the project yet."""
    from napari_cupre.io.images import read_image

    image = read_image(path, axes or None)
    for index in image.plane_indices():
        yield project.draft(path, axes=axes, plane=index)


def fields_of(project: Project, path: str | Path, side: int, most: int = 24) -> Iterator[ProjectImage]:
    """Return fields spread evenly over a slide's first plane, as entries not in the project yet.

    Parameters
    ----------
    side : int
        Side of a field in px.
    most : int, optional
        Largest number of fields.

    Raises
    ------
    InputError
        The side is less than one pixel, or the file cannot be read.
    """
    from napari_cupre.io.images import read_image

    if side < 1:
        raise InputError("A field needs a side of at least one pixel: give another.")
    image = read_image(path)
    height, width = image.plane_shape
    rows, columns = max(1, height // side), max(1, width // side)
    corners = [(row * side, column * side) for row in range(rows) for column in range(columns)]
    chosen = np.unique(np.linspace(0, len(corners) - 1, min(most, len(corners))).round().astype(int))
    plane = next(iter(image.plane_indices()))
    for number in chosen:
        top, left = corners[number]
        field = (top, left, min(top + side, height), min(left + side, width))
        yield project.draft(path, plane=plane, field=field)


def what_was_there(added: Sequence[Added]) -> list[str]:
    """Return messages about images that were already in the project, or are copies of others."""
    copies = [each.notice for each in added if each.is_copy]
    again = sum(each.was_missing for each in added)
    known = sum(bool(each.notice) for each in added) - again - len(copies)
    were, of_all = "was" if known == 1 else "were", counted(len(added), "image")
    said = [f"{known} of {of_all} {were} already in the project."] * (known > 0)
    said += [f"{counted(again, 'missing image')} found again."] * (again > 0)
    if len(copies) > 1:
        said += [f"{len(copies)} of {of_all} are copies of others, to the last pixel. An example:"]
    return said + copies[:1]
