"""Record which files of a folder are done, and how, so that a repeated run does only the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_cupre.errors import writing
from napari_cupre.io.files import append_line, lines_of
from napari_cupre.io.ownership import reason_against
from napari_cupre.io.writers import choose_formats
from napari_cupre.io.writers.coco_writer import journal_of
from napari_cupre.io.writers.writing import PREDICTIONS
from napari_cupre.prediction.fingerprint import file_state, run_digest
from napari_cupre.prediction.onefile import FileJob, FileOutcome

DONE_LOG = ".predictions.jsonl"
"""Name of the record in the results folder: one line per finished file."""


class DoneLog:
    """The record of one folder of results; lines are only ever added.

    Unreadable lines, left by a killed run or an edit, are skipped: their files are predicted again.

    Parameters
    ----------
    job : FileJob
        The present job; a file done by another model or with other options does not count as done.
    """

    def __init__(self, job: FileJob) -> None:
        self._job = job
        self._out = Path(job.out)
        self._path = self._out / DONE_LOG
        formats = [each.name for each in choose_formats(job.formats)]
        options = replace(job.options, channels=job.options.channels or job.channels)
        self._key = run_digest(job.model, job.seed, options, job.axes, formats)
        self._entries = _read(self._path)

    def is_done(self, path: str) -> bool:
        """Whether the results of a file exist and are those that this job would give."""
        entry = self._entries.get(path)
        if entry is None or entry.get("key") != self._key or entry.get("state") != file_state(Path(path)):
            return False
        if any(each.name == "coco" for each in choose_formats(self._job.formats)):
            predictions = self._out / PREDICTIONS
            if not (predictions.exists() or journal_of(predictions).exists()):
                return False
        return all(output.exists() for output in self._outputs(entry))

    def changed(self, path: str) -> str | None:
        """Return why the results of a finished file have changed since; None if they have not."""
        entry = self._entries[path]
        outputs = self._outputs(entry)
        if entry.get("written") == [file_state(output) for output in outputs]:
            return None  # size and time are the same, so the content need not be read
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
            "state": file_state(Path(outcome.path)),
            "key": self._key,
            "cells": outcome.cells,
            "outputs": [Path(output).name for output in outcome.outputs],
            "written": [file_state(Path(output)) for output in outcome.outputs],
        }
        with writing(self._path):
            append_line(self._path, entry)

    def _outputs(self, entry: dict[str, Any]) -> list[Path]:
        return [self._out / Path(output).name for output in entry["outputs"]]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the last entry of each file."""
    with writing(path):
        entries = lines_of(path) if path.is_file() else []
    return {entry["path"]: entry for entry in entries if _is_entry(entry)}


def _is_entry(entry: Any) -> bool:
    """Whether a line is one of ours."""
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
        return False
    outputs = entry.get("outputs")
    return isinstance(outputs, list) and all(isinstance(output, str) for output in outputs)
