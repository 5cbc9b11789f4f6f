"""Measure the structure of the package: lines, files, functions, names, circles.

Run it on two checkouts to compare them::

    python tools/structure.py                 # this checkout
    python tools/structure.py --root ../old   # another one
"""

from __future__ import annotations

import argparse
import ast
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

LONG_FUNCTION = 60
LONG_FILE = 450


def modules(package: Path) -> dict[str, Path]:
    """Dotted names of all modules of a package, with their files."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that a file imports when it is imported itself."""
    found = set()
    for node in _run_at_import(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found |= {name for name in (inner if inner in known else node.module,) if name in known}
    return found


def _run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes outside functions and outside `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        is_hint = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_hint:
            yield node
            yield from _run_at_import(node)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other in a circle."""
    import networkx

    directed = networkx.DiGraph((a, b) for a, others in graph.items() for b in others if a != b)
    return sorted(
        sorted(group) for group in networkx.strongly_connected_components(directed) if len(group) > 1
    )


def measure(root: Path) -> dict[str, object]:
    """The figures of one checkout."""
    known = modules(root / "src" / "napari_cupre")
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in known.items()}
    functions: list[tuple[int, str]] = []
    defined: dict[str, set[str]] = defaultdict(set)
    files: dict[str, set[str]] = defaultdict(set)
    for name, path in known.items():
        if path.name != "__init__.py":
            files[path.stem].add(name)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.append(((node.end_lineno or 0) - node.lineno + 1, f"{name}.{node.name}"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                defined[node.name].add(name)
    longest = max(lines, key=lambda name: lines[name])
    page = root / "docs" / "architecture.md"
    words = page.read_text(encoding="utf-8") if page.is_file() else ""
    return {
        "lines": sum(lines.values()),
        "files": len(lines),
        "longest file": f"{lines[longest]} ({longest})",
        "median file": statistics.median(lines.values()),
        f"files over {LONG_FILE} lines": sum(count > LONG_FILE for count in lines.values()),
        f"functions over {LONG_FUNCTION} lines": sorted(f for f in functions if f[0] > LONG_FUNCTION)[::-1],
        "circles": circles({name: imports(path, known) for name, path in known.items()}),
        "modules of one name": {n: sorted(where) for n, where in sorted(files.items()) if len(where) > 1},
        "names defined twice": {n: sorted(where) for n, where in sorted(defined.items()) if len(where) > 1},
        "modules that docs/architecture.md does not name": sorted(
            name for name, path in known.items() if _is_of_a_floor(path, root) and path.name not in words
        ),
    }


def _is_of_a_floor(path: Path, root: Path) -> bool:
    """Whether a module lies directly in a package such as `io/`; what lies deeper is named as a whole."""
    inside = path.relative_to(root / "src" / "napari_cupre")
    return len(inside.parts) == 2 and not path.name.startswith("__")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the checkout")
    print(json.dumps(measure(parser.parse_args().root), indent=2))


if __name__ == "__main__":
    main()
