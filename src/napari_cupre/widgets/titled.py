"""Names for work in napari's threads: napari shows them, e.g. when a window is closed meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any


class Titled(partial[Any]):
    """A function that napari shows as `title`, instead of as "<function guarded at 0x7fd1...>"."""

    title = ""

    def __repr__(self) -> str:
        return self.title


def titled(function: Callable[..., Any], title: str) -> Titled:
    """Return a function under a title, which napari puts behind "Executing".

    Parameters
    ----------
    function : Callable
        For `create_worker`; a generator function stays one.
    title : str
        As users call it, e.g. "Training".
    """
    found = Titled(function)
    found.title = f"“{title}” (CUPre)"
    return found
