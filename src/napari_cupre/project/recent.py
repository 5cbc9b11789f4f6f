"""Remember projects that were open on this computer, to find their models again."""

from __future__ import annotations

import json
from pathlib import Path

from napari_cupre.io.files import atomic_write
from napari_cupre.project.document import DOCUMENT
from napari_cupre.project.recovery import scratch_folder

LIST = "recent.json"
MOST = 20


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
    names = [str(each) for each in [folder, *known][:MOST]]
    with atomic_write(scratch_folder() / LIST) as temporary:
        temporary.write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")


def recent_projects() -> list[Path]:
    """Return the folders of earlier projects that still exist, the latest first."""
    return [folder for folder in _listed() if (folder / DOCUMENT).is_file()]


def _listed() -> list[Path]:
    try:
        found = json.loads((scratch_folder() / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [Path(each) for each in found if isinstance(each, str)] if isinstance(found, list) else []
