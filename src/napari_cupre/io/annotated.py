"""Annotated images as the command line names them, made ready for training."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.data.annotation import shots_from_image
from napari_cupre.data.image import CellImage
from napari_cupre.data.shot import Shot
from napari_cupre.errors import InputError
from napari_cupre.io.images import (
    image_stem,
    is_image_file,
    is_zarr,
    list_images,
    pair_by_stem,
    read_image,
    read_labels,
)
from napari_cupre.io.region_files import Regions, read_regions

if TYPE_CHECKING:
    from napari_cupre.io.coco import CocoIndex

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
    keep_empty: bool = False,
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
    keep_empty : images that a COCO JSON lists without annotation hold no cell, instead of being left out.
    regions_file : where every cell is marked, see `read_regions`; implies `partial` elsewhere.
    limit : use so many of the images, drawn by `seed`.

    Raises
    ------
    InputError
        If nothing pairs, nothing can be read, or labels and regions do not fit their image.
    """
    every = pair_up(images, labels, keep_empty)
    pairs = drawn(every, limit, seed)
    stems = [image_stem(path) for path, _ in every]
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


def pair_up(images: str, labels: str, keep_empty: bool = False) -> list[tuple[Path, ReadTruth]]:
    """Images with a function that reads the truth of each."""
    if Path(labels).suffix.lower() == ".json":
        return _pair_with_coco(images, Path(labels), keep_empty)
    pairs = pair_by_stem(list_images(images), list_images(labels))
    return [(image, functools.partial(_read_file, label)) for image, label in pairs]


def _pair_with_coco(images: str, file: Path, keep_empty: bool) -> list[tuple[Path, ReadTruth]]:
    from napari_cupre.io.coco import CocoIndex

    index = CocoIndex(file, keep_empty=keep_empty)
    for notice in index.notices:
        print(notice, file=sys.stderr)
    found = _find_images(images, [image.file_name for image in index.images])
    pairs: list[tuple[Path, ReadTruth]] = [
        (path, functools.partial(_read_coco, index, number))
        for number, path in enumerate(found)
        if path is not None
    ]
    if not pairs:
        raise InputError(
            f'None of the {len(found)} images that "{file}" annotates (such as '
            f'"{index.images[0].file_name}") is in "{images}": name the folder that holds them.'
        )
    missing = [image.file_name for image, path in zip(index.images, found) if path is None]
    if missing:
        print(
            f'{len(missing)} of the {len(found)} images that "{file}" annotates are not in "{images}", '
            f"such as {missing[0]}; the others are used.",
            file=sys.stderr,
        )
    return pairs


def _find_images(images: str, names: Sequence[str]) -> list[Path | None]:
    """The file of each image that a COCO JSON names: in a folder also in its subfolders; else by stem."""
    from napari_cupre.io.coco import FileFinder

    folder = Path(images).expanduser()
    if not folder.is_dir() or is_zarr(folder):
        by_stem = {image_stem(path): path for path in list_images(images)}
        return [by_stem.get(image_stem(name)) for name in names]
    finder = FileFinder(folder)
    by_stem = {image_stem(path): path for path in folder.iterdir() if is_image_file(path)}
    return [finder.find(name) or by_stem.get(image_stem(name)) for name in names]


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
