"""The pages of the documentation that ship with the package: read here, nothing is fetched."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path, PurePosixPath

from napari_cupre.errors import EnvironmentFault

PAGES = {
    "Annotate": "how-to/annotate.md",
    "Train": "how-to/own-images.md",
    "Predict": "how-to/predict.md",
    "Results": "how-to/results.md",
    "Compare": "how-to/compare.md",
    "Models": "how-to/models.md",
    "Workbench": "tutorial.md",
}
"""A page for each dock, by its title."""

START = "tutorial.md"

_IMAGE = re.compile(r"^!\[[^\]]*\]\([^)]*\)(\{[^}]*\})?[ \t]*\n?", re.MULTILINE)
_NOTE = re.compile(r'^!!! \w+ "([^"]*)"\n((?:    .*\n?)+)', re.MULTILINE)
_KEY = re.compile(r"</?kbd>")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def help_folder() -> Path:
    """Where the pages are: in the installed package, or beside it in a checkout.

    Raises
    ------
    EnvironmentFault
        Neither has them.
    """
    package = Path(str(files("napari_cupre")))
    for folder in (package / "help", package.parents[1] / "docs"):
        if (folder / START).is_file():
            return folder
    raise EnvironmentFault("The help pages are missing: install napari-cupre again.")


def page_text(page: str) -> str:
    """A page as plain Markdown: no pictures, which do not ship, and none of the site's own marks.

    Parameters
    ----------
    page : str
        Such as "how-to/annotate.md".

    Raises
    ------
    EnvironmentFault
        There is no such page.
    """
    folder = help_folder()
    file = folder / page
    if not file.is_file() or folder.resolve() not in file.resolve().parents:
        raise EnvironmentFault(f"There is no help page {page!r} in this installation.")
    text = _COMMENT.sub("", file.read_text(encoding="utf-8"))
    text = _NOTE.sub(lambda found: f"**{found[1]}.** {' '.join(found[2].split())}\n", text)
    return _KEY.sub("`", _IMAGE.sub("", text))


def linked_page(page: str, link: str) -> str | None:
    """The page that a link leads to from another page; None if it leads out of the documentation.

    Examples
    --------
    >>> linked_page("how-to/annotate.md", "../reference/project.md#files")
    'reference/project.md'
    >>> linked_page("tutorial.md", "https://napari.org") is None
    True
    """
    target = link.partition("#")[0]
    if "://" in target or not target.endswith(".md"):
        return None
    parts: list[str] = []
    for part in PurePosixPath(PurePosixPath(page).parent / target).parts:
        if part == "..":
            if not parts:
                return None
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
