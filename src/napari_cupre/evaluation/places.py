"""Places that somebody could annotate next: images, and fields of large ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.data.normalise import Stretch
from napari_cupre.io.channel_names import ChooseChannels
from napari_cupre.io.images import read_image
from napari_cupre.project.project import Project
from napari_cupre.project.shots import is_annotated

Field = tuple[int, int, int, int]
"""Top, left, bottom and right in px, ends exclusive."""

SIDE = 1024
"""Longest side of a field, px."""

WHOLE = 1536
"""Planes with sides of up to this many px are rated as a whole."""

MOST_FIELDS = 24
"""Maximum number of fields to rate in one image, spread evenly."""


@dataclass(frozen=True)
class Candidate:
    """An image to suggest, or one that is annotated already.

    `read` opens it, and raises `InputError` if it cannot be read. In a large image only the fields in
    `annotated` count as annotated; empty means everywhere.
    """

    name: str
    read: Callable[[], CellImage] = field(compare=False)
    is_annotated: bool = False
    annotated: tuple[Field, ...] = ()

    def called(self, name: str) -> Candidate:
        """Return the same image with another name."""
        return replace(self, name=name)


@dataclass(frozen=True)
class Place:
    """An image to annotate, or a field of a large one; `field` is None for the whole image."""

    candidate: Candidate
    field: Field | None = None

    @property
    def is_annotated(self) -> bool:
        """Whether anything is annotated here."""
        there = self.candidate.annotated
        if self.field is None or not there:
            return self.candidate.is_annotated
        top, left, bottom, right = self.field
        return any(y0 < bottom and top < y1 and x0 < right and left < x1 for y0, x0, y1, x1 in there)

    def __str__(self) -> str:
        """Return the name of the image, and the position in it."""
        if self.field is None:
            return self.candidate.name
        top, left, bottom, right = self.field
        return f"{self.candidate.name} [rows {top} to {bottom}, columns {left} to {right}]"


class Looker:
    """Reads places; keeps the last image, because its fields follow one another.

    Parameters
    ----------
    choose : callable
        Chooses the channels of an image if nobody has.
    """

    def __init__(self, choose: ChooseChannels) -> None:
        self._choose = choose
        self._latest: tuple[Candidate, CellImage, Any, Stretch] | None = None

    def image(self, candidate: Candidate) -> CellImage:
        """Return the image of a candidate.

        Raises
        ------
        InputError
            It cannot be read.
        """
        return self._opened(candidate)[0]

    def pixels(self, place: Place, step: int = 1) -> np.ndarray:
        """Return the first plane at a place, normalised like the whole plane, float32 (Y, X, 3).

        Parameters
        ----------
        place : Place
            Image or field.
        step : int, optional
            Step between the rows and columns to read.
        """
        _, plane, stretch = self._opened(place.candidate)
        top, left, bottom, right = place.field or (0, 0, *plane.shape[:2])
        return stretch(np.asarray(plane[top:bottom:step, left:right:step]))

    def _opened(self, candidate: Candidate) -> tuple[CellImage, Any, Stretch]:
        if self._latest is None or self._latest[0] is not candidate:
            self._latest = None
            image = self._choose(candidate.read())
            self._latest = candidate, image, image.lazy_plane(), image.stretch()
        return self._latest[1:]


def fields_in(shape: tuple[int, int]) -> list[Field | None]:
    """Return the fields of a plane; [None] if it is rated as a whole.

    Parameters
    ----------
    shape : tuple of (int, int)
        Rows and columns.

    Examples
    --------
    >>> fields_in((512, 700))
    [None]
    >>> fields_in((1000, 2000))
    [(0, 0, 1000, 1000), (0, 1000, 1000, 2000)]
    """
    if max(shape) <= WHOLE:
        return [None]
    parts = [ceil(length / SIDE) for length in shape]
    edges = [np.linspace(0, length, count + 1).astype(int).tolist() for length, count in zip(shape, parts)]
    found: list[Field | None] = [
        (top, left, bottom, right)
        for top, bottom in zip(edges[0], edges[0][1:])
        for left, right in zip(edges[1], edges[1][1:])
    ]
    chosen = np.unique(np.linspace(0, len(found) - 1, min(MOST_FIELDS, len(found))).round().astype(int))
    return [found[number] for number in chosen]


def of_files(
    paths: Sequence[Path], annotated: Sequence[Path] = (), channels: tuple[int, ...] | None = None
) -> list[Candidate]:
    """Return image files as candidates, named by their paths.

    Parameters
    ----------
    paths : sequence of Path
        Files without annotation.
    annotated : sequence of Path, optional
        Annotated files.
    channels : tuple of int or None, optional
        Channels to use of images that have them; None for the first three.
    """
    return [
        Candidate(str(path), partial(_read, path, channels), is_done)
        for files, is_done in ((paths, False), (annotated, True))
        for path in files
    ]


def _read(path: Path, channels: tuple[int, ...] | None) -> CellImage:
    return replace(read_image(path), channels=channels)


def of_project(project: Project) -> Iterator[Candidate]:
    """Return the images of a project as candidates, named by their stems."""
    for entry, cells in project.all_cells():
        boxes = [cell.box[-2:] for _, cell in cells if cell.state.teaches]
        corners = [np.array(region)[:, -2:] for region in cells.regions]
        boxes += [tuple(zip(each.min(0).astype(int), each.max(0).astype(int) + 1)) for each in corners]
        yield Candidate(
            entry.stem,
            partial(project.pixels, entry),
            is_annotated(cells),
            tuple((int(y0), int(x0), int(y1), int(x1)) for (y0, y1), (x0, x1) in boxes),
        )
