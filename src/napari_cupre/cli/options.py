"""What all commands share: options, exit codes, and the JSON line for scripts.

Nothing here imports numpy or torch, so that `--help` is fast.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from napari_cupre.data.axes import parse_axes
from napari_cupre.errors import CupreError, InputError, system_reason

EXIT_DONE = 0
EXIT_FAULT = 1  # a bug: nothing that the user gave explains the error
EXIT_UNUSABLE = 2
EXIT_INTERRUPTED = 130

Run = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a wrong option in one sentence."""

    def error(self, message: str) -> NoReturn:
        """End with one sentence and exit code 2."""
        self.exit(EXIT_UNUSABLE, f"{self.prog}: {message}; see '{self.prog} --help'.\n")


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
    """Add the options that every command takes, so that a script can pass the same ones to all."""
    group = parser.add_argument_group("common options")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="random seed (default: 0)")
    group.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="where the network runs (default: auto, the fastest available)",
    )
    group.add_argument("--json", action="store_true", help="print the figures as JSON in the last line")
    group.add_argument(
        "--debug", action="store_true", help="explain what is chosen, and show the traceback of an error"
    )


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """Add the model that a command works with."""
    parser.add_argument(
        "model", metavar="MODEL", help="a name from 'models list' (cupre is bundled), or a path"
    )


def add_diameter(parser: argparse.ArgumentParser, explanation: str) -> None:
    """Add the size of a cell.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Of the command.
    explanation : str
        The text of the help, with what counts if it is not given.
    """
    parser.add_argument("--diameter", type=positive_number, metavar="PX", help=explanation)


def add_channels(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses what a model sees of an image of several channels."""
    parser.add_argument(
        "--channels",
        type=channel_list,
        metavar="LIST",
        help="up to three channels to use, counted from 0, e.g. 0,2",
    )


def add_finding_options(parser: argparse.ArgumentParser, diameter: str) -> None:
    """Add the options of commands that look for cells in images; `diameter` is the help of its option."""
    add_diameter(parser, diameter)
    add_reading_options(parser)
    add_channels(parser)
    add_overwrite(parser)


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for files whose axes or images must be named."""
    wrong = "one letter per dimension, if the file is wrong"
    parser.add_argument("--axes", type=axis_letters, metavar="TZYXC", help=wrong)
    add_series(parser)


def add_series(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses among the images of one file."""
    parser.add_argument(
        "--series",
        metavar="NAME|INDEX|all",
        help="image to read from files that contain several, by name or by index from 0; 'all' includes the "
        "labels and thumbnails of slides (default: every image except these)",
    )


def add_keep_empty(parser: argparse.ArgumentParser) -> None:
    """Add `--keep-empty`."""
    parser.add_argument(
        "--keep-empty", action="store_true", help="treat images that a JSON lists without annotation as empty"
    )


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add the option that goes with `check_replaces`."""
    parser.add_argument(
        "--overwrite", action="store_true", help="also replace files that a person made or changed"
    )


def check_replaces(
    args: argparse.Namespace, paths: Iterable[Path], images: Iterable[Path] = (), other: str = "another --out"
) -> None:
    """Refuse to replace a file that this package did not write or that somebody changed.

    Called before anything is computed.

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
    """Convert the value of an option that takes a number above zero."""
    value = _number(text)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above zero")
    return value


def positive_count(text: str) -> int:
    """Convert the value of an option that takes a whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def axis_letters(text: str) -> str:
    """Check the value of an option that names axes, before every file of a folder is refused."""
    try:
        return parse_axes(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from error


def channel_list(text: str) -> tuple[int, ...]:
    """Convert the value of an option that takes channels."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of channels such as 0,2")
    return tuple(int(part) for part in parts)


def share(text: str) -> float:
    """Convert the value of an option that takes a number between 0 and 1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def report(args: argparse.Namespace, text: str, figures: dict[str, Any]) -> None:
    """Print the result as text, and with --json also as JSON in the last line."""
    if text:
        print(text)
    if args.json:
        print(json.dumps(plain(figures), allow_nan=False))


def plain(value: Any) -> Any:
    """Convert a value to JSON's types: paths to text, numpy numbers to numbers, NaN to null."""
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


def run_guarded(args: argparse.Namespace, prog: str) -> int:
    """Run a parsed command; turn an error into one sentence and an exit code."""
    if not args.debug:
        warnings.simplefilter("ignore")  # from libraries; our own warnings are events
    else:
        logging.basicConfig(format="%(message)s")
        logging.getLogger("napari_cupre").setLevel(logging.INFO)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print(f"{prog}: interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output closed, as `| head` does
        sys.stderr.close()
        return EXIT_DONE
    except Exception as error:
        if args.debug:
            traceback.print_exc()
        sentence = explain(error)
        if sentence is None:
            print(
                f"{prog}: this looks like a bug in napari-cupre ({type(error).__name__}: {error}); "
                "please report it with the output of --debug.",
                file=sys.stderr,
            )
            return EXIT_FAULT
        print(f"{prog}: {sentence}", file=sys.stderr)
        return EXIT_UNUSABLE


def explain(error: BaseException) -> str | None:
    """Explain an error that the user or the machine caused, in one sentence; None for any other error."""
    if isinstance(error, CupreError):
        return str(error)
    text = str(error)
    if "torchvision::nms" in text:
        return (
            "the installed torch and torchvision do not match; install a matching pair in one command with "
            "'pip install --force-reinstall torch torchvision'."
        )
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("napari_cupre"):
        return f"the package {error.name} is not installed; install it with 'pip install {error.name}'."
    if isinstance(error, OSError) and error.errno is not None:
        where = f'"{error.filename}": ' if error.filename else ""
        return f"{where}{system_reason(error)}."
    if isinstance(error, MemoryError):
        return "not enough memory; close other programs or use smaller images."
    return None
