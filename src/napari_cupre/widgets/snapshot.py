"""An image and its cells as plain values that other threads can read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.io.channel_names import ChooseChannels, as_it_is
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
"""Labels up to this size are copied; copying a larger stack would block the window."""


@dataclass(frozen=True)
class Snapshot:
    """The data that a worker thread needs to make a training set.

    Attributes
    ----------
    image : CellImage
        The image; planes are read one at a time from where they are stored.
    cells : Cells
        The cells at the time of the snapshot. A large stack shares the layer's pixels, but strokes painted
        in the meantime are not learned from.
    entry : ProjectImage
        Channels, and the certainty of the visible guesses.
    background : numpy.ndarray or None
        bool over the axes of the cells, True where background was painted; None without any.
    searched, estimated : frozenset
        Planes that a model has searched for cells, and regions in which likely cells were estimated.
    """

    image: CellImage
    cells: Cells
    entry: ProjectImage
    background: np.ndarray | None
    searched: frozenset[tuple[int, ...]]
    estimated: frozenset[Region]

    @classmethod
    def of(cls, cells: CellsLayer, background: Labels | None = None) -> Snapshot:
        """Take a snapshot of the cells of an image.

        Raises
        ------
        InputError
            A shape among the regions encloses no area.
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

    def shots(self, choose: ChooseChannels = as_it_is) -> Iterator[Shot]:
        """Return one training example for each annotated plane.

        In a region that was declared complete but not searched yet, unannotated objects that look like cells
        are not learned from.

        Parameters
        ----------
        choose : callable, optional
            Chooses the channels if nobody has.

        Raises
        ------
        InputError
            An annotation that does not fit its image.
        """
        doubtful = unlooked_at(self.image, self.cells, self.searched, self.estimated)
        for shot in shots_of(choose(self.image), self.cells, self.entry, self.background):
            likely = doubtful.get(shot.name)
            if likely is not None:
                shot.known &= ~likely
            yield shot


def teaching_images(session: Session) -> list[Image]:
    """Return the images of a window to learn from, and those whose cells cannot be used."""
    found = [(each, session.cells_of(each.image)) for each in session.annotated()]
    return [
        each.image
        for each, cells in found
        if cells is None or each.background is not None or is_annotated(cells.cells)
    ]
