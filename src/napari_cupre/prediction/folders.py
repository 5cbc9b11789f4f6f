"""Predicting many files: done ones skipped, failed ones named, one process or a cluster."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.events import Event, Finished, Notice, Progress
from napari_cupre.io.files import image_stem, real_file
from napari_cupre.io.writers import choose_formats
from napari_cupre.io.writers.coco_writer import CocoWriter, journal_of
from napari_cupre.io.writers.writing import PREDICTIONS
from napari_cupre.model.zoo import describe, find_model
from napari_cupre.prediction.onefile import FileJob, FileOutcome, big_output, output_paths
from napari_cupre.prediction.runners import Cluster, News, Processes, Runner, in_this_process

DONE_LOG = ".predictions.jsonl"
"""In the folder of the results: one line per file that is done."""


@dataclass
class FilesResult:
    """What became of a run.

    Attributes
    ----------
    done, skipped : files predicted now, and before.
    cells : in the files predicted now.
    failed : file and reason of those without a result.
    partial : files of which parts could not be read.
    complete : False when stopped before the end.
    """

    done: int = 0
    skipped: int = 0
    cells: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)
    complete: bool = True


def predict_files(
    job: FileJob,
    paths: Sequence[str | Path],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Generator[Event, None, FilesResult]:
    """Predict every file into one folder.

    A file is skipped when it was predicted before with the same model and options, has not changed
    since, and its results are still there.

    Parameters
    ----------
    job : model, folder, formats and options.
    paths : image files (see `napari_cupre.io.files.list_images`).
    workers : processes on this machine.
    scheduler : address of a dask scheduler that does the work instead.
    should_stop : asked after every file.

    Yields
    ------
    Event : `Progress` in files (its message tells of the tiles or planes of a large one), `Notice` for what
        is odd or failed, and last `Finished` with "done", "skipped", "cells", "failed" (a list of path and
        reason), "partial" and "complete".

    Raises
    ------
    InputError
        If two files would have the same results, or results would replace an image.
    ModelFileError
        If the model cannot be read.
    EnvironmentFault
        If the scheduler does not answer, or the disk is full; what is done is kept.
    """
    names = [str(Path(path).absolute()) for path in paths]
    _check_outputs(job, names)
    classes = describe(job.model).classes
    Path(job.out).mkdir(parents=True, exist_ok=True)
    log = _DoneLog(job)
    todo = [name for name in names if not log.is_done(name)]
    result = FilesResult(skipped=len(names) - len(todo))
    if result.skipped:
        yield Notice(f"{result.skipped} of {len(names)} files are done already.")
    yield Progress(result.skipped, len(names))
    wants_coco = any(each.name == "coco" for each in choose_formats(job.formats))
    predictions = Path(job.out) / PREDICTIONS
    # A killed run may have left nothing to do but to put its records together.
    begun = journal_of(predictions).exists()
    coco = CocoWriter(predictions, classes) if wants_coco and (todo or begun) else None
    outcomes: News | None = None
    try:
        runner = _runner(workers, scheduler) if todo else in_this_process
        outcomes = runner(job, todo)
        yield from _collect(outcomes, log, coco, result, len(names), should_stop or (lambda: False))
    finally:
        if outcomes is not None:
            outcomes.close()
        if coco is not None:
            coco.close()
    yield _finished(result)
    return result


def _collect(
    outcomes: Iterator[FileOutcome | Progress | Notice],
    log: _DoneLog,
    coco: CocoWriter | None,
    result: FilesResult,
    total: int,
    stop: Callable[[], bool],
) -> Generator[Event, None, None]:
    """Take in what comes, in the order of completion."""
    for outcome in outcomes:
        if isinstance(outcome, Notice):
            yield outcome
            continue
        if isinstance(outcome, Progress):
            if outcome.total > 1:
                seen = result.skipped + result.done + len(result.failed)
                yield Progress(seen, total, f"{outcome.message}: {outcome.done} of {outcome.total}")
            continue
        for notice in outcome.notices:
            yield Notice(notice)
        if outcome.fatal:
            raise EnvironmentFault(outcome.fault)
        if outcome.fault:
            result.failed.append((outcome.path, outcome.fault))
            yield Notice(outcome.fault)
        else:
            _take_in(outcome, log, coco, result)
        seen = result.skipped + result.done + len(result.failed)
        yield Progress(seen, total, Path(outcome.path).name)
        if seen < total and stop():
            result.complete = False
            return


def _take_in(outcome: FileOutcome, log: _DoneLog, coco: CocoWriter | None, result: FilesResult) -> None:
    result.done += 1
    result.cells += outcome.cells
    if coco is not None:
        coco.add_records(outcome.records)
    if outcome.complete:
        log.enter(outcome)
    else:
        result.partial.append(outcome.path)


def _runner(workers: int, scheduler: str | None) -> Runner:
    if scheduler is not None:
        return Cluster(scheduler)
    if workers < 1:
        raise InputError(f"{workers} workers cannot be used: give 1 or more.")
    return Processes(workers) if workers > 1 else in_this_process


def _check_outputs(job: FileJob, names: list[str]) -> None:
    """Refuse runs in which files would overwrite each other."""
    by_stem: dict[str, str] = {}
    images = set(names)
    for name in names:
        other = by_stem.setdefault(image_stem(name), name)
        if other != name:
            raise InputError(
                f'"{other}" and "{name}" would have results of the same name: give them two --out folders.'
            )
        for path in [*output_paths(job, name), big_output(job, name)]:
            if str(path.absolute()) in images:
                raise InputError(
                    f'The result "{path}" would replace an image of that name: choose another --out folder.'
                )


class _DoneLog:
    """Which files are done, with what; lines are only ever added."""

    def __init__(self, job: FileJob) -> None:
        self._job = job
        self._path = Path(job.out) / DONE_LOG
        self._key = _fingerprint(job)
        self._entries: dict[str, dict[str, Any]] = {}
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                    self._entries[entry["path"]] = entry
                except (ValueError, KeyError, TypeError):
                    continue  # the line that a killed run left unfinished

    def is_done(self, path: str) -> bool:
        """Whether the results of a file are there and are those that this job would give."""
        entry = self._entries.get(path)
        if entry is None or entry.get("key") != self._key or entry.get("state") != _state(path):
            return False
        if any(each.name == "coco" for each in choose_formats(self._job.formats)):
            predictions = Path(self._job.out) / PREDICTIONS
            if not (predictions.exists() or journal_of(predictions).exists()):
                return False
        return all(Path(output).exists() for output in entry.get("outputs", ()))

    def enter(self, outcome: FileOutcome) -> None:
        """A file is done.

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
            "outputs": list(outcome.outputs),
        }
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                # A leading line break ends what a killed run left unfinished.
                stream.write("\n" + json.dumps(entry))
        except OSError as error:
            raise EnvironmentFault(
                f'"{self._path}" could not be written ({error.strerror}): free some space, then run the '
                "same again; it continues where it was."
            ) from error


def _state(path: str) -> list[int]:
    """Size and time of change of a file; of a Zarr folder, of its metadata."""
    try:
        stat = real_file(path).stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]


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


def _finished(result: FilesResult) -> Finished:
    parts = [f"{result.cells} cells in {result.done} files"]
    if result.skipped:
        parts.append(f"{result.skipped} files done before")
    if result.partial:
        parts.append(f"{len(result.partial)} of them partial ({_some(result.partial)})")
    if result.failed:
        parts.append(f"{len(result.failed)} failed ({_some([path for path, _ in result.failed])})")
    if not result.complete:
        parts.append("stopped before the end")
    return Finished("; ".join(parts) + ".", asdict(result))


def _some(paths: list[str], most: int = 5) -> str:
    """The names of some files."""
    names = [Path(path).name for path in paths]
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
