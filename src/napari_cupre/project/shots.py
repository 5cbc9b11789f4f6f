"""What a project teaches: checked and edited cells and complete regions, guesses never."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from napari_cupre.data.annotation import (
    GOOD_CELL_COUNT,
    cells_with_rim,
    default_rim,
    known_area,
    shots_from_image,
)
from napari_cupre.data.image import CellImage
from napari_cupre.data.shot import Shot
from napari_cupre.project.cells import Cells, State
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.project import Project


def taught_labels(cells: Cells) -> np.ndarray:
    """The cells that a person vouched for; int32, a copy."""
    taught = [number for number, cell in cells if cell.state.teaches]
    return np.where(np.isin(cells.labels, taught), cells.labels, 0).astype(np.int32)


def doubtful(cells: Cells, certainty: float = 0.0) -> np.ndarray:
    """Pixels of guesses on show and a rim around them: nobody said yet what they are, region or not."""
    shown = [n for n, c in cells if c.state is State.GUESS and not c.score < certainty]
    mask = np.isin(cells.labels, shown)
    rim = default_rim(np.where(mask, cells.labels, 0))
    if mask.ndim == 2:
        return cells_with_rim(mask, rim)
    planes = mask.reshape(-1, *mask.shape[-2:])
    return np.stack([cells_with_rim(plane, rim) for plane in planes]).reshape(mask.shape)


def shots_of(
    image: CellImage, cells: Cells, entry: ProjectImage, background: np.ndarray | None = None
) -> list[Shot]:
    """Training examples of one image of a project; none where nothing is checked, edited or complete.

    Inside a complete region ground teaches that no cell is there, but not under a guess on show.

    Parameters
    ----------
    image : CellImage
        The image.
    cells : Cells
        Over `image.result_axes`.
    entry : ProjectImage
        Its channels and the certainty of the guesses on show.
    background : numpy.ndarray or None, optional
        bool, the shape of the cells: where a person painted that there is no cell.
    """
    labels = taught_labels(cells)
    regions = [np.array(region) for region in cells.regions]
    shots = list(
        shots_from_image(image, labels, channels=entry.channels, regions=regions, background=background)
    )
    if cells.count(State.GUESS) and shots:
        doubt = doubtful(cells, entry.certainty).reshape(-1, *labels.shape[-2:])
        planes = labels.reshape(doubt.shape)
        painted = np.zeros(doubt.shape, bool) if background is None else background.reshape(doubt.shape)
        touched = [
            number
            for number in range(len(planes))
            if planes[number].any()
            or painted[number].any()
            or _has_region(cells, np.unravel_index(number, labels.shape[:-2] or (1,)))
        ]
        for shot, number in zip(shots, touched):
            shot.known &= ~doubt[number] | (planes[number] > 0) | painted[number]
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


def enough(annotated: Sequence[tuple[Cells, bool]]) -> tuple[bool, str]:
    """Whether training can start, and one sentence that says what would help most; from the rows alone.

    Parameters
    ----------
    annotated : Sequence[tuple[Cells, bool]]
        Cells of images, and whether background was painted there.
    """
    taught = sum(cells.count(State.CHECKED, State.EDITED) for cells, _ in annotated)
    if not taught:
        guesses = sum(cells.count(State.GUESS) for cells, _ in annotated)
        return False, (
            "Accept the guesses that are right, and draw what is missing: guesses teach nothing."
            if guesses
            else "Nothing is annotated yet: find cells and accept some, or draw a few."
        )
    said = "1 cell annotated" if taught == 1 else f"{taught} cells annotated"
    if taught < GOOD_CELL_COUNT // 2:
        return True, f"{said}; you can train. {GOOD_CELL_COUNT // 2} to {GOOD_CELL_COUNT} work far better."
    if not any(cells.regions or painted for cells, painted in annotated):
        return True, f"{said}; you can train. Known background (a region) would help."
    if taught < GOOD_CELL_COUNT:
        return True, f"{said}; you can train. A few more that look different would help."
    return True, f"{said}, enough to train. More help most where the result is wrong."
