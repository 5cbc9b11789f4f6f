"""Use images without annotation for training: one piece of each, all of it unknown."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.data.shot import Shot
from napari_cupre.errors import InputError
from napari_cupre.io.channel_names import ChooseChannels, as_it_is
from napari_cupre.io.files import image_stem
from napari_cupre.io.images import read_image
from napari_cupre.io.inputs import find_inputs

MOST, SIDE = 48, 2048
"""Most images to use, and the side in px of the piece of each; there is no time for more."""

Source = tuple[str, Callable[[], CellImage]]
"""An image's name, and a function that reads it."""


def place_of(image: CellImage, rng: np.random.Generator, name: str = "") -> Shot:
    """Read a random piece of a random plane of an image, and nothing else.

    Raises
    ------
    InputError
        If it cannot be read or holds no grey values.
    """
    planes = list(image.plane_indices())
    index = planes[int(rng.integers(len(planes)))]
    corner = [int(rng.integers(max(0, length - SIDE) + 1)) for length in image.plane_shape]
    part = tuple(slice(start, start + SIDE) for start in corner)
    pixels = np.asarray(image.lazy_plane(index)[part])
    return Shot.unlabelled(image.stretch(index)(pixels), name or image.name)


def places(sources: Sequence[Source], seed: int, refused: Callable[[str], None]) -> Iterable[Shot]:
    """Read one piece of each image; if there are more than `MOST` images, `seed` chooses among them.

    Parameters
    ----------
    refused : callable
        Called with a sentence about each image that cannot be read; the others are used.
    """
    rng = np.random.default_rng(seed)
    for number in sorted(rng.permutation(len(sources))[:MOST]):
        name, read = sources[number]
        try:
            yield place_of(read(), rng, name)
        except Exception as error:  # decoders may raise anything; one damaged file must not end a training
            refused(f"{name} is not learned from: {' '.join(str(error).split())}")


def unannotated(
    paths: Iterable[str | os.PathLike[str]],
    seed: int,
    annotated: Collection[str],
    refused: Callable[[str], None],
    choose: ChooseChannels = as_it_is,
) -> list[Shot]:
    """Read one piece of each image behind folders, globs and files.

    Parameters
    ----------
    annotated : collection of str
        Names of annotated images, which are left out whatever their suffix.
    refused : callable
        See `places`.
    choose : callable, optional
        Chooses the channels of each image, as of the annotated ones.

    Raises
    ------
    InputError
        If a path does not exist, or no image is left.
    """
    known = {image_stem(name) for name in annotated}
    found = [path for path in find_inputs(paths).paths if image_stem(path) not in known]
    if not found:
        raise InputError(
            "All images that were given as not annotated are annotated: give others, or leave them out."
        )
    return list(places([(str(path), partial(_read, path, choose)) for path in found], seed, refused))


def _read(path: Path, choose: ChooseChannels) -> CellImage:
    return choose(read_image(path))
