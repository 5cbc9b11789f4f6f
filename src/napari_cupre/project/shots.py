"""What a project teaches: checked and edited cells and complete regions, guesses never."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from napari_cupre.data.annotation import cells_with_rim, default_rim, known_area, shots_from_image
from napari_cupre.data.image import CellImage
from napari_cupre.data.shot import Shot
from napari_cupre.project.cells import Cells, State
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.project import Project


def taught_labels(cells: Cells) -> np.ndarray:
    """The label image without its guesses; int32, a copy."""
    guesses = cells.numbers(State.GUESS)
    return np.where(np.isin(cells.labels, guesses), 0, cells.labels).astype(np.int32)


def doubtful(cells: Cells, certainty: float = 0.0) -> np.ndarray:
    """Pixels of guesses on show and a rim around them: nobody said yet what they are, region or not."""
    shown = [n for n, c in cells if c.state is State.GUESS and not c.score < certainty]
    mask = np.isin(cells.labels, shown)
    rim = default_rim(np.where(mask, cells.labels, 0))
    if mask.ndim == 2:
        return cells_with_rim(mask, rim)
    planes = mask.reshape(-1, *mask.shape[-2:])
    return np.stack([cells_with_rim(plane, rim) for plane in planes]).reshape(mask.shape)


def shots_of(image: CellImage, cells: Cells, entry: ProjectImage) -> list[Shot]:
    """Training examples of one image of a project; none where nothing is checked, edited or complete.

    Inside a complete region ground teaches that no cell is there, but not under a guess on show.
    """
    labels = taught_labels(cells)
    regions = [np.array(region) for region in cells.regions]
    shots = list(shots_from_image(image, labels, channels=entry.channels, regions=regions))
    if cells.count(State.GUESS) and shots:
        doubt = doubtful(cells, entry.certainty).reshape(-1, *labels.shape[-2:])
        planes = labels.reshape(doubt.shape)
        touched = [
            number
            for number in range(len(planes))
            if planes[number].any() or _has_region(cells, np.unravel_index(number, labels.shape[:-2] or (1,)))
        ]
        for shot, number in zip(shots, touched):
            shot.known &= ~doubt[number] | (planes[number] > 0)
    return shots


def known_of(cells: Cells, certainty: float = 0.0) -> np.ndarray:
    """Pixels whose truth somebody vouched for, bool: see `napari_cupre.data.annotation.known_area`."""
    labels = taught_labels(cells)
    depth = labels.ndim - 2
    known = np.zeros(labels.shape, bool)
    for plane in np.ndindex(labels.shape[:-2]):
        here = [
            np.array(region)[:, depth:]
            for region in cells.regions
            if tuple(round(value) for value in region[0][:depth]) == plane
        ]
        if here or labels[plane].any():
            known[plane] = known_area(labels[plane], regions=here)
    return known & (~doubtful(cells, certainty) | (labels > 0))


def is_annotated(cells: Cells) -> bool:
    """Whether an image teaches anything: it has a checked or edited cell, or a complete region."""
    return bool(cells.regions) or any(cell.state.teaches for _, cell in cells)


def image_shots(project: Project, stem: str, folders: Sequence[Path] = ()) -> list[Shot]:
    """Training examples of one image; see `project_shots`."""
    entry, cells = project.image(stem), project.cells(stem)
    return shots_of(project.pixels(entry, tuple(folders)), cells, entry) if is_annotated(cells) else []


def _has_region(cells: Cells, plane: Sequence[np.intp]) -> bool:
    depth = cells.labels.ndim - 2
    here = tuple(int(at) for at in plane)[:depth]
    return any(tuple(round(value) for value in region[0][:depth]) == here for region in cells.regions)


def project_shots(project: Project, folders: Sequence[Path] = ()) -> Iterator[Shot]:
    """Training examples of all images of a project that teach anything.

    Parameters
    ----------
    folders : Sequence[Path], optional
        Where to look for images that were moved.

    Raises
    ------
    InputError
        An annotated image is gone or cannot be read.
    """
    for entry in list(project.images):
        yield from image_shots(project, entry.stem, folders)
