"""Where cells lie and which pixels they cover: placement, rasterisation, occlusion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

from .cell_shapes import ANGLES, SAMPLES, Outlines, draw_outlines
from .noise import smooth_noise

MAX_DENSITY = 450 / 256**2  # cells per px; more cells cost time and add little
MIN_AREA = 10  # px; a cell with a smaller visible part is not an instance
MIN_VISIBLE = 0.45  # a cell with a smaller visible share is removed


@dataclass(frozen=True)
class Style:
    """How the cells of a look are laid out.

    Attributes
    ----------
    shapes : mapping of str to float
        Weight of each registered shape.
    coverage : tuple of float
        Range of the share of the field that cells cover, drawn log-uniformly.
    pile : float
        Probability that cells may overlap; otherwise they share a border where they meet.
    aligned : float
        Probability that the long axes are aligned.
    spread : tuple of float
        Range of the standard deviation of the log diameters.
    """

    shapes: Mapping[str, float] = field(
        default_factory=lambda: {
            "ellipse": 5,
            "blob": 3,
            "spindle": 1,
            "ragged": 0.5,
            "rod": 0.5,
            "crescent": 0.3,
        }
    )
    coverage: tuple[float, float] = (0.025, 0.8)
    pile: float = 0.4
    aligned: float = 0.25
    spread: tuple[float, float] = (0.05, 0.4)


@dataclass
class Bodies:
    """The pixels of several bodies as flat arrays: one entry per pixel of each body, ordered by body.

    Attributes
    ----------
    pixel : numpy.ndarray
        intp (P,), flat index into the field.
    body : numpy.ndarray
        intp (P,), number of the body.
    depth : numpy.ndarray
        float32 (P,), 0 at the body's centre, 1 on its outline.
    """

    pixel: np.ndarray
    body: np.ndarray
    depth: np.ndarray

    def kept(self, keep: np.ndarray) -> Bodies:
        """Only the entries where `keep` (bool, P) holds."""
        return Bodies(self.pixel[keep], self.body[keep], self.depth[keep])


def rasterise(
    size: int, centres: np.ndarray, radii: np.ndarray, angles: np.ndarray, outlines: Outlines
) -> Bodies:
    """All pixels inside `n` outlines, in one pass over the pixels of their bounding boxes.

    Parameters
    ----------
    size : int
        Side of the field in px.
    centres, radii, angles : numpy.ndarray
        As in `Arrangement`.
    outlines : Outlines
        The n normalised outlines.

    Returns
    -------
    Bodies
        Body i is outline i.
    """
    box = outlines.extent(angles) * radii[:, None] + np.tile(centres, 2)
    top_left = np.clip(np.floor(box[:, :2]), 0, size).astype(np.intp)
    height, width = (np.clip(np.ceil(box[:, 2:]) + 1, 0, size).astype(np.intp) - top_left).clip(0).T

    # The rows of all boxes, one after the other; u and v run along the axes of each body, in its radii.
    body, line = _expand(np.arange(len(radii)), height)
    dy = (top_left[body, 0] + line - centres[body, 0]).astype(np.float32)
    dx = (top_left[body, 1] - centres[body, 1]).astype(np.float32)
    cosine = (np.cos(angles) / radii).astype(np.float32)[body]
    sine = (np.sin(angles) / radii).astype(np.float32)[body]
    u, v = cosine * dx + sine * dy, cosine * dy - sine * dx
    start = (top_left[body, 0] + line) * size + top_left[body, 1]

    # Pixels of all rows.
    count = width[body]
    row, along = _expand(np.arange(body.size), count)
    step = along.astype(np.float32)
    u, v = np.repeat(u, count), np.repeat(v, count)
    u += np.repeat(cosine, count) * step
    v -= np.repeat(sine, count) * step
    if outlines.bend.any():
        v -= np.repeat(outlines.bend[body], count) * u * u

    turn = np.arctan2(v, u)
    turn *= np.float32(SAMPLES / (2 * np.pi))
    turn += np.float32(SAMPLES)
    left = turn.astype(np.intp)
    turn -= left
    left += np.repeat(body * (2 * SAMPLES + 1), count)
    table = np.concatenate([outlines.radii, outlines.radii, outlines.radii[:, :1]], axis=1).ravel()
    limit = np.take(np.diff(table, append=0), left)
    limit *= turn
    limit += np.take(table, left)
    depth = np.sqrt(u * u + v * v)
    depth /= limit
    inside = np.flatnonzero(depth < 1)
    row = np.take(row, inside)
    return Bodies(np.take(start, row) + np.take(along, inside), np.take(body, row), np.take(depth, inside))


def _expand(items: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each item repeated `counts` times, and the numbers 0 to count - 1 for each."""
    repeated = np.repeat(items, counts)
    return repeated, np.arange(repeated.size) - np.repeat(np.cumsum(counts) - counts, counts)


def topmost(bodies: Bodies, size: int, pile: bool) -> np.ndarray:
    """Indices of the visible entries, one per covered pixel.

    Parameters
    ----------
    bodies : Bodies
        Bodies of a field.
    size : int
        Side of the field in px.
    pile : bool
        If True, each body hides those before it. If False, a shared pixel goes to the body in which its depth
        is smallest.

    Returns
    -------
    numpy.ndarray
        int64 (V,), in order of the pixels.
    """
    entry = np.arange(bodies.pixel.size)
    owner = np.full(size * size, -1, np.int64)
    if pile:
        owner[bodies.pixel] = entry  # NumPy keeps the last of repeated indices
    else:
        least = np.full(size * size, np.inf, np.float32)
        np.minimum.at(least, bodies.pixel, bodies.depth)
        winner = np.flatnonzero(bodies.depth == least[bodies.pixel])
        owner[bodies.pixel[winner]] = winner
    return owner[owner >= 0]


@dataclass
class Arrangement:
    """The cells of one field as geometry, before any look is applied.

    Attributes
    ----------
    centres : numpy.ndarray
        float (n, 2), y and x in px; they may lie outside the field.
    radii : numpy.ndarray
        float (n,), equal-area radii in px.
    angles : numpy.ndarray
        float (n,), rotation of the long axis in radians.
    outlines : Outlines
        The n normalised outlines.
    bodies : Bodies
        The pixels of all cells.
    top : numpy.ndarray
        int64 (V,), indices of the visible entries of `bodies`.
    pile : bool
        Whether cells may overlap.
    """

    centres: np.ndarray
    radii: np.ndarray
    angles: np.ndarray
    outlines: Outlines
    bodies: Bodies
    top: np.ndarray
    pile: bool


def arrange(rng: np.random.Generator, size: int, diameter: float, style: Style) -> Arrangement:
    """Draw cells and lay them out.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    size : int
        Side of the field in px.
    diameter : float
        Median cell diameter in px, approximately.
    style : Style
        Shapes, density and order of the cells.

    Returns
    -------
    Arrangement
        Without cells that are mostly hidden or outside the field.
    """
    pile = rng.random() < style.pile
    radii = _radii(rng, size, diameter, style)
    outlines = _outlines(rng, radii.size, style)
    centres = _scatter(rng, size, radii)
    angles = rng.uniform(0, 2 * np.pi, radii.size)
    direction, stretch = 0.0, 1.0
    if rng.random() < style.aligned:
        direction, stretch = rng.uniform(0, np.pi), float(np.median(_elongation(outlines)))
        angles = direction + _turns(rng, size, centres)
    spacing = rng.uniform(0.75, 1.05) if pile else rng.uniform(0.85, 1.25)
    centres = _push_apart(centres, radii * spacing, int(rng.integers(2, 10)), direction, stretch)
    bodies = rasterise(size, centres, radii, angles, outlines)
    everything = Arrangement(centres, radii, angles, outlines, bodies, topmost(bodies, size, pile), pile)
    return _without_hidden(everything, size)


def _without_hidden(cells: Arrangement, size: int) -> Arrangement:
    """Leave out cells that are mostly hidden or outside the field."""
    n = cells.radii.size
    area = np.bincount(cells.bodies.body, minlength=n)
    visible = np.bincount(cells.bodies.body[cells.top], minlength=n)
    keep = visible >= np.maximum(MIN_AREA, MIN_VISIBLE * area)
    return cells if keep.all() else _only(cells, keep, size)


def thinned(rng: np.random.Generator, cells: Arrangement, count: int, size: int) -> Arrangement:
    """Keep at most `count` cells, chosen at random, in a field of `size` px."""
    keep = np.zeros(cells.radii.size, bool)
    keep[rng.permutation(cells.radii.size)[:count]] = True
    return _only(cells, keep, size)


def _only(cells: Arrangement, keep: np.ndarray, size: int) -> Arrangement:
    bodies = cells.bodies.kept(keep[cells.bodies.body])
    bodies.body = (np.cumsum(keep) - 1)[bodies.body]
    outlines = Outlines(cells.outlines.radii[keep], cells.outlines.bend[keep])
    top = topmost(bodies, size, cells.pile)
    return Arrangement(
        cells.centres[keep], cells.radii[keep], cells.angles[keep], outlines, bodies, top, cells.pile
    )


def _turns(rng: np.random.Generator, size: int, centres: np.ndarray) -> np.ndarray:
    """Angles of aligned cells relative to the main direction, float (n,): a smooth and a random part."""
    turn = rng.uniform(0, 1) * smooth_noise(rng, size, size / rng.uniform(1, 3))
    place = np.clip(centres, 0, size - 1).astype(int)
    return turn[place[:, 0], place[:, 1]] + rng.normal(0, rng.uniform(0.05, 0.5), len(centres))


def _radii(rng: np.random.Generator, size: int, diameter: float, style: Style) -> np.ndarray:
    """Equal-area radii in px, of one population or of two that differ in size."""
    coverage = np.exp(rng.uniform(*np.log(style.coverage)))
    # Cells also lie in a margin around the field, so its border cuts some of them.
    side = size + 2 * diameter
    density = min(coverage / (np.pi / 4 * diameter**2), MAX_DENSITY)
    n = max(1, round(density * side**2))
    log_spread = rng.normal(0, rng.uniform(*style.spread), n)
    if rng.random() < 0.2:
        other = rng.random(n) < rng.uniform(0.05, 0.35)
        log_spread[other] += rng.choice([-1, 1]) * rng.uniform(0.3, 0.9)
    return np.clip(diameter / 2 * np.exp(log_spread), 2.5, size / 2)


def _outlines(rng: np.random.Generator, n: int, style: Style) -> Outlines:
    """Draw outlines: usually of one shape per field, sometimes of two."""
    names = list(style.shapes)
    weights = np.array([style.shapes[name] for name in names], float)
    kinds = rng.choice(len(names), size=2, p=weights / weights.sum())
    share = 0.0 if rng.random() < 0.6 else rng.uniform(0.05, 0.5)
    second = int(rng.binomial(n, share))
    first = draw_outlines(rng, n - second, names[kinds[0]])
    other = draw_outlines(rng, second, names[kinds[1]])
    order = rng.permutation(n)
    return Outlines(
        np.concatenate([first.radii, other.radii])[order], np.concatenate([first.bend, other.bend])[order]
    )


def _elongation(outlines: Outlines) -> np.ndarray:
    x = np.abs(outlines.radii * np.cos(ANGLES)).max(axis=1)
    y = np.abs(outlines.radii * np.sin(ANGLES)).max(axis=1)
    return np.clip(x / y, 1, 5)


def _scatter(rng: np.random.Generator, size: int, radii: np.ndarray) -> np.ndarray:
    """Centres before overlapping cells are pushed apart: uniform, in clumps, or in parts of the field."""
    n, margin = radii.size, float(np.median(radii))
    centres = rng.uniform(-margin, size + margin, (n, 2))
    kind = rng.random()
    if kind < 0.4:  # clumps
        clumps = rng.integers(1, max(2, n // 3) + 1)
        home = rng.uniform(-margin, size + margin, (clumps, 2))[rng.integers(0, clumps, n)]
        near = home + rng.normal(0, margin * rng.uniform(0.4, 3.5), (n, 2))
        clumped = rng.random(n) < rng.uniform(0.3, 1)
        centres[clumped] = near[clumped]
    elif kind < 0.65:  # only where a smooth map is high, as in tissue with gaps and at colony borders
        density = smooth_noise(rng, size, size / rng.uniform(1.5, 5))
        draw = rng.uniform(0, size, (4 * n, 2))
        level = density[tuple(draw.astype(int).T)]
        centres = draw[np.argsort(-level - rng.gumbel(0, 0.15, 4 * n))[rng.permutation(2 * n)[:n]]]
    return centres


def _push_apart(
    centres: np.ndarray, reach: np.ndarray, steps: int, direction: float, stretch: float
) -> np.ndarray:
    """Push overlapping bodies of radius `reach` apart, in a number of steps.

    A `stretch` above 1 means that bodies are that much longer along `direction`.
    """
    n = centres.shape[0]
    # Columns: across and along, as seen from y, x.
    axis = np.array([[np.cos(direction), np.sin(direction)], [-np.sin(direction), np.cos(direction)]])
    squeeze = np.array([np.sqrt(stretch), 1 / np.sqrt(stretch)])
    place = centres @ axis * squeeze
    largest = 2 * float(np.quantile(reach, 0.9))
    for _ in range(steps):
        i, j = cKDTree(place).query_pairs(largest, output_type="ndarray").T
        offset = place[i] - place[j]
        distance = np.maximum(np.hypot(offset[:, 0], offset[:, 1]), 1e-3)
        lack = np.maximum(reach[i] + reach[j] - distance, 0)
        move = offset * (0.7 * lack / distance)[:, None]
        touching = lack > 0
        contacts = np.bincount(i[touching], minlength=n) + np.bincount(j[touching], minlength=n)
        for k in range(2):
            push = np.bincount(i, move[:, k], n) - np.bincount(j, move[:, k], n)
            place[:, k] += push / np.sqrt(np.maximum(contacts, 1))  # or a dense clump would fly apart
    return place / squeeze @ axis.T
