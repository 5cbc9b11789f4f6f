"""Decide which files may be replaced: those that this package wrote and nobody has changed since.

Each folder of results has a small hidden record of what was written there: one line of JSON per file, with
its name and a digest of its content. Lines are only ever added, so that several processes can write into one
folder. A file that the record does not know, or whose content differs, belongs to a person.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from napari_cupre.errors import EnvironmentFault, reason_of, unwritable
from napari_cupre.io.files import append_line, check_name, image_stem, is_of_another_file, lines_of

RECORD = ".napari-cupre-written"
"""Name of the record in each folder of results."""

_BLOCK = 2**20


def may_write(
    path: str | os.PathLike[str],
    images: Iterable[str | os.PathLike[str]] = (),
    *,
    overwrite: bool = False,
) -> str | None:
    """Say why a file must not be written, or nothing if it may be.

    Parameters
    ----------
    path : str or os.PathLike
        The file, or the OME-Zarr folder, to be written.
    images : iterable of str or os.PathLike
        Images in use, which are never replaced: those of a run, or those that a window has open.
    overwrite : bool
        The user agreed to replace files that a person made. Images are not replaced even then.

    Returns
    -------
    str or None
        The reason as a clause that names the file, without a full stop, so that the caller can add what to
        do. None if there is no file, or if this package wrote it and nobody changed it since.

    Examples
    --------
    >>> may_write("no-such-folder/a.tif") is None
    True
    """
    return reason_against([path], images, overwrite=overwrite)


def reason_against(
    paths: Iterable[str | os.PathLike[str]],
    images: Iterable[str | os.PathLike[str]] = (),
    *,
    overwrite: bool = False,
) -> str | None:
    """Check many files like `may_write`; return the reason for the first, and how many more there are."""
    inputs = _Inputs(images)
    written = _Records()
    reasons = [
        reason
        for path in map(Path, paths)
        if (reason := _reason(path, inputs, written, overwrite)) is not None
    ]
    if not reasons:
        return None
    more = len(reasons) - 1
    return reasons[0] if not more else f"{reasons[0]} (and {more} more file{'s' * (more > 1)} like it)"


def results_among(paths: Sequence[Path]) -> list[Path]:
    """Pick the results of this package from some files, so that they are not taken for images.

    Parameters
    ----------
    paths : sequence of Path
        What folders hold.

    Returns
    -------
    list of Path
        Files that this package wrote and that are unchanged or lie beside an image of the same stem.
    """
    records = _Records()
    stems = Counter((path.parent, image_stem(path)) for path in paths)
    found = []
    for path in paths:
        digests = records.digests(path)
        if digests and (stems[path.parent, image_stem(path)] > 1 or _is_among(path, digests)):
            found.append(path)
    return found


def _is_among(path: Path, digests: set[str]) -> bool:
    with contextlib.suppress(OSError):
        return _digest(path) in digests
    return False


def note_written(path: str | os.PathLike[str], content: str | os.PathLike[str] | None = None) -> None:
    """Record that this package wrote a file or folder.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    content : str or os.PathLike, optional
        Where the content is now, if it is about to be moved to `path`. Then a process that is killed in
        between does not leave a file that no record knows.

    Raises
    ------
    OSError
        If the record cannot be written.
    """
    path = Path(path)
    append_line(path.parent / RECORD, {"name": path.name, "digest": _digest(Path(content or path))})


@contextmanager
def owned_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file completely or not at all, like `files.atomic_write`, and record it as ours.

    Yields
    ------
    Path
        A temporary file of the same name, on the same disk.

    Raises
    ------
    InputError
        A name that is longer than disks allow.
    EnvironmentFault
        Full or read-only disk, no permission.
    """
    target = Path(path)
    check_name(target)
    staged = target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Some formats store the file's name inside the file, so the temporary file must already have it.
        with tempfile.TemporaryDirectory(prefix=".", dir=target.parent, ignore_cleanup_errors=True) as folder:
            staged = Path(folder) / target.name
            yield staged
            note_written(target, staged)
            os.replace(staged, target)
    except OSError as error:
        if is_of_another_file(error, staged, target, *target.parents):
            raise
        raise unwritable(target, error) from error
    except EnvironmentFault as error:  # from a writer, which does not know the target's name
        raise EnvironmentFault(str(error).replace(str(staged), str(target))) from error


def next_free(path: str | os.PathLike[str], endings: Sequence[str] = ("",)) -> Path:
    """Find a name under which nothing would be replaced: "a.tif", "a-2.tif", "a-3.tif", ...

    Parameters
    ----------
    path : str or os.PathLike
        The wanted file, or the stem of several files.
    endings : sequence of str
        What follows the stem in each name, e.g. (".tif", "_rois.zip"); all these names must be free.

    Returns
    -------
    Path
        `path` if it is free, else the same with a number before its suffix.

    Examples
    --------
    >>> next_free("no-such-folder/a.tif").name
    'a.tif'
    """
    path = Path(path)
    stem, suffix = (path.name, "") if tuple(endings) != ("",) else _split(path.name)
    number, name = 1, f"{stem}{suffix}"
    while any(os.path.lexists(path.with_name(f"{name}{ending}")) for ending in endings):
        number += 1
        name = f"{stem}-{number}{suffix}"
    return path.with_name(name)


def as_named(path: Path, ending: str, beside: Sequence[str] = ()) -> Path:
    """Find where to write a file named in a dialog, which asked only about replacing exactly that name.

    Parameters
    ----------
    path : pathlib.Path
        The path from the dialog; its ending may be missing.
    ending : str
        Of the file, such as ".csv".
    beside : sequence of str, optional
        What follows the stem in further files written beside it, such as "_images.csv".

    Returns
    -------
    pathlib.Path
        The path with the ending; a free name if it would replace a file that the person was not asked about.
    """
    stem = path.with_suffix("") if path.suffix.lower() == ending else path
    if stem != path and os.path.lexists(path):
        return path  # the person was asked
    free = next_free(stem, (ending, *beside))
    return free.with_name(free.name + ending)


def _split(name: str) -> tuple[str, str]:
    """Split a name into stem and suffix; ".ome.tif" is one suffix."""
    stem, suffix = os.path.splitext(name)
    if stem.lower().endswith(".ome"):
        return stem[:-4], stem[-4:] + suffix
    return stem, suffix


class _Inputs:
    """A set of images that recognises their paths however they are written."""

    def __init__(self, images: Iterable[str | os.PathLike[str]]) -> None:
        self._names: dict[str, str] = {}
        self._files: dict[tuple[int, int], str] = {}
        self._above: dict[Path, str | None] = {}
        for image in images:
            real = _on_disk(image)
            for path in {os.fspath(image), real}:
                self._names[_absolute(path)] = path
            if (file := _file(real)) is not None:
                self._files[file] = real

    def image(self, path: Path) -> str | None:
        """Return the image at a path, None if there is none."""
        file = _file(path)
        return self._names.get(_absolute(path)) or (self._files.get(file) if file is not None else None)

    def above(self, path: Path) -> str | None:
        """Return the image folder that contains a path, None if there is none."""
        if self._names and path.parent not in self._above:
            names = map(_absolute, path.parents)
            self._above[path.parent] = next(
                (self._names[name] for name in names if name in self._names), None
            )
        return self._above.get(path.parent)


class _Records:
    """The records of several folders, each read once."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, set[str]]] = {}

    def digests(self, path: Path) -> set[str]:
        """Return the digests of everything that was ever written to a path."""
        if path.parent not in self._folders:
            self._folders[path.parent] = _read(path.parent / RECORD)
        return self._folders[path.parent].get(path.name, set())


def _read(record: Path) -> dict[str, set[str]]:
    """Return digests by file name; malformed lines are skipped."""
    try:
        entries = lines_of(record)
    except OSError:
        return {}
    known: dict[str, set[str]] = {}
    for entry in entries:
        with contextlib.suppress(KeyError, TypeError):
            known.setdefault(str(entry["name"]), set()).add(str(entry["digest"]))
    return known


def _reason(path: Path, inputs: _Inputs, written: _Records, overwrite: bool) -> str | None:
    if (image := inputs.image(path)) is not None:
        return (
            f'"{path}" is an image that is in use'
            if _absolute(path) == _absolute(image)
            else (f'"{path}" is the same file as the image "{image}"')
        )
    if (image := inputs.above(path)) is not None:
        return f'"{path}" would lie inside the image "{image}"'
    if overwrite or not os.path.lexists(path):
        return None
    digests = written.digests(path)
    if not digests:
        return f'"{path}" already exists and was not written by napari-cupre'
    try:
        unchanged = _digest(path) in digests
    except OSError as error:
        return f'"{path}" already exists and cannot be read ({reason_of(error)})'
    return None if unchanged else f'"{path}" was changed after napari-cupre wrote it'


def _digest(path: Path) -> str:
    """Return a digest of a file's content, or of the names and contents of all files in a folder."""
    digest = hashlib.blake2b(digest_size=16)
    if not path.is_dir():
        _add(digest, path)
        return digest.hexdigest()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        _add(digest, file)
    return f"folder {digest.hexdigest()}"


def _add(digest: hashlib.blake2b, path: Path) -> None:
    digest.update(path.stat().st_size.to_bytes(8, "little"))
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)


def _on_disk(image: str | os.PathLike[str]) -> str:
    """Return the file that contains an image, which may be one scene in it ("a.ome.tif/well1")."""
    holder = next((folder for folder in Path(image).parents if os.path.lexists(folder)), None)
    is_scene = not os.path.lexists(image) and holder is not None and holder.is_file()
    return os.fspath(holder if is_scene and holder is not None else image)


def _absolute(path: str | os.PathLike[str]) -> str:
    return os.path.normcase(os.path.abspath(path))


def _file(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Return the system's identity of a file, the same for links and other spellings."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return (stat.st_dev, stat.st_ino) if stat.st_ino else None
