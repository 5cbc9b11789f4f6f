"""An image and its cells as plain values, to be read outside the GUI thread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.project.cells import Cells, Region
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.shots import is_annotated, shots_of
from napari_cupre.widgets.cells_layer import CellsLayer
from napari_cupre.widgets.layers import from_layer
from napari_cupre.widgets.likely import unlooked_at

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_cupre.data.shot import Shot
    from napari_cupre.widgets.session import Session

COPIED_BYTES = 2**28
"""Labels up to this size are copied; to copy a larger stack would stop the window."""


@dataclass(frozen=True)
class Snapshot:
    """What a worker thread needs to make a training set.

    Attributes
    ----------
    image : CellImage
        Read plane by plane, where it lies.
    cells : Cells
        As they were; of a large stack the pixels are the layer's own, and a stroke that is painted meanwhile
        teaches nothing yet.
    entry : ProjectImage
        Channels, and the certainty of the visible guesses.
    background : numpy.ndarray or None
        bool over the axes of the cells, True where background was painted; None if nowhere.
    searched, estimated : frozenset
        Planes in which a model looked for cells, and regions in which likely ones were estimated.
    """

    image: CellImage
    cells: Cells
    entry: ProjectImage
    background: np.ndarray | None
    searched: frozenset[tuple[int, ...]]
    estimated: frozenset[Region]

    @classmethod
    def of(cls, cells: CellsLayer, background: Labels | None = None) -> Snapshot:
        """The cells of an image as they are.

        Raises
        ------
        InputError
            A shape among the regions encloses nothing.
        """
        cells.reconcile()
        cells.check_regions()
        is_small = cells.cells.labels.nbytes <= COPIED_BYTES
        held = (
            cells.cells.copy()
            if is_small
            else Cells(cells.cells.labels, cells.cells.rows, cells.cells.regions)
        )
        painted = None if background is None else from_layer(background.data, cells.reading)
        return cls(
            cells.reading,
            held,
            cells.entry,
            None if painted is None else np.asarray(painted) > 0,
            frozenset(cells.searched),
            frozenset(cells.estimated),
        )

    def shots(self) -> Iterator[Shot]:
        """One annotated image per annotated plane.

        Where a person said that every cell is annotated, but nobody has looked for others yet, what looks
        like a cell teaches nothing.

        Raises
        ------
        InputError
            An annotation that does not fit its image.
        """
        doubtful = unlooked_at(self.image, self.cells, self.searched, self.estimated)
        for shot in shots_of(self.image, self.cells, self.entry, self.background):
            likely = doubtful.get(shot.name)
            if likely is not None:
                shot.known &= ~likely
            yield shot


def teaching_images(session: Session) -> list[Image]:
    """Images of a window with anything to learn from; and those whose cells cannot be used, to say so."""
    found = [(each, session.cells_of(each.image)) for each in session.annotated()]
    return [
        each.image
        for each, cells in found
        if cells is None or each.background is not None or is_annotated(cells.cells)
    ]
