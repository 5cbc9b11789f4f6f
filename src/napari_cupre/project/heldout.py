"""Cells that judge and never teach, the same ones through all rounds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_cupre.data.shot import Shot
from napari_cupre.project.cells import Cells, State
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.project import Project
from napari_cupre.project.shots import shots_of

SHARE = 0.2
"""Share of the images or cells that is held out."""

ENOUGH_IMAGES = 10
"""With at least this many annotated images, new images are held out as a whole."""

ENOUGH_CELLS = 10
"""With fewer cells in all, none is held out: they are judged by folds."""

LEAST_FOR_A_STRIP = 4
FOLDS = 5


@dataclass
class Split:
    """What teaches and what judges.

    Attributes
    ----------
    teaching, held_out : list[Shot]
        No pixel is in both. The second is empty where the cells are too few.
    how : str
        "images", "strips" or "folds".
    """

    teaching: list[Shot]
    held_out: list[Shot]
    how: str


def assign_held_out(project: Project) -> None:
    """Decide for every annotated image what is held out; earlier decisions stay.

    Call it when a round starts, and save the project: an image that taught once never judges later.
    """
    counts = {}
    shapes: dict[str, Cells] = {}
    for entry, cells in project.all_cells():
        taught = cells.count(State.CHECKED, State.EDITED)
        if taught:
            counts[entry.stem] = taught
            shapes[entry.stem] = cells
    fresh = [entry for entry in project.images if entry.stem in counts and entry.held is None]
    if len(counts) >= ENOUGH_IMAGES:
        _hold_images(project, fresh, len(counts))
    elif sum(counts.values()) >= ENOUGH_CELLS:
        for entry in fresh:
            if counts[entry.stem] >= LEAST_FOR_A_STRIP:
                entry.held = _strip(shapes[entry.stem])


def _hold_images(project: Project, fresh: Sequence[ProjectImage], annotated: int) -> None:
    """Hold out as many of the new images as the share asks for, chosen by content and nothing else."""
    held = sum(entry.held == "all" for entry in project.images)
    wanted = max(0, round(SHARE * annotated) - held)
    order = sorted(fresh, key=lambda entry: _draw(project, str(entry.place)))
    for rank, entry in enumerate(order):
        entry.held = "all" if rank < wanted else ""


def _strip(cells: Cells) -> str | None:
    """The strip along the longer side that holds about the share of the cells; None if none can be cut."""
    axis = int(cells.shape[-1] > cells.shape[-2])
    boxes = [cell.box[axis - 2] for _, cell in cells if cell.state.teaches]
    wanted = max(1, round(SHARE * len(boxes)))
    cut = sorted(start for start, _ in boxes)[-wanted]
    before = sum(stop <= cut for _, stop in boxes)
    return f"{axis}:{cut}" if before else None


def fold_of(project: Project, stem: str, number: int, folds: int = FOLDS) -> int:
    """In which fold a cell judges, 0 to `folds` - 1; the same in every round."""
    return _draw(project, f"{stem}/{number}") % folds


def _draw(project: Project, what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{project.document.id}/{what}".encode()).digest()[:8], "big")


def split_shots(project: Project, folders: Sequence[Path] = ()) -> Split:
    """The annotation of a project as what teaches and what judges, as `assign_held_out` settled it.

    A cell that a strip's edge divides does neither.

    Raises
    ------
    InputError
        An annotated image is gone or cannot be read.
    """
    teaching: list[Shot] = []
    held_out: list[Shot] = []
    ways = set()
    for entry, cells in project.all_cells():
        if not (cells.regions or cells.count(State.CHECKED, State.EDITED)):
            continue
        shots = shots_of(project.pixels(entry, tuple(folders)), cells, entry)
        if entry.held == "all":
            held_out += shots
            ways.add("images")
        elif entry.held and ":" in entry.held:
            axis, cut = map(int, entry.held.split(":"))
            parts = [shot.halves(axis, cut) for shot in shots]
            teaching += [before for before, _ in parts]
            held_out += [after for _, after in parts if after.labels.any()]
            ways.add("strips")
        else:
            teaching += shots
    how = "images" if "images" in ways else "strips" if ways else "folds"
    return Split(teaching, held_out, how)
