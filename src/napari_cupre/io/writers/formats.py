"""The formats that results are written in, found by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_cupre.errors import InputError
from napari_cupre.io.writers.output_cells import OutputCells

Writer = Callable[[OutputCells, Path], None]


@dataclass(frozen=True)
class Format:
    """A way to write the cells of an image, completely or not at all.

    The file's name is the image's stem and `ending`; `title` is the line for menus and help.
    """

    name: str
    ending: str
    title: str
    write: Writer


FORMATS: dict[str, Format] = {}
"""All formats by name, in the order of registration."""


def register_format(name: str, ending: str, title: str) -> Callable[[Writer], Writer]:
    """Register a function (cells, path) as the writer of a format.

    It writes a complete file or none, and raises `EnvironmentFault` on a full or read-only disk.
    """

    def register(write: Writer) -> Writer:
        FORMATS[name] = Format(name, ending, title, write)
        return write

    return register


def choose_formats(names: str | Sequence[str]) -> list[Format]:
    """Return formats by name, given as a list or as "tif,roi".

    Raises
    ------
    InputError
        If a name is unknown or none is given.
    """
    wanted = names.split(",") if isinstance(names, str) else list(names)
    wanted = [name.strip().lower() for name in wanted if name.strip()]
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown or not wanted:
        given = f'"{unknown[0]}"' if unknown else "none"
        raise InputError(f"the output format {given} cannot be written; choose from {', '.join(FORMATS)}.")
    return [FORMATS[name] for name in dict.fromkeys(wanted)]
