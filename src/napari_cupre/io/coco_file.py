"""Read COCO-format JSON: whole, or with its annotations left in the file.

Reading a large set whole takes gigabytes, since every number of every outline becomes a Python object.
`parse` keeps only the place of each annotation in the file.
"""

from __future__ import annotations

import codecs
import json
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from napari_cupre.errors import InputError, reason_of

_BLANKS = re.compile(r"[ \t\n\r]*")
_BOM = str(codecs.BOM_UTF8, "latin-1")


def read_whole(path: Path) -> Any:
    """Read a whole document or list of results.

    Raises
    ------
    InputError
        If the file cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read as COCO JSON ({reason_of(error)}); check the file."
        ) from error


def listed(entries: Any, key: str, path: str | Path = "The document") -> list[Any]:
    """Return "images", "annotations" or "categories" as a list; LIVECell stores them as objects by id.

    Raises
    ------
    InputError
        If they are neither a list nor an object.
    """
    if isinstance(entries, dict):
        return list(entries.values())
    if not isinstance(entries, list):
        name = path if isinstance(path, str) else f'"{path}"'
        raise InputError(f'{name} is not COCO JSON: its "{key}" is not a list.')
    return entries


def parse(path: Path) -> dict[str, Any]:
    """Parse a document; "annotations" becomes an iterator of (annotation, start, end), "text" its text."""
    try:
        # Each byte becomes one character, so that positions in the text are positions in the file; see
        # `_value`.
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise InputError(f'"{path}" is written in UTF-16: save it as UTF-8.')
            text = str(content, "latin-1")
    except ValueError as error:  # mmap raises it for an empty file
        raise InputError(f'"{path}" is empty (0 bytes): copy it again.') from error
    except OSError as error:
        raise InputError(f'"{path}" cannot be read ({error.strerror}): check the path.') from error
    document: dict[str, Any] = {"text": text}
    decoder = json.JSONDecoder()
    try:
        place = _expect(text, len(_BOM) if text.startswith(_BOM) else 0, "{")
        while text[place] != "}":
            key, place = decoder.raw_decode(text, place)
            place = _expect(text, place, ":")
            if key == "annotations":
                document[key], place = _spans(text, place, decoder)
            else:
                _, end = decoder.raw_decode(text, place)
                document[key], place = _value(text, place, end), end
            place = _skip(text, place)
            if text[place] == ",":
                place = _skip(text, place + 1)
    except (ValueError, IndexError, TypeError, RecursionError) as error:
        raise InputError(f'"{path}" is not COCO JSON, or it is truncated: give another file.') from error
    if "images" not in document or "annotations" not in document:
        known, lacking = ("annotations", "images") if "annotations" in document else ("images", "annotations")
        if known not in document:
            raise InputError(f'"{path}" is not COCO JSON: it has no "images" and no "annotations".')
        raise InputError(
            f'"{path}" is not complete COCO JSON: it has "{known}" but no "{lacking}"; export both.'
        )
    return document


def _spans(text: str, place: int, decoder: json.JSONDecoder) -> tuple[Iterator[tuple[Any, int, int]], int]:
    """Return an iterator that parses the elements of the list or object at `place`, and the end of it."""
    starts, ends = [], []
    by_id = text[place] == "{"
    place = _expect(text, place, "{" if by_id else "[")
    while text[place] != ("}" if by_id else "]"):
        if by_id:
            _, place = decoder.raw_decode(text, place)
            place = _expect(text, place, ":")
        starts.append(place)
        _, place = decoder.raw_decode(text, place)
        ends.append(place)
        place = _skip(text, place)
        if text[place] == ",":
            place = _skip(text, place + 1)
    return ((_value(text, a, b), a, b) for a, b in zip(starts, ends)), place + 1


def _value(text: str, start: int, end: int) -> Any:
    """Parse the value at a place of a text whose characters are the bytes of UTF-8."""
    part = text[start:end]
    return json.loads(part if part.isascii() else part.encode("latin-1").decode("utf-8", "replace"))


def _expect(text: str, place: int, character: str) -> int:
    """Return the place behind `character` and the blanks around it."""
    place = _skip(text, place)
    if text[place] != character:
        raise ValueError(f"{character} expected")
    return _skip(text, place + 1)


def _skip(text: str, place: int) -> int:
    match = _BLANKS.match(text, place)
    return match.end() if match else place
