"""Held-out cells, the same in all rounds and never used for training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from napari_cupre.project.cells import Cells
from napari_cupre.project.document import ProjectImage

SHARE = 0.2
"""Share of the images or cells to hold out."""

HELD_FROM_IMAGES = 10
"""With at least this many annotated images, whole new images are held out, because the question is how the
model does on a new image. With fewer, one image would say mostly something about itself, and nothing would be
learned from it."""

HELD_FROM_CELLS = 10
"""With fewer cells in total, none is held out: a verdict on one or two says nothing."""

LEAST_FOR_A_STRIP = 4
"""Images with fewer cells are not cut into a part to learn from and a strip to judge with."""


@dataclass(frozen=True)
class Annotated:
    """The relevant data of an annotated image, so that its cells need not stay in memory.

    `place` identifies the image, whatever its name, and `stem` is its name in the project. `held` is the
    earlier decision (see `ProjectImage.held`). `cells` counts the checked and edited cells; `strip` is the
    strip to hold out, None if the image cannot be cut.
    """

    stem: str
    place: str
    held: str | None
    cells: int
    strip: str | None

    @classmethod
    def of(cls, entry: ProjectImage, cells: Cells) -> Annotated:
        """Return the relevant data of an image with these cells."""
        taught = sum(cell.state.teaches for _, cell in cells)
        strip = _strip(cells) if taught >= LEAST_FOR_A_STRIP else None
        return cls(entry.stem, str(entry.place), entry.held, taught, strip)


def settled(images: Iterable[Annotated], project: str) -> dict[str, str]:
    """Decide for every annotated image what is held out; earlier decisions are kept.

    Call this at the start of a round: an image once used for training is never held out later.

    Parameters
    ----------
    images : iterable of Annotated
        All images of the round.
    project : str
        Identity of the project, the only seed for drawing whole images.

    Returns
    -------
    dict of str to str
        The new decisions: stems of images, and what of them is held out.
    """
    annotated = [image for image in images if image.cells]
    fresh = [image for image in annotated if image.held is None]
    if len(annotated) >= HELD_FROM_IMAGES:
        held = sum(image.held == "all" for image in annotated)
        wanted = max(0, round(SHARE * len(annotated)) - held)
        order = sorted(fresh, key=lambda image: _draw(project, image.place))
        return {image.stem: "all" if rank < wanted else "" for rank, image in enumerate(order)}
    if sum(image.cells for image in annotated) < HELD_FROM_CELLS:
        return {}
    return {image.stem: image.strip for image in fresh if image.strip is not None}


def _strip(cells: Cells) -> str | None:
    """Return the strip along the longer side with about the share of cells; None if impossible."""
    axis = int(cells.shape[-1] > cells.shape[-2])
    boxes = [cell.box[axis - 2] for _, cell in cells if cell.state.teaches]
    wanted = max(1, round(SHARE * len(boxes)))
    cut = sorted(start for start, _ in boxes)[-wanted]
    before = sum(stop <= cut for _, stop in boxes)
    return f"{axis}:{cut}" if before else None


def _draw(project: str, what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{project}/{what}".encode()).digest()[:8], "big")
