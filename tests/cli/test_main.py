from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import napari_cupre
from napari_cupre.cli.main import build_parser


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Every parser that ends in a command, at any depth."""
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not nested:
        yield parser
    for action in nested:
        for child in action.choices.values():
            yield from leaves(child)


LEAVES = {parser.prog: parser for parser in leaves(build_parser())}


@pytest.mark.parametrize("prog", LEAVES)
def test_every_command_keeps_to_the_common_face(prog: str) -> None:
    text = LEAVES[prog].format_help()
    assert f"example:\n  {prog}" in text
    for option in ("--seed", "--device", "--json", "--debug"):
        assert option in text
    assert LEAVES[prog].get_default("run") is not None


def test_the_examples_parse() -> None:
    for parser in LEAVES.values():
        assert parser.epilog is not None
        for line in parser.epilog.splitlines()[1:]:
            words = line.replace('"', "").split()
            assert build_parser().parse_args(words[1:]).run is parser.get_default("run")


def test_a_wrong_option_is_one_sentence(command: Callable[..., Any]) -> None:
    ran = command("models", "list", "--sead", "1")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert "--sead" in ran.err
    assert "--help" in ran.err


def test_version(command: Callable[..., Any]) -> None:
    assert command("--version").out.strip() == f"napari-cupre {napari_cupre.__version__}"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from napari_cupre.cli.main import build_parser; build_parser().format_help()\n"
        "print([name for name in ('numpy', 'torch', 'scipy', 'napari', 'tqdm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
