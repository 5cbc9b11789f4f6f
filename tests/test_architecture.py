"""The arrows of docs/architecture.md, held by reading every import in the source."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import napari_cupre

ROOT = Path(napari_cupre.__file__).parent
GUI = {"napari", "qtpy", "magicgui", "superqt", "pyqtgraph", "PyQt5", "PyQt6", "PySide2", "PySide6"}
BASE = {"errors", "events", "words", "__init__"}
ENGINE = {
    "model",
    "data",
    "io",
    "synthetic",
    "finetuning",
    "pretraining",
    "prediction",
    "evaluation",
    "project",
}
# What each part may import of this package, besides itself and BASE.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "events": set(),
    "words": set(),
    "data": set(),
    "io": {"data"},
    "synthetic": {"io", "data"},
    "project": {"io", "data"},
    "model": {"synthetic", "io", "data"},
    "evaluation": {"project", "model", "io", "data"},
    "prediction": {"project", "model", "io", "data"},
    "finetuning": {"project", "model", "synthetic", "io", "data", "evaluation", "prediction"},
    "pretraining": {"project", "model", "synthetic", "io", "data", "evaluation"},
    "api": ENGINE,
    "service": ENGINE | {"api"},
    "cli": ENGINE | {"api", "service"},
    "widgets": ENGINE | {"api", "service"},
    "__init__": {"api"},
}
SOURCES = sorted(ROOT.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """The part of the package a dotted module name belongs to, e.g. 'io' for 'napari_cupre.io.images'."""
    return module.split(".")[1] if "." in module else "__init__"


def imports_of(path: Path) -> set[str]:
    """Dotted names of all that a file imports, at any depth, with relative imports resolved."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join(above + ([node.module] if node.module else []))
            # `from package import part` names the part only in the alias
            found.update(f"{base}.{alias.name}" if base == "napari_cupre" else base for alias in node.names)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_run_one_way(path: Path) -> None:
    part = part_of(module_name(path))
    allowed = ALLOWED[part] | BASE | {part}
    ours = {part_of(name) for name in imports_of(path) if name.split(".")[0] == "napari_cupre"}
    lifted = {name for name in ours if (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file()}
    assert lifted <= allowed, f"{module_name(path)} may not import {sorted(lifted - allowed)}"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_only_widgets_know_the_window(path: Path) -> None:
    part = part_of(module_name(path))
    roots = {name.split(".")[0] for name in imports_of(path)}
    if part in ENGINE | {"errors", "events", "words", "service", "api"}:
        assert not roots & GUI
    elif part == "cli":  # `demo` opens the window, and nothing else
        assert path.name == "demo.py" or not roots & GUI


def test_the_reader_of_imports_sees_what_it_must(tmp_path: Path) -> None:
    """A parser that finds nothing would let every arrow pass."""
    assert "napari_cupre.api" in imports_of(ROOT / "__init__.py")
    assert "enum" in imports_of(ROOT / "events.py")


@pytest.mark.parametrize("modules", ["package", "widgets", "cli"])
def test_torch_is_not_imported_before_it_is_needed(modules: str) -> None:
    names = {
        "package": ["napari_cupre", "napari_cupre.events", "napari_cupre.errors"],
        "cli": ["napari_cupre.cli.main", "napari_cupre.cli.pretrain"],
        "widgets": [module_name(path) for path in SOURCES if part_of(module_name(path)) == "widgets"],
    }[modules]
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "heavy = ('torch', 'torchvision', 'timm', 'zarr')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
