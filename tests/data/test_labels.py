"""Label images: what they are, and what is none."""

from __future__ import annotations

import numpy as np
import pytest
from window_fields import field_of_discs

from napari_cupre.data.labels import are_grey_values, refuse_grey_values
from napari_cupre.errors import InputError


def test_a_picture_is_no_label_image() -> None:
    pixels, discs = field_of_discs()
    raw = pixels.astype(np.int32)
    assert are_grey_values(raw)
    smooth = np.add.outer(np.arange(200), np.arange(200)).astype(np.int32)
    assert are_grey_values(smooth)
    tiles = np.kron(np.arange(400).reshape(20, 20), np.ones((5, 5), int)).astype(np.int32)
    for cells in (discs, tiles):
        assert not are_grey_values(cells)
    with pytest.raises(InputError, match="grey values"):
        refuse_grey_values(raw, "raw")
