"""Folders of annotations: a label image or outline file per image, or a mask file per cell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.io.files import (
    IMAGE_SUFFIXES,
    LABEL_ENDINGS,
    image_stem,
    is_image_file,
    is_junk,
    natural_key,
)
from napari_cupre.io.images import read_image

_LABEL_FOLDERS = ("masks", "labels", "label", "mask", "gt")
"""Names of label subfolders that lie beside the images' folder, as in StarDist's data."""

OUTLINE_SUFFIXES = (
    ".zip",
    ".roi",
    ".json",
    ".geojson",
    ".json.gz",
    ".geojson.gz",
    ".npy",
    "_cp_outlines.txt",
)
"""Endings of annotation files that are not images."""
_OUTLINE_ENDINGS = (
    "_cp_outlines",
    "_outlines",
    "_rois",
    "-rois",
    "_roi",
    "_RoiSet",
    "-RoiSet",
    " RoiSet",
    "RoiSet",
)
"""Suffixes and prefixes that this package and Fiji's users add to an image's name for outline files."""

_OUTLINE_BEGINNINGS = ("RoiSet_", "RoiSet-", "RoiSet ", "rois_")


def label_stem(path: Path) -> str:
    """Return the stem of a label file's image: "a" for "a_masks.png" and "a_rois.zip"."""
    return label_names(path)[0]


def label_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the stems that the image of a label file may have, the most likely one first.

    Examples
    --------
    >>> label_names("a.ome.tif_rois.zip")
    ('a', 'a.ome.tif', 'a.ome.tif_rois')
    """
    name = Path(path).name
    stem = image_stem(name[:-3] if name.lower().endswith(".gz") else name)
    core = _without(stem)
    names = [_without_suffix(core), core, _without_suffix(stem), stem]
    return tuple(dict.fromkeys(names))


def _without(stem: str) -> str:
    """Return a stem without the part that marks labels or outlines."""
    lower = stem.lower()
    for ending in sorted((*LABEL_ENDINGS, *_OUTLINE_ENDINGS), key=len, reverse=True):
        if lower.endswith(ending.lower()) and len(stem) > len(ending):
            return stem[: -len(ending)]
    for beginning in _OUTLINE_BEGINNINGS:
        if lower.startswith(beginning.lower()) and len(stem) > len(beginning):
            return stem[len(beginning) :]
    return stem


def _without_suffix(name: str) -> str:
    """Return a name without an image's suffix, which may remain as in "a.tif.geojson"."""
    is_file = name.lower().endswith((*IMAGE_SUFFIXES, ".ome"))
    return image_stem(name) if is_file and image_stem(name) else name


def label_folder(folder: Path) -> Path:
    """Return the subfolder with the labels if images and labels have one each, else the folder itself."""
    for name in _LABEL_FOLDERS:
        if (folder / name).is_dir() and (folder / "images").is_dir():
            return folder / name
    return folder


def mask_folders(folder: Path) -> list[tuple[str, Path]]:
    """Return the stem and the folder of masks of every image, in the layout of BBBC038's stage 1.

    The layout is `<stem>/masks/*.png`, one file per cell, for one image or many; other layouts give an empty
    list.
    """
    folders = [path for path in folder.iterdir() if path.is_dir() and not is_junk(path)]
    candidates = [folder, *sorted(folders, key=natural_key)]
    return [
        (path.name, path / "masks")
        for path in candidates
        if (path / "masks").is_dir() and _is_one_image(path, folder)
    ]


def _is_one_image(path: Path, root: Path) -> bool:
    """Whether a folder belongs to one image, as in BBBC038 (named like its folder), or to many (StarDist)."""
    images = [entry for entry in (path / "images").glob("*") if is_image_file(entry)]
    return len(images) == 1 or (not images and path != root)


def read_mask_folder(folder: Path) -> np.ndarray:
    """Read a folder with one mask file per cell as a label image; where two overlap, the first wins.

    Raises
    ------
    InputError
        If there is no mask, one cannot be read, or they differ in size.
    """
    paths = sorted((path for path in folder.iterdir() if is_image_file(path)), key=natural_key)
    if not paths:
        raise InputError(f'"{folder}" contains no mask image: choose another folder.')
    labels = np.zeros(_read_mask(paths[0]).shape, np.int32)
    for number, path in enumerate(paths, 1):
        mask = _read_mask(path)
        if mask.shape != labels.shape:
            raise InputError(
                f'"{path}" has {mask.shape} pixels and "{paths[0].name}" {labels.shape}: they must be masks '
                f"of one image."
            )
        labels[mask & (labels == 0)] = number
    return labels


def _read_mask(path: Path) -> np.ndarray:
    """Read a mask, bool (Y, X), from grey values or the colours of an RGB picture."""
    plane = read_image(path).plane()
    return plane.reshape(*plane.shape[:2], -1).max(axis=-1) > 0


def annotation_files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """List a folder's files with these endings in natural order, without images whose labels are there."""
    paths = [path for path in folder.iterdir() if path.is_file() and not is_junk(path)]
    paths = sorted((path for path in paths if path.name.lower().endswith(suffixes)), key=natural_key)
    owned = {label_stem(path) for path in paths if label_stem(path) != image_stem(path)}
    masked = {label_stem(path) for path in paths if not path.name.lower().endswith(".txt")}
    for path in paths:
        is_image = image_stem(path) in owned and is_image_file(path)
        # Cellpose writes outlines beside the masks they were made from.
        is_copy = path.name.lower().endswith(".txt") and label_stem(path) in masked - {image_stem(path)}
        if not (is_image or is_copy):
            yield path


def to_be_imported(labels: str) -> InputError | None:
    """Return the error for other programs' annotations in place of label images; None if there are none."""
    path = Path(labels).expanduser()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = [file for file in files if file.is_file() and file.name.lower().endswith(OUTLINE_SUFFIXES)]
    if not found:
        return None
    return InputError(
        f'"{found[0]}" contains annotation of another program: make label images of it with '
        f"'napari-cupre import'."
    )
