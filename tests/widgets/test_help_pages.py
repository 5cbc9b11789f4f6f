"""The pages that the docks' `?` shows, and that the package ships them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QUrl

from napari_cupre.errors import EnvironmentFault
from napari_cupre.widgets.help_pages import PAGES, help_folder, linked_page, page_text
from napari_cupre.widgets.help_widget import HelpWidget

ROOT = Path(__file__).parents[2]


def shipped(page: str) -> bool:
    """Whether a wheel has a page of the docs."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    for source, target in included.items():
        assert target == f"napari_cupre/help/{source.removeprefix('docs/')}"
    return any(f"docs/{page}" == source or f"docs/{page}".startswith(f"{source}/") for source in included)


@pytest.mark.parametrize("page", sorted(set(PAGES.values())))
def test_the_page_of_each_dock_ships_and_reads_well(page: str) -> None:
    assert shipped(page)
    text = page_text(page)
    assert text.startswith("# ")
    assert not re.search(r"!\[|</?kbd>|^!!! ", text, re.MULTILINE)


@pytest.mark.parametrize("page", sorted(set(PAGES.values())))
def test_links_lead_to_pages_that_ship(page: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page_text(page)):
        target = linked_page(page, link)
        assert target is None or (shipped(target) and page_text(target)), link


def test_only_pages_of_the_documentation_are_read() -> None:
    for page in ("../pyproject.toml", "how-to/none.md", "/etc/hostname"):
        with pytest.raises(EnvironmentFault):
            page_text(page)
    assert linked_page("tutorial.md", "../README.md") is None
    assert (help_folder() / "tutorial.md").is_file()


def test_a_link_leads_to_the_page_and_back_again(viewer: Any, qtbot: Any) -> None:
    widget = HelpWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Help")
    widget.show_dock_page("Compare")
    assert widget.topics.currentText() == "Compare"
    widget.text.anchorClicked.emit(QUrl("evaluate.md"))
    assert widget.page == "how-to/evaluate.md"
    assert widget.topics.currentIndex() == -1, "a page of no dock"
    widget.back.click()
    assert widget.page == "how-to/compare.md"
    widget.back.click()
    assert widget.page == "tutorial.md"
    assert not widget.back.isEnabled()
