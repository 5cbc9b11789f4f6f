"""Training crops from a few annotated images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_cupre.data.augment import Photometry, photometric, random_crop, random_turn, rescale
from napari_cupre.data.paste import CutCell, compose_field, copy_paste, cut_cells, measure_background
from napari_cupre.data.sample import Sample
from napari_cupre.data.shot import Shot
from napari_cupre.model.targets import label_boxes
from napari_cupre.synthetic import draw_field

# Network px per px at the network's diameter: cells may have another size in the next image.
SCALES = (0.75, 1.33)
PHOTOMETRY = Photometry(gamma=1.4, contrast=1.35, brightness=0.08, invert=0.0)
PASTE_SHARE = 0.5  # crops into which annotated cells are pasted
MOST_PASTED = 12
UNIFORM_SHARE = 0.25  # share of crops from anywhere; the others contain an annotated cell
# If hardly any background is known, this share of the crops is composed on background like that of the
# cells' rims, so that the network sees what is not a cell.
MOST_COMPOSED = 0.4
# No crop is composed above this ratio of known background to cell area.
ENOUGH_BACKGROUND = 1.5
# Share of crops from images without annotation, once the teacher is sure of something there.
UNLABELLED_SHARE = 0.3


class CropSampler:
    """Draws training crops; all randomness comes from the generator that is passed in.

    Parameters
    ----------
    shots : list[Shot]
        Shots to learn from at their own scale, with at least one cell among them.
    scales : list[float]
        Network px per image px for each shot.
    diameter : float
        Diameter of the cells in network px.
    rehearse : float
        Share of the crops that are synthetic fields.
    """

    def __init__(self, shots: list[Shot], scales: list[float], diameter: float, rehearse: float) -> None:
        self.samples = [shot.sample for shot in shots]
        self.scales, self.diameter, self.rehearse = scales, diameter, rehearse
        self.centres = [_centres(shot.labels) for shot in shots]
        counts = np.array([len(centres) for centres in self.centres], float)
        # The square root stops an image with hundreds of cells from dominating; an image that is known to be
        # empty shows what is not a cell.
        shares = np.sqrt(np.maximum(counts, [float(sample.known.any()) for sample in self.samples]))
        self.weights = shares / shares.sum()
        self.cells = [cell for shot, scale in zip(shots, scales) for cell in _scaled_cells(shot, scale)]
        measured = [measure_background(cut_cells(sample)) for sample in self.samples]
        self.backgrounds = [background for background in measured if background is not None]
        self.compose = _composed_share(self.samples)
        self.unlabelled: list[Sample] = []

    def learn_from(self, samples: list[Sample]) -> None:
        """Draw from these samples from now on: the same images with more known area."""
        self.samples = samples
        self.compose = _composed_share(samples)

    def draw(self, rng: np.random.Generator, size: int) -> Sample:
        """Draw one crop of `size` px at network scale."""
        kind = rng.random()
        if kind < self.rehearse:
            return draw_field(rng, size, diameter=self.diameter * float(np.exp(rng.uniform(-0.7, 0.7))))
        if self.unlabelled and rng.random() < UNLABELLED_SHARE:
            return self._finish(rng, self._unlabelled(rng, size))
        if self.backgrounds and rng.random() < self.compose:
            background = self.backgrounds[rng.integers(len(self.backgrounds))]
            return self._finish(rng, compose_field(rng, self.cells, background, size))
        return self._finish(rng, self._real(rng, size))

    def _real(self, rng: np.random.Generator, size: int) -> Sample:
        """Cut a part of an annotated image, and paste in some annotated cells."""
        index = int(rng.choice(len(self.samples), p=self.weights))
        around = None
        if len(self.centres[index]) and rng.random() >= UNIFORM_SHARE:
            around = tuple(self.centres[index][rng.integers(len(self.centres[index]))])
        factors = (SCALES[0] * self.scales[index], SCALES[1] * self.scales[index])
        sample = random_turn(rng, random_crop(rng, self.samples[index], size, factors, around))
        if rng.random() < PASTE_SHARE:
            sample = copy_paste(rng, sample, self.cells, int(rng.integers(1, MOST_PASTED + 1)))
        return sample

    def _unlabelled(self, rng: np.random.Generator, size: int) -> Sample:
        """Cut a part of what the teacher was sure of, which is already at network scale."""
        sample = self.unlabelled[rng.integers(len(self.unlabelled))]
        return random_turn(rng, random_crop(rng, sample, size, SCALES))

    def _finish(self, rng: np.random.Generator, sample: Sample) -> Sample:
        return replace(sample, image=photometric(rng, sample.image, PHOTOMETRY))


def scale_shot(shot: Shot, factor: float) -> Shot:
    """Resample a shot by `factor`."""
    scaled = rescale(shot.sample, factor)
    return replace(shot, image=scaled.image, labels=scaled.labels, known=scaled.known)


def _centres(labels: np.ndarray) -> np.ndarray:
    """Return the box centres (N, 2) as y, x."""
    _, boxes = label_boxes(labels)
    return (boxes[:, [1, 0]] + boxes[:, [3, 2]]) / 2


def _scaled_cells(shot: Shot, scale: float) -> list[CutCell]:
    return cut_cells(rescale(shot.sample, scale)) if shot.labels.any() else []


def _composed_share(samples: Sequence[Sample]) -> float:
    """Return the share of composed crops: the less background is known, the more crops are composed."""
    cells = sum(int(np.count_nonzero(sample.labels)) for sample in samples)
    background = sum(int(np.count_nonzero(sample.known & (sample.labels == 0))) for sample in samples)
    return MOST_COMPOSED * (1 - min(background / (cells * ENOUGH_BACKGROUND), 1.0))
