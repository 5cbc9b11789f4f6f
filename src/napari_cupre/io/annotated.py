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
from napari_cupre.data.labels import scattered_parts
from napari_cupre.data.shot import Shot
from napari_cupre.errors import InputError, NothingToSee
from napari_cupre.io.channel_names import ChooseChannels, as_it_is, names_of
from napari_cupre.io.files import TIFF_SUFFIXES, is_tiff, split_scene
from napari_cupre.io.images import (
    image_stem,
    is_image_file,
    is_zarr,
    list_images,
    pair_by_stem,
    read_image,
    read_labels,
    scenes,
)
from napari_cupre.io.importers.folders import to_be_imported
from napari_cupre.io.importers.suspects import check_label_image
from napari_cupre.io.importers.turning import labels_as_stored
from napari_cupre.io.inputs import expand
from napari_cupre.io.pairing import pair_notice
from napari_cupre.io.region_files import Regions, read_regions
from napari_cupre.io.scenes import choose_scenes
from napari_cupre.words import counted, some_of

if TYPE_CHECKING:
    from napari_cupre.io.coco_index import CocoIndex

Truth = tuple[np.ndarray, np.ndarray | None]
"""Labels and a mask of the known pixels; the mask is None where the file does not say."""

ReadTruth = Callable[[], Truth]

Refuse = Callable[[str], None]
"""A function that takes one sentence about annotation that is not used."""


@dataclass
class Collected:
    """What there is to train on, and the files that had to be left out."""

    shots: list[Shot] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def leave_out(self, path: Path, error: Exception) -> None:
        """Say on stderr why a file is not used, and keep its path."""
        print(f"left out: {error}", file=sys.stderr)
        self.left_out.append(str(path))

    def refuse(self, sentence: str) -> None:
        """Say on stderr what is not used, and keep it."""
        print(sentence, file=sys.stderr)
        self.left_out.append(sentence)


def collect_shots(
    images: str,
    labels: str,
    *,
    partial: bool = False,
    keep_empty: bool = False,
    regions_file: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    axes: str | None = None,
    series: str | int | None = None,
    choose: ChooseChannels = as_it_is,
) -> Collected:
    """Read annotated images as shots.

    A file that cannot be read is left out and named on stderr. Labels that do not fit their image are an
    error, because then it is not the file that is wrong.

    Parameters
    ----------
    images, labels : str
        Folder, glob or file; labels may be a COCO JSON.
    partial : bool, optional
        Only some of the cells are annotated.
    keep_empty : bool, optional
        Take images that a COCO JSON lists without annotation as images without cells.
    regions_file : Path or None, optional
        Where every cell is annotated, see `read_regions`; implies `partial` elsewhere.
    limit : int or None, optional
        How many of the images to use, drawn by `seed`; None uses all.
    axes, series : str or int or None, optional
        Letters that overrule what the image files say, and the image to take of files with several.
    choose : callable, optional
        Chooses the channels of each image.

    Raises
    ------
    InputError
        If nothing pairs, nothing can be read, or labels and regions do not fit their image.
    """
    collected = Collected()
    every = pair_up(images, labels, keep_empty, axes=axes, series=series, refuse=collected.refuse)
    pairs = drawn_by_seed(every, limit, seed)
    stems = [image_stem(path) for path, _ in every]
    regions: Regions = {} if regions_file is None else read_regions(regions_file, stems)
    complete = not partial and regions_file is None
    any_read, is_single = False, len(pairs) == 1
    for path, read in pairs:
        loaded = _read(path, read, collected, axes, is_single)
        try:
            if loaded is not None:
                collected.shots += _shots(path, *loaded, regions.get(image_stem(path)), complete, choose)
                any_read = True
        except NothingToSee as error:
            if is_single:
                raise
            collected.leave_out(path, error)
    if not any_read:
        raise InputError(f"none of the {len(pairs)} annotated images can be read; see their names above.")
    return collected


def pair_up(
    images: str,
    labels: str,
    keep_empty: bool = False,
    *,
    axes: str | None = None,
    series: str | int | None = None,
    refuse: Refuse | None = None,
) -> list[tuple[Path, ReadTruth]]:
    """Pair each image with a function that reads its labels.

    Parameters
    ----------
    images, labels, keep_empty, axes, series : str, str, bool, str or None, str or int or None
        See `collect_shots`.
    refuse : Refuse or None, optional
        Called with a sentence about what cannot be used; None says it on stderr.

    Raises
    ------
    InputError
        If nothing pairs.
    """
    refuse = refuse or Collected().refuse
    if Path(labels).suffix.lower() == ".json":
        return _pair_with_coco(images, Path(labels), keep_empty, series, refuse)
    try:
        image_files, label_files = list_images(images), list_images(labels)
        pairs = pair_scenes(image_files, label_files, series)
    except InputError as error:
        raise to_be_imported(labels) or error from error
    if notice := pair_notice(pairs):
        print(notice, file=sys.stderr)
    used = {split_scene(label)[0] for _, label in pairs} | set(image_files)
    unused = [path for path in label_files if path not in used and split_scene(path)[0] not in used]
    if unused:
        refuse(_not_used(unused))
    return [(image, functools.partial(_read_file, label, axes)) for image, label in pairs]


def _not_used(labels: Sequence[Path]) -> str:
    """Name the label files whose image is missing."""
    some = some_of([path.name for path in labels])
    files = counted(len(labels), "label file belongs", "label files belong")
    return (
        f"{files} to none of the images and will not be used: {some}. Names such as a.tif and "
        f"a_mask.tif belong together."
    )


def pair_scenes(
    images: Sequence[Path], labels: Sequence[Path], series: str | int | None = None
) -> list[tuple[Path, Path]]:
    """Pair like `pair_by_stem`, but also files with several images and sets of files that are one image.

    Parameters
    ----------
    images, labels : Sequence[Path]
        Files, perhaps those of one folder.
    series : str or int or None, optional
        Name or number of the image in files of several; a label file of one image need not know it.

    Raises
    ------
    InputError
        See `pair_by_stem`.
    """
    found = expand(images, series, join_sets=False).paths
    marked = label_scenes(labels, series)
    try:
        return pair_by_stem(found, marked)
    except InputError:
        if series is not None:
            _check_series(images, series)
        joined = expand(images, series).paths
        if joined == found:
            raise
        return pair_by_stem(joined, marked)


def _check_series(images: Sequence[Path], series: str | int) -> None:
    """Raise an error if none of the files has an image of this name."""
    reasons = []
    for path in images:
        try:
            choose_scenes(scenes(path), series, path.name)
            return
        except InputError as error:
            reasons.append(error)
    if reasons:
        raise reasons[0]


def label_scenes(labels: Sequence[Path], series: str | int | None = None) -> list[Path]:
    """Split each label file into the label images in it; a single label image is taken whatever the series.

    Parameters
    ----------
    labels : Sequence[Path]
        Files.
    series : str or int or None, optional
        Name or number of the label image to take from each file of several.
    """
    every = expand(labels, join_sets=False).paths
    if series is None:
        return every
    several = {split_scene(path)[0] for path in every if path not in labels}
    chosen = expand([path for path in labels if path in several], series, join_sets=False).paths
    return [path for path in every if path in labels] + chosen


def _pair_with_coco(
    images: str, file: Path, keep_empty: bool, series: str | int | None, refuse: Refuse
) -> list[tuple[Path, ReadTruth]]:
    from napari_cupre.io.coco import scene_for, with_files
    from napari_cupre.io.coco_index import CocoIndex

    index = CocoIndex(file, keep_empty=keep_empty)
    files = _find_images(images, [image.file_name for image in index.images])
    found, missing = with_files(index, files, images)
    for notice in (*index.notices, *missing):
        if notice in (*index.lost, *missing):
            refuse(notice)
        else:
            print(notice, file=sys.stderr)
    if index.boxes:
        boxes = counted(index.boxes, "box without a mask is", "boxes without masks are")
        print(f"{boxes} taken as unknown: nothing is learned there.", file=sys.stderr)
    pairs: list[tuple[Path, ReadTruth]] = []
    for number, path in found:
        scene = scene_for(path, index.images[number], series)
        pairs.append((scene, functools.partial(_read_coco, index, number, scene, refuse)))
    return pairs


def _find_images(images: str, names: Sequence[str]) -> list[Path | None]:
    """Find the file of each image that a COCO JSON names: in a folder and its subfolders, else by stem."""
    from napari_cupre.io.coco import FileFinder
    from napari_cupre.io.file_names import NameTable

    folder = Path(images).expanduser()
    if not folder.is_dir() or is_zarr(folder):
        files = NameTable({image_stem(path): path for path in expand(list_images(images)).paths})
        return [files.get(image_stem(name)) for name in names]
    finder = FileFinder(folder)
    direct = [path for path in folder.iterdir() if is_image_file(path)]
    found = [finder.find(name) for name in names]
    if None in found:  # results of the scene "one" of "a.ome.tif" are named "a_one.tif"
        files = NameTable({image_stem(path): path for path in (*expand(direct).paths, *direct)})
        found = [path or files.get(image_stem(name)) for path, name in zip(found, names)]
    return found


def _read_file(path: Path, axes: str | None = None) -> Truth:
    labels = read_labels(path, axes)
    check_label_image(labels, path.name)
    return labels, None


def _read_coco(index: CocoIndex, number: int, image: Path, refuse: Refuse) -> Truth:
    from napari_cupre.io.importers.coco_sheets import account_of

    size = None if index.images[number].has_size else read_image(image).plane_shape
    painted = index.paint(number, size)
    if not painted.classes and (painted.outside or painted.small):
        where = "lie outside it" if painted.outside else "cover none of its pixels"
        raise InputError(
            f'"{index.path}": all annotations of "{index.images[number].file_name}" {where}, so they '
            f"may belong to another image."
        )
    account = account_of(index, number, painted, with_unknown=False)
    if account.is_partial:
        refuse(account.sentence())
    return painted.labels, None if painted.known.all() else painted.known


def drawn_by_seed(
    pairs: Sequence[tuple[Path, ReadTruth]], limit: int | None, seed: int
) -> list[tuple[Path, ReadTruth]]:
    """Draw `limit` of the pairs by `seed` and keep their order."""
    if limit is None or limit >= len(pairs):
        return list(pairs)
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:limit]
    return [pairs[i] for i in sorted(chosen)]


def _read(
    path: Path, read: ReadTruth, collected: Collected, axes: str | None, single: bool
) -> tuple[CellImage, Truth] | None:
    try:
        labels, known = read()
        image = _image_for(path, axes, labels.shape)
        turn = functools.partial(labels_as_stored, size=image.plane_shape, path=image.path)
        return image, (turn(labels), None if known is None else turn(known))
    except InputError as error:
        if single:
            raise
        collected.leave_out(path, error)
        return None


def _image_for(path: Path, axes: str | None, shape: tuple[int, ...]) -> CellImage:
    """Read the image that labels of this shape were made for.

    A file of a set is read by itself if its labels are for this file alone. Guessed channels are taken as
    planes if each of them has labels.

    Raises
    ------
    InputError
        If the image cannot be read.
    """
    try:
        image = fitted(read_image(path, axes), shape)
    except InputError:
        if not _is_in_set(path):
            raise
        return read_image(path, axes, alone=True)
    if not _fits(image, shape) and image.axes in ("YXS", "TYXS", "ZYXS") and is_tiff(path):
        # what tifffile wrote as the samples of a colour picture
        planes = read_image(path, "TZYX"[-image.data.ndim :])
        image = planes if _fits(planes, shape) else image
    if not _fits(image, shape) and _is_in_set(path):
        alone = fitted(read_image(path, axes, alone=True), shape)
        return alone if _fits(alone, shape) else image
    return image


def _is_in_set(path: Path) -> bool:
    return path.suffix.lower() in TIFF_SUFFIXES and any(scene.identity for scene in scenes(path))


def _fits(image: CellImage, shape: tuple[int, ...]) -> bool:
    return [size for size in image.result_shape if size > 1] == [size for size in shape if size > 1]


def fitted(image: CellImage, shape: tuple[int, ...]) -> CellImage:
    """Correct guessed axes of an image by the shape of its labels.

    Parameters
    ----------
    image : CellImage
        As it was read.
    shape : tuple[int, ...]
        Shape of its labels.
    """
    if not image.guessed or _fits(image, shape):
        return image
    sizes = image.data.shape
    leading = len(sizes) - 2 - image.is_rgb
    tail = "YXS" if image.is_rgb else "YX"
    for letters in _axes_in_front(leading):
        if image.is_rgb and "C" in letters:
            continue
        guess = image.with_axes(letters + tail)
        if _fits(guess, shape):
            return guess
    return image


def _axes_in_front(count: int) -> list[str]:
    """Return likely axes for the dimensions in front of rows and columns."""
    plain = {0: [""], 1: ["Z"], 2: ["TZ"]}.get(count, [])
    below = {1: [""], 2: ["Z"], 3: ["TZ"]}.get(count, [])
    return plain + [f"{rest[:at]}C{rest[at:]}" for rest in below for at in range(len(rest) + 1)]


def warn_of_scattered(path: Path, labels: np.ndarray) -> None:
    """Warn on stderr about labels whose parts do not touch.

    Parameters
    ----------
    path : Path
        What the sentence calls them.
    labels : numpy.ndarray
        int32 (..., Y, X).
    """
    planes = labels.reshape(-1, *labels.shape[-2:])
    parts = [counts for plane in planes for counts in scattered_parts(plane).values()]
    if parts:
        numbers = counted(len(parts), "label is", "labels are")
        print(
            f'In the labels of "{path.name}" {numbers} shared by {sum(parts)} parts that do not touch; each '
            f"label counts as one cell, so give each cell its own.",
            file=sys.stderr,
        )


def _shots(
    path: Path,
    image: CellImage,
    truth: Truth,
    regions: list[np.ndarray] | None,
    complete: bool,
    choose: ChooseChannels,
) -> list[Shot]:
    (labels, known), image = truth, choose(image)
    if unseen := image.unseen():
        print(unseen, file=sys.stderr)
    names_of(image)  # for the model that learns from it
    warn_of_scattered(path, labels)
    try:
        shots = list(shots_from_image(image, labels, regions=regions, complete=complete))
    except InputError as error:
        hint = ""
        if "differ in size" in str(error) and image.data.ndim > 2:
            hint = f" Its axes are read as {image.axes}; --axes names others."
        name = "" if path.name in str(error) else f'"{path}": '
        raise type(error)(f"{name}{error}{hint}") from error
    if known is not None:
        for shot in shots:
            shot.known &= known
    return shots
