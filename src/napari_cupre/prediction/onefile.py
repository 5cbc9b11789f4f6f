"""Predict one file, from reading to writing; in this process, in another one, or on a cluster."""

from __future__ import annotations

import errno
import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError, EnvironmentFault, InputError, system_reason
from napari_cupre.events import Event, Finished, Notice, Progress, Steps
from napari_cupre.io.files import image_stem
from napari_cupre.io.images import read_image
from napari_cupre.io.ownership import reason_against
from napari_cupre.io.writers import choose_formats, write
from napari_cupre.io.writers.coco_writer import coco_records
from napari_cupre.io.writers.output_cells import collect
from napari_cupre.model.hardware import is_out_of_memory
from napari_cupre.model.seen_channels import SeenChannels
from napari_cupre.model.zoo import find_model
from napari_cupre.prediction.big import predict_big
from napari_cupre.prediction.bigfiles import ledger_path
from napari_cupre.prediction.detecting import CellFinder
from napari_cupre.prediction.engine_choice import EngineChoice, finder_by, make_finder
from napari_cupre.prediction.fingerprint import file_state
from napari_cupre.prediction.limits import is_big
from napari_cupre.prediction.predict_options import PredictOptions
from napari_cupre.prediction.stack import is_of_other_size, predict_image

Result = TypeVar("Result")


@dataclass(frozen=True)
class FileJob:
    """The settings that all files of a run share; plain values that can be sent anywhere.

    Attributes
    ----------
    model : str
        Name or path; a path must be the same on every machine.
    out : str
        Folder of the results.
    formats : tuple of str
        Any of "tif", "roi", "coco", "geojson", "csv".
    options : PredictOptions
        See `PredictOptions`.
    axes : str or None
        Letters that overrule what the files say, or None.
    device : str
        "auto", "cpu", "cuda" or "mps".
    seed : int
        Seed of the random weights of the model "scratch".
    overwrite : bool
        Replace results even if a person made or changed them.
    engine : str
        Name of the engine (see `engine_choice`); with "" each process chooses as for a large job.
    channels : tuple of int, optional
        The choice of channels of a project: where `options` name none, images that have these use them.
    """

    model: str
    out: str
    formats: tuple[str, ...] = ("tif",)
    options: PredictOptions = field(default_factory=PredictOptions)
    axes: str | None = None
    device: str = "auto"
    seed: int = 0
    overwrite: bool = False
    engine: str = ""
    channels: tuple[int, ...] | None = None


@dataclass(frozen=True)
class FileOutcome:
    """The result of one file.

    Attributes
    ----------
    path : str
        The file.
    cells : int
        Number of cells.
    complete : bool
        False if parts could not be read.
    outputs : tuple of str
        The files that were written.
    notices : tuple of str
        What was odd, one sentence each.
    fault : str
        Why there is no result, one sentence; "" if there is one.
    fatal : bool
        Whether the same fault will affect every other file (such as a full disk).
    records : tuple of dict[str, Any]
        Entries for `predictions.json`, if it was requested.
    seconds : float
        Seconds that it took.
    """

    path: str
    cells: int = 0
    complete: bool = True
    outputs: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    fault: str = ""
    fatal: bool = False
    records: tuple[dict[str, Any], ...] = ()
    seconds: float = 0.0


_ONE_AT_A_TIME = Lock()
"""Lock for the network: the workers of a cluster may be threads of one process and share it. A network uses
all processors by itself, and with OpenVINO it cannot serve two callers at once.
"""


def predict_file(job: FileJob, path: str) -> FileOutcome:
    """Predict one file and write its results; errors are part of the outcome."""
    with _ONE_AT_A_TIME:
        return Steps(iter_file(job, path)).finish()


def iter_file(job: FileJob, path: str) -> Generator[Progress, None, FileOutcome]:
    """Do the same as `predict_file`, but yield the progress in tiles and planes; return the outcome."""
    start = time.perf_counter()
    try:
        detector = ready_detector(job)
        image = read_image(path, job.axes, partial=True)
        image.channels = job.channels
        job, seen = _with_channels(job, image, detector)
        one = _big if is_big(image) else _small
        outcome = yield from one(job, detector, image)
        outcome["notices"] = (*filter(None, [seen]), *outcome["notices"])
    except CupreError as error:
        return FileOutcome(path, fault=_named(str(error), path), fatal=_meets_all(error))
    except (Exception, SystemExit) as error:
        # Whatever error a file causes in our code or a library, it must not end a run of thousands of files.
        return FileOutcome(path, fault=_in_words(error, path))
    return FileOutcome(**outcome, path=path, seconds=time.perf_counter() - start)


def _with_channels(job: FileJob, image: CellImage, detector: CellFinder) -> tuple[FileJob, str]:
    """Return the job with the channels to use of an image, and a sentence if the model chose them."""
    chosen, said = job.options.channels or image.chosen_channels, ""
    if chosen is None:
        chosen, said = SeenChannels.of_training(detector.info.training).given(image, Path(job.model).stem)
    job = replace(job, options=replace(job.options, channels=chosen))
    return job, said and f"{said}; --channels names others."


def _meets_all(error: CupreError) -> bool:
    """Whether an error will affect every other file: a full disk will, a name that is too long will not."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__
    return isinstance(error, EnvironmentFault) and (cause is None or cause.errno in _FATAL)


_FATAL = {errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}


def _in_words(error: BaseException, path: str) -> str:
    """Explain an unexpected error of a file."""
    if isinstance(error, OSError) and error.errno is not None:
        return f'"{error.filename or path}" could not be used: {system_reason(error)}.'
    try:
        if isinstance(error, MemoryError) or is_out_of_memory(error):
            return f'"{path}" does not fit into memory: save it as OME-Zarr, or use fewer workers.'
        reason = f"{type(error).__name__}: {error}"
    except Exception:  # an error that cannot even be printed
        reason = type(error).__name__
    return f'"{path}" failed ({reason}): this looks like a bug in napari-cupre, please report it.'


def ready_detector(job: FileJob) -> CellFinder:
    """Return the model ready for prediction, made once per process and state of its file."""
    path = find_model(job.model).path
    state = () if path is None else tuple(file_state(path))
    return _ready_detector(job.model, job.device, job.seed, job.engine, state)


@lru_cache(maxsize=1)
def _ready_detector(model: str, device: str, seed: int, engine: str, state: tuple[int, ...]) -> CellFinder:
    if engine:
        return finder_by(EngineChoice(engine, "it suits the whole job"), model, device, seed)
    return make_finder(model, device, seed)


def output_paths(job: FileJob, path: str) -> list[Path]:
    """Return the files that the prediction of a small image writes, without `predictions.json`."""
    chosen = [each for each in choose_formats(job.formats) if each.name != "coco"]
    return [Path(job.out) / f"{image_stem(path)}{each.ending}" for each in chosen]


def big_output(job: FileJob, path: str) -> Path:
    """Return the path for the labels of a big image."""
    return Path(job.out) / f"{image_stem(path)}.zarr"


def _small(job: FileJob, detector: CellFinder, image: CellImage) -> Generator[Progress, None, dict[str, Any]]:
    """Predict an image that fits into memory, and write all formats."""
    notices = [*_told(image, job), *image.notices]
    result = yield from _heard(predict_image(detector, image, job.options), image, notices)
    if not result.count and not image.is_lazy and (image.data == image.data.flat[0]).all():
        notices.append(f"All pixels of {image.name} have the same value: nothing can be seen in it.")
    names = detector.info.classes
    stem = image_stem(image.path or image.name)
    chosen = [each.name for each in choose_formats(job.formats)]
    outputs: list[Path] = []
    if files := [name for name in chosen if name != "coco"]:
        _check_unchanged(job, output_paths(job, str(image.path or image.name)))
        outputs = write(
            result.planes,
            Path(job.out) / stem,
            files,
            image=image,
            labels=result.labels,
            class_names=names,
            is_partial=not result.complete,
        )
    records: tuple[dict[str, Any], ...] = ()
    if "coco" in chosen:
        cells = collect(
            result.planes,
            image=image,
            name=stem,
            labels=result.labels,
            class_names=names,
            is_partial=not result.complete,
        )
        records = tuple(coco_records(cells))
    return {
        "cells": result.count,
        "complete": result.complete,
        "outputs": tuple(map(str, outputs)),
        "notices": tuple(notices),
        "records": records,
    }


def _told(image: CellImage, job: FileJob) -> list[str]:
    """Return what a user should know about how an image is read."""
    unseen = image.unseen(job.options.channels).rstrip(".")
    return list(filter(None, [image.guess, unseen and f"{unseen}: --channels names others."]))


def _check_unchanged(job: FileJob, outputs: list[Path]) -> None:
    """Refuse to overwrite a file that a person wrote while the image was being predicted."""
    if (reason := reason_against(outputs, overwrite=job.overwrite)) is not None:
        raise InputError(f"{reason}: choose another --out folder, or add --overwrite to replace it.")


def _big(job: FileJob, detector: CellFinder, image: CellImage) -> Generator[Progress, None, dict[str, Any]]:
    """Predict a big image tile by tile into an OME-Zarr."""
    out = big_output(job, str(image.path or image.name))
    notices = [f"{image.name} is large: its labels are written as OME-Zarr.", *_told(image, job)]
    result = yield from _heard(
        predict_big(detector, image, out, job.options, overwrite=job.overwrite), image, notices
    )
    outputs = (str(out), str(result.table)) if not ledger_path(out).exists() else ()
    return {
        "cells": result.count,
        "complete": result.complete,
        "outputs": outputs,
        "notices": tuple(notices),
    }


def _heard(
    run: Generator[Event, None, Result], image: CellImage, notices: list[str]
) -> Generator[Progress, None, Result]:
    """Pass on the progress of a prediction, collect its notices, and return its result."""
    steps = Steps(run)
    for event in steps:
        if isinstance(event, Progress):
            yield Progress(event.done, event.total, image.name)
        elif isinstance(event, Notice):
            notices.append(event.message)
        elif isinstance(event, Finished) and is_of_other_size(event.result):
            notices.append(f"{image.name}: {event.verdict}")
    return steps.result


def _named(message: str, path: str) -> str:
    """Return the message with the file's name in it."""
    return message if Path(path).name in message else f'"{path}": {message}'
