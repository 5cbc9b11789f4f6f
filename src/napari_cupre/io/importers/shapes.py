"""Outlines read from a file, painted into a label image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.io.writers.outlines import fill

#: Shape of the label image, or of each image by its stem.
Shapes: TypeAlias = "tuple[int, ...] | Mapping[str, tuple[int, ...]] | None"

#: Label images of more pixels than this are not made: a hostile file could ask for any size.
LARGEST_LABELS = 2**29
#: Corners further out than this are no place in an image.
_FARTHEST = 1e7


@dataclass
class Shape:
    """One cell's outline.

    Attributes
    ----------
    rings : float (n, 2) each, corners x, y; a pixel is inside if an odd number of rings is around it.
    label : its value in the label image as the file says, 0 if it does not.
    plane : 0-based position along T and Z, as far as the file says.
    """

    rings: list[np.ndarray]
    label: int = 0
    plane: dict[str, int] = field(default_factory=dict)


def shape_for(shapes: Shapes, stem: str, path: Path) -> tuple[int, ...]:
    """Shape of the image of this stem.

    Raises
    ------
    InputError
        If it is not known: outlines do not say how large their image is.
    """
    shape = shapes.get(stem) if isinstance(shapes, Mapping) else shapes
    if shape is None:
        raise InputError(f'"{path}" does not say the size of its image "{stem}": give the image, too.')
    if not 2 <= len(shape) <= 4 or min(shape) < 1 or np.prod(shape, dtype=float) > LARGEST_LABELS:
        raise InputError(f'no label image of shape {tuple(shape)} can be made for "{path}".')
    return tuple(int(length) for length in shape)


def paint_shapes(shapes: Sequence[Shape], shape: tuple[int, ...], path: Path) -> np.ndarray:
    """Paint outlines into an int32 label image; where they overlap, the smaller one is on top.

    Labels that the file names are kept if they are unique on their plane; otherwise cells are numbered
    in the order of the file.

    Raises
    ------
    InputError
        If there is no outline, one is broken, or one lies on a plane that the image does not have.
    """
    if not shapes:
        raise InputError(f'"{path}" holds no outline of an area: draw polygons, or choose another file.')
    painted = []
    for each in shapes:
        _check(each, path)
        painted.append((_plane_position(each, shape, path), *fill(each.rings, shape[-2:])))
    labels = np.zeros(shape, np.int32)
    values = _values(shapes, [position for position, _, _ in painted])
    for number in sorted(range(len(shapes)), key=lambda number: -len(painted[number][1])):
        position, rows, columns = painted[number]
        labels[position][rows, columns] = values[number]
    return labels


def _check(shape: Shape, path: Path) -> None:
    for ring in shape.rings:
        if ring.ndim != 2 or ring.shape[1] != 2 or not (np.abs(ring) < _FARTHEST).all():
            raise InputError(
                f'"{path}" holds an outline that is none: corners must be pairs of numbers in px.'
            )


def _plane_position(shape: Shape, whole: tuple[int, ...], path: Path) -> tuple[int, ...]:
    """Where in the label image an outline belongs."""
    depth = len(whole) - 2
    names = "TZ"[-depth:] if depth else ""
    if depth == 1 and not shape.plane.get("Z"):
        # A stack of one kind: the file may call its planes frames or slices.
        position: tuple[int, ...] = (shape.plane.get("T", 0),)
    else:
        position = tuple(shape.plane.get(axis, 0) for axis in names)
    lost = [axis for axis, place in shape.plane.items() if place and axis not in names and depth != 1]
    if lost or any(not 0 <= place < length for place, length in zip(position, whole)):
        raise InputError(
            f'"{path}" holds an outline at {shape.plane}, but its image has the shape {whole}: '
            f"give the image that it was drawn on."
        )
    return position


def _values(shapes: Sequence[Shape], positions: Sequence[tuple[int, ...]]) -> list[int]:
    named = {(position, each.label) for position, each in zip(positions, shapes)}
    usable = all(0 < each.label <= np.iinfo(np.int32).max for each in shapes)
    if usable and len(named) == len(shapes):
        return [each.label for each in shapes]
    return list(range(1, len(shapes) + 1))
