"""An image and its annotation as plain arrays and polygons, to be read outside the GUI thread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.widgets.guesses import Guesses, Merged, likely_cells, merge

if TYPE_CHECKING:
    from napari_cupre.data.shot import Shot


@dataclass(frozen=True)
class Snapshot:
    """What a worker thread needs to make a training set.

    The arrays are the layers' own and not copies, since a copy of a stack would stop the window; a stroke
    that is painted meanwhile is in or not.

    Attributes
    ----------
    image : CellImage
        Read plane by plane, where it lies.
    labels : numpy.ndarray
        Whole numbers, `image.result_shape`; 0 = not annotated. Cells of a layer that a model filled are among
        the guesses instead.
    background : numpy.ndarray or None
        The same shape, not 0 where background was painted; None if nowhere.
    regions : tuple[numpy.ndarray, ...]
        Polygons float (n, d) over `image.result_axes` in px, inside which every cell is annotated; (n, 2)
        where a region counts for every annotated plane.
    guesses : tuple[Guesses, ...]
        What models found in the image, edited or not.
    is_estimated : bool
        Look for cells that are not annotated in regions by their brightness, where there is no guess.
    """

    image: CellImage
    labels: np.ndarray
    background: np.ndarray | None
    regions: tuple[np.ndarray, ...]
    guesses: tuple[Guesses, ...] = ()
    refused: frozenset[tuple[int, ...]] = frozenset()

    def shots(self) -> Iterator[Shot]:
        """One annotated image per annotated plane.

        Raises
        ------
        InputError
            For an annotation that does not fit its image.
        """
        from napari_cupre.data.annotation import make_shot, plane_name, regions_by_plane
        from napari_cupre.widgets.checks import refuse_grey_values

        by_plane = regions_by_plane(self._regions_with_planes(), self.image)
        for index in self.image.plane_indices():
            place = tuple(index.values())
            regions = by_plane.get(place, [])
            merged = self.merged(index, regions)
            refuse_grey_values(merged.labels, self.image.name)
            background = None if self.background is None else self.background[place] > 0
            if not (regions or merged.labels.any() or (background is not None and background.any())):
                continue
            plane = self.image.plane(index)
            shot = make_shot(
                plane,
                merged.labels,
                regions=regions,
                background=background,
                name=plane_name(self.image.name, index),
                rgb=self.image.is_rgb and plane.ndim == 3,
            )
            shot.known &= ~merged.doubtful
            yield shot

    def marks(self, index: PlaneIndex) -> tuple[Shot, Merged] | None:
        """The annotation of one plane with zeros for its pixels, enough to count; None if there is none."""
        from napari_cupre.data.annotation import known_area
        from napari_cupre.data.shot import Shot

        place = tuple(index.values())
        background = None if self.background is None else self.background[place] > 0
        regions = [region[:, -2:] for region in self._regions_with_planes() if _lies_on(region, place)]
        merged = self.merged(index, regions)
        if not (merged.labels.any() or regions or (background is not None and background.any())):
            return None
        known = known_area(merged.labels, regions=regions, background=background) & ~merged.doubtful
        pixels = np.broadcast_to(np.float32(0), (*merged.labels.shape, 3))
        return Shot(pixels, merged.labels, known, self.image.name), merged

    def merged(self, index: PlaneIndex, regions: list[np.ndarray]) -> Merged:
        """The cells of a plane that may be taught, and what must be asked about.

        The last of the `guesses` that `Merged.unmarked` names may be one more than there are: the estimate.
        """
        from napari_cupre.data.annotation import as_labels, region_mask

        place = tuple(index.values())
        labels = as_labels(self.labels[place], self.image.name)
        inside = region_mask(regions, labels.shape, self.image.name) if regions else None
        merged = merge(labels, self.guesses, place, inside)
        if inside is not None and not any(place in each.prints for each in self.guesses):
            estimate = self.estimate(index, merged.labels, inside)
            found = merge(merged.labels, [estimate], place, inside)
            found.doubtful |= merged.doubtful
            found.unmarked = merged.unmarked + [(len(self.guesses), label) for _, label in found.unmarked]
            return found
        return merged

    def estimate(self, index: PlaneIndex, marked: np.ndarray, inside: np.ndarray) -> Guesses:
        """Cells that are not annotated inside the regions of a plane that no model has seen."""
        from napari_cupre.widgets.guesses import cell_prints

        place = tuple(index.values())
        found = np.zeros(marked.shape, np.int32)
        if (*place, -1) not in self.refused:
            found = likely_cells(self.image.plane(index), marked, inside)
        whole = np.broadcast_to(found, (*self.labels.shape[:-2], *found.shape))
        return Guesses(whole, {place: cell_prints(found)})

    def _regions_with_planes(self) -> list[np.ndarray]:
        """A flat region over a stack is repeated on each plane with a cell that a person annotated."""
        leading = len(self.image.result_axes) - 2
        placed = []
        for region in self.regions:
            missing = leading + 2 - region.shape[1]
            if missing <= 0:
                placed.append(region)
                continue
            for index in self.image.plane_indices():
                place = tuple(index.values())
                if self._is_marked(place):
                    head = np.broadcast_to(np.array(place[:missing], float), (len(region), missing))
                    placed.append(np.hstack([head, region]))
        return placed

    def _is_marked(self, place: tuple[int, ...]) -> bool:
        return bool(np.any(self.labels[place])) or any(each.touched(place)[1] for each in self.guesses)


def _lies_on(region: np.ndarray, place: tuple[int, ...]) -> bool:
    return tuple(round(float(value)) for value in region[0, :-2]) == place
