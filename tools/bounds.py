"""Name the lower bounds of pyproject.toml that this environment of oldest versions does not try.

    python tools/bounds.py all test     # the dependencies, and those of these extras

A bound below the oldest version that can be installed promises what nobody has run: that version was
withdrawn, as zarr 3.0.0 was, or another library asks for a newer one. Exits with 1 if there is such a bound.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version


def untried(wanted: Iterable[str], installed: Mapping[str, str]) -> list[str]:
    """One sentence for each requirement whose lower bound is not the installed version."""
    versions = {canonicalize_name(name): version for name, version in installed.items()}
    said = []
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        for bound in (each.version for each in requirement.specifier if each.operator == ">="):
            found = versions.get(name)
            if found is None or Version(Version(found).public) != Version(bound):
                said.append(f"{name}>={bound} is not tried: {found or 'not installed'}")
    return said


def main() -> int:
    """Check the dependencies and the extras that are named."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    wanted = list(project["dependencies"])
    for extra in sys.argv[1:]:
        wanted += project["optional-dependencies"][extra]
    said = untried(wanted, {each.metadata["Name"]: each.version for each in distributions()})
    print("\n".join(said) or "every lower bound is tried")
    return bool(said)


if __name__ == "__main__":
    sys.exit(main())
