"""Annotation: the cells that a person annotated, and the pixels of the image that are known.

An annotation is a label image plus *known* area. Inside a region (rectangle or polygon) every cell is
annotated, so all of it is known. Elsewhere only the annotated cells, a rim around them and painted background
are known. Everything else is unknown, and nothing is learned from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.draw import polygon as fill_polygon

from napari_cupre.data.image import CellImage, PlaneIndex, normalise
from napari_cupre.data.labels import (
    as_labels,
    check_same_shape,
    label_areas,
    median_diameter,
    of_name,
    scattered_labels,
)
from napari_cupre.data.shot import Shot
from napari_cupre.errors import InputError

__all__ = [
    "as_labels",
    "cells_with_rim",
    "check_annotated",
    "check_shots",
    "default_rim",
    "known_area",
    "label_areas",
    "make_shot",
    "median_diameter",
    "plane_name",
    "region_mask",
    "regions_by_plane",
    "rim_of_areas",
    "scattered_labels",
    "shots_by_plane",
    "shots_from_image",
]

RIM_FRACTION = 0.2
RIM_BOUNDS = (2.0, 6.0)
"""The default rim is `RIM_FRACTION` of the median diameter, within these bounds in px."""

WIDEST_RIM = 16.0  # px; beyond it a distance transform is faster


def default_rim(labels: np.ndarray) -> float:
    """Return the width in px of the rim around annotated cells that counts as known background."""
    return rim_of_areas(label_areas(labels)[1])


def rim_of_areas(areas: np.ndarray) -> float:
    """Return the width in px of the rim around cells of these areas, int64 (N,); 0 without cells."""
    if not areas.size:
        return 0.0
    return float(np.clip(RIM_FRACTION * np.median(2 * np.sqrt(areas / np.pi)), *RIM_BOUNDS))


def cells_with_rim(cells: np.ndarray, width: float) -> np.ndarray:
    """Widen a bool mask of cells by all pixels within `width` px of a cell."""
    if width <= 0 or not cells.any():
        return cells.copy()
    return ndimage.distance_transform_edt(~cells) <= width if width > WIDEST_RIM else _widened(cells, width)


def _widened(cells: np.ndarray, width: float) -> np.ndarray:
    """Widen a mask by shifting it, which takes a tenth of the time of a distance transform if not far."""
    rows, across, found, done = len(cells), cells, cells.copy(), 0
    for down in range(int(width), -1, -1):
        while math.hypot(down, done + 1) <= width:
            wider = across.copy()
            wider[:, 1:] |= across[:, :-1]
            wider[:, :-1] |= across[:, 1:]
            across, done = wider, done + 1
        left = max(rows - down, 0)
        found[down:] |= across[:left]
        found[:left] |= across[down:]
    return found


def region_mask(regions: Sequence[np.ndarray], shape: tuple[int, int], name: str = "") -> np.ndarray:
    """Find the pixels whose centre lies in one of the regions.

    Parameters
    ----------
    regions : Sequence[numpy.ndarray]
        Polygons (n, 2) in pixel coordinates (y, x), where the centre of the first pixel is (0, 0); two points
        are the opposite corners of a rectangle.
    shape : tuple[int, int]
        Rows and columns of the image.

    Returns
    -------
    numpy.ndarray
        bool (Y, X).

    Raises
    ------
    InputError
        A region has fewer than two points or non-finite coordinates, or lies outside the image.
    """
    mask = np.zeros(shape, bool)
    for number, region in enumerate(regions, start=1):
        corners = np.asarray(region, float)
        if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 2 or not np.isfinite(corners).all():
            raise InputError(f"Region {number}{of_name(name)} is not a rectangle or polygon: draw it again.")
        if len(corners) == 2:
            (top, left), (bottom, right) = corners
            corners = np.array([(top, left), (top, right), (bottom, right), (bottom, left)])
        rows, columns = fill_polygon(corners[:, 0], corners[:, 1], shape)
        if rows.size == 0:
            raise InputError(
                f"Region {number}{of_name(name)} covers no pixel of the image of {shape[0]} x {shape[1]} px: "
                f"draw it on the image."
            )
        mask[rows, columns] = True
    return mask


def known_area(
    labels: np.ndarray,
    *,
    regions: Sequence[np.ndarray] | None = None,
    background: np.ndarray | None = None,
    rim: float | None = None,
    name: str = "",
) -> np.ndarray:
    """Find the pixels that a partial annotation makes known.

    Parameters
    ----------
    labels : numpy.ndarray
        int32 (Y, X).
    regions : Sequence[numpy.ndarray] or None, optional
        Areas in which every cell is annotated, see `region_mask`.
    background : numpy.ndarray or None, optional
        bool (Y, X), True where the user painted background.
    rim : float or None, optional
        Width in px of the known background around cells that touch no region; None for `default_rim`.

    Returns
    -------
    numpy.ndarray
        bool (Y, X).
    """
    cells = labels > 0
    known = cells.copy()
    alone = cells
    if regions:
        inside = region_mask(regions, labels.shape, name)
        known |= inside
        # Around a cell at a region's edge, a person checked only the region's side.
        alone = cells & ~np.isin(labels, np.unique(labels[inside & cells]))
    known |= cells_with_rim(alone, default_rim(labels) if rim is None else rim)
    if background is not None:
        painted = np.asarray(background)
        if painted.shape != labels.shape:
            raise InputError(
                f"The painted background {painted.shape} and the labels {labels.shape}{of_name(name)} differ "
                f"in size: paint both on the same image."
            )
        known |= painted.astype(bool)
    return known


def make_shot(
    image_plane: np.ndarray,
    labels: Any,
    *,
    regions: Sequence[np.ndarray] | None = None,
    background: np.ndarray | None = None,
    complete: bool = False,
    rim: float | None = None,
    name: str = "",
    rgb: bool | None = None,
) -> Shot:
    """Make a training example of an image plane and its annotation.

    Parameters
    ----------
    image_plane : numpy.ndarray
        (Y, X) or (Y, X, C) in the source's grey values; it is normalised here.
    labels : Any
        Whole numbers (Y, X), 0 = not annotated, one value per cell.
    regions, background, rim : see `known_area`.
    complete : bool, optional
        Every cell of the image is annotated, so that all of it is known.
    name : str, optional
        What to call the image in messages.
    rgb : bool or None, optional
        See `normalise`.

    Raises
    ------
    InputError
        Image and labels differ in size (both are named), labels or regions do not fit, or all pixels are NaN.
    """
    image_plane = np.asarray(image_plane)
    numbers = as_labels(labels, name)
    check_same_shape(image_plane.shape[:2], numbers.shape, name)
    if complete:
        known = np.ones(numbers.shape, bool)
    else:
        known = known_area(numbers, regions=regions, background=background, rim=rim, name=name)
    return Shot(normalise(image_plane, rgb=rgb), numbers, known, name)


def shots_from_image(
    image: CellImage,
    labels: Any,
    *,
    regions: Sequence[np.ndarray] | None = None,
    complete: bool = False,
) -> Iterator[Shot]:
    """Make a training example of every annotated plane of an image.

    Parameters
    ----------
    image : CellImage
        Any image; each of its planes along T and Z becomes a shot.
    labels : Any
        Whole numbers over `image.result_axes` (channels and colours left out).
    regions : Sequence[numpy.ndarray] or None, optional
        Polygons (n, 2) in pixel (y, x) for an image of one plane, else (n, d) over `image.result_axes`; a
        region belongs to the plane of its first corner.
    complete : bool, optional
        See `make_shot`.

    Returns
    -------
    Iterator[Shot]
        One for each plane with a cell or a region; for every plane if `complete`.

    Raises
    ------
    InputError
        See `make_shot`; also if a region lies on no plane of the image.
    """
    return (shot for _, shot in shots_by_plane(image, labels, regions=regions, complete=complete))


def shots_by_plane(
    image: CellImage,
    labels: Any,
    *,
    regions: Sequence[np.ndarray] | None = None,
    background: Any | None = None,
    complete: bool = False,
) -> Iterator[tuple[tuple[int, ...], Shot]]:
    """Do the same as `shots_from_image`, and give the position of each shot's plane along T and Z.

    Parameters
    ----------
    labels, background : Any
        May be lazy: anything that has `shape` and `reshape` and can be indexed along T and Z. A plane with
        painted background becomes a shot too.
    """
    stack = _over_planes(labels, image)
    painted = None if background is None else _over_planes(background, image)
    by_plane = regions_by_plane(regions or (), image)
    for index in image.plane_indices():
        position = tuple(index[axis] for axis in image.result_axes[:-2])
        # copies one plane, never the stack
        numbers = as_labels(stack[position], image.name)
        ground = None if painted is None else np.asarray(painted[position], bool)
        plane_regions = by_plane.get(position, [])
        if not (complete or plane_regions or numbers.any() or (ground is not None and ground.any())):
            continue
        plane = image.plane(index)
        shot = make_shot(
            plane,
            numbers,
            regions=plane_regions,
            background=ground,
            complete=complete,
            name=plane_name(image.name, index),
            rgb=image.is_rgb and plane.ndim == 3,
        )
        if image.channel_count > 1:
            shot.channels = image.channels_in_use()
            names = image.channel_names
            shot.channel_names = tuple(names[each] for each in shot.channels) if names else ()
        yield position, shot


def _over_planes(labels: Any, image: CellImage) -> Any:
    """Bring labels, NumPy or lazy, into the shape of the image's result."""
    stack = labels if hasattr(labels, "reshape") else np.asarray(labels)
    shape = image.result_shape
    if np.prod(stack.shape) != np.prod(shape) or tuple(stack.shape[-2:]) != shape[-2:]:
        check_same_shape(shape, stack.shape, image.name)
    return stack.reshape(shape)


def regions_by_plane(
    regions: Sequence[np.ndarray], image: CellImage
) -> dict[tuple[int, ...], list[np.ndarray]]:
    """Sort regions by their position along T and Z, as (y, x) polygons."""
    shape = image.result_shape[:-2]
    by_plane: dict[tuple[int, ...], list[np.ndarray]] = {}
    for number, region in enumerate(regions, start=1):
        corners = np.asarray(region, float)
        leading = corners[0, :-2] if corners.ndim == 2 and len(corners) else np.empty(0)
        position = tuple(round(float(value)) for value in leading)
        if not position and np.prod(shape) == 1:
            position = (0,) * len(shape)
        if len(position) != len(shape) or any(not 0 <= at < size for at, size in zip(position, shape)):
            raise InputError(
                f"Region {number}{of_name(image.name)} lies on no plane of the image "
                f"({image.result_axes} = {image.result_shape}): draw it on a plane."
            )
        by_plane.setdefault(position, []).append(corners[:, -2:])
    return by_plane


def check_shots(shots: Sequence[Shot]) -> None:
    """Refuse to train without annotated cells.

    Raises
    ------
    InputError
        There is no shot, or none has an annotated cell.
    """
    check_annotated(len(shots), any(shot.labels.any() for shot in shots))


def check_annotated(images: int, has_cells: bool) -> None:
    """Refuse to train on nothing; like `check_shots`, but from counts.

    Raises
    ------
    InputError
        There is no image, or none has an annotated cell.
    """
    if not images:
        raise InputError("There is no annotated image to train on: annotate a few cells in one first.")
    if not has_cells:
        raise InputError(
            f"No cell is annotated in {_count(images, 'image')}: annotate at least one cell, then train."
        )


def plane_name(name: str, index: PlaneIndex) -> str:
    """Return the name of a plane for messages, such as "embryo (T=2, Z=5)"."""
    place = ", ".join(f"{axis}={position}" for axis, position in index.items())
    return f"{name} ({place})" if place else name


def _count(number: int, noun: str) -> str:
    return f"the {noun}" if number == 1 else f"the {number} {noun}s"
