"""Training runs on disk: list and measure them, tell whether one is in use, and delete them.

The run of a model `a.safetensors` is the folder `a.run` beside it. Imports no torch, so that a widget and
`models list` are fast.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from napari_cupre.errors import InputError, unwritable, writing

SUFFIX = ".run"
LOCK = "training.lock"
STATE = "state.safetensors"
SETTINGS = "settings.json"
REQUEST = "request.json"
SHOTS = "shots"


@dataclass(frozen=True)
class RunInfo:
    """A run on disk, named after its model; `size` is the size of its folder in bytes, without the model."""

    name: str
    path: Path
    size: int
    is_training: bool


def run_path(model: str | os.PathLike[str]) -> Path:
    """Return the folder of the run whose model file is `model`."""
    return Path(model).with_suffix(SUFFIX)


def start_of(model: str | os.PathLike[str]) -> str:
    """Return the name or path of the model that the training of a model file was started from.

    Raises
    ------
    InputError
        If its folder does not say.
    """
    folder = run_path(model)
    try:
        start = json.loads((folder / REQUEST).read_text(encoding="utf-8"))["start"]
        if not isinstance(start, str):
            raise TypeError("no name")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} does not say which model it started from: start a new training."
        ) from error
    return start


def list_runs(folder: Path) -> list[RunInfo]:
    """List all runs in a folder of models, by name.

    Parameters
    ----------
    folder : Path
        See `napari_cupre.model.zoo.user_folder`; it may be missing.
    """
    try:
        found = sorted(entry for entry in folder.iterdir() if entry.suffix == SUFFIX and entry.is_dir())
    except OSError:
        return []
    return [run_info(path) for path in found]


def run_info(path: Path) -> RunInfo:
    """Describe the run in a folder."""
    return RunInfo(path.stem, path, size_of(path), is_training(path))


def size_of(path: str | os.PathLike[str]) -> int:
    """Return the size of a file, or of a folder with its contents, in bytes; 0 if it does not exist."""
    path = Path(path)
    files = path.rglob("*") if path.is_dir() else [path]
    total = 0
    for file in files:
        with contextlib.suppress(OSError):  # a running training may be replacing a file
            total += file.stat().st_size if file.is_file() else 0
    return total


@contextmanager
def training_in(path: Path) -> Iterator[None]:
    """Lock a run's folder, so that no other process trains in it.

    The operating system releases the lock when the process ends, however it ends, so no lock is left behind.

    Parameters
    ----------
    path : Path
        Folder of the run; created if necessary.

    Raises
    ------
    InputError
        If another training runs in it.
    EnvironmentFault
        If the folder cannot be created.
    """
    from filelock import FileLock, Timeout  # 30 modules, which the first dock does not wait for

    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / LOCK, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise InputError(
            f'"{path}" is being trained by another window or command: wait until it ends, or choose another '
            "name."
        ) from error
    except (OSError, NotImplementedError):
        pass  # the disk does not support locks: train anyway
    try:
        yield
    finally:
        lock.release()


def is_training(path: Path) -> bool:
    """Whether a process is training in the folder of a run."""
    if not (path / LOCK).is_file():
        return False
    from filelock import FileLock, Timeout  # 30 modules, which the first dock does not wait for

    lock = FileLock(path / LOCK, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
    lock.release()
    return False


def delete_run(path: str | os.PathLike[str]) -> int:
    """Delete the run of a model; the model itself stays.

    Parameters
    ----------
    path : str or os.PathLike
        The model's file, or the folder of the run.

    Returns
    -------
    int
        Number of freed bytes; 0 if there was no run.

    Raises
    ------
    InputError
        If a process trains in it.
    EnvironmentFault
        If it cannot be deleted.
    """
    folder = run_path(path)
    if not folder.is_dir():
        return 0
    if is_training(folder):
        raise InputError(f'"{folder}" is being trained: stop that training first.')
    size = size_of(folder)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise unwritable(error.filename or folder, error) from error
    return size


def nothing_learned(is_resumed: bool) -> str:
    """Say how a training ended that was stopped before its first step, or its first since it was resumed."""
    if is_resumed:
        return "Stopped before the next step: the training is as it was, and can be resumed."
    return "Stopped before the first step: nothing was learned, and no model was made."


def discard_unstarted(model: str | os.PathLike[str]) -> None:
    """Delete the folder of a run whose training never began, so that it contains only a training set.

    Parameters
    ----------
    model : str or os.PathLike
        The model's file.
    """
    folder = run_path(model)
    if not folder.is_dir() or is_training(folder):
        return
    if {entry.name for entry in folder.iterdir()} <= {SHOTS, LOCK}:
        shutil.rmtree(folder, ignore_errors=True)
