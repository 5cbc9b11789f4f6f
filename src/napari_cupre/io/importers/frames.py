"""Find the images that annotations belong to, with their size, axes and pixel size."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.io.file_names import NameTable
from napari_cupre.io.files import LABEL_ENDINGS, image_stem
from napari_cupre.io.images import read_image

LARGEST_LABELS = 2**29
"""Label images with more pixels are refused, since a hostile file could ask for any size."""


@dataclass(frozen=True)
class Frame:
    """What is known about an image's label image.

    Attributes
    ----------
    shape : tuple[int, ...]
        Shape of the label image, (Y, X) or with T and Z in front; axes of length 1 in front are left out.
    axes : str
        Axis letters, e.g. "TYX"; "" takes the last letters of "TZYX".
    channels : int
        Number of channels of the image; they share the label image.
    scale, units, translate : Mapping[str, float], Mapping[str, str], Mapping[str, float]
        By axis letter, as in `CellImage`.
    path : Path or None
        Path of the image, None if only its size is known.
    """

    shape: tuple[int, ...]
    axes: str = ""
    channels: int = 1
    scale: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    translate: Mapping[str, float] = field(default_factory=dict)
    path: Path | None = None

    def __post_init__(self) -> None:
        pixels = np.prod(self.shape, dtype=float)
        if not 2 <= len(self.shape) <= 4 or min(self.shape) < 1 or pixels > LARGEST_LABELS:
            raise InputError(f"a label image of shape {tuple(self.shape)} cannot be made: give another size.")
        object.__setattr__(self, "shape", tuple(int(length) for length in self.shape))
        object.__setattr__(self, "axes", self.axes or "TZYX"[-len(self.shape) :])

    @classmethod
    def of(cls, image: CellImage) -> Frame:
        """Make the frame of an image."""
        kept = [axis for axis in image.result_axes if axis in "YX" or image.sizes[axis] > 1]
        return cls(
            shape=tuple(image.sizes[axis] for axis in kept),
            axes="".join(kept),
            channels=image.channel_count,
            scale=image.scale,
            units=image.units,
            translate=image.translate,
            path=image.path,
        )

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Return the number of rows and columns."""
        return self.shape[-2], self.shape[-1]

    def position(self, plane: Mapping[str, int]) -> tuple[int, ...] | None:
        """Return the position of a plane in the label image; None if the image does not have this plane.

        Parameters
        ----------
        plane : Mapping[str, int]
            0-based position along C, Z and T, or "N" in the stack as ImageJ counts it; 0 along axes that are
            not named. If the image has a single stack of planes, any of the names is accepted, since programs
            disagree whether these are channels, slices or frames.
        """
        sizes = {"C": self.channels, **dict(zip(self.axes[:-2], self.shape))}
        stack = [axis for axis in "CZT" if sizes.get(axis, 1) > 1]
        named = {axis: place for axis, place in plane.items() if place}
        if "N" in named:
            named = self._unstacked(named.pop("N"), stack, sizes)
        elif len(stack) == 1 and stack[0] not in named and len(named) == 1:
            named = {stack[0]: next(iter(named.values()))}
        if sizes["C"] == 1:
            named.pop("C", None)  # a single channel has the regions of the whole image
        if any(not 0 <= place < sizes.get(axis, 1) for axis, place in named.items()):
            return None
        return tuple(named.get(axis, 0) for axis in self.axes[:-2])

    @staticmethod
    def _unstacked(number: int, stack: Sequence[str], sizes: Mapping[str, int]) -> dict[str, int]:
        """Return channel, slice and frame of a place in ImageJ's order; out of range if beyond the end."""
        named = {}
        for axis in stack[:-1]:
            number, named[axis] = divmod(number, sizes[axis])
        named[stack[-1] if stack else "Z"] = number
        return named


Shapes: TypeAlias = "Frame | tuple[int, ...] | Mapping[str, tuple[int, ...]] | None"
"""Frame or shape of every label image, or shapes by stem; `ImageShapes` also knows the frames."""


class ImageShapes(Mapping[str, tuple[int, ...]]):
    """Frames of the label images of image files, read when they are needed.

    As a mapping, it returns shapes by the images' stems.

    Parameters
    ----------
    paths : Iterable[str | os.PathLike[str]]
        The images. Label files beside an image with their stem are skipped.
    read : Callable[[Path], CellImage], optional
        Reads an image with the axes or series that the user chose.
    """

    def __init__(
        self, paths: Iterable[str | os.PathLike[str]], read: Callable[[Path], CellImage] = read_image
    ) -> None:
        listed = [Path(path) for path in paths]
        stems = {image_stem(path) for path in listed}
        self.paths = [path for path in listed if not _is_label_beside(path, stems)]
        self._read = read

    @cached_property
    def _by_stem(self) -> NameTable[list[Path]]:
        by_stem: dict[str, list[Path]] = {}
        for path in self.paths:
            by_stem.setdefault(image_stem(path), []).append(path)
        return NameTable(by_stem)

    def frame(self, path: Path) -> Frame:
        """Return the frame of one of the images."""
        return Frame.of(self._read(path))

    def find(self, names: Sequence[str]) -> Path | None:
        """Find the image with one of `names`; earlier names come first.

        Parameters
        ----------
        names : Sequence[str]
            Stems, if need be with folders that distinguish images of the same name ("plate1/a").

        Raises
        ------
        InputError
            If several images fit.
        """
        for name in names:
            parts = PurePosixPath(name).parts
            found = self._by_stem.get(parts[-1]) or []
            found = [path for path in found if path.resolve().parts[-len(parts) : -1] == parts[:-1]]
            if len(found) > 1:
                raise InputError(
                    f'Two images are called "{parts[-1]}" ("{found[0]}" and "{found[1]}"): give one of them.'
                )
            if found:
                return found[0]
        return None

    def __getitem__(self, stem: str) -> tuple[int, ...]:
        path = self.find([stem])
        if path is None:
            raise KeyError(stem)
        return self.frame(path).shape

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(image_stem(path) for path in self.paths))

    def __len__(self) -> int:
        return len({image_stem(path) for path in self.paths})


def _is_label_beside(path: Path, stems: set[str]) -> bool:
    stem = image_stem(path)
    return any(stem.lower().endswith(ending) and stem[: -len(ending)] in stems for ending in LABEL_ENDINGS)
