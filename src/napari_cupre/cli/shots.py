"""Annotated images as the command line names them, made ready for training."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napari_cupre.cli.regions import Regions, read_regions
from napari_cupre.data.annotation import Shot, shots_from_image
from napari_cupre.data.image import CellImage
from napari_cupre.data.io import image_stem, list_images, pair_by_stem, read_image, read_labels
from napari_cupre.errors import InputError

ReadLabels = Callable[[], np.ndarray]


@dataclass
class Collected:
    """What there is to train on, and the files that had to be left out."""

    shots: list[Shot] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def collect_shots(
    images: str,
    labels: str,
    *,
    partial: bool = False,
    regions_file: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Collected:
    """Read annotated images and make shots of them.

    A file that cannot be read is left out and named on stderr. Labels that do not fit their image are an
    error, because something else than the file is wrong then.

    Parameters
    ----------
    images, labels : folder, glob or file; labels may be a COCO JSON.
    partial : only some of the cells are marked.
    regions_file : where every cell is marked, see `read_regions`; implies `partial` elsewhere.
    limit : use so many of the images, drawn by `seed`.

    Raises
    ------
    InputError
        If nothing pairs, nothing can be read, or labels and regions do not fit their image.
    """
    pairs = drawn(pair_up(images, labels), limit, seed)
    stems = [image_stem(path) for path, _ in pairs]
    regions: Regions = {} if regions_file is None else read_regions(regions_file, stems)
    complete = not partial and regions_file is None
    collected = Collected()
    for path, read in pairs:
        loaded = _read(path, read, collected, single=len(pairs) == 1)
        if loaded is not None:
            area = regions.get(image_stem(path))
            collected.shots += _shots(path, *loaded, area, complete)
    if not collected.shots and collected.left_out:
        raise InputError(f"none of the {len(pairs)} annotated images can be read; see their names above.")
    return collected


def pair_up(images: str, labels: str) -> list[tuple[Path, ReadLabels]]:
    """Images with a function that reads the labels of each."""
    paths = list_images(images)
    pairs = pair_by_stem(paths, list_images(labels))
    return [(image, functools.partial(read_labels, label)) for image, label in pairs]


def drawn(
    pairs: Sequence[tuple[Path, ReadLabels]], limit: int | None, seed: int
) -> list[tuple[Path, ReadLabels]]:
    """`limit` of the pairs, drawn by `seed`, in their order."""
    if limit is None or limit >= len(pairs):
        return list(pairs)
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:limit]
    return [pairs[i] for i in sorted(chosen)]


def _read(
    path: Path, read: ReadLabels, collected: Collected, single: bool
) -> tuple[CellImage, np.ndarray] | None:
    try:
        return read_image(path), read()
    except InputError as error:
        if single:
            raise
        print(f"left out: {error}", file=sys.stderr)
        collected.left_out.append(str(path))
        return None


def _shots(
    path: Path, image: CellImage, labels: np.ndarray, regions: list[np.ndarray] | None, complete: bool
) -> list[Shot]:
    try:
        return list(shots_from_image(image, labels, regions=regions, complete=complete))
    except InputError as error:
        raise error if path.name in str(error) else InputError(f'"{path}": {error}') from error
