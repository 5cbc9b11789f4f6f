"""Held-out cells: the same ones through all rounds, never used for training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from napari_cupre.project.cells import Cells
from napari_cupre.project.document import ProjectImage

SHARE = 0.2
"""Share of the images or cells that is held out."""

HELD_FROM_IMAGES = 10
"""With at least this many annotated images, new images are held out as a whole: the question is how the model
does on a new one. With fewer, one held-out image says more about itself, and what it shows is not learned."""

HELD_FROM_CELLS = 10
"""With fewer cells in all, none is held out: a verdict on one or two says nothing."""

LEAST_FOR_A_STRIP = 4
"""An image with fewer cells is not cut into a part that teaches and a strip that judges."""


@dataclass(frozen=True)
class Annotated:
    """What of an annotated image matters here, so that its cells need not stay in memory.

    `place` identifies the image, whatever it is called, and `stem` is its name in the project. `held` is
    what was settled (see `ProjectImage.held`). `cells` counts the checked and edited ones; `strip` is the
    one to hold out, None if there is none or none can be cut.
    """

    stem: str
    place: str
    held: str | None
    cells: int
    strip: str | None

    @classmethod
    def of(cls, entry: ProjectImage, cells: Cells) -> Annotated:
        """What matters of an image with these cells."""
        taught = sum(cell.state.teaches for _, cell in cells)
        strip = _strip(cells) if taught >= LEAST_FOR_A_STRIP else None
        return cls(entry.stem, str(entry.place), entry.held, taught, strip)


def settled(images: Iterable[Annotated], project: str) -> dict[str, str]:
    """Decide for every annotated image what is held out; earlier decisions are kept.

    Call it when a round starts: an image once used for training is never held out later.

    Parameters
    ----------
    images : iterable of Annotated
        All that take part in the round.
    project : str
        Its identity, from which whole images are drawn, and from nothing else.

    Returns
    -------
    dict of str to str
        Stems of the images that were not settled before, and what of them is held out.
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
    """The strip along the longer side that holds about the share of the cells; None if none can be cut."""
    axis = int(cells.shape[-1] > cells.shape[-2])
    boxes = [cell.box[axis - 2] for _, cell in cells if cell.state.teaches]
    wanted = max(1, round(SHARE * len(boxes)))
    cut = sorted(start for start, _ in boxes)[-wanted]
    before = sum(stop <= cut for _, stop in boxes)
    return f"{axis}:{cut}" if before else None


def _draw(project: str, what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{project}/{what}".encode()).digest()[:8], "big")
