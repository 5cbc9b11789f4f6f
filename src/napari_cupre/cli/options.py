"""What all commands share: options, exit codes, and the last line for machines.

Nothing here imports numpy or torch, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from napari_cupre.errors import CupreError, InputError, system_reason

EXIT_DONE = 0
EXIT_FAULT = 1  # a fault of ours: nothing that the user gave explains it
EXIT_UNUSABLE = 2
EXIT_INTERRUPTED = 130

Run = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """An argument parser that answers a wrong option with one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_UNUSABLE, f"{self.prog}: {message}; '{self.prog} --help' shows what it takes.\n")


def add_command(subparsers: Any, name: str, run: Run, summary: str, details: str, example: str) -> Parser:
    """Add a command with the options that every command has.

    `details` follows the summary and `example` (command lines) ends the help text.
    """
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.\n\n{details.strip()}".strip(),
        epilog=f"example:\n  {example.strip()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add_common_options(parser)
    return parser


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Options that every command takes, so that a script can hand the same ones to all."""
    group = parser.add_argument_group("common options")
    group.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of whatever is random in it (default: 0)"
    )
    group.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="where the network runs, if one does (default: auto, the fastest there is)",
    )
    group.add_argument("--json", action="store_true", help="print the figures as JSON, in the last line")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Options for files whose dimensions or images must be named."""
    parser.add_argument("--axes", metavar="TZYXC", help="one letter per dimension, where the file is wrong")
    parser.add_argument(
        "--series",
        metavar="NAME|INDEX|all",
        help="image to take from each file of several, by its name or number from 0 on; 'all' takes the "
        "labels and thumbnails of slides as well (default: every image but these)",
    )


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """The option that goes with `check_replaces`."""
    parser.add_argument(
        "--overwrite", action="store_true", help="replace also files that a person made or changed"
    )


def check_replaces(
    args: argparse.Namespace, paths: Iterable[Path], images: Iterable[Path] = (), other: str = "another --out"
) -> None:
    """Refuse, before anything is computed, to replace what this package did not write or somebody changed.

    Parameters
    ----------
    args : argparse.Namespace
        Of a command with `add_overwrite`.
    paths : iterable of Path
        The files to be written.
    images : iterable of Path
        Images that the command reads, which are not replaced even with --overwrite.
    other : str
        What to choose instead.

    Raises
    ------
    InputError
        Naming the first such file.
    """
    from napari_cupre.io.ownership import reason_against

    paths, images = list(paths), list(images)
    if (reason := reason_against(paths, images, overwrite=True)) is not None:
        raise InputError(f"{reason}: choose {other}.")
    if (reason := reason_against(paths, images, overwrite=args.overwrite)) is not None:
        raise InputError(f"{reason}: choose {other}, or add --overwrite to replace it.")


def positive_number(text: str) -> float:
    """Type of an option that takes a number above zero."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above zero")
    return value


def positive_count(text: str) -> int:
    """Type of an option that takes a whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def share(text: str) -> float:
    """Type of an option that takes a number between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def report(args: argparse.Namespace, text: str, figures: dict[str, Any]) -> None:
    """Print the result for people, and with --json as a last line for machines."""
    if text:
        print(text)
    if args.json:
        print(json.dumps(plain(figures), allow_nan=False))


def plain(value: Any) -> Any:
    """`value` in JSON's own types: paths as text, numpy numbers as numbers, NaN and infinity as null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy arrays and numbers
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def guarded(args: argparse.Namespace, prog: str) -> int:
    """Run a parsed command; turn what it raises into one sentence and an exit code."""
    if not args.debug:
        warnings.simplefilter("ignore")  # the libraries' own; ours are events
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print(f"{prog}: interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        sys.stderr.close()
        return EXIT_DONE
    except Exception as error:
        if args.debug:
            traceback.print_exc()
        sentence = explain(error)
        if sentence is None:
            print(
                f"{prog}: this is a fault of napari-cupre ({type(error).__name__}: {error}); "
                "please report it with what --debug prints.",
                file=sys.stderr,
            )
            return EXIT_FAULT
        print(f"{prog}: {sentence}", file=sys.stderr)
        return EXIT_UNUSABLE


def explain(error: BaseException) -> str | None:
    """One sentence for an error that the user or the machine caused; None for any other."""
    if isinstance(error, CupreError):
        return str(error)
    text = str(error)
    if "torchvision::nms" in text:
        return (
            "the installed torch and torchvision do not fit each other; install a fitting pair with "
            "'pip install --force-reinstall torch torchvision', both in one command."
        )
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("napari_cupre"):
        return f"the package {error.name} is not installed; 'pip install {error.name}' adds it."
    if isinstance(error, OSError) and error.errno is not None:
        where = f'"{error.filename}": ' if error.filename else ""
        return f"{where}{system_reason(error)}."
    if isinstance(error, MemoryError):
        return "memory ran out; close other programs, or give smaller images."
    return None
