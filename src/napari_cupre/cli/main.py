"""`napari-cupre`: one command with subcommands, one module each."""

from __future__ import annotations

from collections.abc import Sequence

from napari_cupre import __version__
from napari_cupre.cli.cache import add_cache
from napari_cupre.cli.demo import add_demo
from napari_cupre.cli.diversity import add_diversity
from napari_cupre.cli.evaluate import add_evaluate
from napari_cupre.cli.finetune import add_finetune
from napari_cupre.cli.import_annotations import add_import
from napari_cupre.cli.models import add_models
from napari_cupre.cli.options import Parser, run_guarded
from napari_cupre.cli.outline import add_outline
from napari_cupre.cli.predict import add_predict
from napari_cupre.cli.suggest import add_suggest

DESCRIPTION = "Few-shot cell instance segmentation with CUPre: annotate a few cells, train, find every cell."


def build_parser() -> Parser:
    """The parser of all subcommands."""
    parser = Parser(
        prog="napari-cupre",
        description=DESCRIPTION,
        epilog="Every command has a --help with an example. 'napari -w napari-cupre' opens the window; "
        "'napari-cupre-pretrain' pretrains on your own images.",
    )
    parser.add_argument("--version", action="version", version=f"napari-cupre {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    for add in (
        *(add_finetune, add_predict, add_outline, add_evaluate, add_suggest),
        *(add_diversity, add_models, add_cache, add_demo, add_import),
    ):
        add(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0, 1, 2 or 130)."""
    args = build_parser().parse_args(arguments)
    return run_guarded(args, prog=f"napari-cupre {args.command}")
