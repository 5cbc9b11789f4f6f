"""Name and choose the images in one file: scenes, series, or fields of a plate."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from napari_cupre.errors import InputError
from napari_cupre.words import some_of

ALL = "all"
"""The value of `--series` for every image of a file, label and thumbnail included."""

_LONGEST_KEY = 60
_EXTRAS = re.compile(
    r"(.*[\s#_:|/-])?(thumbnail|thumb|label|macro|overview|preview|map|lsmreduced)"
    r"([\s_-]?image)?",
    re.IGNORECASE,
)
_EXTRA_SHARE = 1 / 16
"""If pictures of different sizes have no names, one below this share of the largest is a thumbnail."""


@dataclass(frozen=True)
class Scene:
    """One image of a file.

    Attributes
    ----------
    name : str
        Its name for `--series` and in the names of results, unique in the file.
    index : int
        Its number in the file, from 0 on; pyramid levels are not counted.
    axes : str
        The file's letters for its dimensions; "I" and "Q" are pages of unknown meaning.
    shape : tuple of int
        Lengths of these dimensions at the finest level.
    is_extra : bool
        A slide's label, thumbnail or overview, which is left out unless it is asked for.
    identity : tuple or None
        Identity of an image in several files, the same in each of them.
    """

    name: str
    index: int
    axes: str
    shape: tuple[int, ...]
    is_extra: bool = False
    identity: tuple[Any, ...] | None = None

    @property
    def pixels(self) -> int:
        """Return the number of values."""
        return math.prod(self.shape)


def name_scenes(found: Sequence[Scene]) -> list[Scene]:
    """Give each scene a unique name that can be part of a file name.

    Scenes without a name, or with the same name, are numbered. Labels, thumbnails and overviews are
    recognised by their names or, without names, by their size relative to the others.
    """
    keys = [_as_key(scene.name) for scene in found]
    largest = max((scene.pixels for scene in found), default=0)
    named = []
    for scene, key in zip(found, keys):
        is_small = scene.pixels < largest
        is_extra = scene.is_extra
        if is_small and scene.name:
            is_extra = is_extra or _EXTRAS.fullmatch(scene.name) is not None
        elif is_small and not any(keys):
            is_extra = is_extra or scene.pixels < _EXTRA_SHARE * largest
        unique = bool(key) and [each.lower() for each in keys].count(key.lower()) == 1
        named.append(replace(scene, name=key if unique else str(scene.index), is_extra=is_extra))
    return (
        named if any(not scene.is_extra for scene in named) else [replace(s, is_extra=False) for s in named]
    )


def _as_key(name: str) -> str:
    key = re.sub(r"[^\w.+ #-]+", "_", name).strip(" ._")
    return key[:_LONGEST_KEY].rstrip(" ._")


def choose_scenes(scenes: Sequence[Scene], series: str | int | None, called: str) -> list[Scene]:
    """Choose the scenes that a user wants.

    Parameters
    ----------
    scenes : Sequence[Scene]
        All scenes of one file.
    series : str or int or None
        A name, a number from 0 on, "all", or None for all but labels, thumbnails and overviews.
    called : str
        What messages call the file.

    Raises
    ------
    InputError
        If there is no such scene; the message names those that there are.
    """
    if series is None:
        return [scene for scene in scenes if not scene.is_extra]
    text = str(series).strip()
    if text.lower() == ALL:
        return list(scenes)
    key = _as_key(text)  # "Pos/2", as the microscope names it
    matches = [scene for scene in scenes if scene.name in (text, key)] or [
        scene
        for scene in scenes
        if scene.name.lower() in (text.lower(), key.lower()) or str(scene.index) == text
    ]
    if not matches:
        raise InputError(f'"{called}" has no image called "{text}": choose from {list_names(scenes)}.')
    return matches[:1]


def list_names(scenes: Sequence[Scene]) -> str:
    """Return the names of scenes for a message."""
    return some_of([scene.name for scene in scenes], 8)


def what_is_left(scenes: Sequence[Scene], read: Scene, called: str) -> list[str]:
    """Return sentences about what else a file contains besides the scene that is read."""
    main = [scene for scene in scenes if not scene.is_extra]
    extras = [scene for scene in scenes if scene.is_extra and scene != read]
    notices = []
    if len(main) > 1:
        notices.append(
            f'"{called}" contains {len(main)} images ({list_names(main)}); {read.name} is read: choose '
            f"another with --series."
        )
    if extras:
        sizes = [f"{scene.name} ({' x '.join(map(str, scene.shape))})" for scene in extras[:4]]
        notices.append(
            f'"{called}" also contains smaller images, which are left out: {", ".join(sizes)}; '
            f"--series reads them."
        )
    return notices
