"""Keep annotated images on disk as a training set.

A training set is a folder: one `.npz` per shot, named by its content, and `shots.json`, which lists them in
order and is written last. So the list only ever names complete files, even if a save is interrupted.
"""

from __future__ import annotations

import hashlib
import json
import uuid
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.data.shot import Shot
from napari_cupre.errors import InputError
from napari_cupre.io.files import atomic_write

_INDEX = "shots.json"
_STAGED = "staged-"
_FORMAT = 1


class ShotWriter:
    """Write a training set, one annotated image at a time, so that none needs to stay in memory.

    Parameters
    ----------
    folder : str or Path
        Folder of the training set; a set that is already there stays until `replace`.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._entries: list[dict[str, Any]] = []

    def add(self, shot: Shot) -> None:
        """Write an annotated image unless the folder already has it.

        Raises
        ------
        EnvironmentFault
            Full disk or no permission.
        """
        file = self.folder / f"{shot_digest(shot)}.npz"
        if not file.exists():
            arrays = {
                "image": _without_copies(shot.image),
                "labels": shot.labels,
                "known": shot.known,
                "accepted": np.array(shot.accepted, np.int64),
                "surveyed": np.array(shot.surveyed, np.int64),
            }
            with atomic_write(file) as temporary:
                _write_quickly(temporary, arrays)
        entry = {"file": file.name, "name": shot.name, "held": shot.held}
        seen = {"channels": list(shot.channels), "channel_names": list(shot.channel_names)}
        self._entries.append(entry | {key: values for key, values in seen.items() if values})

    def stage(self) -> Path:
        """List what was added beside the folder's own set; return the list, which `load_shots` reads."""
        index = self.folder / f"{_STAGED}{uuid.uuid4().hex}.json"
        self._write(index)
        return index

    def replace(self) -> None:
        """Make the added images the folder's set, and remove everything else from it."""
        self._write(self.folder / _INDEX)
        listed = {entry["file"] for entry in self._entries}
        for file in (*self.folder.glob("*.npz"), *self.folder.glob(f"{_STAGED}*.json")):
            if file.name not in listed:
                file.unlink()

    def _write(self, index: Path) -> None:
        document = {"format": _FORMAT, "shots": self._entries}
        with atomic_write(index) as temporary:
            temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")


def save_shots(folder: str | Path, shots: Iterable[Shot]) -> None:
    """Save a training set and replace an older one in the folder.

    Raises
    ------
    EnvironmentFault
        Full disk or no permission; the older training set is then still complete.
    """
    writer = ShotWriter(folder)
    for shot in shots:
        writer.add(shot)
    writer.replace()


def load_shots(place: str | Path) -> list[Shot]:
    """Load a training set; nothing is unpickled.

    Parameters
    ----------
    place : str or Path
        Folder that `save_shots` wrote, or a list that `ShotWriter.stage` wrote.

    Raises
    ------
    InputError
        There is no training set, or a file is missing or damaged.
    """
    listing = Path(place) if Path(place).suffix == ".json" else Path(place) / _INDEX
    folder = listing.parent
    try:
        index = json.loads(listing.read_text(encoding="utf-8"))
        version = index["format"]
        entries = [(entry["file"], entry["name"], _of_entry(entry)) for entry in index["shots"]]
    except FileNotFoundError as error:
        raise InputError(
            f'The folder "{folder}" contains no training set: choose one with a {_INDEX}.'
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f'The training set "{listing}" is damaged: annotate or copy it again.') from error
    if version != _FORMAT:
        raise InputError(
            f'The training set "{folder}" has format {version}, this version reads {_FORMAT}: update.'
        )
    return [
        replace(_load_shot(folder / Path(str(file)).name, str(name)), **more) for file, name, more in entries
    ]


def _of_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what the list says about a shot besides its file; sets of earlier versions say less."""
    channels, names = (tuple(entry.get(key) or ()) for key in ("channels", "channel_names"))
    return {
        "held": entry.get("held"),
        "channels": tuple(map(int, channels)),
        "channel_names": tuple(map(str, names)),
    }


def _load_shot(file: Path, name: str) -> Shot:
    try:
        # opened here, because numpy does not close a file that is damaged
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            image, labels, known = arrays["image"], arrays["labels"], arrays["known"]
            # sets of earlier versions do not have them
            accepted, surveyed = (
                tuple(arrays[name].tolist()) if name in arrays else () for name in ("accepted", "surveyed")
            )
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f'The annotated image "{file}" is missing or damaged: copy it again.') from error
    fits = image.ndim == 3 and image.shape[:2] == labels.shape == known.shape
    if not fits or image.dtype != np.float32 or labels.dtype != np.int32 or known.dtype != bool:
        raise InputError(f'The file "{file}" contains no annotated image: remove it from the training set.')
    colours = np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))
    return Shot(colours, labels, known, name, accepted, surveyed)


def _write_quickly(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as `numpy.savez_compressed` does, which has no option for the level of compression.

    Somebody who pressed *Train* waits for this. For an 8-bit image the lowest level takes a fifth of the time
    and a third more space.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                np.lib.format.write_array(part, array, allow_pickle=False)


def _without_copies(image: np.ndarray) -> np.ndarray:
    """Reduce a grey image from three equal channels to one for storage."""
    grey = image[..., :1]
    return grey if (image == grey).all() else image


def shot_digest(shot: Shot) -> str:
    """Return the name of a shot's file; equal content gives an equal name."""
    digest = hashlib.sha256()
    for array in (shot.image, shot.labels, shot.known):
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).data)
    for numbers in (shot.accepted, shot.surveyed):
        if numbers:
            digest.update(repr(sorted(numbers)).encode())
    return digest.hexdigest()[:24]


def digests(shots: Iterable[Shot]) -> dict[str, str]:
    """Return the digest of each annotated image by its name, to notice changed annotation."""
    return {shot.name: shot_digest(shot) for shot in shots}
