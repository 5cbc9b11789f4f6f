"""Identify an image wherever it is: by content, by relative path and by a unique name."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from napari_cupre.errors import InputError
from napari_cupre.io.files import image_stem, is_image_file

WHOLE_BYTES = 16 * 2**20
"""Files up to this size are hashed as a whole; larger ones by samples."""

_SAMPLES, _SAMPLE_BYTES = 64, 64 * 2**10
_MOST_ENTRIES = 2000
_LONGEST_STEM = 100
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def fingerprint(path: Path) -> str:
    """Return the fingerprint of an image, independent of its place: size in bytes and a content hash.

    For files above 16 MB, 64 samples of 64 KB from first to last byte are hashed, so a slide of 20 GB takes
    only a moment. For an OME-Zarr, the names and sizes of its first 2,000 files and its metadata are hashed.

    Returns
    -------
    str
        Such as "1048576-3f2a...".

    Raises
    ------
    InputError
        The file cannot be read.
    """
    try:
        return _of_folder(path) if path.is_dir() else _of_file(path)
    except OSError as error:
        raise InputError(f'"{path}" cannot be read ({error.strerror}): check the path.') from error


def _of_file(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        if size <= WHOLE_BYTES:
            digest.update(stream.read())
        else:
            for number in range(_SAMPLES):
                stream.seek((size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
                digest.update(stream.read(_SAMPLE_BYTES))
    return f"{size}-{digest.hexdigest()[:32]}"


def _of_folder(path: Path) -> str:
    digest, total = hashlib.sha256(), 0
    for number, file in enumerate(_files_in(path)):
        if number >= _MOST_ENTRIES:
            break
        size = file.stat().st_size
        total += size
        digest.update(f"{file.relative_to(path).as_posix()}:{size};".encode())
        if file.suffix == ".json" or file.name in (".zattrs", ".zgroup", ".zarray"):
            digest.update(file.read_bytes())
    return f"{total}-{digest.hexdigest()[:32]}"


def _files_in(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            yield from _files_in(entry)
        else:
            yield entry


def relative_to(path: Path, folder: Path) -> str:
    """Return a path as a project stores it: relative to its folder, with "/"; absolute on another drive."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # Windows has no relative path from one drive to another
        return path.resolve().as_posix()


def resolved(written: str, folder: Path) -> Path:
    """Return the file of a stored path; Windows separators are understood on every system."""
    literal = folder / written
    if "\\" in written and not literal.exists():
        literal = folder / PureWindowsPath(written).as_posix()
    return Path(os.path.normpath(literal))


def find_moved(written: str, content: str, folders: Iterable[Path]) -> Path | None:
    """Find a moved image by its content.

    Parameters
    ----------
    written : str
        The path in the project.
    content : str
        Its fingerprint.
    folders : Iterable[Path]
        Folders to search (without subfolders), the likeliest first. A file of the same name is tried first.
    """
    name = PureWindowsPath(written).name
    size = content.partition("-")[0]
    others: dict[Path, None] = {}
    for folder in folders:
        if (folder / name).exists() and _is(folder / name, content):
            return folder / name
        if folder.is_dir():
            others.update(dict.fromkeys(sorted(filter(is_image_file, folder.iterdir()))))
    for path in others:
        alike = path.is_dir() or str(path.stat().st_size) == size
        if alike and _is(path, content):
            return path
    return None


def _is(path: Path, content: str) -> bool:
    try:
        return fingerprint(path) == content
    except InputError:
        return False


def new_stem(name: str, taken: Iterable[str], path: str = "", others: Iterable[str] = ()) -> str:
    """Return a file stem for an image's data that is valid on every system.

    It differs from taken stems even on a disk that ignores case. The folder in `path` tells it from `others`,
    the files of other images, if its name is taken by one in another folder; else a number does.

    Examples
    --------
    >>> new_stem("well A:1", ["other"]), new_stem("a.tif", ["A"])
    ('well A_1', 'a_2')
    >>> new_stem("a.tif", ["a"], "../B03/a.tif", ["../B02/a.tif"])
    'B03_a'
    """
    used = {each.casefold() for each in taken}
    stem = _valid(name)
    if stem.casefold() in used and (folder := _folder_apart(path, others)):
        stem = _valid(f"{folder}_{name}")
    candidate, number = stem, 1
    while candidate.casefold() in used:
        number += 1
        candidate = f"{stem}_{number}"
    return candidate


def _folder_apart(path: str, others: Iterable[str]) -> str:
    """Return the name of a file's folder, or "" if another of these files lies there under its name."""
    here = PurePosixPath(path)
    known = (other for other in map(PurePosixPath, others) if other != here)
    is_double = any(other.parent == here.parent and other.stem == here.stem for other in known)
    return "" if is_double else here.parent.name


def _valid(name: str) -> str:
    """Return a stem that every system can use as a file name."""
    stem = unicodedata.normalize("NFC", image_stem(Path(name.replace("/", "_").replace("\\", "_"))))
    stem = re.sub(r'[<>:"|?*\x00-\x1f]', "_", stem).strip(" .")[:_LONGEST_STEM].rstrip(" .") or "image"
    if stem.partition(".")[0].lower() in _RESERVED:
        stem = f"_{stem}"
    return stem
