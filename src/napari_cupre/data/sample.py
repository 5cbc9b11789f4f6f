"""What a network learns from: an image, its labels, and which pixels of both are vouched for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Sample(NamedTuple):
    """What a network learns from.

    Attributes
    ----------
    image : numpy.ndarray
        float32 (Y, X, 3), normalised.
    labels : numpy.ndarray
        int32 (Y, X), 0 = no annotated cell.
    known : numpy.ndarray
        bool (Y, X), pixels whose truth is vouched for.
    """

    image: np.ndarray
    labels: np.ndarray
    known: np.ndarray
