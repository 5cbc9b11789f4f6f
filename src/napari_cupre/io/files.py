"""Files as users have them: listed in natural order, paired by name, written whole or not at all."""

from __future__ import annotations

import errno
import glob
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from napari_cupre.errors import EnvironmentFault, InputError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".tf2")
ZARR_SUFFIX = ".zarr"
IMAGE_SUFFIXES = (*PICTURE_SUFFIXES, *TIFF_SUFFIXES, ZARR_SUFFIX)

LABEL_ENDINGS = ("_cp_masks", "_masks", "_mask", "_labels", "_label", "_seg", "_instances", "_gt")
"""What label files append to the stem of their image."""

_JUNK = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r"),
    *("$recycle.bin", "system volume information", "lost+found"),
}
_ZARR_MARKS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
_DISK_ERRORS = {
    errno.ENOSPC: "the disk is full: free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up: free some space or choose another folder",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.EACCES: "writing there is not permitted: choose another folder",
    errno.EPERM: "writing there is not permitted: choose another folder",
    errno.EFBIG: "the disk cannot hold a file of that size: choose another disk",
}


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file completely or leave what was there.

    Yields the path of a temporary file in the same folder (which is made if need be), with the same
    suffix; when the block ends well it takes the place of `path`, else it is removed.

    Raises
    ------
    EnvironmentFault : full or read-only disk, no permission; the message names `path`.

    Examples
    --------
    >>> with atomic_write("out/labels.json") as temporary:
    ...     temporary.write_text("{}")
    """
    target = Path(path)
    # The leading dot makes a temporary file left by a killed process junk for every reader.
    temporary = target.with_name(f".{uuid.uuid4().hex[:8]}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        reason = _DISK_ERRORS.get(error.errno or 0)
        if reason is None:
            raise
        raise EnvironmentFault(f'"{target}" could not be written, {reason}.') from error
    finally:
        temporary.unlink(missing_ok=True)


def is_junk(path: Path) -> bool:
    """Whether a file is the system's own (`Thumbs.db`, `.DS_Store`, `._x`, hidden files) and never data."""
    return path.name.startswith(".") or path.name.lower() in _JUNK


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr hierarchy, which counts as one image."""
    return path.is_dir() and (
        path.suffix.lower() == ZARR_SUFFIX or any((path / mark).exists() for mark in _ZARR_MARKS)
    )


def is_image_file(path: Path) -> bool:
    """Whether a path looks like an image that can be read, by its name alone (or as a Zarr folder)."""
    if is_junk(path):
        return False
    if path.is_dir():
        return is_zarr(path)
    return path.suffix.lower() in IMAGE_SUFFIXES and path.suffix.lower() != ZARR_SUFFIX


def image_stem(path: str | os.PathLike[str]) -> str:
    """File name without its suffixes, "a" for "a.ome.tif" and "a.zarr"; what results are named by."""
    stem = Path(path).stem
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def natural_key(path: Path) -> tuple:
    """Sort key that puts "t2" in front of "t10"."""
    parts = re.split(r"(\d+)", str(path).lower())
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def list_images(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *, subfolders: bool = False
) -> list[Path]:
    """Image files named by folders, globs and files.

    Parameters
    ----------
    paths : one or several of: a folder (its own files, not those of subfolders), a glob, an image file, an
        OME-Zarr folder.
    subfolders : take the files of a folder's subfolders too.

    Returns
    -------
    list of Path : without junk and repetitions; each folder and glob in natural order.

    Raises
    ------
    InputError : nothing at a path, a file of another kind, or a folder or glob without an image.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    found: dict[Path, None] = {}
    for path in paths:
        found.update(dict.fromkeys(_expand(Path(path).expanduser(), subfolders)))
    if not found:
        raise InputError("No image was given: name a folder, a glob or image files.")
    return list(found)


def _expand(path: Path, subfolders: bool) -> list[Path]:
    """Images behind one path, folder or glob."""
    if path.is_dir() and not is_zarr(path):
        images = list(_below(path) if subfolders else filter(is_image_file, path.iterdir()))
        if not images:
            raise InputError(
                f'The folder "{path}" holds no image: choose one with PNG, JPEG, TIFF or OME-Zarr.'
            )
    elif path.exists():
        if not is_image_file(path):
            raise InputError(f'"{path}" is no image that can be read: give PNG, JPEG, TIFF or OME-Zarr.')
        images = [path]
    elif glob.has_magic(str(path)):
        images = [match for match in map(Path, glob.glob(str(path), recursive=True)) if is_image_file(match)]
        if not images:
            raise InputError(f'No image matches "{path}": check the folder and the pattern.')
    else:
        raise InputError(f'There is no file or folder "{path}": check the path.')
    return sorted(images, key=natural_key)


def _below(folder: Path) -> Iterator[Path]:
    """Images in a folder and its subfolders; an OME-Zarr is one image, whatever lies in it."""
    for entry in folder.iterdir():
        if is_image_file(entry):
            yield entry
        elif entry.is_dir() and not is_junk(entry):
            yield from _below(entry)


def pair_by_stem(
    images: Sequence[str | os.PathLike[str]], labels: Sequence[str | os.PathLike[str]]
) -> list[tuple[Path, Path]]:
    """Pair images with their label files by the stem of the name.

    A label file may append one of `LABEL_ENDINGS` to the stem ("a_mask.png" belongs to "a.tif"). Both lists
    may come from one folder: files with such an ending are then labels, the others images. A single image
    and a single label file belong together whatever their names.

    Returns
    -------
    list of (image, label file), in the order of the images; images and labels without partner are left out.

    Raises
    ------
    InputError : nothing pairs (unpaired names are listed), or two label files fit one image.
    """
    label_paths = [Path(label) for label in labels]
    image_paths = [Path(image) for image in images]
    shared = set(label_paths) & set(image_paths)
    image_paths = [path for path in image_paths if path not in shared or _without_ending(path) is None]
    label_paths = [path for path in label_paths if path not in shared or _without_ending(path) is not None]
    if len(image_paths) == len(label_paths) == 1:
        return [(image_paths[0], label_paths[0])]
    by_stem: dict[str, list[Path]] = {}
    for path in label_paths:
        by_stem.setdefault(image_stem(path), []).append(path)
    for path in label_paths:
        stem = _without_ending(path)
        # An exact name goes before a name with an ending, whatever order the files come in.
        if stem is not None and stem not in by_stem:
            by_stem.setdefault(f"{stem}\0", []).append(path)
    pairs = []
    for image in image_paths:
        stem = image_stem(image)
        matches = by_stem.get(stem) or by_stem.get(f"{stem}\0") or []
        if len(matches) > 1:
            raise InputError(
                f'Two label files fit the image "{image.name}": remove "{matches[0]}" or "{matches[1]}".'
            )
        pairs += [(image, match) for match in matches]
    if not pairs:
        raise InputError(
            f"No label file belongs to an image: name them alike, e.g. a.tif and a_mask.png "
            f"(images: {_listed(image_paths)}; labels: {_listed(label_paths)})."
        )
    return pairs


def _without_ending(path: Path) -> str | None:
    """Stem of a label file without its ending, None if it has none."""
    stem = image_stem(path)
    for ending in LABEL_ENDINGS:
        if stem.lower().endswith(ending) and len(stem) > len(ending):
            return stem[: -len(ending)]
    return None


def _listed(paths: Sequence[Path], limit: int = 5) -> str:
    names = ", ".join(path.name for path in paths[:limit]) or "none"
    return f"{names} and {len(paths) - limit} more" if len(paths) > limit else names
