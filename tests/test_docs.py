"""What README and docs say can be followed: links lead somewhere, commands and code are understood."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest

from napari_cupre.cli.main import build_parser
from napari_cupre.cli.pretrain import pretrain_parser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOTATION = ROOT / "docs" / "architecture.md"  # its blocks sketch types, they are not code
REFERENCE = ROOT / "docs" / "reference" / "python.md"
PARSERS = {"napari-cupre": build_parser, "napari-cupre-pretrain": pretrain_parser}
LINK = re.compile(r"\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and content of every fenced block."""
    for language, content in BLOCK.findall(page.read_text(encoding="utf-8")):
        yield language.strip(), content


def commands(page: Path) -> list[list[str]]:
    """Every `napari-cupre...` command line of a page, split into words, without comments."""
    found = []
    for language, content in blocks(page):
        if language in ("", "bash"):
            for line in content.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0] in PARSERS:
                    found.append(words)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("#"):
            assert (page.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_code_are_understood(page: Path) -> None:
    for words in commands(page):
        try:
            PARSERS[words[0]]().parse_args(words[1:])
        except SystemExit as left:
            pytest.fail(f"{shlex.join(words)} is refused ({left.code})")
    for language, content in blocks(page):
        if language == "python" and page != NOTATION:
            ast.parse(content)


def test_what_the_reference_shows_is_there() -> None:
    named = re.findall(r"^::: (\S+)", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(named) > 10
    for name in named:
        resolve_name(name)


def test_the_search_for_commands_finds_them() -> None:
    assert ["napari-cupre", "evaluate", "truth/", "results/"] in commands(ROOT / "README.md")
