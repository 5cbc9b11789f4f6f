"""The house's figures: what `tools/structure.py` measures stays within the limits of CONTRIBUTING.md."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from scripts import load_script

ROOT = Path(__file__).parents[1]


def tool() -> ModuleType:
    return load_script("tools/structure.py")


def test_functions_fit_a_screen_and_a_name_means_one_thing() -> None:
    figures = tool().measure(ROOT)
    assert figures["files over 450 lines"] == 0, figures["longest file"]
    assert figures["functions over 60 lines"] == []
    assert figures["circles"] == []
    assert figures["modules of one name"] == {}
    twice = figures["names defined twice"]
    assert set(twice) <= {"main"}, f"rename one of each: {twice}"  # `main` is what an entry point is called


def test_a_name_defined_twice_is_seen(tmp_path: Path) -> None:
    package = tmp_path / "src" / "napari_cupre"
    for name in ("one", "two"):
        folder = package / name
        folder.mkdir(parents=True)
        (folder / "files.py").write_text("def walk():\n" + "    pass\n" * 61)
    figures = tool().measure(tmp_path)
    assert figures["modules of one name"] == {"files": ["napari_cupre.one.files", "napari_cupre.two.files"]}
    assert list(figures["names defined twice"]) == ["walk"]
    assert len(figures["functions over 60 lines"]) == 2
