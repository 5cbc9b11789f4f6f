"""Writes the reference of commands from the parsers themselves, whenever the documentation is built."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import Any

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs' hook: put the commands in the place of the mark."""
    return markdown.replace(MARK, "\n".join(sections())) if MARK in markdown else markdown


def sections() -> Iterator[str]:
    """A section of Markdown per command."""
    from napari_cupre.cli.main import build_parser
    from napari_cupre.cli.pretrain import pretrain_parser

    os.environ["COLUMNS"] = "96"  # argparse wraps to the terminal, of which there is none here
    for top in (build_parser(), pretrain_parser()):
        for parser in _with_subcommands(top):
            yield f"\n## `{parser.prog}`\n\n```text\n{parser.format_help().rstrip()}\n```\n"


def _with_subcommands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _with_subcommands(child)
