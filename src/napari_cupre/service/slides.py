"""Keep predictions of images larger than memory, so that a repeated prediction continues.

They can be computed again, so the oldest are deleted beyond a disk space limit, except those in use.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from platformdirs import user_data_path

from napari_cupre.data.image import CellImage
from napari_cupre.errors import unwritable, writing
from napari_cupre.model.runs import size_of
from napari_cupre.prediction.fingerprint import request_digest

STORE, USERS, DELETED = ".zarr", ".users", ".deleted"


@dataclass(frozen=True)
class KeptSlide:
    """The prediction of one large image on disk, an OME-Zarr.

    `size` is the total size in bytes; `used` is the time of the last opening or writing, in seconds since
    1970.
    """

    path: Path
    size: int
    used: float


def slides_folder() -> Path:
    """Return the folder of the label images.

    The environment variable NAPARI_CUPRE_SLIDES overrides it.
    """
    chosen = os.environ.get("NAPARI_CUPRE_SLIDES")
    return Path(chosen) if chosen else user_data_path("napari-cupre", appauthor=False) / "slides"


def slide_path(image: CellImage, file: Path, is_copy: bool, model: str, options: dict[str, Any]) -> Path:
    """Return the path of the OME-Zarr for this image, model and options; same input, same path.

    Parameters
    ----------
    image : CellImage
        How the image was read.
    file : Path
        The file it was read from.
    is_copy : bool
        Whether the file is a copy in a temporary folder, identified by its pixels instead of its name.
    model : str
        Name or path.
    options : dict of str to JSON value
        Keyword arguments of `prediction.predict_options.PredictOptions`.

    Returns
    -------
    Path
        In `slides_folder`.
    """
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(image.name).stem)[:40] or "slide"
    return slides_folder() / f"{stem}-{request_digest(image, file, is_copy, model, options)[:12]}{STORE}"


def kept_slides() -> list[KeptSlide]:
    """Return all predictions of large images, the most recently used first."""
    found = []
    for path in slides_folder().glob(f"*{STORE}"):
        sizes = [size_of(part) for part in _parts(path)]
        users = path.with_name(path.name + USERS)
        used = max(part.stat().st_mtime for part in (path, users) if part.exists())
        found.append(KeptSlide(path, sum(sizes), used))
    return sorted(found, key=lambda each: each.used, reverse=True)


def hold_slide(path: Path) -> FileLock:
    """Protect the prediction of a large image from deletion until the lock is released or forgotten.

    The operating system releases it when the process ends, however it ends.

    Raises
    ------
    EnvironmentFault
        The folder cannot be written.
    """
    users = path.with_name(path.name + USERS)
    lock = FileLock(users / f"{uuid.uuid4().hex}.lock", thread_local=False)
    with writing(users):
        users.mkdir(parents=True, exist_ok=True)
        os.utime(users)
    # on disks without locks it counts as in use for ever
    with contextlib.suppress(OSError, NotImplementedError):
        lock.acquire(blocking=False)
    return lock


def clear_slides(limit: int = 0) -> int:
    """Delete unused predictions of large images, the least recently used first.

    Parameters
    ----------
    limit : int, optional
        Bytes that may stay; predictions in use always stay.

    Returns
    -------
    int
        Freed bytes.

    Raises
    ------
    EnvironmentFault
        One cannot be deleted.
    """
    _finish_deleting()
    kept = kept_slides()
    total, freed = sum(each.size for each in kept), 0
    for each in reversed(kept):
        if total - freed <= limit:
            break
        if not is_slide_in_use(each.path):
            _delete(each.path)
            freed += each.size
    return freed


def is_slide_in_use(path: Path) -> bool:
    """Whether a process holds the prediction of a large image; forget holders that are gone."""
    for file in path.with_name(path.name + USERS).glob("*.lock"):
        lock = FileLock(file, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except (Timeout, OSError, NotImplementedError):
            return True
        lock.release()
        file.unlink(missing_ok=True)
    return False


def _parts(path: Path) -> list[Path]:
    """Return the OME-Zarr and the files beside it with its name."""
    return [part for dot in ("", ".") for part in sorted(path.parent.glob(f"{dot}{path.stem}[._]*"))]


def _delete(path: Path) -> None:
    # rename first, so that an interrupted deletion does not leave half a result
    try:
        path.rename(path.with_name(f".{path.name}{DELETED}"))
        for part in _parts(path):
            shutil.rmtree(part) if part.is_dir() else part.unlink()
    except OSError as error:
        raise unwritable(error.filename or path, error) from error


def _finish_deleting() -> None:
    """Finish the deletions of a process that died in the middle of one."""
    for rest in slides_folder().glob(f".*{STORE}{DELETED}"):
        shutil.rmtree(rest, ignore_errors=True)
