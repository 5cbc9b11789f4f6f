"""Annotated images as the command line names them, made ready for training."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.cli.regions import Regions, read_regions
from napari_cupre.data.annotation import Shot, shots_from_image
from napari_cupre.data.image import CellImage
from napari_cupre.data.io import image_stem, list_images, pair_by_stem, read_image, read_labels
from napari_cupre.errors import InputError

if TYPE_CHECKING:
    from napari_cupre.data.coco import CocoIndex

Truth = tuple[np.ndarray, np.ndarray | None]
"""Labels, and the pixels that are known where the file says so (None: it does not)."""

ReadTruth = Callable[[], Truth]


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


def pair_up(images: str, labels: str) -> list[tuple[Path, ReadTruth]]:
    """Images with a function that reads the truth of each."""
    paths = list_images(images)
    if Path(labels).suffix.lower() == ".json":
        return _pair_with_coco(paths, Path(labels))
    pairs = pair_by_stem(paths, list_images(labels))
    return [(image, functools.partial(_read_file, label)) for image, label in pairs]


def _pair_with_coco(paths: list[Path], file: Path) -> list[tuple[Path, ReadTruth]]:
    from napari_cupre.data.coco import CocoIndex

    index = CocoIndex(file)
    for notice in index.notices:
        print(notice, file=sys.stderr)
    numbers = {image_stem(image.file_name): number for number, image in enumerate(index.images)}
    pairs: list[tuple[Path, ReadTruth]] = [
        (path, functools.partial(_read_coco, index, numbers[image_stem(path)]))
        for path in paths
        if image_stem(path) in numbers
    ]
    if not pairs:
        raise InputError(f'"{file}" annotates none of the {len(paths)} images (such as "{paths[0].name}").')
    return pairs


def _read_file(path: Path) -> Truth:
    return read_labels(path), None


def _read_coco(index: CocoIndex, number: int) -> Truth:
    painted = index.paint(number)
    return painted.labels, None if painted.known.all() else painted.known


def drawn(
    pairs: Sequence[tuple[Path, ReadTruth]], limit: int | None, seed: int
) -> list[tuple[Path, ReadTruth]]:
    """`limit` of the pairs, drawn by `seed`, in their order."""
    if limit is None or limit >= len(pairs):
        return list(pairs)
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:limit]
    return [pairs[i] for i in sorted(chosen)]


def _read(path: Path, read: ReadTruth, collected: Collected, single: bool) -> tuple[CellImage, Truth] | None:
    try:
        return read_image(path), read()
    except InputError as error:
        if single:
            raise
        print(f"left out: {error}", file=sys.stderr)
        collected.left_out.append(str(path))
        return None


def _shots(
    path: Path, image: CellImage, truth: Truth, regions: list[np.ndarray] | None, complete: bool
) -> list[Shot]:
    labels, known = truth
    try:
        shots = list(shots_from_image(image, labels, regions=regions, complete=complete))
    except InputError as error:
        raise error if path.name in str(error) else InputError(f'"{path}": {error}') from error
    if known is not None:
        for shot in shots:
            shot.known &= known
    return shots
