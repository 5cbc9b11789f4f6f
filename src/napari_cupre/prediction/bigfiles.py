"""The files of a big image's prediction, and the exchange of unlinked labels for linked ones.

Until the prediction is complete, the ledger OUT.progress lies beside the labels at OUT. Linked labels are
written to OUT.linking. When they are complete, the unlinked labels are renamed OUT.unlinked and the linked
ones OUT. A later run that fills in missing parts puts the unlinked labels back and links again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from napari_cupre.errors import writing


def ledger_path(out: Path) -> Path:
    """Return the file beside a result that records the progress of its prediction."""
    return out.with_name(out.name + ".progress")


def linking_path(out: Path) -> Path:
    """Return the folder in which linked labels are written."""
    return out.with_name(out.name + ".linking")


def unlinked_path(out: Path) -> Path:
    """Return the folder that keeps the unlinked labels while linked ones are shown."""
    return out.with_name(out.name + ".unlinked")


def is_unfinished(out: Path) -> bool:
    """Whether there is a ledger, so that the prediction is unfinished."""
    path = ledger_path(out)
    return path.is_file() and path.stat().st_size > 0


def show_linked(out: Path) -> None:
    """Replace the unlinked labels by the linked ones, and keep the unlinked ones.

    Raises
    ------
    EnvironmentFault
        If folders cannot be renamed.
    """
    _rename(out, unlinked_path(out))
    _rename(linking_path(out), out)


def end_exchange(out: Path) -> None:
    """Put the unlinked labels back if `show_linked` was killed between its two steps."""
    if unlinked_path(out).exists() and not out.exists():
        _rename(unlinked_path(out), out)


def show_unlinked(out: Path) -> bool:
    """Delete the linked labels and put the unlinked ones back.

    Returns
    -------
    bool
        Whether there were any.

    Raises
    ------
    EnvironmentFault
        If folders cannot be deleted or renamed.
    """
    remove(linking_path(out))
    if not unlinked_path(out).exists():
        return False
    remove(out)
    _rename(unlinked_path(out), out)
    return True


def forget(out: Path) -> None:
    """Delete our labels and the record of their progress; see `remove`."""
    with writing(out):
        ledger_path(out).unlink(missing_ok=True)
    for path in (linking_path(out), unlinked_path(out), out):
        remove(path)


def remove(folder: Path) -> None:
    """Delete a folder if it exists.

    Raises
    ------
    EnvironmentFault
        If it cannot be deleted.
    """
    with writing(folder):
        if folder.exists():
            shutil.rmtree(folder)


def _rename(folder: Path, to: Path) -> None:
    with writing(to):
        folder.rename(to)
