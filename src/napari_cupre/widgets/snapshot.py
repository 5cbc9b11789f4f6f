"""An image and its annotation as plain arrays and polygons, to be read outside the GUI thread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.data.image import CellImage, PlaneIndex

if TYPE_CHECKING:
    from napari_cupre.data.shot import Shot


@dataclass(frozen=True)
class Snapshot:
    """What a worker thread needs to make a training set.

    The arrays are the layers' own and not copies, since a copy of a stack would stop the window; a stroke
    that is painted meanwhile is in or not.

    Attributes
    ----------
    image : read plane by plane, where it lies.
    labels : whole numbers, `image.result_shape`; 0 = not annotated.
    background : of the same shape, not 0 where background was painted; None if nowhere.
    regions : polygons float (n, d) over `image.result_axes` in px, inside which every cell is annotated;
        (n, 2) where a region counts for every annotated plane.
    """

    image: CellImage
    labels: np.ndarray
    background: np.ndarray | None
    regions: tuple[np.ndarray, ...]

    def shots(self) -> Iterator[Shot]:
        """One annotated image per annotated plane.

        Raises
        ------
        InputError
            For an annotation that does not fit its image.
        """
        from napari_cupre.data.annotation import shots_from_image

        yield from shots_from_image(
            self.image, self.labels, regions=self._regions_with_planes(), background=self.background
        )

    def marks(self, index: PlaneIndex) -> Shot | None:
        """The annotation of one plane with zeros for its pixels, enough to count; None if there is none."""
        from napari_cupre.data.annotation import as_labels, known_area
        from napari_cupre.data.shot import Shot

        place = tuple(index.values())
        labels = as_labels(self.labels[place])
        background = None if self.background is None else self.background[place] > 0
        regions = [region[:, -2:] for region in self._regions_with_planes() if _lies_on(region, place)]
        if not (labels.any() or regions or (background is not None and background.any())):
            return None
        known = known_area(labels, regions=regions, background=background)
        pixels = np.broadcast_to(np.float32(0), (*labels.shape, 3))
        return Shot(pixels, labels, known, self.image.name)

    def _regions_with_planes(self) -> list[np.ndarray]:
        """A flat region over a stack is repeated on each plane that holds a cell."""
        leading = len(self.image.result_axes) - 2
        placed = []
        for region in self.regions:
            missing = leading + 2 - region.shape[1]
            if missing <= 0:
                placed.append(region)
                continue
            for index in self.image.plane_indices():
                place = tuple(index.values())
                if self.labels[place].any():
                    head = np.broadcast_to(np.array(place[:missing], float), (len(region), missing))
                    placed.append(np.hstack([head, region]))
        return placed


def _lies_on(region: np.ndarray, place: tuple[int, ...]) -> bool:
    return tuple(round(float(value)) for value in region[0, :-2]) == place
