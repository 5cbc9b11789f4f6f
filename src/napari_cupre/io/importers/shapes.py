"""Paint outlines from a file into a label image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.io.importers.accounts import (
    DAMAGED,
    HIDDEN,
    NO_PLANE,
    OUTSIDE,
    REPEATED,
    SMALL,
    Account,
    Reason,
)
from napari_cupre.io.importers.frames import Frame
from napari_cupre.io.writers.outlines import fill
from napari_cupre.words import counted

_FARTHEST = 1e7
"""Corners beyond this coordinate cannot lie in an image."""

_CORNERS = 96
"""Corners of a circle or ellipse."""

Pixels = tuple[np.ndarray, np.ndarray]
"""Rows and columns."""


@dataclass
class Shape:
    """One cell's outline.

    Attributes
    ----------
    parts : list[list[numpy.ndarray]]
        The cell's pieces, each as a list of rings, float (n, 2), corners x, y. A pixel is in a piece if an
        odd number of the piece's rings surrounds it, and in the cell if it is in any piece.
    label : int
        Its value in the label image according to the file; 0 if the file does not say.
    plane : dict[str, int]
        0-based position along C, Z and T, and as "N" in the stack as it lies in the file (channels first,
        then slices, then frames), as far as the file says.
    with_edges : bool
        The corners are pixels that belong to the cell, whole numbers, instead of pixels' corners.
    """

    parts: list[list[np.ndarray]]
    label: int = 0
    plane: dict[str, int] = field(default_factory=dict)
    with_edges: bool = False


def ellipse_ring(
    centre: Sequence[float] | np.ndarray, radii: Sequence[float], angle: float = 0.0
) -> np.ndarray:
    """Return an ellipse as a ring, float (n, 2) x, y.

    Parameters
    ----------
    centre : Sequence[float] or numpy.ndarray
        x, y.
    radii : Sequence[float]
        Half axes, px.
    angle : float, optional
        Of the first half axis, in radians from x towards y.
    """
    turn = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    with np.errstate(over="ignore", invalid="ignore"):  # a damaged file; what is not finite is left out
        along, across = float(radii[0]) * np.cos(turn), float(radii[1]) * np.sin(turn)
        x = float(centre[0]) + along * np.cos(angle) - across * np.sin(angle)
        y = float(centre[1]) + along * np.sin(angle) + across * np.cos(angle)
    return np.column_stack([x, y])


@dataclass
class _Painted:
    """A shape with its place in the image."""

    shape: Shape
    position: tuple[int, ...]
    pixels: Pixels


def paint_shapes(shapes: Sequence[Shape], frame: Frame, account: Account) -> np.ndarray:
    """Paint outlines into an int32 label image; where they overlap, the smaller one is on top.

    Labels that the file names are kept if they are unique on their plane; otherwise cells are numbered
    in the order of the file.

    Parameters
    ----------
    shapes : Sequence[Shape]
        The shapes in the file.
    frame : Frame
        Frame of the image that the file belongs to.
    account : Account
        Account with the number of the file's shapes; those of `shapes` that do not become cells are added to
        it.

    Raises
    ------
    InputError
        If no outline becomes a cell.
    """
    painted = [each for each in (_place(shape, frame, account) for shape in shapes) if each is not None]
    labels = np.zeros(frame.shape, np.int32)
    values = _values(painted)
    for number in sorted(range(len(painted)), key=lambda number: -len(painted[number].pixels[0])):
        each = painted[number]
        labels[each.position][each.pixels] = values[number]
    _count_hidden(painted, values, labels, account)
    _note(painted, frame, account)
    if account.cells < 1:
        raise nothing_usable(account)
    return labels


def nothing_usable(account: Account) -> InputError:
    """Return the error for a file in which no shape became a cell."""
    if not account.total:
        return InputError(
            f'"{account.name}" contains no outline of an area: draw polygons, or choose another file.'
        )
    return InputError(
        f"{account.sentence().rstrip('.')}; give the image that they were drawn on, or outlines of areas."
    )


def _place(shape: Shape, frame: Frame, account: Account) -> _Painted | None:
    """Find the place of a shape in the image; if it has none, count it and return None."""
    reason: Reason | None = None
    if not all(_is_sound(ring) for part in shape.parts for ring in part):
        reason = DAMAGED
    elif (position := frame.position(shape.plane)) is None:
        reason = NO_PLANE
    elif not len((pixels := _fill(shape, frame.shape[-2:]))[0]):
        reason = OUTSIDE if _is_outside(shape, frame.shape[-2:]) else SMALL
    else:
        return _Painted(shape, position, pixels)
    account.leave_out(reason)
    return None


def _is_sound(ring: np.ndarray) -> bool:
    return ring.ndim == 2 and ring.shape[1] == 2 and bool((np.abs(ring) < _FARTHEST).all())


def _fill(shape: Shape, size: tuple[int, ...]) -> Pixels:
    if shape.with_edges:
        return _fill_with_edges(shape, size)
    if len(shape.parts) == 1:
        return fill(shape.parts[0], size)
    # Pieces may overlap.
    flat = [np.ravel_multi_index(fill(part, size), size) for part in shape.parts]
    rows, columns = np.unravel_index(np.unique(np.concatenate(flat)), size)
    return rows, columns


def _fill_with_edges(shape: Shape, size: tuple[int, ...]) -> Pixels:
    from skimage.draw import polygon

    flat: list[np.ndarray] = []
    for (ring,) in shape.parts:
        inside = ring[((ring >= 0) & (ring < size[::-1])).all(axis=1)]
        flat.append(np.ravel_multi_index((inside[:, 1], inside[:, 0]), size))
        flat.append(np.ravel_multi_index(polygon(ring[:, 1], ring[:, 0], shape=size), size))
    rows, columns = np.unravel_index(np.unique(np.concatenate(flat)), size)
    return rows, columns


def _bounds(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest x, y."""
    corners = np.concatenate([ring for part in shape.parts for ring in part])
    return corners.min(axis=0), corners.max(axis=0)


def _is_outside(shape: Shape, size: tuple[int, ...]) -> bool:
    low, high = _bounds(shape)
    return bool((high <= 0).any() or (low >= size[::-1]).any())


def _values(painted: Sequence[_Painted]) -> list[int]:
    named = {(each.position, each.shape.label) for each in painted}
    usable = all(0 < each.shape.label <= np.iinfo(np.int32).max for each in painted)
    if usable and len(named) == len(painted):
        return [each.shape.label for each in painted]
    return list(range(1, len(painted) + 1))


def _count_hidden(
    painted: Sequence[_Painted], values: Sequence[int], labels: np.ndarray, account: Account
) -> None:
    """Count the cells without a pixel left."""
    seen: set[tuple[tuple[int, ...], bytes]] | None = None
    for each, value in zip(painted, values):
        if (labels[each.position][each.pixels] == value).any():
            continue
        if seen is None:
            kept = zip(painted, values)
            seen = {_key(one) for one, own in kept if (labels[one.position][one.pixels] == own).any()}
        account.leave_out(REPEATED if _key(each) in seen else HIDDEN)


def _key(each: _Painted) -> tuple[tuple[int, ...], bytes]:
    """Return a key that is the same for shapes that cover the same pixels of a plane."""
    return each.position, np.concatenate(each.pixels).tobytes()


def _note(painted: Sequence[_Painted], frame: Frame, account: Account) -> None:
    """Note surprising things about shapes that became cells."""
    limits = np.array(frame.shape[:-3:-1])
    cut = sum(
        bool((low <= -1).any() or (high >= limits + 1).any())
        for low, high in (_bounds(each.shape) for each in painted)
    )
    if cut:
        which = counted(cut, "shape reaches", "shapes reach")
        account.notes.append(f"{which} beyond the image and {'is' if cut == 1 else 'are'} cut at its edge.")
    loose = sum(not each.shape.plane for each in painted) if len(frame.shape) > 2 else 0
    if loose:
        which = counted(loose, "shape names no plane and lies", "shapes name no plane and lie")
        account.notes.append(f"{which} on the first one.")
