"""What would be taught falsely by an annotation, found beside the window: asked about, never passed over."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from napari_cupre.data.labels import label_areas, scattered_labels
from napari_cupre.errors import InputError
from napari_cupre.widgets.guesses import Merged

SPLIT, HOLE, UNMARKED = "split", "hole", "unmarked"
MANY_VALUES = 10
SMOOTH = 0.5  # share of neighbours with one number below which numbers are grey values


@dataclass(frozen=True)
class Finding:
    """Something on one plane that a person should decide.

    Attributes
    ----------
    kind : str
        `SPLIT`, `HOLE` or `UNMARKED`.
    place : tuple[int, ...]
        The plane, along T and Z.
    labels : tuple[int, ...]
        The numbers that it is about.
    guesses : tuple[tuple[int, int], ...]
        For `UNMARKED`, the position among an image's guesses and the label there, of each.
    cells : numpy.ndarray or None
        For `UNMARKED`, the pixels of each by its number in `labels`, int32 (Y, X).
    """

    kind: str
    place: tuple[int, ...]
    labels: tuple[int, ...]
    guesses: tuple[tuple[int, int], ...] = ()
    cells: np.ndarray | None = field(default=None, compare=False)

    @property
    def sentence(self) -> str:
        """The question, with what the buttons do."""
        count = len(self.labels)
        if self.kind == SPLIT:
            which = f"Label {self.labels[0]} has" if count == 1 else f"{count} labels have"
            return f"{which} several separate parts. Make each part a cell?"
        if self.kind == HOLE:
            one = f"Cell {self.labels[0]} has a hole: fill it?"
            return one if count == 1 else f"{count} cells have holes: fill them?"
        likely = "1 likely cell" if count == 1 else f"{count} likely cells"
        verb = "is" if count == 1 else "are"
        return f"{likely} in this region {verb} not annotated. Until you answer, this part teaches nothing."


def holes(labels: np.ndarray) -> dict[int, np.ndarray]:
    """Unlabelled pixels that one cell encloses, by its label.

    Parameters
    ----------
    labels : numpy.ndarray
        Np.ndarray int32 (Y, X).

    Returns
    -------
    dict
        Row and column of the pixels, (n, 2).
    """
    empty, count = ndimage.label(labels == 0)
    if count == 0:
        return {}
    edge = np.concatenate([empty[0], empty[-1], empty[:, 0], empty[:, -1]])
    found: dict[int, np.ndarray] = {}
    boxes = ndimage.find_objects(empty)
    for number in np.setdiff1d(np.arange(1, count + 1), edge):
        rows, columns = boxes[number - 1]
        part = (slice(rows.start - 1, rows.stop + 1), slice(columns.start - 1, columns.stop + 1))
        hole = empty[part] == number
        around = np.unique(labels[part][ndimage.binary_dilation(hole) & ~hole])
        if len(around) == 1:
            pixels = np.argwhere(hole) + (rows.start - 1, columns.start - 1)
            known = found.get(int(around[0]))
            found[int(around[0])] = pixels if known is None else np.vstack([known, pixels])
    return found


def blobs(labels: np.ndarray, value: int) -> list[np.ndarray]:
    """Rows and columns (n, 2) of the parts of one number that do not touch, the largest first."""
    parts, count = ndimage.label(labels == value, np.ones((3, 3)))
    found = [np.argwhere(parts == number) for number in range(1, count + 1)]
    return sorted(found, key=len, reverse=True)


def are_grey_values(labels: np.ndarray) -> bool:
    """Whether a plane of whole numbers looks like a picture instead of cells."""
    values, _ = label_areas(labels)
    if len(values) < MANY_VALUES:
        return False
    pairs = labels[:, :-1] > 0
    same = (labels[:, 1:] == labels[:, :-1]) & pairs
    if same.sum() < SMOOTH * pairs.sum():
        return True
    return len(scattered_labels(labels)) > len(values) / 2


def refuse_grey_values(labels: np.ndarray, name: str) -> None:
    """Raise an error if labels look like a picture.

    Raises
    ------
    InputError
        If they do.
    """
    if are_grey_values(labels):
        raise InputError(
            f'The labels of "{name}" look like grey values of a picture, not like cells: '
            "choose a label image, in which every cell has its own label."
        )


def findings(by_hand: np.ndarray, place: tuple[int, ...], merged: Merged) -> list[Finding]:
    """What must be asked about one plane, the most harmful first.

    Parameters
    ----------
    by_hand : numpy.ndarray
        Np.ndarray int32 (Y, X), as the cells are marked in their layer.
    merged : Merged
        What the annotation of the plane comes to.
    """
    found = []
    if scattered := scattered_labels(by_hand):
        found.append(Finding(SPLIT, place, tuple(scattered)))
    if merged.unmarked:
        numbers = tuple(range(1, len(merged.unmarked) + 1))
        found.append(Finding(UNMARKED, place, numbers, tuple(merged.unmarked), merged.likely))
    if empty := holes(by_hand):
        found.append(Finding(HOLE, place, tuple(empty)))
    return found
