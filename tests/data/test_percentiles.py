"""Percentiles of counted or sorted values."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cupre.data.percentiles import Ordered


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("sign", [1, -1])
def test_percentiles_are_those_of_numpy_to_the_last_bit(dtype, sign):
    values = (np.random.default_rng(0).random((13, 17)) * 200).astype(dtype)
    ranks = Ordered(values)
    for percent in (0, 3, 50, 97, 99.8, 100):
        assert ranks.percentile(percent, sign) == np.percentile(values.astype(np.float64) * sign, percent)


def test_ranks_count_from_the_smallest_value():
    for dtype in (np.uint8, np.float32):
        assert Ordered(np.array([[7, 3], [9, 3]], dtype)).at([0, 1, 2, 3]) == [3, 3, 7, 9]
