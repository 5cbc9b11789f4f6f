"""Pseudo-background: where the network itself is sure that the unknown part of an image holds nothing.

Nobody has annotated the unknown pixels, so at first nothing is learned from them. Once the averaged weights
find the *annotated* cells, their prediction shows where there is most probably no other cell: that becomes
known background. Whatever may be a cell, however doubtful, stays unknown: learning from the surest of them as
cells made the outlines worse. Averaged weights as a teacher are from Tarvainen and Valpola,
"Mean teachers are better role models" (2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from napari_cupre.data.annotation import cells_with_rim
from napari_cupre.data.augment import rescale
from napari_cupre.data.sample import Sample
from napari_cupre.finetuning.judge import to_batch
from napari_cupre.model.device import autocast
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.paint import paint_masks

DOUBT = 0.1  # anything found with at least this score may be a cell, so it does not count as background
MARGIN = 2.0  # rim around a possible cell that stays unknown, network px
TRUSTED = 0.9  # share of the annotated cells' pixels that the teacher must find before it is trusted
WINDOW = 384  # side of a window, network px

Part = tuple[slice, slice]


@dataclass
class LookedAt:
    """What the teacher sees in a part of an annotated image.

    Attributes
    ----------
    index : int
        Index of the image.
    part : Part
        Rows and columns, image px.
    possible : numpy.ndarray
        bool (h, w), everything that may be a cell.
    """

    index: int
    part: Part
    possible: np.ndarray


class PseudoBackground:
    """What the teacher sees in the unknown part of the annotated images, window by window.

    Parameters
    ----------
    samples : Sequence[Sample]
        The images as annotated; they are not changed.
    scales : Sequence[float]
        Network px per image px for each image.
    rng : np.random.Generator
        Determines the order of the windows.
    """

    def __init__(self, samples: Sequence[Sample], scales: Sequence[float], rng: np.random.Generator) -> None:
        self.samples, self.scales = samples, scales
        places = [
            (index, part)
            for index, (sample, scale) in enumerate(zip(samples, scales))
            for part in _parts(sample, scale)
        ]
        self._queue = [places[i] for i in rng.permutation(len(places))]
        self._seen: dict[tuple[int, int, int], LookedAt] = {}

    def look(self, network: CellRCNN, dtype: torch.dtype | None, most: int) -> list[Sample] | None:
        """Run the network on the windows that were checked longest ago.

        Parameters
        ----------
        dtype : torch.dtype or None
            Data type of autocast.
        most : int
            Windows to look at; each costs less than a training step.

        Returns
        -------
        The samples, with sure background added to the known area by the latest look at every
        window; None if the teacher misses too much of the annotated cells to be trusted.
        """
        now, later = self._queue[:most], self._queue[most:]
        self._queue = later + now
        for index, part in now:
            window = _look(network, index, part, self.samples[index], self.scales[index], dtype)
            self._seen[index, part[0].start, part[1].start] = window
        windows = list(self._seen.values())
        if not windows or _found_share(windows, self.samples) < TRUSTED:
            return None
        results = [replace(sample, known=sample.known.copy()) for sample in self.samples]
        for window in windows:
            margin = MARGIN / self.scales[window.index]
            results[window.index].known[window.part] |= ~cells_with_rim(window.possible, margin)
        return results


def _parts(sample: Sample, scale: float) -> Iterator[Part]:
    """Return the windows of an image that contain annotated cells and unknown pixels."""
    side = max(1, int(WINDOW / scale))
    height, width = sample.labels.shape
    for top in range(0, height, side):
        for left in range(0, width, side):
            part = (slice(top, top + side), slice(left, left + side))
            if sample.labels[part].any() and not sample.known[part].all():
                yield part


def _look(
    network: CellRCNN, index: int, part: Part, sample: Sample, scale: float, dtype: torch.dtype | None
) -> LookedAt:
    piece = sample.part(part)
    shape = piece.labels.shape
    scaled = rescale(piece, scale)
    device = next(network.parameters()).device
    with autocast(device, dtype):
        found = network.detect(to_batch([scaled.image], device), score=DOUBT)[0]
    back = np.array([shape[1] / scaled.labels.shape[1], shape[0] / scaled.labels.shape[0]] * 2)
    painted = paint_masks(found.boxes.numpy() * back, found.masks.numpy(), found.scores.numpy(), shape)
    return LookedAt(index, part, painted > 0)


def _found_share(windows: list[LookedAt], samples: Sequence[Sample]) -> float:
    """Return the share of the annotated cells' pixels in which the teacher finds anything.

    One minus this share estimates how much of the other cells would be mistaken for background.
    """
    found = pixels = 0
    for window in windows:
        cells = samples[window.index].labels[window.part] > 0
        found += int(np.count_nonzero(window.possible[cells]))
        pixels += int(np.count_nonzero(cells))
    return found / pixels if pixels else 0.0
