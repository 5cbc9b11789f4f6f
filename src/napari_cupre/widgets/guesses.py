"""What a model found besides what a person annotated: what may be taught, and what must be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from napari_cupre.data.labels import label_areas

Place = tuple[int, ...]
CellPrints = Mapping[int, tuple[int, int]]

MARKED = 0.3
"""A guess covered to this share by annotated cells counts as annotated."""

LEAST_AREA = 0.3
CLEAR = 3.0
RIM = 3  # px around a guess that stay unknown while nobody has said what it is


def cell_prints(labels: np.ndarray) -> dict[int, tuple[int, int]]:
    """Tell which cells of a plane were edited: the area of each label, and its place as a sum.

    Parameters
    ----------
    labels : np.ndarray
        Whole numbers (Y, X).
    """
    flat = np.asarray(labels).reshape(-1)
    where = np.flatnonzero(flat)
    values, inverse = np.unique(flat[where], return_inverse=True)
    areas = np.bincount(inverse, minlength=len(values))
    # sums of whole numbers below 2**53 are exact
    places = np.bincount(inverse, weights=(where * 2654435761) % 1048573, minlength=len(values))
    return {int(v): (int(a), int(p)) for v, a, p in zip(values, areas, places)}


@dataclass(frozen=True)
class Guesses:
    """Cells that a model found in an image, as their layer holds them now.

    Attributes
    ----------
    labels : numpy.ndarray
        int32 over the image's `result_axes`; the layer's own array.
    prints : Mapping[Place, CellPrints]
        Prints of the prediction, by plane; what differs was edited by a person.
    is_cells : bool
        Whether the person annotates in this layer.
    refused : frozenset[tuple[Place, int]]
        Planes and labels of which a person said that they are no cells.
    """

    labels: np.ndarray
    prints: Mapping[Place, CellPrints]
    is_cells: bool = False
    refused: frozenset[tuple[Place, int]] = frozenset()

    def touched(self, place: Place) -> tuple[set[int], bool]:
        """Cells of a plane that a person changed or drew, and whether anything there was edited."""
        now, then = cell_prints(self.labels[place]), self.prints.get(place, {})
        changed = {label for label, seen in now.items() if then.get(label) != seen}
        return changed, bool(changed or then.keys() - now.keys())


@dataclass
class Merged:
    """The annotation of one plane, with what counts of the guesses.

    Attributes
    ----------
    labels : numpy.ndarray
        int32 (Y, X).
    doubtful : numpy.ndarray
        bool (Y, X), pixels of which nobody has said whether they are a cell.
    unmarked : list[tuple[int, int]]
        Guesses inside a region that are neither marked nor refused, by their number in the list of guesses.
    likely : numpy.ndarray or None
        The pixels of those, numbered from 1 in their order; None if there are none.
    """

    labels: np.ndarray
    doubtful: np.ndarray
    unmarked: list[tuple[int, int]] = field(default_factory=list)
    likely: np.ndarray | None = None


def merge(labels: np.ndarray, guesses: Sequence[Guesses], place: Place, inside: np.ndarray | None) -> Merged:
    """Marked cells of a plane and the guesses that a person vouched for.

    A cell that a person changed counts everywhere. Inside a region of a plane that was corrected, all cells
    count as they are left. Guesses that nobody looked at are no cells and no background either.

    Parameters
    ----------
    labels : np.ndarray
        Whole numbers (Y, X): what is marked by hand.
    inside : np.ndarray, optional
        Bool (Y, X): where a person said that everything is marked.
    """
    merged = Merged(np.array(labels, dtype=np.int32), np.zeros(labels.shape, bool))
    order = sorted(range(len(guesses)), key=lambda n: not guesses[n].is_cells)
    for number in order:
        each = guesses[number]
        touched, is_edited = each.touched(place)
        plane = np.asarray(each.labels[place])
        taken, asked = _sorted_out(merged.labels, plane, each, place, inside, touched, is_edited)
        new = np.isin(plane, list(taken)) & (merged.labels == 0)
        merged.labels[new] = plane[new] + merged.labels.max()
        doubtful = np.isin(plane, list(asked)) & (merged.labels == 0)
        if doubtful.any():
            merged.doubtful |= ndimage.binary_dilation(doubtful, iterations=RIM)
        if not (is_edited or each.is_cells):
            for label in sorted(asked):
                _ask(merged, number, label, (plane == label) & (merged.labels == 0))
    merged.doubtful &= merged.labels == 0
    return merged


def _ask(merged: Merged, number: int, label: int, pixels: np.ndarray) -> None:
    """Enter a guess as likely, unless an earlier one is there."""
    if merged.likely is None:
        merged.likely = np.zeros(merged.labels.shape, np.int32)
    if (merged.likely[pixels] > 0).mean() < MARKED:
        merged.unmarked.append((number, label))
        merged.likely[pixels] = len(merged.unmarked)


def _sorted_out(
    marked: np.ndarray,
    plane: np.ndarray,
    guesses: Guesses,
    place: Place,
    inside: np.ndarray | None,
    touched: set[int],
    is_edited: bool,
) -> tuple[set[int], set[int]]:
    """Labels of a plane of guesses that count as cells, and those that must be asked about."""
    values, areas = label_areas(plane)
    size = int(values.max(initial=0)) + 1
    covered = np.bincount(plane[marked > 0], minlength=size)
    within = np.zeros(size, int) if inside is None else np.bincount(plane[inside], minlength=size)
    taken: set[int] = set()
    asked: set[int] = set()
    for label, area in zip(map(int, values), areas):
        if covered[label] >= MARKED * area:
            continue
        if label in touched:
            taken.add(label)
        elif within[label] and (place, label) not in guesses.refused:
            vouched = (is_edited or guesses.is_cells) and within[label] >= area / 2
            (taken if vouched else asked).add(label)
    return taken, asked


def likely_cells(plane: np.ndarray, marked: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Things inside a region that are as bright and as large as the annotated cells; a cheap estimate.

    Parameters
    ----------
    plane : np.ndarray
        Grey values (Y, X) or (Y, X, C).
    marked : np.ndarray
        Whole numbers (Y, X).
    inside : np.ndarray
        Bool (Y, X).

    Returns
    -------
    np.ndarray
        int32 (Y, X); nothing where the marked cells do not stand out from the rest.
    """
    nothing = np.zeros(marked.shape, np.int32)
    cells, rest = marked > 0, inside & (marked == 0)
    if not cells.any() or not rest.any():
        return nothing
    grey = ndimage.gaussian_filter(
        np.nan_to_num(plane.astype(np.float32)).reshape(*marked.shape, -1).mean(-1), 1
    )
    # most of a region may be cells that are not annotated, so that its median is no background
    low, high = np.percentile(grey[rest], [10, 90])
    level = float(np.median(grey[cells]))
    ground = low if abs(level - low) > abs(level - high) else high
    noise = float(np.median(np.abs(grey[rest] - np.median(grey[rest]))))
    if abs(level - ground) <= CLEAR * 1.48 * min(noise, abs(high - low) / 4 or noise):
        return nothing
    halfway = (level + ground) / 2
    found, _ = ndimage.label((grey > halfway if level > ground else grey < halfway) & inside)
    values, areas = label_areas(found)
    _, marked_areas = label_areas(marked)
    covered = np.bincount(found[cells], minlength=int(values.max(initial=0)) + 1)
    kept = (areas >= LEAST_AREA * np.median(marked_areas)) & (covered[values] < MARKED * areas)
    return np.where(np.isin(found, values[kept]), found, 0).astype(np.int32)


def result_prints(kept: Mapping[str, Any], axes: str) -> dict[Place, CellPrints]:
    """The prints that the metadata of a result layer keep, by plane over the leading `axes`."""
    return {
        tuple(plane["index"].get(axis, 0) for axis in axes): plane["prints"]
        for plane in kept.get("planes", ())
    }
