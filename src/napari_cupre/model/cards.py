"""Read a model file's description without torch, for lists in a window; copy and rename models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from napari_cupre.errors import InputError, ModelFileError, reason_of, writing
from napari_cupre.io.files import atomic_write, check_name
from napari_cupre.model.runs import is_training, run_path, size_of
from napari_cupre.model.seen_channels import SeenChannels
from napari_cupre.model.zoo import SHIPPED, SUFFIX, find_model, user_path
from napari_cupre.words import counted

_HEADER = "napari_cupre"

FEWEST_JUDGED = 20
"""Minimum number of held-out cells for a figure; below it, one cell more or less is chance."""


@dataclass(frozen=True)
class ModelCard:
    """One model of a list.

    `size` is the size of its file in bytes, `run_size` that of the files needed to resume its training.
    `changed` is when the file was written, "2026-11-26 03:40". `header` is the JSON document in the file; if
    it cannot be read, it is empty and `fault` says why.
    """

    path: Path
    size: int
    run_size: int
    changed: str
    header: dict[str, Any] = field(default_factory=dict)
    fault: str = ""

    @property
    def parent(self) -> str:
        """Return the model that it started from; "" if that is unknown."""
        return str(self._training.get("parent") or "")

    @property
    def _training(self) -> dict[str, Any]:
        found = self.header.get("training")
        return found if isinstance(found, dict) else {}

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield what is known about it, as titles and texts."""
        if self.fault:
            yield "damaged", self.fault
            return
        training, metrics = self._training, self.header.get("metrics") or {}
        if data := _data_words(training):
            yield "learned from", data
        if (seen := SeenChannels.of_training(training)).numbers:
            yield "sees", seen.words
        if self.parent:
            yield "started from", " ← ".join(_ancestors(training))
        if effort := _effort_words(training):
            yield "trained", effort
        if figures := _figure_words(metrics):
            yield "figures", figures
        diameter = self.header.get("diameter")
        yield "cell width", f"{diameter:.0f} px" if diameter else "estimated from each image"
        if self.header.get("licence"):
            yield "licence", str(self.header["licence"])


def read_card(path: Path) -> ModelCard:
    """Return the card of a model file; if the file cannot be read, `fault` says why."""
    size, run_size = size_of(path), size_of(run_path(path))
    try:
        changed = f"{datetime.fromtimestamp(path.stat().st_mtime):%Y-%m-%d %H:%M}"
        return ModelCard(path, size, run_size, changed, read_header(path))
    except (ModelFileError, OSError) as error:
        return ModelCard(path, size, run_size, "", fault=str(error))


def read_header(path: Path) -> dict[str, Any]:
    """Read the JSON document in a model file.

    Raises
    ------
    ModelFileError
        If the file is not a complete model of ours.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(_HEADER)
    except (SafetensorError, OSError) as error:
        why = f" ({reason_of(error)})" if isinstance(error, OSError) else ""  # others are for programmers
        raise ModelFileError(
            f"{path.name} is not a complete model file{why}: copy or download it again."
        ) from error
    try:
        found = json.loads(text or "")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ModelFileError(f"{path.name} is not a napari-cupre model: choose one made by napari-cupre.")
    return found


def seen_by(model: str) -> SeenChannels:
    """Return the channels that a model learned from, by its name or path; reads only the file's header."""
    try:
        path = find_model(model).path
        return SeenChannels() if path is None else SeenChannels.of_training(read_header(path).get("training"))
    except (ModelFileError, InputError):  # reported by whoever needs the weights
        return SeenChannels()


def copy_model(source: Path, target: Path) -> Path:
    """Copy a model file after checking that it is one; the copy is complete or does not exist.

    Raises
    ------
    ModelFileError
        If it is not a model.
    EnvironmentFault
        Full or read-only disk.
    """
    read_header(source)
    with atomic_write(target) as temporary:
        temporary.write_bytes(source.read_bytes())
    return target


def rename_model(name: str, wanted: str) -> Path:
    """Rename one of the user's own models and its training.

    Raises
    ------
    InputError
        It is not one of the user's models, or it is being trained, or the name is taken or cannot be a file
        name.
    EnvironmentFault
        If it cannot be renamed.
    """
    old, wanted = user_path(name), wanted.strip().removesuffix(SUFFIX)
    if not old.is_file():
        raise InputError(f"{name!r} is not one of your models: only those can be renamed.")
    if not wanted or Path(wanted).name != wanted or "\\" in wanted or wanted.startswith("."):
        raise InputError(f"{wanted!r} cannot be the name of a model: use letters, digits, spaces, - and _.")
    new = user_path(wanted)
    check_name(new)
    if wanted == name:
        return old
    if wanted in SHIPPED or _is_taken(wanted) or run_path(new).exists():
        raise InputError(f"There is a model {wanted!r} already: choose another name.")
    if is_training(run_path(old)):
        raise InputError(f"{name!r} is being trained: stop that first.")
    with writing(new):
        if run_path(old).is_dir():
            run_path(old).rename(run_path(new))
        old.rename(new)
    return new


def _is_taken(name: str) -> bool:
    try:
        find_model(name)
    except (ModelFileError, InputError):
        return False
    return True


def _ancestors(training: dict[str, Any]) -> list[str]:
    """Return the names of the models that it descends from, the nearest first."""
    names: list[str] = []
    while isinstance(training, dict) and training.get("parent") and len(names) < 6:
        names.append(str(training["parent"]))
        training = training.get("parent_training") or {}
    return names


def _data_words(training: dict[str, Any]) -> str:
    if "cells" in training:
        return f"{counted(training['cells'], 'cell')} in {counted(training.get('images', 0), 'image')}"
    sources = [Path(str(each)).stem for each in training.get("source") or () if each]
    unlabelled = training.get("unlabelled") or ()
    parts = [", ".join(sources)] if sources else []
    if unlabelled:
        parts.append(f"{len(unlabelled)} sets without labels")
    return "; ".join(parts)


def _effort_words(training: dict[str, Any]) -> str:
    if "steps" not in training:
        return ""
    seconds = float(training.get("seconds") or 0)
    took = f" in {seconds / 60:.0f} min" if seconds >= 90 else f" in {seconds:.0f} s" if seconds else ""
    kind = training.get("objective")
    return f"{training['steps']} steps{took}" + (f", {kind}" if kind else "")


def _figure_words(metrics: dict[str, Any]) -> str:
    held = metrics.get("held_out")
    if isinstance(held, list) and held and isinstance(held[-1], dict) and "ap50" in held[-1]:
        last = held[-1]
        cells = last.get("cells", FEWEST_JUDGED)
        if cells < FEWEST_JUDGED:
            return f"none, since only {counted(cells, 'cell was', 'cells were')} held out"
        return f"AP50 {last['ap50']:.2f} on {counted(cells, 'held-out cell')}"
    if isinstance(metrics.get("held_out_ap50"), float):
        return f"AP50 {metrics['held_out_ap50']:.2f} on held-out images"
    return ""
