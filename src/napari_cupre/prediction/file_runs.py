"""Predict many files: skip finished ones, name failed ones, use one process, several or a cluster."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from napari_cupre.errors import EnvironmentFault, InputError, writing
from napari_cupre.events import Event, Finished, Notice, Progress
from napari_cupre.io.files import image_name, image_stem
from napari_cupre.io.images import read_image
from napari_cupre.io.ownership import may_write, reason_against
from napari_cupre.io.writers import choose_formats
from napari_cupre.io.writers.coco_writer import CocoWriter, journal_of
from napari_cupre.io.writers.writing import PREDICTIONS
from napari_cupre.model.zoo import describe
from napari_cupre.prediction.donelog import DoneLog
from napari_cupre.prediction.engine_choice import TORCH, EngineChoice, check_engine, choose_engine, job_size
from napari_cupre.prediction.onefile import FileJob, FileOutcome, big_output, output_paths
from napari_cupre.prediction.runners import Cluster, News, Processes, Runner, in_this_process
from napari_cupre.words import counted, some_of


@dataclass
class FilesResult:
    """The result of a run.

    Attributes
    ----------
    done, skipped : int
        Number of files predicted now, and earlier.
    cells : int
        Number of cells in the files predicted now.
    failed : list of tuple[str, str]
        File and reason of those without a result.
    partial : list of str
        Files with parts that could not be read.
    complete : bool
        False when stopped before the end.
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

    A file is skipped if it is unchanged and its results from the same model and options exist.

    Parameters
    ----------
    job : FileJob
        Model, folder, formats and options.
    paths : sequence of str or Path
        Image files (see `napari_cupre.io.files.list_images`).
    workers : int, optional
        Processes on this machine.
    scheduler : str, optional
        Address of a dask scheduler to do the work instead.
    should_stop : callable, optional
        Asked after every file.

    Yields
    ------
    Event
        `Progress` in files (the message reports tiles or planes of a large one), `Notice` about oddities and
        failures, and finally `Finished` with the figures of the result.

    Raises
    ------
    InputError
        If two files would have results of the same name, or results would replace an image.
    ModelFileError
        If the model cannot be read.
    EnvironmentFault
        If the scheduler does not answer, or the disk is full; finished files are kept.
    """
    names = [str(Path(path).absolute()) for path in paths]
    classes, log = describe(job.model).classes, DoneLog(job)
    todo, notices = _todo(job, names, log)
    _check_outputs(job, names, todo)
    job = _with_engine(job, todo, workers if scheduler is None else None)
    _make_folder(Path(job.out), bool(todo))
    result = FilesResult(skipped=len(names) - len(todo))
    yield from _opening(result, len(names), notices)
    coco = _coco_writer(job, classes, bool(todo))
    outcomes: News | None = None
    try:
        outcomes = (_runner(workers, scheduler) if todo else in_this_process)(job, todo)
        yield from _collect(outcomes, log, coco, result, len(names), should_stop or (lambda: False))
    finally:
        if outcomes is not None:
            outcomes.close()
        if coco is not None:
            coco.close()
    yield _finished(result)
    return result


def _with_engine(job: FileJob, todo: list[str], workers: int | None) -> FileJob:
    """Return the job with the engine that suits it, judging by the size of its first image.

    The machines of a cluster (no `workers`) choose for themselves.
    """
    if not todo:
        return job
    if workers is None:
        check_engine(EngineChoice(TORCH, "a cluster computes"), job.device)
        return job
    try:
        first = read_image(todo[0], job.axes, partial=True)
        share = job_size(first, describe(job.model), job.options) * len(todo) / max(1, workers)
    except Exception:  # its error is reported when it is its turn
        share = float(len(todo))
    engine = choose_engine(job.model, job.device, share)
    check_engine(engine, job.device)
    return replace(job, engine=engine.name)


def _opening(result: FilesResult, total: int, notices: Iterable[str]) -> Iterator[Event]:
    """Yield what is known before the first file."""
    if result.skipped:
        yield Notice(f"{result.skipped} of {counted(total, 'file')} already done.")
    yield from map(Notice, notices)
    yield Progress(result.skipped, total)


def _collect(
    outcomes: Iterator[FileOutcome | Progress | Notice],
    log: DoneLog,
    coco: CocoWriter | None,
    result: FilesResult,
    total: int,
    stop: Callable[[], bool],
) -> Generator[Event, None, None]:
    """Collect the outcomes in the order of completion."""
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
        yield Progress(seen, total, image_name(outcome.path))
        if seen < total and stop():
            result.complete = False
            return


def _take_in(outcome: FileOutcome, log: DoneLog, coco: CocoWriter | None, result: FilesResult) -> None:
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


def _todo(job: FileJob, names: list[str], log: DoneLog) -> tuple[list[str], list[str]]:
    """Return the files to do, with messages about finished ones whose results have changed since."""
    predictions = Path(job.out) / PREDICTIONS
    if job.overwrite and _wants_coco(job) and may_write(predictions) is not None:
        return names, []  # the document is written anew and must contain every image
    todo, notices = [], []
    for name in names:
        if not log.is_done(name):
            todo.append(name)
        elif (reason := log.changed(name)) is not None:
            if job.overwrite:
                todo.append(name)
            else:
                notices.append(f"{reason}: it is kept; --overwrite predicts it again.")
    return todo, notices


def _wants_coco(job: FileJob) -> bool:
    return any(each.name == "coco" for each in choose_formats(job.formats))


def _coco_writer(job: FileJob, classes: Sequence[str], has_work: bool) -> CocoWriter | None:
    """Return the writer of the COCO document, if it is requested and there is anything to write."""
    predictions = Path(job.out) / PREDICTIONS
    # After a killed run, assembling its records may be all that is left to do.
    if not _wants_coco(job) or not (has_work or journal_of(predictions).exists()):
        return None
    if job.overwrite and may_write(predictions) is not None:
        predictions.unlink()
    return CocoWriter(predictions, classes)


def _make_folder(folder: Path, is_needed: bool) -> None:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if is_needed and not os.access(folder, os.W_OK):  # once here, instead of once per file
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _check_outputs(job: FileJob, names: list[str], todo: list[str]) -> None:
    """Refuse runs that would replace an image or a person's file, before anything is computed."""
    _check_names(job, names)
    outputs = [path for name in todo for path in output_paths(job, name)]
    if todo and _wants_coco(job):
        outputs.append(Path(job.out) / PREDICTIONS)
    if (reason := reason_against(outputs, names)) is None:
        return
    if reason_against(outputs, names, overwrite=True) is not None:
        raise InputError(f"The results would replace images: {reason}; choose another --out folder.")
    if not job.overwrite:
        raise InputError(f"{reason}: choose another --out folder, or add --overwrite to replace it.")


def _check_names(job: FileJob, names: list[str]) -> None:
    """Refuse runs in which results would overwrite each other or an input OME-Zarr."""
    by_stem: dict[str, str] = {}
    for name in names:
        other = by_stem.setdefault(image_stem(name), name)
        if other != name:
            raise InputError(
                f'"{other}" and "{name}" would have results of the same name: give only one of them '
                f'(such as "*{Path(name).suffix}"), or each an --out folder of its own.'
            )
    outputs = [big_output(job, name) for name in names]
    if (reason := reason_against(outputs, names, overwrite=True)) is not None:
        raise InputError(f"The results would replace images: {reason}; choose another --out folder.")


def _finished(result: FilesResult) -> Finished:
    parts = [f"{counted(result.cells, 'cell')} in {counted(result.done, 'file')}"]
    if result.skipped:
        parts.append(f"{counted(result.skipped, 'file')} done before")
    if result.partial:
        parts.append(f"{len(result.partial)} of them partial ({_some(result.partial)})")
    if result.failed:
        parts.append(f"{len(result.failed)} failed ({_some([path for path, _ in result.failed])})")
    if not result.complete:
        parts.append("stopped before the end")
    return Finished("; ".join(parts) + ".", asdict(result))


def _some(paths: list[str]) -> str:
    """Return the names of some files."""
    return some_of([image_name(path) for path in paths])
