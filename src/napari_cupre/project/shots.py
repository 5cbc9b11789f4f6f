"""Make training examples from a project: checked and edited cells and regions, never guesses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from napari_cupre.data.annotation import (
    cells_with_rim,
    known_area,
    region_mask,
    regions_by_plane,
    rim_of_areas,
    shots_by_plane,
)
from napari_cupre.data.image import CellImage
from napari_cupre.data.labels import label_areas
from napari_cupre.data.shot import Shot
from napari_cupre.io.channel_names import ChooseChannels, as_it_is, names_of
from napari_cupre.project.cells import Cells, State
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.project import Project
from napari_cupre.words import counted

GOOD_CELL_COUNT = 10
"""Above about this number, more cells help less than more images."""


def taught_labels(cells: Cells) -> np.ndarray:
    """Return a label image of the checked and edited cells, int32, as a copy."""
    taught = [number for number, cell in cells if cell.state.teaches]
    return np.where(np.isin(cells.labels, taught), cells.labels, 0).astype(np.int32)


def doubtful(cells: Cells, certainty: float = 0.0) -> np.ndarray:
    """Return the pixels of visible guesses with a rim, which are unknown even inside a region."""
    shown = _guesses_on_show(cells, certainty)
    mask = np.isin(cells.labels, shown)
    rim = _rim_of(cells.labels, shown)
    if mask.ndim == 2:
        return cells_with_rim(mask, rim)
    planes = mask.reshape(-1, *mask.shape[-2:])
    return np.stack([cells_with_rim(plane, rim) for plane in planes]).reshape(mask.shape)


class _TaughtPlanes:
    """The labels of checked and edited cells, plane by plane, so that a stack is never copied."""

    def __init__(self, labels: np.ndarray, taught: Sequence[int]) -> None:
        self._labels, self._taught = labels, taught
        self.shape = labels.shape

    def reshape(self, shape: tuple[int, ...]) -> _TaughtPlanes:
        """Return the same labels with another shape."""
        return _TaughtPlanes(self._labels.reshape(shape), self._taught)

    def __getitem__(self, position: tuple[int, ...]) -> np.ndarray:
        plane = self._labels[position]
        return np.where(np.isin(plane, self._taught), plane, 0)


def shots_of(
    image: CellImage, cells: Cells, entry: ProjectImage, background: np.ndarray | None = None
) -> Iterator[Shot]:
    """Yield the training examples of one image; none without checked or edited cells or regions.

    Inside a region, empty ground counts as background, except under a visible guess. One plane is copied at a
    time.

    Parameters
    ----------
    image : CellImage
        The image, with the channels to use.
    cells : Cells
        Over `image.result_axes`.
    entry : ProjectImage
        The certainty of the visible guesses, and what is held out.
    background : numpy.ndarray or None, optional
        bool, with the shape of the cells: where a person painted background.
    """
    names_of(image)  # for the model that learns from it
    taught = _TaughtPlanes(cells.labels, [number for number, cell in cells if cell.state.teaches])
    accepted = [number for number, cell in cells if cell.state is State.CHECKED]
    regions = [np.array(region) for region in cells.regions]
    of_plane = regions_by_plane(regions, image)
    shown = _guesses_on_show(cells, entry.certainty)
    rim = _rim_of(cells.labels, shown)
    for position, shot in shots_by_plane(image, taught, regions=regions, background=background):
        if shown:
            guessed = np.isin(cells.labels.reshape(image.result_shape)[position], shown)
            certain = ~cells_with_rim(guessed, rim) | (shot.labels > 0)
            if background is not None:
                certain |= background.reshape(image.result_shape)[position]
            shot.known &= certain
        shot.accepted = tuple(np.intersect1d(accepted, shot.labels).tolist())
        if shot.accepted and position in of_plane:
            outside = shot.labels[~region_mask(of_plane[position], shot.labels.shape)]
            shot.surveyed = tuple(np.setdiff1d(shot.accepted, outside).tolist())
        shot.held = entry.held
        yield shot


def _guesses_on_show(cells: Cells, certainty: float) -> list[int]:
    return [n for n, cell in cells if cell.state is State.GUESS and not cell.score < certainty]


def _rim_of(stack: np.ndarray, numbers: Sequence[int]) -> float:
    """Return `default_rim` for these cells, with areas counted plane by plane."""
    areas: Counter[int] = Counter()
    for position in np.ndindex(stack.shape[:-2]):
        values, counts = label_areas(stack[position])
        areas.update(dict(zip(values.tolist(), counts.tolist())))
    chosen = [areas[number] for number in numbers if areas[number]]
    return rim_of_areas(np.array(chosen, np.int64))


def known_of(cells: Cells, certainty: float = 0.0, background: np.ndarray | None = None) -> np.ndarray:
    """Return the known pixels, bool; see `napari_cupre.data.annotation.known_area` and `shots_of`."""
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
    known &= ~doubtful(cells, certainty) | (labels > 0)
    return known if background is None else known | background


def is_annotated(cells: Cells) -> bool:
    """Whether an image has anything to learn from: a checked or edited cell, or a complete region."""
    return bool(cells.regions or cells.count(State.CHECKED, State.EDITED))


def image_shots(
    project: Project, stem: str, folders: Sequence[Path] = (), choose: ChooseChannels = as_it_is
) -> list[Shot]:
    """Yield the training examples of one image; see `project_shots`.

    Parameters
    ----------
    folders : Sequence[Path], optional
        Folders to search for moved images.
    choose : callable, optional
        See `project_shots`.
    """
    entry, cells, background = project.image(stem), project.cells(stem), project.background(stem)
    if not is_annotated(cells) and background is None:
        return []
    return list(shots_of(choose(project.pixels(entry, tuple(folders))), cells, entry, background))


def project_shots(project: Project, choose: ChooseChannels = as_it_is) -> Iterator[Shot]:
    """Yield the training examples of all images of a project.

    Parameters
    ----------
    project : Project
        The project.
    choose : callable, optional
        Chooses the channels of images for which the project has no choice.

    Raises
    ------
    InputError
        An annotated image is gone or cannot be read.
    """
    for entry in list(project.images):
        yield from image_shots(project, entry.stem, choose=choose)


def enough(
    annotated: Sequence[tuple[Cells, bool]], elsewhere: int = 0, *, is_known_elsewhere: bool = False
) -> tuple[bool, str]:
    """Return whether training can start, and a sentence on what would help most; uses only the rows.

    Parameters
    ----------
    annotated : Sequence[tuple[Cells, bool]]
        Cells of images, and whether background was painted in them.
    elsewhere : int, optional
        Number of cells to learn from in other images.
    is_known_elsewhere : bool, optional
        Whether there are regions in other images.
    """
    taught = elsewhere + sum(cells.count(State.CHECKED, State.EDITED) for cells, _ in annotated)
    if not taught:
        guesses = sum(cells.count(State.GUESS) for cells, _ in annotated)
        return False, (
            "Accept the guesses that are right, and draw what is missing: guesses teach nothing."
            if guesses
            else "Nothing is annotated yet: find cells and accept some, or draw a few."
        )
    said = f"{counted(taught, 'cell')} annotated"
    if taught < GOOD_CELL_COUNT // 2:
        return True, f"{said}; you can train. {GOOD_CELL_COUNT // 2} to {GOOD_CELL_COUNT} work far better."
    if not (is_known_elsewhere or any(cells.regions or painted for cells, painted in annotated)):
        return True, f"{said}; you can train. Known background (a region) would help."
    if taught < GOOD_CELL_COUNT:
        return True, f"{said}; you can train. A few more that look different would help."
    return True, f"{said}, enough to train. More cells help most where the result is wrong."
