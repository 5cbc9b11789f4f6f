"""What a look works on: the cells of one field, and tools to paint them."""

from __future__ import annotations

import numpy as np

from .cell_shapes import draw_outlines
from .layout import Arrangement, Bodies, rasterise
from .noise import Map, blur, smooth_noise


class SyntheticScene:
    """The cells of one field as pixels.

    A look computes a value for every pixel of every cell, an "entry", and paints all of them at once: `paint`
    shows the topmost cell at each pixel, `pile_up` adds up all cells that cover it, as if transparent.

    Attributes
    ----------
    size : int
        Side of the field in px.
    diameter : float
        Typical cell diameter in px.
    labels : numpy.ndarray
        int32 (size, size); cell i of the arrangement has label i + 1.
    count : int
        Number of cells.
    cell : numpy.ndarray
        intp (P,), the cell of each entry.
    depth : numpy.ndarray
        float32 (P,), 0 at the cell's centre, 1 on its outline.
    """

    def __init__(self, size: int, diameter: float, arrangement: Arrangement) -> None:
        self.size = size
        self.diameter = diameter
        self.arrangement = arrangement
        self.count = arrangement.radii.size
        self.cell = arrangement.bodies.body
        self.depth = arrangement.bodies.depth
        self._pixel = arrangement.bodies.pixel
        self._top = arrangement.top
        labels = np.zeros(size * size, np.int32)
        labels[self._pixel[self._top]] = self.cell[self._top] + 1
        self.labels = labels.reshape(size, size)

    def paint(self, values: np.ndarray, ground: float = 0.0) -> Map:
        """Show the topmost cell at each pixel.

        Parameters
        ----------
        values : numpy.ndarray
            (P,), a value for each entry.
        ground : float, optional
            Value of pixels without a cell.

        Returns
        -------
        numpy.ndarray
            float32 (size, size).
        """
        out = np.full(self.size * self.size, ground, np.float32)
        out[self._pixel[self._top]] = values[self._top]
        return out.reshape(self.size, self.size)

    def pile_up(self, values: np.ndarray) -> Map:
        """Add up all cells at each pixel; the same as `paint` if the cells do not overlap.

        Parameters
        ----------
        values : numpy.ndarray
            (P,), a value for each entry.

        Returns
        -------
        numpy.ndarray
            float32 (size, size), 0 on pixels without a cell.
        """
        if not self.arrangement.pile:
            return self.paint(values)
        total = np.bincount(self._pixel, values, self.size * self.size)
        return total.astype(np.float32).reshape(self.size, self.size)

    def texture(self, rng: np.random.Generator, scale: float) -> np.ndarray:
        """Smooth noise with grains `scale` px wide, float32 (P,); each cell gets another patch of it."""
        pattern = smooth_noise(rng, self.size, max(scale, 1.0)).ravel()
        shift = rng.integers(0, pattern.size, self.count)
        return pattern[(self._pixel + shift[self.cell]) % pattern.size]

    def seams(self, rng: np.random.Generator) -> Map:
        """Lines where two cells touch, float32 (size, size): a random strength from 0 to 1, 0 elsewhere."""
        labels = self.labels
        seam = np.zeros(labels.shape, np.float32)
        for a, b, at in (
            (labels[:, 1:], labels[:, :-1], seam[:, 1:]),
            (labels[1:], labels[:-1], seam[1:]),
        ):
            touch = (a != b) & (a > 0) & (b > 0)
            at[touch] = 1
        strength = rng.random(self.count + 1, dtype=np.float32)
        return seam * strength[labels]

    def scatter(
        self, rng: np.random.Generator, count: int, diameter: tuple[float, float], shape: str = "blob"
    ) -> Bodies:
        """Bodies at random places that are not cells, such as debris and vesicles.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of all randomness.
        count : int
            Number of bodies.
        diameter : tuple of float
            Range of their diameters in px, drawn log-uniformly.
        shape : str, optional
            A registered shape.

        Returns
        -------
        Bodies
            The pixels of all bodies.
        """
        radii = np.exp(rng.uniform(np.log(diameter[0]), np.log(diameter[1]), count)) / 2
        centres = rng.uniform(0, self.size, (count, 2))
        return rasterise(
            self.size, centres, radii, rng.uniform(0, 2 * np.pi, count), draw_outlines(rng, count, shape)
        )

    def hulls(
        self, rng: np.random.Generator, growth: float, shape: str, which: np.ndarray | None = None
    ) -> Bodies:
        """A larger body around each cell, such as the cytoplasm around a nucleus.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of all randomness.
        growth : float
            Diameter of the body relative to that of its cell.
        shape : str
            A registered shape.
        which : numpy.ndarray, optional
            bool (count,), the cells that get a body; by default all.

        Returns
        -------
        Bodies
            Body i belongs to cell i.
        """
        a = self.arrangement
        radii = a.radii * growth * rng.uniform(0.8, 1.25, self.count)
        shift = rng.normal(0, 0.12, (self.count, 2)) * radii[:, None]
        if which is not None:
            radii = np.where(which, radii, 1e-3)
        angles = a.angles + rng.normal(0, 0.4, self.count)
        return rasterise(self.size, a.centres + shift, radii, angles, draw_outlines(rng, self.count, shape))

    def add(self, bodies: Bodies, values: np.ndarray) -> Map:
        """Add up bodies at each pixel.

        Parameters
        ----------
        bodies : Bodies
            From `scatter` or `hulls`.
        values : numpy.ndarray
            (P,), a value for each entry of `bodies`.

        Returns
        -------
        numpy.ndarray
            float32 (size, size).
        """
        total = np.bincount(bodies.pixel, values, self.size * self.size)
        return total.astype(np.float32).reshape(self.size, self.size)

    def uneven_focus(self, rng: np.random.Generator, image: Map) -> Map:
        """Put some cells slightly out of focus, as in thick specimens; they are still labelled."""
        sharp = rng.random(self.count, dtype=np.float32) ** np.float32(rng.uniform(0.2, 1))
        share = blur(self.paint(sharp[self.cell], ground=0.5), 0.05 * self.diameter)
        soft = blur(image, self.diameter * rng.uniform(0.06, 0.14))
        return soft + share * (image - soft)

    def out_of_focus(self, rng: np.random.Generator, count: int) -> Map:
        """Faint, strongly blurred bodies of the size of cells, which have no labels.

        Returns
        -------
        numpy.ndarray
            float32 (size, size); 1 is the brightness of a cell in focus.
        """
        d = self.diameter
        bodies = self.scatter(rng, count, (0.6 * d, 1.6 * d), "ellipse")
        strength = rng.uniform(0.1, 0.5, count).astype(np.float32)
        return blur(self.add(bodies, strength[bodies.body]), d * rng.uniform(0.25, 0.6))
