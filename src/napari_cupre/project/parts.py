"""Read the part of an image file that a project refers to: a scene, a plane, a field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.io.files import image_stem
from napari_cupre.project.document import ProjectImage


def part_of(image: CellImage, entry: ProjectImage) -> CellImage:
    """Return the plane and field of an image that a project refers to.

    Raises
    ------
    InputError
        The image has no such plane, or does not reach that far.
    """
    data, axes = image.data, image.axes
    for axis, at in entry.plane.items():
        if axis not in axes or not 0 <= at < data.shape[axes.index(axis)]:
            raise InputError(
                f'The image "{image.name}" ({image.axes}) has no plane {axis}={at}: choose another.'
            )
        data = data[(slice(None),) * axes.index(axis) + (at,)]
        axes = axes.replace(axis, "")
    translate = dict(image.translate)
    if entry.field is not None:
        top, left, bottom, right = entry.field
        height, width = image.plane_shape
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise InputError(f'The field {entry.field} is not in the image "{image.name}": choose another.')
        cut: list[Any] = [slice(None)] * len(axes)
        cut[axes.index("Y")], cut[axes.index("X")] = slice(top, bottom), slice(left, right)
        data = data[tuple(cut)]
        for axis, start in (("Y", top), ("X", left)):
            translate[axis] = translate.get(axis, 0.0) + start * image.scale.get(axis, 1.0)
    return replace(image, data=data, axes=axes, translate=translate, name=entry.stem or image.name)


def read_entry(path: Path, entry: ProjectImage) -> CellImage:
    """Read the whole image that a project refers to, with its scene and axes.

    Raises
    ------
    InputError
        See `napari_cupre.io.images.read_image`.
    """
    from napari_cupre.io.images import read_image

    options: dict[str, Any] = {} if entry.series is None else {"series": entry.series}
    return read_image(path, entry.axes or None, **options)


def file_name_of(path: Path, draft: ProjectImage) -> str:
    """Return the file name that an image would have in a file of its own, as in results of `predict`."""
    name = path.name
    if draft.series is not None:
        name = f"{image_stem(path / str(draft.series))}{path.suffix}"
    if draft.plane or draft.field:
        name = "_".join([Path(name).stem, *(f"{axis.lower()}{at:03d}" for axis, at in draft.plane.items())])
    return f"{name}_y{draft.field[0]}_x{draft.field[1]}" if draft.field else name
