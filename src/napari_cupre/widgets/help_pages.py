"""The documentation pages that ship with the package; nothing is downloaded."""

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
"""The page of each dock, by the dock's title."""

START = "tutorial.md"

_IMAGE = re.compile(r"^!\[[^\]]*\]\([^)]*\)(\{[^}]*\})?[ \t]*\n?", re.MULTILINE)
_NOTE = re.compile(r'^!!! \w+ "([^"]*)"\n((?:    .*\n?)+)', re.MULTILINE)
_KEY = re.compile(r"</?kbd>")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def help_folder() -> Path:
    """Return the folder of the pages: in the installed package, or beside it in a checkout.

    Raises
    ------
    EnvironmentFault
        The pages are in neither place.
    """
    package = Path(str(files("napari_cupre")))
    for folder in (package / "help", package.parents[1] / "docs"):
        if (folder / START).is_file():
            return folder
    raise EnvironmentFault("The help pages are missing: install napari-cupre again.")


def page_text(page: str) -> str:
    """Return a page as plain Markdown, without pictures (which do not ship) and the site's own markup.

    Parameters
    ----------
    page : str
        The page, such as "how-to/annotate.md".

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
    """Return the page that a link on another page points to; None for links out of the documentation.

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
