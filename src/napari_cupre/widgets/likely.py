"""Find what looks like a cell in regions declared complete that no model has searched."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from scipy import ndimage

from napari_cupre.data.annotation import plane_name, region_mask
from napari_cupre.data.image import CellImage
from napari_cupre.data.labels import label_areas
from napari_cupre.project.cells import Cells, Region
from napari_cupre.project.shots import taught_labels

Place = tuple[int, ...]

MARKED = 0.3
"""An object counts as annotated if annotated cells cover this share of it."""

LEAST_AREA = 0.3
CLEAR = 3.0
RIM = 3  # px around a likely cell that stay unknown until somebody decides what it is


def likely_cells(plane: np.ndarray, marked: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Find objects in a region that are as bright and as large as the annotated cells; a cheap estimate.

    Parameters
    ----------
    plane : numpy.ndarray
        Grey values (Y, X) or (Y, X, C).
    marked : numpy.ndarray
        Whole numbers (Y, X).
    inside : numpy.ndarray
        bool (Y, X).

    Returns
    -------
    numpy.ndarray
        int32 (Y, X); all 0 if the annotated cells do not stand out from the rest.
    """
    nothing = np.zeros(marked.shape, np.int32)
    cells, rest = marked > 0, inside & (marked == 0)
    if not cells.any() or not rest.any():
        return nothing
    grey = ndimage.gaussian_filter(
        np.nan_to_num(plane.astype(np.float32)).reshape(*marked.shape, -1).mean(-1), 1
    )
    # unannotated cells may fill most of a region, so its median may not be the background
    low, high = np.percentile(grey[rest], [10, 90])
    level = float(np.median(grey[cells]))
    ground = low if abs(level - low) > abs(level - high) else high
    noise = float(np.median(np.abs(grey[rest] - np.median(grey[rest]))))
    if abs(level - ground) <= CLEAR * 1.48 * min(noise, abs(high - low) / 4 or noise):
        return nothing
    halfway = (level + ground) / 2
    found, _ = ndimage.label((grey > halfway if level > ground else grey < halfway) & inside)
    values, areas = label_areas(found)
    _, marked_areas = label_areas(marked)
    covered = np.bincount(found[cells], minlength=int(values.max(initial=0)) + 1)
    kept = (areas >= LEAST_AREA * np.median(marked_areas)) & (covered[values] < MARKED * areas)
    return np.where(np.isin(found, values[kept]), found, 0).astype(np.int32)


def likely_by_plane(
    image: CellImage, cells: Cells, searched: Collection[Place], estimated: Collection[Region] = ()
) -> Iterator[tuple[Place, np.ndarray]]:
    """Return likely cells by plane, int32 (Y, X), in regions that have not been searched.

    Parameters
    ----------
    image : CellImage
        Read only in planes with a region.
    cells : Cells
        Over `image.result_axes`.
    searched : Collection[Place]
        Planes that a model has searched.
    estimated : Collection[Region], optional
        Regions that this function has searched already.
    """
    depth = cells.labels.ndim - 2
    regions: dict[Place, list[np.ndarray]] = {}
    for region in cells.regions:
        corners = np.array(region)
        place = tuple(round(float(at)) for at in corners[0, :depth])
        if region not in estimated and place not in searched:
            regions.setdefault(place, []).append(corners[:, depth:])
    if not regions:
        return
    taught = taught_labels(cells)
    for index in image.plane_indices():
        place = tuple(index.values())
        if place in regions:
            inside = region_mask(regions[place], taught[place].shape, image.name)
            yield place, likely_cells(image.plane(index), taught[place], inside)


def unlooked_at(
    image: CellImage, cells: Cells, searched: Collection[Place], estimated: Collection[Region]
) -> dict[str, np.ndarray]:
    """Return pixels that may be a cell, with a rim, as bool (Y, X) by the name of the plane."""
    axes = image.result_axes[:-2]
    found = {}
    for place, likely in likely_by_plane(image, cells, searched, estimated):
        if likely.any():
            found[plane_name(image.name, dict(zip(axes, place)))] = ndimage.binary_dilation(
                likely > 0, iterations=RIM
            )
    return found
