"""`napari-cupre-pretrain`: AMT2 and its two baselines, on a laptop or on many GPUs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre.cli.configs import add_settings_options, assignments, read_config
from napari_cupre.cli.interrupt import stopping
from napari_cupre.cli.options import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    Parser,
    add_common_options,
    positive_count,
    positive_number,
    report,
    run_guarded,
)
from napari_cupre.errors import InputError

if TYPE_CHECKING:
    from napari_cupre.pretraining.pretrain_run import PretrainRun
    from napari_cupre.pretraining.pretrain_settings import PretrainSettings

PROG = "napari-cupre-pretrain"

_EXAMPLE = f"""example:
  {PROG} --source coco/annotations.json --source-images coco/images --synthetic 1 \\
      --unlabelled scans/ smears/ --out runs/first --minutes 60
  {PROG} --out runs/first --resume          # continue after a stop or a crash
  torchrun --nproc-per-node 8 -m napari_cupre.cli.pretrain --config paper-amt2 --out runs/paper --devices 8 \\
      --source coco.json --source-images coco/ --unlabelled scans/"""


def pretrain_parser() -> Parser:
    """The parser of the command."""
    parser = Parser(
        prog=PROG,
        description="Pretrain a network with AMT2. Each iteration does momentum contrast on unlabelled cell\n"
        "images, then instance segmentation on a labelled source.\n\nSet any other setting with "
        "--set NAME=VALUE or in the --config file;\nRUN/settings.yaml lists them all.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    _add_data_options(parser)
    _add_run_options(parser)
    _add_method_options(parser)
    _add_scale_options(parser)
    add_common_options(parser)
    # An option that was not given must not override the settings file.
    parser.set_defaults(seed=None, device=None, json=False, debug=False)
    return parser


def _add_data_options(parser: Parser) -> None:
    """The labelled sources and the unlabelled images."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--source", action="append", metavar="FILE.json", help="labelled source in COCO format; repeatable"
    )
    data.add_argument(
        "--source-images", action="append", metavar="DIR", help="images of each --source, in the same order"
    )
    data.add_argument(
        "--source-weight",
        action="append",
        type=positive_number,
        metavar="W",
        help="weight of each source (default: 1)",
    )
    data.add_argument(
        "--synthetic", type=float, metavar="WEIGHT", help="mix in synthetic fields with this weight"
    )
    data.add_argument(
        "--unlabelled",
        nargs="+",
        metavar="DIR",
        help="folders of unlabelled images, searched with subfolders",
    )
    data.add_argument(
        "--exclude",
        nargs="+",
        metavar="STEM",
        help="unlabelled images to leave out: names without suffix, or .txt lists of them",
    )
    data.add_argument(
        "--balance", action="store_true", help="draw unlabelled images evenly over looks, not over files"
    )


def _add_run_options(parser: Parser) -> None:
    """The run's folder, budget and settings."""
    run = parser.add_argument_group("run")
    run.add_argument("--out", required=True, type=Path, metavar="RUN", help="folder of the run")
    run.add_argument(
        "--resume", action="store_true", help="continue the run in --out exactly where it stopped"
    )
    run.add_argument("--iterations", type=positive_count, metavar="N", help="budget in iterations")
    run.add_argument("--minutes", type=positive_number, metavar="M", help="budget in minutes of computing")
    add_settings_options(
        run, "Shipped files go by name: paper-start, paper-amt2, paper-moco, paper-supervised"
    )


def _add_method_options(parser: Parser) -> None:
    """The network, its start and the objective."""
    method = parser.add_argument_group("method")
    method.add_argument(
        "--preset", metavar="NAME", help="network: compact, resnest50, resnet50, paper (default: compact)"
    )
    method.add_argument(
        "--objective", choices=("amt2", "moco", "supervised"), help="AMT2 or a baseline (default: amt2)"
    )
    method.add_argument(
        "--contrast", choices=("mocov2", "densecl"), help="contrastive objective (default: mocov2)"
    )
    method.add_argument(
        "--norm", choices=("dual", "shared", "frozen"), help="BatchNorm over two domains (default: dual)"
    )
    method.add_argument(
        "--init", metavar="START", help="scratch, imagenet, coco or a checkpoint (default: scratch)"
    )


def _add_scale_options(parser: Parser) -> None:
    """Processes, nodes, precision and loader workers."""
    scale = parser.add_argument_group("scale")
    scale.add_argument(
        "--devices", type=positive_count, metavar="N", help="processes or GPUs on each node (default: 1)"
    )
    scale.add_argument("--nodes", type=positive_count, metavar="N", help="nodes (default: 1)")
    scale.add_argument(
        "--precision",
        choices=("auto", "32-true", "bf16-mixed"),
        help="(default: auto, bf16 if the device supports it)",
    )
    scale.add_argument(
        "--workers", type=int, metavar="N", help="loader processes for each of the two data streams"
    )


def read_pretrain_settings(args: argparse.Namespace) -> PretrainSettings:
    """Settings from the run in --out (with --resume), the --config file, --set and the options.

    Each overrides those before it.

    Raises
    ------
    InputError
        If a setting is unknown or a file cannot be read.
    """
    from dataclasses import fields

    from napari_cupre.pretraining.pretrain_settings import PretrainSettings, read_settings

    values: dict[str, Any] = {}
    earlier = args.out / "settings.yaml"
    if "resume" in args and earlier.exists():
        values |= read_settings(earlier)
    if "config" in args:
        values |= read_config(args.config)
    values |= assignments(getattr(args, "assignments", []))
    names = {field.name for field in fields(PretrainSettings)} - {"source"}
    values |= {name: value for name, value in vars(args).items() if name in names and value is not None}
    if "source" in args or "source_images" in args or "source_weight" in args:
        values["source"] = _sources(args)
    return PretrainSettings.from_dict(values)


def _sources(args: argparse.Namespace) -> list[dict[str, Any]]:
    files, folders = getattr(args, "source", []), getattr(args, "source_images", [])
    weights = getattr(args, "source_weight", [1.0] * len(files))
    if not len(files) == len(folders) == len(weights):
        raise InputError(
            f"There are {len(files)} --source, {len(folders)} --source-images and {len(weights)} "
            "--source-weight; give one of each for every source."
        )
    return [dict(json=f, images=i, weight=w) for f, i, w in zip(files, folders, weights)]


def run(args: argparse.Namespace) -> int:
    """Run the parsed command; returns the exit code."""
    settings = read_pretrain_settings(args)
    settings.check()
    # It imports torch, so it comes after every check that does without.
    from napari_cupre.pretraining.pretrain_run import PretrainRun

    pretraining = PretrainRun(settings, args.out, resume="resume" in args)
    stopped = _follow(pretraining)
    if pretraining.is_first:
        report(args, "", pretraining.figures())
    return EXIT_INTERRUPTED if stopped else EXIT_DONE


def _follow(pretraining: PretrainRun) -> bool:
    """Run to the end and report the events; returns whether a signal stopped the run."""
    from napari_cupre.cli.listen import follow, make_listener
    from napari_cupre.events import Event, Notice

    def told() -> Iterator[Event]:
        for event in pretraining.events():
            if pretraining.is_first or isinstance(event, Notice):
                yield event

    with stopping(pretraining.stop):
        follow(told(), make_listener())
    return pretraining.was_stopped


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0, 1, 2 or 130)."""
    args = pretrain_parser().parse_args(arguments)
    # Otherwise each loader worker would use every core for small array work.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    args.run = run
    return run_guarded(args, prog=PROG)


if __name__ == "__main__":
    raise SystemExit(main())
