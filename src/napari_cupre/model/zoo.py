"""Find the models on this computer: those that ship, random weights, and the user's own.

Imports no torch, so that a widget can list models at once.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_data_path

from napari_cupre.errors import InputError, ModelFileError, writing
from napari_cupre.model.config import preset
from napari_cupre.model.runs import SUFFIX as RUN_SUFFIX
from napari_cupre.model.runs import delete_run, list_runs

if TYPE_CHECKING:
    from napari_cupre.model.checkpoint import Model
    from napari_cupre.model.model_info import ModelInfo

BUNDLED = "cupre"
SCRATCH = "scratch"
SUFFIX = ".safetensors"

SHIPPED = {
    BUNDLED: "ships with napari-cupre, pretrained by AMT2 without any cell label",
    "nuclei": "ships with napari-cupre, trained from cells on labelled nuclei, fluorescent and stained",
    "cells": "ships with napari-cupre, trained from cupre on labelled nuclei, cells, embryos and particles",
}
"""Models that ship with the package, by name, with a description."""


WEIGHTS = Path(__file__).parents[1] / "weights"
"""Folder of the checkpoints that ship with the package."""


@dataclass(frozen=True)
class ZooEntry:
    """A model that can be chosen by name; `path` is None for random weights."""

    name: str
    path: Path | None
    description: str


def bundled_path(name: str = BUNDLED) -> Path:
    """Return the path of a checkpoint that ships with the package."""
    return WEIGHTS / f"{name}{SUFFIX}"


def user_folder() -> Path:
    """Return the folder of the user's models; the environment variable NAPARI_CUPRE_MODELS overrides it."""
    chosen = os.environ.get("NAPARI_CUPRE_MODELS")
    return Path(chosen) if chosen else user_data_path("napari-cupre", appauthor=False) / "models"


def list_models() -> list[ZooEntry]:
    """List all models: those that ship, scratch, then the user's, alphabetically.

    A user's model with the name of a shipped one replaces it in the list, except for the first.
    """
    folder = user_folder()
    paths = sorted(folder.glob(f"*{SUFFIX}"), key=lambda p: p.stem) if folder.is_dir() else []
    own = [ZooEntry(p.stem, p, "your model") for p in paths if not p.name.startswith(".")]
    hidden = {entry.name for entry in own} - {BUNDLED, SCRATCH}
    return [*(entry for entry in models_of_package() if entry.name not in hidden), *own]


def models_of_package() -> list[ZooEntry]:
    """List the models that ship, and scratch, without a look into the user's folder."""
    shipped = [
        ZooEntry(name, bundled_path(name), description)
        for name, description in SHIPPED.items()
        if bundled_path(name).is_file()
    ]
    return [*shipped, _random_weights()]


def _random_weights() -> ZooEntry:
    return ZooEntry(SCRATCH, None, "the compact preset with random weights")


def find_model(name: str | os.PathLike[str]) -> ZooEntry:
    """Find the entry for a name in the list or for a path to a model file.

    "scratch:PRESET" stands for random weights of a preset other than `compact`.

    Raises
    ------
    ModelFileError
        If there is no such model or file.
    InputError
        If there is no such preset.
    """
    text = os.fspath(name)
    if text.startswith(f"{SCRATCH}:"):
        preset(_random_preset(text))
        return ZooEntry(text, None, "random weights")
    is_name = Path(text).name == text and not text.startswith(".")
    if is_name and text not in (BUNDLED, SCRATCH) and user_path(text).is_file():
        return ZooEntry(text, user_path(text), "your model")
    if text in SHIPPED and bundled_path(text).is_file():
        return ZooEntry(text, bundled_path(text), SHIPPED[text])
    if text == SCRATCH:
        return _random_weights()
    path = Path(text).expanduser()
    if path.is_file():
        return ZooEntry(path.stem, path, "a model file")
    entries = list_models()  # only now, because a folder may contain thousands of files
    raise ModelFileError(
        f"There is no model {text!r}, neither a file nor one of {', '.join(e.name for e in entries)}: "
        "see `napari-cupre models list`."
    )


def open_model(name: str | os.PathLike[str] = BUNDLED, device: str = "auto", seed: int = 0) -> Model:
    """Load a model by name or path; "scratch" or "scratch:PRESET" gives random weights of the given seed."""
    from napari_cupre.model.checkpoint import new_model, read_model

    entry = find_model(name)
    if entry.path is None:
        return new_model(_random_preset(entry.name), seed).to(device)
    return read_model(entry.path, device)


def _random_preset(name: str) -> str:
    """Return the preset of "scratch" or "scratch:PRESET"."""
    return name.partition(":")[2] or "compact"


def free_name(wanted: str) -> str:
    """Make `wanted` a file stem that no model or training has, with a number added if needed."""
    stem = re.sub(r"[^\w.-]+", "-", wanted).strip("-.") or "model"
    folder = user_folder()
    files = map(Path, os.listdir(folder)) if folder.is_dir() else ()
    taken = {*SHIPPED, SCRATCH, *(file.stem for file in files if file.suffix in (SUFFIX, RUN_SUFFIX))}
    if stem not in taken:
        return stem
    number = 2
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"


def user_path(name: str) -> Path:
    """Return the file of the user's model `name`."""
    return user_folder() / f"{name}{SUFFIX}"


def add_model(path: str | os.PathLike[str], name: str | None = None) -> ZooEntry:
    """Copy a model file into the user's folder after checking that it is one."""
    from napari_cupre.model.checkpoint import read_info, write_bytes

    source = Path(path)
    read_info(source)
    name = free_name(name or source.stem)
    return ZooEntry(name, write_bytes(user_path(name), source.read_bytes()), "your model")


def remove_model(name: str) -> Path:
    """Delete one of the user's models and its training, but no shipped model and no file elsewhere.

    Raises
    ------
    InputError
        If there is no such model, or it is being trained.
    EnvironmentFault
        If it cannot be deleted.
    """
    path = user_path(name)
    runs = list_runs(user_folder())
    if name in (BUNDLED, SCRATCH) or not (path.is_file() or name in {run.name for run in runs}):
        folder = user_folder()
        own = {e.name for e in list_models() if e.path and e.path.parent == folder} | {r.name for r in runs}
        raise InputError(f"{name!r} is not one of your models ({', '.join(sorted(own)) or 'you have none'}).")
    delete_run(path)
    with writing(path):
        path.unlink(missing_ok=True)
    return path


def describe(name: str | os.PathLike[str]) -> ModelInfo:
    """Return what is known about a model."""
    entry = find_model(name)
    if entry.path is None:
        from napari_cupre.model.checkpoint import new_model

        return new_model(_random_preset(entry.name)).info
    from napari_cupre.model.model_info import read_info

    return read_info(entry.path)
