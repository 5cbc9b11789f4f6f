"""Names of image files as other programs write them into their documents."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Generic, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from napari_cupre.io.files import image_stem

_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_DRIVE = re.compile(r"^[a-z]:", re.IGNORECASE)
_UNSAFE = re.compile(r'[<>:"|?*\x00-\x1f]')


def parts_of(name: str) -> tuple[str, ...]:
    r"""Split a name into folders and file; it may be a path of any system or a URL.

    Drives and parts that lead upwards ("..") are left out, so that the result always lies below one folder.

    Examples
    --------
    >>> parts_of("..\\images\\p.png")
    ('images', 'p.png')
    >>> parts_of("https://host/set%201/p.png?size=2")
    ('host', 'set 1', 'p.png')
    """
    name = name.strip()
    if _SCHEME.match(name):
        url = urlsplit(name)
        name = f"{url.netloc}/{unquote(_file_in(url.query) or url.path)}"
    elif "?d=" in name:  # Label Studio's local files
        name = unquote(_file_in(name.partition("?")[2]) or name)
    name = unicodedata.normalize("NFC", _DRIVE.sub("", name.replace("\\", "/")))
    return tuple(part for part in PurePosixPath(name).parts if part not in ("/", ".", "..") and part.strip())


def _file_in(query: str) -> str:
    """Return the file that a URL's query names, "" if there is none."""
    return parse_qs(query).get("d", [""])[0]


Thing = TypeVar("Thing")


class NameTable(Generic[Thing]):
    """Look up things by name; capital letters matter only where names differ in nothing else.

    Examples
    --------
    >>> NameTable({"A1.tif": 1, "a2.tif": 2, "A2.tif": 3}).get("a1.TIF")
    1
    """

    def __init__(self, things: Mapping[str, Thing]) -> None:
        self._things = {unicodedata.normalize("NFC", name): thing for name, thing in things.items()}
        self._folded: dict[str, list[Thing]] = {}
        for name, thing in self._things.items():
            self._folded.setdefault(name.casefold(), []).append(thing)

    def get(self, name: str) -> Thing | None:
        """Return the thing of this name, or the only one whose name differs just in capital letters."""
        name = unicodedata.normalize("NFC", name)
        if name in self._things:
            return self._things[name]
        alike = self._folded.get(name.casefold(), [])
        return alike[0] if len(alike) == 1 else None


def safe_part(part: str) -> str:
    """Remove from a part of a name whatever some system does not allow."""
    return _UNSAFE.sub("_", part).rstrip(". ") or "_"


def unique_stems(names: Sequence[str]) -> list[str]:
    """Return a unique stem for every file: the stem, with parent folders in front where stems repeat.

    Examples
    --------
    >>> unique_stems(["set/plate1/a.png", "set/plate2/a.png", "set/plate1/b.png"])
    ['plate1/a', 'plate2/a', 'b']
    """
    all_parts = [_stem_parts(name) for name in names]
    depths = [1] * len(names)
    while True:
        stems = ["/".join(parts[-depth:]) for parts, depth in zip(all_parts, depths)]
        counts = Counter(stem.casefold() for stem in stems)
        longer = [
            number
            for number, stem in enumerate(stems)
            if counts[stem.casefold()] > 1 and depths[number] < len(all_parts[number])
        ]
        if not longer:
            return stems
        for number in longer:
            depths[number] += 1


def _stem_parts(name: str) -> tuple[str, ...]:
    parts = [safe_part(part) for part in parts_of(name)] or ["_"]
    return (*parts[:-1], image_stem(parts[-1]) or parts[-1])
