"""Which files of a folder are done, with what, so that a repeated run does only the rest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from napari_cupre.errors import unwritable
from napari_cupre.io.ownership import reason_against
from napari_cupre.io.writers import choose_formats
from napari_cupre.io.writers.coco_writer import journal_of
from napari_cupre.io.writers.writing import PREDICTIONS
from napari_cupre.model.zoo import find_model
from napari_cupre.prediction.onefile import FileJob, FileOutcome

DONE_LOG = ".predictions.jsonl"
"""In the folder of the results: one line per file that is done."""


class DoneLog:
    """The record of one folder of results; lines are only ever added.

    Lines that make no sense, because a run was killed or somebody edited them, are passed over: their files
    are predicted again.

    Parameters
    ----------
    job : FileJob
        What is to be done now; a file that was done by another model or with other options is not done.
    """

    def __init__(self, job: FileJob) -> None:
        self._job = job
        self._out = Path(job.out)
        self._path = self._out / DONE_LOG
        self._key = _fingerprint(job)
        self._entries = _read(self._path)

    def is_done(self, path: str) -> bool:
        """Whether the results of a file are there and are those that this job would give."""
        entry = self._entries.get(path)
        if entry is None or entry.get("key") != self._key or entry.get("state") != _state(path):
            return False
        if any(each.name == "coco" for each in choose_formats(self._job.formats)):
            predictions = self._out / PREDICTIONS
            if not (predictions.exists() or journal_of(predictions).exists()):
                return False
        return all(output.exists() for output in self._outputs(entry))

    def changed(self, path: str) -> str | None:
        """Why the results of a done file are no longer those that were written, None if they are."""
        entry = self._entries[path]
        outputs = self._outputs(entry)
        if entry.get("written") == [_state(str(output)) for output in outputs]:
            return None  # neither size nor time differs: no need to read them
        return reason_against(outputs)

    def enter(self, outcome: FileOutcome) -> None:
        """Note that a file is done.

        Raises
        ------
        EnvironmentFault
            If the disk is full.
        """
        entry = {
            "path": outcome.path,
            "state": _state(outcome.path),
            "key": self._key,
            "cells": outcome.cells,
            "outputs": [Path(output).name for output in outcome.outputs],
            "written": [_state(output) for output in outcome.outputs],
        }
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                # A leading line break ends what a killed run left unfinished.
                stream.write("\n" + json.dumps(entry))
        except OSError as error:
            raise unwritable(self._path, error) from error

    def _outputs(self, entry: dict[str, Any]) -> list[Path]:
        return [self._out / Path(output).name for output in entry["outputs"]]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The last entry of each file."""
    try:
        if not path.is_file():
            return {}
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise unwritable(path, error) from error
    entries = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if _is_entry(entry):
            entries[entry["path"]] = entry
    return entries


def _is_entry(entry: Any) -> bool:
    """Whether a line is one of ours."""
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
        return False
    outputs = entry.get("outputs")
    return isinstance(outputs, list) and all(isinstance(output, str) for output in outputs)


def _state(path: str) -> list[int]:
    """Size and time of change of a file; of a Zarr folder, of its metadata."""
    for place in (Path(path), *Path(path).parents[:3]):  # the file itself, or the one that a scene lies in
        try:
            stat = place.stat()
        except OSError:
            continue
        return [stat.st_size, stat.st_mtime_ns]
    return []


def _fingerprint(job: FileJob) -> str:
    """What results depend on, as a short text."""
    entry = find_model(job.model)
    weights = f"random {job.seed}" if entry.path is None else _digest(entry.path)
    chosen: dict[str, Any] = {"weights": weights, "options": asdict(job.options), "axes": job.axes}
    chosen["formats"] = sorted(each.name for each in choose_formats(job.formats))
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:24]


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
