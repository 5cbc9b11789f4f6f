"""`napari-cupre finetune`: train a model on a few annotated images."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre.cli.configs import add_settings_options, assignments, read_config
from napari_cupre.cli.options import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_UNUSABLE,
    Parser,
    add_channels,
    add_command,
    add_diameter,
    add_keep_empty,
    add_reading_options,
    positive_count,
    positive_number,
    report,
)
from napari_cupre.errors import CupreError, InputError

if TYPE_CHECKING:
    from napari_cupre.data.image import CellImage
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.io.annotated import Collected
    from napari_cupre.io.channel_names import ChooseChannels

DETAILS = """
IMAGES and LABELS are folders, globs or files, paired by the stem of their names
(a.tif with a.png, a_mask.png, ...; a_img.png with a_masks.png); LABELS may be a
COCO JSON instead; its images are then also searched for in the subfolders of IMAGES.

LABELS may be a project (NAME.cupre): its checked and edited cells and complete regions
are used, guesses never. IMAGES is then the place to search for images that were moved;
give the project again if none were.

A label image counts as complete: everything that is not a cell is background. With
--partial only the annotated cells and a thin rim around them are known; the rest is
ignored. With --regions every cell inside the polygons is annotated. The file is
  {"<image stem>": [[[y, x], [y, x], ...], ...], ...}      in pixels
or GeoJSON (QuPath) whose features have the property "image".

Ctrl-C saves and stops. The same command with --resume continues, from the same start
and with the annotations of the first run; --minutes and --steps may differ.
The exit code is 2 if a file was left out; it is named, and the rest is used.
"""


FREE_ON_RESUME = ("minutes", "steps", "device")
"""Settings that may change when a training is resumed."""


def add_finetune(subparsers: Any) -> None:
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
    parser.add_argument(
        "--out", type=Path, required=True, metavar="MODEL.safetensors", help="model file to write"
    )
    parser.add_argument(
        "--model",
        help="model to start from: cupre (bundled, the default), scratch (or scratch:PRESET), a name from "
        "'models list', or a path",
    )
    parser.add_argument(
        "--minutes", type=positive_number, metavar="M", help="training time in minutes (default: 2)"
    )
    parser.add_argument(
        "--steps",
        type=positive_count,
        metavar="N",
        help="training steps; with --minutes, whichever ends first",
    )
    parser.add_argument("--resume", action="store_true", help="continue the stopped training of --out")
    _add_data_options(parser)
    add_settings_options(parser, "The shipped one: paper-finetune")


def _add_data_options(parser: Parser) -> None:
    """How the annotations are read."""
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--regions", type=Path, metavar="FILE.json", help="regions in which every cell is annotated"
    )
    known.add_argument("--partial", action="store_true", help="only some of the cells are annotated")
    add_diameter(parser, "cell diameter in image px (default: median of the annotated cells)")
    parser.add_argument(
        "--limit", type=positive_count, metavar="N", help="use only N of the images, drawn with --seed"
    )
    parser.add_argument(
        "--unlabelled",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders, globs or files of images without annotation to learn from too: how they "
        "look (by contrastive learning), and the cells the model is sure of",
    )
    add_reading_options(parser)
    add_channels(parser)
    add_keep_empty(parser)


def _run(args: argparse.Namespace) -> int:
    from napari_cupre.cli.interrupt import stopping
    from napari_cupre.cli.listen import follow, make_listener
    from napari_cupre.events import RunState
    from napari_cupre.model.runs import discard_unstarted

    run, left_out = _prepare(args)
    with stopping(run.stop) as interruption:
        follow(run.events(), make_listener())
    if run.state is RunState.STOPPED and run.result is None:
        if not args.resume:
            discard_unstarted(args.out)
        return EXIT_INTERRUPTED
    if run.state is RunState.FAILED or run.result is None:
        raise InputError(f"The training of {args.out} produced no model; see the messages above.")
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
    """The run, and the files that were left out."""
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings
    from napari_cupre.model.zoo import BUNDLED, find_model, list_models, open_model

    _check_out(args)
    if args.resume:
        return _resumed(args), []
    settings = FinetuneSettings.from_dict({"seed": args.seed, "device": args.device, **_given(args)})
    entry = find_model(args.model or BUNDLED)
    collected = _collect(args, args.model or BUNDLED)
    start = open_model(args.model or BUNDLED, args.device, args.seed)
    # how --resume finds the start, from any folder
    name = entry.name if entry.path is None or entry in list_models() else str(entry.path.absolute())
    run = FinetuneRun(start, collected.shots, settings, args.out, entry.path, start_name=name)
    return run, collected.left_out


def _resumed(args: argparse.Namespace) -> FinetuneRun:
    """The stopped run: its own settings, with the time, steps and device given now."""
    from napari_cupre.finetuning.finetune_folder import RunFolder
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings
    from napari_cupre.io.shot_store import digests
    from napari_cupre.model.runs import start_of
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
    name = args.model or start_of(args.out)
    start = open_model(name, args.device, kept.seed)
    try:
        annotation = digests(shot for shot in _collect(args, name).shots if not shot.is_unlabelled)
    except CupreError:
        annotation = None  # the run keeps its own copy of the annotations
    return FinetuneRun.resume(args.out, start, settings, annotation)


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """Settings from the --config file, --set and the options; later ones override earlier ones.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    values: dict[str, Any] = {}
    if args.config is not None:
        values |= read_config(args.config)
    values |= assignments(args.assignments or [])
    if args.diameter is not None:
        values["diameter"] = args.diameter
    if args.minutes is not None or args.steps is not None:
        values |= {"minutes": args.minutes, "steps": args.steps}
    elif values.get("steps") is not None:
        values.setdefault("minutes", None)  # the default minutes must not cut a budget in steps short
    return values


def _check_out(args: argparse.Namespace) -> None:
    """Refuse to overwrite or restart an earlier training by mistake."""
    from napari_cupre.finetuning.finetune_folder import RunFolder

    if args.out.suffix != ".safetensors":
        raise InputError(f"--out is the model file to write, so {args.out} must end in .safetensors.")
    earlier = next((path for path in (args.out, RunFolder(args.out).path) if path.exists()), None)
    if earlier is not None and not args.resume:
        raise InputError(f"{earlier} already exists; choose another --out, or add --resume to continue it.")


def _collect(args: argparse.Namespace, start: str) -> Collected:
    """The annotated images; `start` is the model to train, which may have learned from certain channels."""
    from napari_cupre.cli.projects import collect_project
    from napari_cupre.io.annotated import collect_shots
    from napari_cupre.project.place import is_project

    choose = _choice(args, start)
    if is_project(args.labels):
        of_files = args.regions, args.axes, args.series, args.channels
        if args.partial or any(each is not None for each in of_files):
            raise InputError(
                "A project already stores what is known and how its images are read: "
                "leave out --partial, --regions, --axes, --series and --channels."
            )
        collected = collect_project(args.labels, args.images, args.limit, args.seed, choose)
    else:
        collected = collect_shots(
            args.images,
            args.labels,
            partial=args.partial,
            keep_empty=args.keep_empty,
            regions_file=args.regions,
            limit=args.limit,
            seed=args.seed,
            axes=args.axes,
            series=args.series,
            choose=choose,
        )
    if args.unlabelled:
        _add_unlabelled(args, collected, choose)
    return collected


def _choice(args: argparse.Namespace, start: str) -> ChooseChannels:
    """What chooses an image's channels: --channels, or else those that the start learned from.

    What is said about a model's channels is said once, however many images it is true of.
    """
    from napari_cupre.model.cards import seen_by

    seen, said = seen_by(start), set()

    def choose(image: CellImage) -> CellImage:
        if args.channels is not None:
            return replace(image, channels=image.channels_in_use(args.channels))
        if image.chosen_channels is None and (sentence := seen.given(image, Path(start).stem)[1]):
            if sentence not in said:
                print(f"{sentence}; --channels names others.", file=sys.stderr)
            said.add(sentence)
        return seen.on(image)

    return choose


def _add_unlabelled(args: argparse.Namespace, collected: Collected, choose: ChooseChannels) -> None:
    """Add the images of --unlabelled that are not annotated; what cannot be read is named."""
    from napari_cupre.cli.projects import channels_of, with_projects
    from napari_cupre.io.unannotated import unannotated

    def refused(said: str) -> None:
        print(f"left out: {said}", file=sys.stderr)
        collected.left_out.append(said)

    annotated = {shot.name for shot in collected.shots}
    paths = with_projects(args.unlabelled, lambda _, said: refused(said))
    channels = channels_of([args.labels, *args.unlabelled])
    chosen = choose if channels is None else lambda image: replace(image, channels=channels)
    collected.shots += unannotated(paths, args.seed, annotated, refused, chosen)
