"""Scale a plane to the network's cell size and cut it into tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass

from napari_cupre.errors import InputError
from napari_cupre.model.geometry import STRIDES
from napari_cupre.prediction.predict_options import check_diameter
from napari_cupre.prediction.tiles import Tile, plan_tiles

DEFAULT_TILE = 1024
"""Side of a tile in network px."""

LARGEST_TILE = 4096
"""Largest side of a tile in image px; it matters if cells are much larger than the network's."""

MAX_FACTOR = 8.0
"""Images are never stretched or shrunk by more than this factor."""

HALO_DIAMETERS = 2.0
"""Width of the area that a tile reads around its core, in cell diameters."""

MIN_HALO = 64.0
"""Smallest width of this area, in network px."""

MAX_RESCALED = 0.005
"""Largest relative change of the scale to make tiles fit the network's grid."""


@dataclass(frozen=True)
class Plan:
    """How a plane is scaled and cut.

    Attributes
    ----------
    diameter : float
        Cell diameter in image px.
    factor : float
        Network px per image px.
    tiles : list of Tile
        The tiles, row by row.
    """

    diameter: float
    factor: float
    tiles: list[Tile]


def plan_plane(
    shape: tuple[int, int],
    network_diameter: float,
    diameter: float,
    tile: int | None = None,
    largest: int = LARGEST_TILE,
) -> Plan:
    """Choose scale and tiles for a plane.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) in image px.
    network_diameter : float
        Cell diameter in network px.
    diameter : float
        Cell diameter in image px.
    tile : int, optional
        Side of a tile in network px; None = `DEFAULT_TILE`. Tiles that would be little more than halo are
        made larger.
    largest : int
        Longest side of a tile in image px.

    Returns
    -------
    Plan
        The scale, and tiles that cover the plane.

    Raises
    ------
    InputError
        If the diameter or the tile is not positive.
    """
    check_diameter(diameter)
    if tile is not None and tile < 1:
        raise InputError(f"A tile of {tile} px cannot be used: give 256 or more.")
    factor, step = aligned(min(max(network_diameter / diameter, 1 / MAX_FACTOR), MAX_FACTOR))
    halo = max(HALO_DIAMETERS * network_diameter, MIN_HALO)
    side = max(DEFAULT_TILE if tile is None else tile, 3 * halo)
    halo_px = math.ceil(halo / factor)
    side_px = max(min(math.floor(side / factor), largest), 3 * halo_px, 2 * halo_px + step)
    return Plan(diameter, factor, plan_tiles(shape, side_px, halo_px, step))


def aligned(factor: float) -> tuple[float, int]:
    """Return a scale near `factor`, and the step in image px that fits the network's coarsest grid.

    Tiles that start at multiples of the step see exactly the same pixels and grid as the whole image in one
    piece would. Otherwise, whether a faint cell is found would depend on where its tile begins.
    """
    coarsest = STRIDES[-1]
    cells = 1
    while True:
        step = max(1, round(coarsest * cells / factor))
        near = coarsest * cells / step
        if abs(near / factor - 1) <= MAX_RESCALED:
            return near, step
        cells += 1
