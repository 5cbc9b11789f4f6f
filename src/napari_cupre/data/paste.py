"""Cut annotated cells out of images and paste them into others, or onto a background made from their rims.

A few annotated cells on an otherwise unknown image come with little known background. But their rims show how
the background looks: `measure_background` measures its level, unevenness and grain, and `compose_field` draws
a completely known field from these and the cells. Pasting follows Ghiasi et al., "Simple copy-paste is a
strong data augmentation method for instance segmentation" (2021), with rims in place of hard edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_cupre.data.labels import label_areas
from napari_cupre.data.sample import Sample

RIM_FRACTION = 0.15
RIM_BOUNDS = (2, 6)
"""A cell is cut with a rim of `RIM_FRACTION` of its diameter, within these bounds in px."""

_MIN_VISIBLE = 0.75  # a pasted cell shows at least this share of itself
_TRIES = 8
_LEAST_RIM = 16  # fewest rim px from which background is measured
_GRAIN_SIGMA = 4.0  # px; coarser structure is unevenness, finer structure is grain
_MAD_TO_SPREAD = 1.4826  # median absolute deviation to standard deviation, of a normal distribution


@dataclass
class CutCell:
    """One annotated cell cut out of its image.

    Attributes
    ----------
    image : numpy.ndarray
        float32 (h, w, 3).
    mask : numpy.ndarray
        bool (h, w), the cell.
    rim : numpy.ndarray
        bool (h, w), known background next to it.
    edge : numpy.ndarray
        float32 (h, w), opacity when it is pasted: 1 on the cell, falling to 0 over the rim.
    """

    image: np.ndarray
    mask: np.ndarray
    rim: np.ndarray
    edge: np.ndarray

    @property
    def far_rim(self) -> np.ndarray:
        """Return the outer half of the rim, which the cell's blur reaches least; bool (h, w)."""
        far = self.rim & (self.edge < 0.5)
        return far if far.any() else self.rim


@dataclass(frozen=True)
class Background:
    """What the rims of annotated cells show about the background.

    Attributes
    ----------
    level : numpy.ndarray
        float32 (3,), the median over the rims.
    unevenness : numpy.ndarray
        float32 (3,), how the rims' levels differ from cell to cell (one standard deviation).
    grain : numpy.ndarray
        float32 (3, 3), factor L of the residuals' colour covariance L @ L.T; for grey images only its first
        column is not zero, so that grey stays grey.
    sigma : float
        Blur in px that gives white noise the correlation of the residuals.
    """

    level: np.ndarray
    unevenness: np.ndarray
    grain: np.ndarray
    sigma: float


def cut_cells(sample: Sample) -> list[CutCell]:
    """Cut out all annotated cells with their rims; those at the border only if there are no others."""
    numbers, values = _compact(sample.labels)
    boxes = ndimage.find_objects(numbers)
    whole: list[CutCell] = []
    cut: list[CutCell] = []
    height, width = sample.labels.shape
    for value, box in zip(values, boxes):
        mask = sample.labels[box] == value
        margin = 1 + _rim_width(mask)
        top, left = (max(0, part.start - margin) for part in box)
        bottom, right = min(height, box[0].stop + margin), min(width, box[1].stop + margin)
        view = np.s_[top:bottom, left:right]
        mask = sample.labels[view] == value
        rim = ndimage.binary_dilation(mask, iterations=margin - 1)
        rim &= (sample.labels[view] == 0) & sample.known[view]
        at_border = box[0].start == 0 or box[1].start == 0 or box[0].stop == height or box[1].stop == width
        cell = CutCell(sample.image[view].copy(), mask, rim, _soft_edge(mask, rim))
        (cut if at_border else whole).append(cell)
    return whole or cut


def _compact(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Renumber labels 1..n; return them and the old value of each."""
    values, _ = label_areas(labels)
    if values.size and values[-1] < 4 * labels.size:
        places = np.zeros(values[-1] + 1, np.intp)
        places[values] = np.arange(1, len(values) + 1)
        return places[labels], values
    return np.searchsorted(np.concatenate([[0], values]), labels), values


def _rim_width(mask: np.ndarray) -> int:
    diameter = 2 * np.sqrt(mask.sum() / np.pi)
    return int(np.clip(round(RIM_FRACTION * diameter), *RIM_BOUNDS))


def _soft_edge(mask: np.ndarray, rim: np.ndarray) -> np.ndarray:
    """Return opacity: 1 on the cell, falling to 0 at the rim's far edge, 0 elsewhere; float32."""
    outside = ndimage.distance_transform_edt(~mask)
    width = max(float(outside[rim].max(initial=0.0)), 1.0)
    ramp = np.where(rim, 1 - (outside - 0.5) / width, 0)
    return np.where(mask, 1, ramp).clip(0, 1).astype(np.float32)


def copy_paste(rng: np.random.Generator, sample: Sample, donors: Sequence[CutCell], n: int) -> Sample:
    """Paste up to `n` cells beside the cells of a sample.

    Pasted cells lie below the annotated cells, which do not change; they cover known background and unknown
    area alike. Its pixels and the near half of its rim become known. A cell is left out if a few tries find
    no free place for it.

    Parameters
    ----------
    rng : np.random.Generator
        Source of all randomness.
    sample : Sample
        The sample to paste into; it is not changed.
    donors : Sequence[CutCell]
        Cells to choose from, with repetition.
    n : int
        How many to try.

    Returns
    -------
    Sample
        With the old labels, and higher ones for the new cells.
    """
    result = Sample(sample.image.copy(), sample.labels.copy(), sample.known.copy(), sample.classes)
    if donors:
        for _ in range(n):
            _paste_somewhere(rng, result, _varied(rng, donors[int(rng.integers(len(donors)))]))
    return result


def measure_background(cells: Sequence[CutCell]) -> Background | None:
    """Measure the background in the cells' rims; None if there is too little rim."""
    rims = [(cell, cell.far_rim) for cell in cells]
    rims = [(cell, rim) for cell, rim in rims if rim.any()]
    if sum(int(rim.sum()) for _, rim in rims) < _LEAST_RIM:
        return None
    levels = np.stack([np.median(cell.image[rim], axis=0) for cell, rim in rims])
    grains = [_grain(cell.image, rim) for cell, rim in rims]
    residuals = np.concatenate([grain[rim] for grain, (_, rim) in zip(grains, rims)])
    # Outliers are neighbours that reach into the rim, not grain.
    middle = np.median(residuals, axis=0)
    limit = 3 * _MAD_TO_SPREAD * np.median(np.abs(residuals - middle), axis=0)
    residuals = np.clip(residuals, middle - limit, middle + limit)
    grains = [np.clip(grain, middle - limit, middle + limit) for grain in grains]
    correlation = _neighbour_correlation([(grain.mean(axis=2), rim) for grain, (_, rim) in zip(grains, rims)])
    # White noise blurred by a Gaussian of sigma has the correlation exp(-1 / (4 sigma^2)) between neighbours.
    sigma = 0.0 if correlation < 0.05 else 0.5 / np.sqrt(-np.log(min(correlation, 0.98)))
    return Background(
        np.median(levels, axis=0).astype(np.float32),
        levels.std(axis=0).astype(np.float32),
        _colour_factor(residuals).astype(np.float32),
        float(sigma),
    )


def _grain(image: np.ndarray, rim: np.ndarray) -> np.ndarray:
    """Subtract the local mean over the rim from the image, so that a cell's glow is not taken for grain.

    A rim is thin, so the mean follows correlated grain, and the grain's spread comes out up to a third too
    small.
    """
    weight = ndimage.gaussian_filter(rim.astype(np.float32), _GRAIN_SIGMA)
    mean = ndimage.gaussian_filter(image * rim[..., None], (_GRAIN_SIGMA, _GRAIN_SIGMA, 0))
    return image - mean / np.maximum(weight, 1e-6)[..., None]


def _colour_factor(residuals: np.ndarray) -> np.ndarray:
    """Return L with L @ L.T = covariance of residuals (n, 3); for grey only its first column is not zero."""
    covariance = np.cov(residuals, rowvar=False)
    if (residuals[:, :1] == residuals).all():
        factor: np.ndarray = np.zeros((3, 3))
        factor[:, 0] = np.sqrt(covariance[0, 0])
        return factor
    return np.linalg.cholesky(covariance + 1e-8 * np.eye(3))


def _neighbour_correlation(parts: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the correlation of rim pixels (grain, rim) with their right and lower neighbours in the rim."""
    first, second = [], []
    for grain, rim in parts:
        for a, b in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
            both = rim[a] & rim[b]
            first.append(grain[a][both])
            second.append(grain[b][both])
    x, y = np.concatenate(first), np.concatenate(second)
    spread = float(np.sqrt(np.mean(x**2) * np.mean(y**2))) if x.size else 0.0
    return float(np.mean(x * y)) / spread if spread > 0 else 0.0


def compose_field(
    rng: np.random.Generator,
    cells: Sequence[CutCell],
    background: Background,
    size: int,
    n: int | None = None,
) -> Sample:
    """Draw a field of annotated cells on a background made from their rims; all of it is known.

    Parameters
    ----------
    rng : np.random.Generator
        Source of all randomness.
    cells : Sequence[CutCell]
        Cells to choose from, with repetition; at least one.
    background : Background
        From `measure_background`.
    size : int
        Side in px.
    n : int or None, optional
        How many cells to paste; by default enough to cover 5 to 40 % of the field.

    Returns
    -------
    Sample
        (size, size), labels 1..n.
    """
    sample = Sample.complete(_draw_background(rng, background, size), np.zeros((size, size), np.int32))
    if n is None:
        area = float(np.mean([cell.mask.sum() for cell in cells]))
        n = max(1, round(rng.uniform(0.05, 0.4) * size**2 / area))
    for _ in range(n):
        cell = _varied(rng, cells[int(rng.integers(len(cells)))])
        _paste_somewhere(rng, sample, cell, match_level=True)
    return sample


def _draw_background(rng: np.random.Generator, background: Background, size: int) -> np.ndarray:
    """Draw a background with the given level, unevenness and grain, float32 (size, size, 3)."""
    coarse = rng.standard_normal((4, 4)).astype(np.float32)
    slow = ndimage.zoom(coarse, size / 4, order=3, mode="nearest", grid_mode=True)[:size, :size]
    is_grey = not background.grain[:, 1:].any()
    noise = rng.standard_normal((size, size, 3), dtype=np.float32)
    if background.sigma > 0.2:
        noise = ndimage.gaussian_filter(noise, (background.sigma, background.sigma, 0), mode="wrap")
        noise /= noise.std()
    image = background.level + slow[..., None] * background.unevenness + noise @ background.grain.T
    return np.repeat(image[..., :1], 3, axis=2) if is_grey else image.astype(np.float32)


def _varied(rng: np.random.Generator, cell: CutCell) -> CutCell:
    """Turn or mirror a cell."""
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))

    def turned(array: np.ndarray) -> np.ndarray:
        array = np.rot90(array, turns)
        return array[:, ::-1] if flip else array

    return CutCell(turned(cell.image), turned(cell.mask), turned(cell.rim), turned(cell.edge))


def _paste_somewhere(
    rng: np.random.Generator, sample: Sample, cell: CutCell, match_level: bool = False
) -> None:
    """Paste in place, at the first of some random positions where enough of the cell is visible."""
    shape = np.array(cell.mask.shape)
    for _ in range(_TRIES):
        corner = (rng.uniform(0, sample.labels.shape) - shape / 2).astype(int)
        start = np.maximum(corner, 0)
        stop = np.minimum(corner + shape, sample.labels.shape)
        if (stop <= start).any():
            continue
        there = np.s_[start[0] : stop[0], start[1] : stop[1]]
        a, b = start - corner, stop - corner
        here = np.s_[a[0] : b[0], a[1] : b[1]]
        free = sample.labels[there] == 0
        visible = cell.mask[here] & free
        # The field's border may cut the cell, but other cells may hide only a little of it.
        if visible.sum() >= max(_MIN_VISIBLE * cell.mask[here].sum(), 0.5 * cell.mask.sum()):
            _paste_at(sample, cell, there, here, free, match_level)
            return


def _paste_at(
    sample: Sample,
    cell: CutCell,
    there: tuple[slice, slice],
    here: tuple[slice, slice],
    free: np.ndarray,
    match_level: bool,
) -> None:
    """Blend the part `here` of the cell into the part `there` of the sample, in place.

    `match_level` shifts the cell's brightness by the difference between its rim and the field at this place.
    """
    alpha = cell.edge[here] * free
    patch = cell.image[here]
    rim = cell.far_rim
    seen = rim[here] & free
    if match_level and seen.any():
        shift = np.median(sample.image[there][seen], axis=0) - np.median(cell.image[rim], axis=0)
        patch = patch + shift
    sample.image[there] += alpha[..., None] * (patch - sample.image[there])
    sample.known[there] |= (alpha >= 0.5) & (cell.mask | cell.rim)[here]
    sample.labels[there][cell.mask[here] & free] = sample.labels.max() + 1
