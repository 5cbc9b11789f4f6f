"""What is wrong with a TIFF file, in words: tifffile only logs it and reads on."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_cupre.words import some_of

_DAMAGE_WORDS = ("offset", "zeroed", "out of range")
_OBJECT = re.compile(r"<tifffile\.\w+[^>]*>\s*")
"""How tifffile's log names its own objects, which means nothing to a user."""


@contextmanager
def listening(path: Path, notices: list[str]) -> Iterator[list[str]]:
    """Collect what tifffile only logs: it returns the first pages of a truncated file as if they were all.

    Parameters
    ----------
    path : Path
        The file being read.
    notices : list[str]
        Receives a sentence about each oddity, at the end.

    Yields
    ------
    list of str
        The damages; the list grows as the file is read.
    """
    reader = threading.get_ident()
    damages: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == reader:
                message = record.getMessage()
                (damages if any(word in message for word in _DAMAGE_WORDS) else notices).append(message)

    listener = Listener(logging.WARNING)
    log = logging.getLogger("tifffile")
    log.addHandler(listener)
    try:
        yield damages
    finally:
        log.removeHandler(listener)
    notices[:] = [f'"{path.name}" is unusual TIFF: {_OBJECT.sub("", notice)}' for notice in notices]


def damages_of(series: Any, damages: Sequence[str]) -> list[str]:
    """Return the damages that concern one image of a file, not missing files of other images in its set.

    Parameters
    ----------
    series : Any
        The image, a series of tifffile.
    damages : Sequence[str]
        See `listening`.
    """
    elsewhere = [damage for damage in damages if "failed to read" in damage and "zeroed" in damage]
    if not elsewhere or any(page is None for page in series.pages):
        return list(damages)
    return [damage for damage in damages if damage not in elsewhere]


def what_is_lost(path: Path, lost: Sequence[int], damages: Sequence[str]) -> str:
    """Describe a damaged stack in one sentence; "" if it is sound.

    Parameters
    ----------
    path : Path
        The file.
    lost : Sequence[int]
        Numbers of the pages that could not be read, from 0 on.
    damages : Sequence[str]
        See `listening`.
    """
    if lost:
        which = some_of([str(number + 1) for number in lost])
        return f'"{path.name}" is damaged: its pages {which} cannot be read; copy it again.'
    if any("offset" in damage for damage in damages):
        return f'"{path.name}" is truncated: pages beyond its end are lost; copy it again.'
    if damages:
        return (
            f'"{path.name}" contains fewer planes than its metadata say; the others are empty: copy it again.'
        )
    return ""


def imagej_planes(told: dict[str, object], there: int, path: Path) -> tuple[str, str]:
    """Guess what the planes of an ImageJ stack are when its metadata do not fit its pixels.

    Parameters
    ----------
    told : dict[str, object]
        What its metadata say.
    there : int
        How many planes there are.
    path : Path
        The file.

    Returns
    -------
    letter : str
        "T", "Z" or "C"; "" where several of them have more than one plane.
    sentence : str
        What is lost; "" if nothing is.

    Examples
    --------
    >>> imagej_planes({"frames": 7}, 4, Path("a.tif"))
    ('T', '"a.tif" contains 4 of the 7 planes that its metadata name: copy it again.')
    """
    counts = {"T": told.get("frames", 1), "Z": told.get("slices", 1), "C": told.get("channels", 1)}
    sizes = {letter: count for letter, count in counts.items() if isinstance(count, int) and count > 1}
    expected = 1
    for count in sizes.values():
        expected *= count
    letter = next(iter(sizes)) if len(sizes) == 1 else ""
    if expected <= there:
        return letter, ""
    return (
        letter,
        f'"{path.name}" contains {there} of the {expected} planes that its metadata name: copy it again.',
    )
