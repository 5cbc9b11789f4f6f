"""`napari-cupre finetune`: a model of one's own from a few annotated images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre.cli.options import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_UNUSABLE,
    add_command,
    add_reading_options,
    positive_count,
    positive_number,
    report,
)
from napari_cupre.errors import CupreError, InputError

if TYPE_CHECKING:
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings
    from napari_cupre.io.annotated import Collected

DETAILS = """
IMAGES and LABELS are folders, globs or files, paired by the stem of their names
(a.tif with a.png, a_mask.png, ...; a_img.png with a_masks.png); LABELS may be a
COCO JSON instead, whose images are then looked for in the subfolders of IMAGES, too.

LABELS may be a project (NAME.cupre): its checked and edited cells and complete regions
teach, guesses never. IMAGES is then where to look for images that were moved; the
project itself will do.

A label image counts as finished: what is not a cell in it is background. With
--partial only the marked cells and a thin rim around them are known, and the rest
teaches nothing. With --regions every cell inside the polygons is marked, and the
file is
  {"<image stem>": [[[y, x], [y, x], ...], ...], ...}      in pixels
or GeoJSON (QuPath) whose features have the property "image".

Ctrl-C saves and stops; the same command with --resume goes on, from the same start and
with the annotation that the training was begun with; --minutes and --steps may be others.
Exit code 2 also if a file had to be left out; it is named, and the rest was used.
"""


FREE_ON_RESUME = ("minutes", "steps", "device")
"""Settings that may be others when a training goes on."""


def add_commands(subparsers: Any) -> None:
    """Add `finetune`."""
    parser = add_command(
        subparsers,
        "finetune",
        _run,
        "train a model on a few annotated images",
        DETAILS,
        "napari-cupre finetune images/ labels/ --out nuclei.safetensors --minutes 2",
    )
    parser.add_argument("images", metavar="IMAGES", help="folder, glob or file")
    parser.add_argument("labels", metavar="LABELS", help="folder, glob, file, or a COCO JSON")
    parser.add_argument("--out", type=Path, required=True, metavar="MODEL.safetensors", help="file to write")
    parser.add_argument(
        "--model",
        help="where to start from: cupre (bundled, the default), scratch (or scratch:PRESET), a name from "
        "'models list', or a path",
    )
    parser.add_argument("--minutes", type=positive_number, metavar="M", help="time to train (default: 2)")
    parser.add_argument(
        "--steps", type=positive_count, metavar="N", help="steps to train, instead or at most"
    )
    known = parser.add_mutually_exclusive_group()
    known.add_argument("--regions", type=Path, metavar="FILE.json", help="where every cell is marked")
    known.add_argument("--partial", action="store_true", help="only some of the cells are marked")
    parser.add_argument(
        "--diameter",
        type=positive_number,
        metavar="PX",
        help="cell diameter in px of the images (default: the median marked cell)",
    )
    parser.add_argument(
        "--limit", type=positive_count, metavar="N", help="use N of the images, drawn by --seed"
    )
    add_reading_options(parser)
    parser.add_argument(
        "--keep-empty", action="store_true", help="images without annotation in a COCO JSON hold no cell"
    )
    parser.add_argument(
        "--config",
        metavar="FILE.yaml",
        help="settings; options given here go before them. A shipped one goes by name: paper-finetune",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="assignments",
        help="any other setting, e.g. --set batch=8; repeatable",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the stopped training of --out")


def _run(args: argparse.Namespace) -> int:
    from napari_cupre.cli.interrupt import stopping
    from napari_cupre.cli.listen import follow, make_listener
    from napari_cupre.events import RunState

    run, left_out = _prepare(args)
    with stopping(run.stop) as interruption:
        follow(run.events(), make_listener())
    if run.state is RunState.FAILED or run.result is None:
        raise InputError(f"the training of {args.out} came to no result; see above what it met.")
    figures = {
        "model": args.out,
        "steps": run.step,
        "diameter": run.result.info.diameter,
        "training": run.result.info.training,
        "metrics": run.result.info.metrics,
        "stopped": interruption.asked,
        "left_out": left_out,
    }
    report(args, f"The model is {args.out}.", figures)
    if interruption.asked:
        return EXIT_INTERRUPTED
    return EXIT_UNUSABLE if left_out else EXIT_DONE


def _prepare(args: argparse.Namespace) -> tuple[FinetuneRun, list[str]]:
    """The run, and the files that it had to leave out."""
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.model.zoo import BUNDLED, find_model, list_models, open_model

    _check_out(args)
    if args.resume:
        return _resumed(args), []
    settings = settings_from(args)
    entry = find_model(args.model or BUNDLED)
    collected = _collect(args)
    start = open_model(args.model or BUNDLED, args.device, args.seed)
    # what --resume finds the start by, from whatever folder
    name = entry.name if entry.path is None or entry in list_models() else str(entry.path.absolute())
    run = FinetuneRun(start, collected.shots, settings, args.out, entry.path, start_name=name)
    return run, collected.left_out


def _resumed(args: argparse.Namespace) -> FinetuneRun:
    """The stopped run: its own settings, with the time, steps and device that are asked for now."""
    from napari_cupre.finetuning.finetune_folder import RunFolder
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings
    from napari_cupre.model.zoo import open_model

    folder = RunFolder(args.out)
    kept = folder.read_settings()
    given = {"device": args.device, **_given(args)}
    settings = FinetuneSettings.from_dict(kept.as_dict() | given)
    for name in sorted(set(given) - set(FREE_ON_RESUME)):
        if getattr(settings, name) != getattr(kept, name):
            raise InputError(
                f"The training of {args.out} was started with {name} {getattr(kept, name)}, not "
                f"{getattr(settings, name)}: leave that out, or start a new training with another --out."
            )
    start = open_model(args.model or folder.read_start(), args.device, kept.seed)
    try:
        shots = _collect(args).shots
    except CupreError:
        shots = None  # the run has its own copy, whatever became of the files
    return FinetuneRun.resume(args.out, start, settings, shots)


def settings_from(args: argparse.Namespace) -> FinetuneSettings:
    """Settings of a new training; see `_given`."""
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings

    return FinetuneSettings.from_dict({"seed": args.seed, "device": args.device, **_given(args)})


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """Settings from the --config file, then --set, then the options; what comes later goes first.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    from napari_cupre.cli.configs import assignments, read_config

    values: dict[str, Any] = {}
    if args.config is not None:
        values |= read_config(args.config)
    values |= assignments(args.assignments)
    if args.diameter is not None:
        values["diameter"] = args.diameter
    if args.minutes is not None or args.steps is not None:
        values |= {"minutes": args.minutes, "steps": args.steps}
    elif values.get("steps") is not None:
        values.setdefault("minutes", None)  # a budget in steps is not cut short by the default minutes
    return values


def _check_out(args: argparse.Namespace) -> None:
    """Nothing trained is lost: an earlier training is neither overwritten nor begun anew by mistake."""
    from napari_cupre.finetuning.finetune_folder import RunFolder

    if args.out.suffix != ".safetensors":
        raise InputError(f"--out is the model file to write, so {args.out} must end in .safetensors.")
    earlier = next((path for path in (args.out, RunFolder(args.out).path) if path.exists()), None)
    if earlier is not None and not args.resume:
        raise InputError(f"{earlier} is there already; give another --out, or --resume to go on with it.")


def _collect(args: argparse.Namespace) -> Collected:
    from napari_cupre.cli.projects import collect_project
    from napari_cupre.io.annotated import collect_shots
    from napari_cupre.project.project import is_project

    if is_project(args.labels):
        if args.partial or args.regions is not None or args.axes is not None or args.series is not None:
            raise InputError(
                "A project says itself what is known and how its images are read: "
                "leave --partial, --regions, --axes and --series out."
            )
        return collect_project(args.labels, args.images, args.limit, args.seed)
    return collect_shots(
        args.images,
        args.labels,
        partial=args.partial,
        keep_empty=args.keep_empty,
        regions_file=args.regions,
        limit=args.limit,
        seed=args.seed,
        axes=args.axes,
        series=args.series,
    )
