"""Remember projects that were open on this computer, and which image of each was on show last.

The latter is no part of a project: it is personal, and a project that is only looked at stays as it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_cupre.io.files import atomic_write
from napari_cupre.project.document import DOCUMENT
from napari_cupre.project.recovery import scratch_folder

LIST, SHOWN = "recent.json", "shown.json"
MOST, MOST_SHOWN = 20, 200


def remember_project(folder: Path) -> None:
    """Put a project at the front of the list; ignore projects without a place of their own.

    Raises
    ------
    EnvironmentFault
        Full or read-only disk.
    """
    folder = folder.resolve()
    if folder.parent == scratch_folder().resolve():
        return
    known = [each for each in _listed() if each != folder]
    _write(LIST, [str(each) for each in [folder, *known][:MOST]])


def recent_projects() -> list[Path]:
    """Return the folders of earlier projects that still exist, the latest first."""
    return [folder for folder in _listed() if (folder / DOCUMENT).is_file()]


def remember_shown(project: str, stem: str) -> None:
    """Note which image of a project is on show; does nothing if that is known.

    Parameters
    ----------
    project : str
        Its id, which stays when it is moved.
    stem : str
        The image.

    Raises
    ------
    EnvironmentFault
        Full or read-only disk.
    """
    known = _shown()
    if known.pop(project, None) != stem:
        latest = list(known.items())[1 - MOST_SHOWN :]
        _write(SHOWN, {**dict(latest), project: stem})


def shown_last(project: str) -> str | None:
    """Return the image of a project that was on show last; None if unknown."""
    stem = _shown().get(project)
    return stem if isinstance(stem, str) else None


def _listed() -> list[Path]:
    found = _read(LIST)
    return [Path(each) for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _shown() -> dict[str, Any]:
    found = _read(SHOWN)
    return found if isinstance(found, dict) else {}


def _read(name: str) -> Any:
    """Return the content of a file; None if it is missing or damaged."""
    try:
        return json.loads((scratch_folder() / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write(name: str, content: list[str] | dict[str, str]) -> None:
    with atomic_write(scratch_folder() / name) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
