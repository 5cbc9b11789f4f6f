"""Count what became of the shapes of a file, and put it in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from napari_cupre.words import counted

Say = Callable[[str], None]
"""A function that takes one sentence for the user."""


@dataclass(frozen=True)
class Reason:
    """Why a shape is not a cell, worded for one shape and for many.

    If `is_loss`, the user may have meant it as a cell, so the result is partial without it.
    """

    one: str
    many: str
    is_loss: bool = True


OUTSIDE = Reason("lies outside", "lie outside")
LINE = Reason("is a line", "are lines")
POINT = Reason("is a point", "are points")
TEXT = Reason("is a text", "are texts")
PICTURE = Reason("is a picture", "are pictures")
NO_AREA = Reason("has no area", "have no area")
SMALL = Reason("covers no pixel", "cover no pixel")
NO_PLANE = Reason(
    "lies on a plane that the image does not have", "lie on planes that the image does not have"
)
HIDDEN = Reason("is hidden under others", "are hidden under others")
REPEATED = Reason("repeats another", "repeat others")
DAMAGED = Reason("is damaged", "are damaged")
IGNORED = Reason("is of an ignored class", "are of an ignored class", is_loss=False)
REGION = Reason("is a region around others", "are regions around others", is_loss=False)
BOX = Reason("is a box without a mask", "are boxes without masks")
CROWD = Reason("is a crowd", "are crowds")
PART = Reason("is a part of a cell", "are parts of cells", is_loss=False)

_ORDER = (
    *(OUTSIDE, HIDDEN, REPEATED, NO_PLANE, SMALL, NO_AREA, DAMAGED),
    *(LINE, POINT, TEXT, PICTURE, BOX, CROWD, IGNORED, REGION, PART),
)


@dataclass
class Account:
    """Counts of the shapes of one file, or of the annotations of one of its images.

    Attributes
    ----------
    name : str
        Name of the file, for the sentence.
    total : int
        Number of shapes in the file, whatever became of them.
    reasons : dict[Reason, int]
        How many are not cells, by reason.
    notes : list[str]
        What else is odd about the shapes that became cells, one sentence each.
    things : str
        What the shapes are called in the sentence.
    """

    name: str
    total: int = 0
    reasons: dict[Reason, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    things: str = "shapes"

    def leave_out(self, reason: Reason, count: int = 1) -> None:
        """Count shapes that are not cells."""
        if count:
            self.reasons[reason] = self.reasons.get(reason, 0) + count

    @property
    def cells(self) -> int:
        """Return how many shapes became cells."""
        return self.total - sum(self.reasons.values())

    @property
    def is_partial(self) -> bool:
        """Whether something is missing that the user may have meant as a cell."""
        return any(reason.is_loss for reason in self.reasons)

    def sentence(self) -> str:
        """Say how many shapes became cells, and why the others did not.

        Such as `"a_rois.zip": 1 of 4 shapes became cells: 1 lies outside, 2 are lines.`
        """
        counts = [(reason, self.reasons[reason]) for reason in _ORDER if reason in self.reasons]
        why = ", ".join(counted(count, reason.one, reason.many) for reason, count in counts)
        return f'"{self.name}": {self.cells} of {self.total} {self.things} became cells: {why}.'

    def tell(self, on_partial: Say, on_note: Say) -> None:
        """Say what was left out, and the notes."""
        if self.reasons:
            (on_partial if self.is_partial else on_note)(self.sentence())
        for note in self.notes:
            on_note(f'"{self.name}": {note}')
