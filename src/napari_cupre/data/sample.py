"""Training data of a network: an image, its labels, and which pixels are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Sample:
    """What a network is trained on.

    Attributes
    ----------
    image : numpy.ndarray
        float32 (Y, X, 3), normalised.
    labels : numpy.ndarray
        int32 (Y, X), 0 = no annotated cell.
    known : numpy.ndarray
        bool (Y, X), pixels for which it is known whether they are cell or background.
    classes : dict of int to str or None
        Name of the class of each label; None = all are cells.
    """

    image: np.ndarray
    labels: np.ndarray
    known: np.ndarray
    classes: dict[int, str] | None = None

    @classmethod
    def complete(cls, image: np.ndarray, labels: np.ndarray) -> Sample:
        """Make a sample in which every cell is annotated."""
        return Sample(image, labels, np.ones(labels.shape, bool))

    def part(self, where: tuple[slice, slice]) -> Sample:
        """Cut out some rows and columns, as views."""
        return Sample(self.image[where], self.labels[where], self.known[where], self.classes)
