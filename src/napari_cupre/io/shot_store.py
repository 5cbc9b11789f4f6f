"""The training set that keeps annotated images on disk.

A training set is a folder: one `.npz` per shot, named by its content, and `shots.json`, which lists them
in order and is written last. Whatever interrupts a save, the list names complete files.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_cupre.data.shot import Shot
from napari_cupre.errors import InputError
from napari_cupre.io.files import atomic_write

_INDEX = "shots.json"
_FORMAT = 1


def save_shots(folder: str | Path, shots: Sequence[Shot]) -> None:
    """Save a training set; what the folder held of an older one is replaced.

    Raises
    ------
    EnvironmentFault
        Full disk or no permission; the older training set is then still whole.
    """
    folder = Path(folder)
    entries = []
    for shot in shots:
        file = folder / f"{shot_digest(shot)}.npz"
        if not file.exists():
            with atomic_write(file) as temporary:
                np.savez_compressed(
                    temporary, image=_without_copies(shot.image), labels=shot.labels, known=shot.known
                )
        entries.append({"file": file.name, "name": shot.name})
    with atomic_write(folder / _INDEX) as temporary:
        temporary.write_text(json.dumps({"format": _FORMAT, "shots": entries}, indent=1), encoding="utf-8")
    listed = {entry["file"] for entry in entries}
    for file in folder.glob("*.npz"):
        if file.name not in listed:
            file.unlink()


def has_shots(folder: str | Path) -> bool:
    """Whether a training set lies in a folder."""
    return (Path(folder) / _INDEX).is_file()


def load_shots(folder: str | Path) -> list[Shot]:
    """Load a training set that `save_shots` saved; nothing is unpickled.

    Raises
    ------
    InputError
        No training set there, or a missing or damaged file.
    """
    folder = Path(folder)
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        version, entries = index["format"], [(entry["file"], entry["name"]) for entry in index["shots"]]
    except FileNotFoundError as error:
        raise InputError(
            f'The folder "{folder}" contains no training set: choose one with a {_INDEX}.'
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f'The training set "{folder / _INDEX}" is damaged: annotate or copy it again.'
        ) from error
    if version != _FORMAT:
        raise InputError(
            f'The training set "{folder}" has format {version}, this version reads {_FORMAT}: update.'
        )
    return [_load_shot(folder / Path(str(file)).name, str(name)) for file, name in entries]


def _load_shot(file: Path, name: str) -> Shot:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            image, labels, known = arrays["image"], arrays["labels"], arrays["known"]
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f'The annotated image "{file}" is missing or damaged: copy it again.') from error
    fits = image.ndim == 3 and image.shape[:2] == labels.shape == known.shape
    if not fits or image.dtype != np.float32 or labels.dtype != np.int32 or known.dtype != bool:
        raise InputError(f'The file "{file}" contains no annotated image: remove it from the training set.')
    return Shot(np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3))), labels, known, name)


def _without_copies(image: np.ndarray) -> np.ndarray:
    """Grey images are stored with one channel instead of three equal ones."""
    grey = image[..., :1]
    return grey if (image == grey).all() else image


def shot_digest(shot: Shot) -> str:
    """Name of a shot's file: equal content, equal name."""
    digest = hashlib.sha256()
    for array in (shot.image, shot.labels, shot.known):
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:24]
