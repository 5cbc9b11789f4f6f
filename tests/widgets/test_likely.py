"""What nobody has looked at yet is neither cell nor background."""

from __future__ import annotations

import numpy as np
from window_fields import field_of_discs

from napari_cupre.data.image import CellImage
from napari_cupre.project.cells import Cells, Region
from napari_cupre.widgets.likely import likely_by_plane, likely_cells, unlooked_at

SIZE = 192
WHOLE: Region = ((-0.5, -0.5), (-0.5, SIZE - 0.5), (SIZE - 0.5, SIZE - 0.5), (SIZE - 0.5, -0.5))


def test_likely_cells_are_estimated_where_no_model_was_asked() -> None:
    image, labels = field_of_discs()
    by_hand = np.where(labels == 8, 1, 0).astype(np.int32)
    inside = np.ones(labels.shape, bool)
    for plane in (image, 255 - image, np.stack([image] * 3, -1)):
        found = likely_cells(plane, by_hand, inside)
        assert abs(len(np.unique(found)) - 1 - (labels.max() - 1)) <= 2
        assert (found[by_hand > 0] == 0).all()
    noise = np.random.default_rng(0).normal(size=labels.shape)
    assert not likely_cells(noise, by_hand, inside).any()
    assert not likely_cells(np.full(labels.shape, np.nan), by_hand, inside).any()
    assert not likely_cells(image, labels, inside).any(), "all are marked"


def test_only_regions_in_which_nobody_has_looked_are_doubtful() -> None:
    pixels, labels = field_of_discs()
    image = CellImage.from_array(np.stack([pixels] * 2), "ZYX", name="stack")
    by_hand = np.zeros(image.result_shape, np.int32)
    by_hand[1] = np.where(labels == 8, 1, 0)
    region: Region = tuple((1.0, *corner) for corner in WHOLE)
    cells = Cells.of(by_hand, regions=[region])
    ((place, found),) = likely_by_plane(image, cells, ())
    assert place == (1,)
    doubtful = unlooked_at(image, cells, (), ())
    assert list(doubtful) == ["stack (Z=1)"]
    assert doubtful["stack (Z=1)"][found > 0].all()
    assert list(likely_by_plane(image, cells, {(1,)})) == []
    assert unlooked_at(image, cells, (), {region}) == {}
