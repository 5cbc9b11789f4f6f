"""Users' files: list them in natural order, write them completely or not at all."""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import itertools
import json
import os
import re
import stat
import unicodedata
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_cupre.errors import InputError, unwritable

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
TIFF_SUFFIXES = (
    *(".tif", ".tiff", ".btf", ".tf8", ".tf2"),
    *(".lsm", ".stk", ".svs", ".ndpi", ".scn", ".bif", ".qptiff"),  # microscopes' own formats, which are TIFF
)
FOREIGN_SUFFIXES = (
    *(".czi", ".zvi", ".lif", ".lof", ".nd2", ".oib", ".oif", ".oir", ".vsi"),
    *(".ims", ".mrxs", ".dv", ".r3d", ".ics", ".c01", ".flex"),
)
"""Endings of microscope formats that cannot be read."""
ZARR_SUFFIX = ".zarr"
COMPANION = ".companion.ome"
"""Ending of a metadata file that describes OME-TIFF files in the same folder."""
IMAGE_SUFFIXES = (*PICTURE_SUFFIXES, *TIFF_SUFFIXES, ZARR_SUFFIX)

_LABEL_WORDS = (
    *("masks", "mask", "labels", "label", "lbl", "seg", "segm"),
    *("annotations", "annotation", "instances", "instance"),
)
LABEL_ENDINGS = (
    *("_cp_masks", "_cp_mask", "_segmentation", "_gt", "_object identities"),
    *(f"{mark}{word}" for mark in "_-. " for word in _LABEL_WORDS),
)
"""Endings that label files append to the stem of their image."""

_LONGEST_NAME = 255
"""Longest file name that nearly every disk allows, in bytes."""

_JUNK = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r"),
    *("$recycle.bin", "system volume information", "lost+found"),
}
_TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURE_MARKS = (b"\x89PNG", b"\xff\xd8\xff", b"BM")
_ZARR_MARKS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file completely, or leave the old one as it was.

    Yields the path of a temporary file with the same suffix in the same folder, which is made if need be. If
    the block ends without an error, the file replaces `path`; otherwise it is removed.

    Raises
    ------
    InputError
        The name is longer than disks allow.
    EnvironmentFault
        Full or read-only disk, no permission; the message names `path`.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder) / "labels.json") as temporary:
    ...         _ = temporary.write_text("{}")
    ...     [file.name for file in Path(folder).iterdir()]
    ['labels.json']
    """
    target = Path(path)
    check_name(target)
    # The leading dot makes every reader skip a temporary file that a killed process left. The rest of the
    # name is short, since the target's own name may be as long as the disk allows.
    temporary = target.with_name(f".{uuid.uuid4().hex[:12]}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        if is_of_another_file(error, temporary, target, *target.parents):
            raise
        raise unwritable(target, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def append_line(path: Path, entry: Any) -> None:
    """Add a line of JSON to a file that several processes may add to.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with path.open("a", encoding="utf-8") as stream:
        # The leading line break ends a line that a killed process left unfinished.
        stream.write("\n" + json.dumps(entry))


def lines_of(path: Path) -> list[Any]:
    """Read a JSON lines file; skip broken lines, which a killed process may leave.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    entries = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            entries.append(json.loads(line))
    return entries


def is_of_another_file(error: OSError, *paths: Path) -> bool:
    """Whether an error is about a file other than `paths`, or comes from a library and not the system."""
    if error.errno is None or error.filename is None:
        return error.errno is None
    file = Path(error.filename)
    # A hidden file beside a path is the temporary file that will replace it.
    is_temporary = file.name.startswith(".") and file.parent in {path.parent for path in paths}
    return file not in paths and not is_temporary


def check_name(path: Path) -> None:
    """Raise an error for a name that is too long for any disk.

    Raises
    ------
    InputError
        Over 255 bytes.
    """
    length = len(os.fsencode(path.name))
    if length > _LONGEST_NAME:
        raise InputError(
            f'"{path.name[:40]}...{path.name[-20:]}" cannot be written: its name has {length} bytes and a '
            f"disk allows {_LONGEST_NAME}; give the image a shorter name."
        )


def refuse_empty(path: Path) -> None:
    """Raise `InputError` if a file is empty, as after a broken copy."""
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f'"{path}" is empty (0 bytes): copy it again.')


def is_junk(path: Path) -> bool:
    """Whether a file is the system's own (`Thumbs.db`, `.DS_Store`, `._x`, hidden files) and never data."""
    return path.name.startswith(".") or path.name.lower() in _JUNK


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr hierarchy, which counts as one image."""
    return os.path.isdir(path) and (
        path.suffix.lower() == ZARR_SUFFIX or any(os.path.exists(path / mark) for mark in _ZARR_MARKS)
    )


def is_tiff(path: Path) -> bool:
    """Whether a file is TIFF, by its first bytes (its name may be wrong) or, failing that, by its name."""
    is_named = path.suffix.lower() in TIFF_SUFFIXES
    try:
        with path.open("rb") as stream:
            head = stream.read(4)
    except OSError:
        return is_named
    return head in _TIFF_MARKS or (is_named and not head.startswith(_PICTURE_MARKS))


def is_companion(path: Path) -> bool:
    """Whether a file describes OME-TIFF files and has no pixels of its own, by its name."""
    return path.name.lower().endswith(COMPANION) and not is_junk(path)


def is_image_file(path: Path) -> bool:
    """Whether a path looks like an image that can be read, by its name (or as a Zarr folder)."""
    if is_junk(path):
        return False
    try:
        mode = path.stat().st_mode
    except OSError:  # no such file, or its disk does not answer
        mode = stat.S_IFREG
    if stat.S_ISDIR(mode):
        return is_zarr(path)
    is_named = path.suffix.lower() in IMAGE_SUFFIXES and path.suffix.lower() != ZARR_SUFFIX
    return is_named and stat.S_ISREG(mode)  # reading a pipe or a device might never end


def image_stem(path: str | os.PathLike[str]) -> str:
    """Return a file name without its suffixes ("a" for "a.ome.tif" and "a.zarr"), which names the results.

    One scene of a file of several has its name appended: "a_well1" for "a.ome.tif/well1". Accented letters
    are written in one way, since some systems split them into letter and accent.
    """
    file, scene = split_scene(path)
    stem = unicodedata.normalize("NFC", file.stem)
    stem = stem[:-4] if stem.lower().endswith(".ome") else stem
    return f"{stem}_{scene.replace('/', '_')}" if scene else stem


def split_scene(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """Split a path into a file or Zarr folder and the scene inside it.

    Parameters
    ----------
    path : str or os.PathLike[str]
        Path of an image, or of one scene: "a.ome.tif/well1", "plate.zarr/A/1/0".

    Returns
    -------
    file : Path
        The file.
    scene : str
        "" if the path is that of a whole file.
    """
    path = Path(path)
    if path.parent.suffix.lower() in (*TIFF_SUFFIXES, *PICTURE_SUFFIXES) and path.parent.is_file():
        return path.parent, path.name
    inside = []
    if ZARR_SUFFIX in str(path).lower():  # checking every folder takes longer than reading a small image
        inside = [parent for parent in path.parents if parent.suffix.lower() == ZARR_SUFFIX]
    if not inside and not path.suffix:
        inside = list(itertools.takewhile(is_zarr, path.parents))
    return (inside[-1], path.relative_to(inside[-1]).as_posix()) if inside else (path, "")


def image_name(path: str | os.PathLike[str]) -> str:
    """Return what messages call an image: the name of its file, and of its scene if it is one of several."""
    file, scene = split_scene(path)
    return f"{file.name} {scene}" if scene else file.name


def real_file(path: str | os.PathLike[str]) -> Path:
    """Return the file or folder on disk behind a path, which may name one scene in it."""
    return Path(path) if os.path.exists(path) else split_scene(path)[0]


def natural_key(path: Path) -> tuple[tuple[int, str], ...]:
    """Return a sort key that puts "t2" before "t10"."""
    parts = re.split(r"(\d+)", str(path).lower())
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def list_images(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *, subfolders: bool = False
) -> list[Path]:
    """List the image files behind folders, globs and files.

    Parameters
    ----------
    paths : str or os.PathLike[str] or Iterable[str | os.PathLike[str]]
        One or several of: a folder (its own files, not those of subfolders), a glob, an image file, an
        OME-Zarr folder, one scene of a file ("a.ome.tif/well1"), a ".companion.ome" file, which stands for
        the files that it describes.
    subfolders : bool, optional
        Take the files of a folder's subfolders too.

    Returns
    -------
    list of Path
        Each folder and glob in natural order, without junk or repetitions, even where links lead to a folder
        twice.

    Raises
    ------
    InputError
        A path leads nowhere, a file is not an image, or a folder or glob has no image.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    folders: dict[Path, str] = {}
    found: dict[tuple[str, str], Path] = {}
    for path in paths:
        for image in _expand(Path(path).expanduser(), subfolders):
            if image.parent not in folders:
                folders[image.parent] = os.path.realpath(image.parent)
            found.setdefault((folders[image.parent], image.name), image)
    if not found:
        raise InputError("No image was given: name a folder, a glob or image files.")
    return list(found.values())


def _expand(path: Path, subfolders: bool) -> list[Path]:
    """List the images behind one path, folder or glob."""
    if os.path.isdir(path) and not is_zarr(path):
        images = list(walk(path) if subfolders else filter(is_image_file, path.iterdir()))
        if not images:
            raise _no_image_in(path)
    elif is_companion(path) and os.path.exists(path):
        return _described(path)
    elif os.path.exists(path):
        if not is_image_file(path):
            raise InputError(f'"{path}" is not an image that can be read: {_way_out(path)}.')
        images = [path]
    elif os.path.exists(split_scene(path)[0]):
        images = [path]
    elif glob.has_magic(str(path)):
        matches = sorted(_matches(path), key=natural_key)
        images = [match for match in matches if is_image_file(match)]
        if not images and any(map(is_companion, matches)):
            return [image for match in matches if is_companion(match) for image in _described(match)]
        if not images:
            raise InputError(f'No image matches "{path}": check the folder and the pattern.')
    else:
        raise InputError(f'There is no file or folder "{path}": check the path.')
    return sorted(images, key=natural_key)


def _way_out(path: Path) -> str:
    """Say what to do with a file that cannot be read as an image."""
    if path.suffix.lower() in FOREIGN_SUFFIXES:
        return "save it as OME-TIFF, as Fiji does"
    packed = path.suffix.lower() in (".zip", ".ozx", ".gz", ".tar", ".tgz", ".7z", ".rar")
    return "unpack it first" if packed else "give PNG, JPEG, TIFF or OME-Zarr"


def foreign_images(paths: Iterable[str | os.PathLike[str]], found: Iterable[Path]) -> list[Path]:
    """List images in formats that cannot be read, unless a readable copy lies beside them.

    Parameters
    ----------
    paths : Iterable[str | os.PathLike[str]]
        What the user named; only its folders are searched.
    found : Iterable[Path]
        The images that can be read.
    """
    known = {(image.parent, image_stem(image)) for image in found}
    folders = [path for path in (Path(path).expanduser() for path in paths) if path.is_dir()]
    inside = [entry for folder in folders if not is_zarr(folder) for entry in folder.iterdir()]
    foreign = [entry for entry in inside if entry.suffix.lower() in FOREIGN_SUFFIXES and not is_junk(entry)]
    return sorted(
        (entry for entry in foreign if (entry.parent, image_stem(entry)) not in known), key=natural_key
    )


def _no_image_in(folder: Path) -> InputError:
    """Return the error for a folder without images; it mentions subfolders that have some."""
    hint = "choose one with PNG, JPEG, TIFF or OME-Zarr images"
    if next(walk(folder), None) is not None:
        hint = f'choose one of its subfolders, or give "{Path(glob.escape(str(folder)), "**", "*")}" for all'
    return InputError(f'The folder "{folder}" contains no image: {hint}.')


def _described(companion: Path) -> list[Path]:
    """List the image files that a companion file describes."""
    # OME needs tifffile, which takes long to import.
    from napari_cupre.io.ome import described_files

    return described_files(companion)


def walk(folder: Path) -> Iterator[Path]:
    """List the images in a folder and its subfolders; each folder once, wherever links lead.

    An OME-Zarr is one image, whatever lies in it.
    """
    seen: set[str] = set()
    waiting = [folder]
    while waiting:
        folder = waiting.pop(0)
        place = os.path.realpath(folder)
        if place in seen:
            continue
        seen.add(place)
        # Links come last, so that a folder goes by its own name.
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.is_symlink()):
            if is_image_file(entry):
                yield entry
            elif entry.is_dir() and not is_junk(entry):
                waiting.append(entry)


def _matches(pattern: Path) -> Iterator[Path]:
    """List what a glob matches; "**" visits each folder once, wherever links lead."""
    if "**" not in pattern.parts:
        yield from map(Path, glob.glob(str(pattern)))
        return
    first = pattern.parts.index("**")
    roots = glob.glob(str(Path(*pattern.parts[:first]))) if first else ["."]
    for root in map(Path, roots):
        for path in walk(root) if root.is_dir() else ():
            parts = path.relative_to(root).parts
            if _fits(parts, pattern.parts[first:]):
                yield Path(*parts) if not first else path


def _fits(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether the parts of a path fit those of a glob; "**" fits any number of parts."""
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_fits(parts[skip:], patterns[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatch(parts[0], patterns[0]) and _fits(parts[1:], patterns[1:])
