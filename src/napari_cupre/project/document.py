"""The content of `project.json`, checked when it is read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from napari_cupre.errors import InputError
from napari_cupre.project.cells import Region

FORMAT = 1
DOCUMENT = "project.json"


@dataclass
class ProjectImage:
    """One image of a project: a file, or a plane or field of one.

    Attributes
    ----------
    stem : str
        Unique name of its files in the project.
    path : str
        The image file, relative to the project, with "/".
    content : str
        Its fingerprint, see `identity.fingerprint`.
    shape : tuple[int, ...]
        Shape of the label image: rows and columns, planes in front.
    axes : str
        Letters that override those of the file; "" for the file's own.
    series : str or int or None
        Scene of a file with several; None for the first.
    channels : tuple[int, ...] or None
        Up to three channels to use; None for the first three.
    plane : dict[str, int]
        Position on T and Z if the entry is one plane of a stack.
    field : tuple[int, int, int, int] or None
        (y0, x0, y1, x1) if the entry is a part of a slide.
    regions : tuple[Region, ...]
        Where every cell is annotated, see `cells.Region`; cells in memory have their own, newer regions.
    certainty : float
        Guesses with a lower score are hidden.
    seen : bool
        Whether a person has looked at it.
    held : str or None
        The part that judges and is never learned from: "" for nothing, "all", or "axis:from" for a strip,
        such as "1:400" for columns from 400 on; None until decided.
    answered : tuple[str, ...]
        Keys of questions that were answered with "leave it".
    """

    stem: str
    path: str
    content: str
    shape: tuple[int, ...]
    axes: str = ""
    series: str | int | None = None
    channels: tuple[int, ...] | None = None
    plane: dict[str, int] = field(default_factory=dict)
    field: tuple[int, int, int, int] | None = None
    regions: tuple[Region, ...] = ()
    certainty: float = 0.0
    seen: bool = False
    held: str | None = None
    answered: tuple[str, ...] = ()

    @property
    def place(self) -> tuple[Any, ...]:
        """Return what identifies an image: content, scene, plane and field."""
        return self.content, self.series, tuple(sorted(self.plane.items())), self.field


@dataclass(frozen=True)
class Round:
    """One training of the project.

    Attributes
    ----------
    number : int
        1 for v1, ...; never used again.
    model : str
        File relative to the project.
    parent : str
        The model it started from: "v2" for a round, else its name, or its file if it is called like a round.
    annotation : str
        Hash of the annotation it learned from, see `rounds.annotation_hash`.
    cells, images, regions : int
        Amount of that annotation.
    time : str
        When it ended, UTC.
    verdict : dict[str, Any]
        Figures and words of the verdict.
    """

    number: int
    model: str
    parent: str
    annotation: str
    cells: int
    images: int
    regions: int
    time: str
    verdict: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the user's name for it: "v3"."""
        return f"v{self.number}"

    @property
    def parent_title(self) -> str:
        """Return the user's name for the model it started from."""
        file = Path(self.parent.replace("\\", "/"))
        return f"{file.stem} (not a round)" if file.suffix == ".safetensors" else self.parent


@dataclass
class Document:
    """The whole content of `project.json`.

    Attributes
    ----------
    id : str
        Identifies the project, regardless of its name.
    classes : tuple[str, ...]
        Names of the classes of cells.
    images : list[ProjectImage]
        In the order of the queue.
    rounds : list[Round]
        In order; deleted ones are not listed.
    next_round : int
        Number of the next one.
    best : int or None
        Number of the round that the next one starts from; None for none.
    others : dict[str, Any]
        Additional content written by a newer version; kept unchanged.
    """

    id: str
    classes: tuple[str, ...] = ("cell",)
    images: list[ProjectImage] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    next_round: int = 1
    best: int | None = None
    others: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """The document as JSON."""
        values = asdict(self)
        others = values.pop("others")
        return json.dumps({"format": FORMAT, **values, **others}, indent=1, ensure_ascii=False) + "\n"


def read_document(path: Path) -> Document:
    """Read a project's document.

    Raises
    ------
    InputError
        No such file, half-written or damaged, or of a newer format.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(
            f'"{path.parent}" is not a project, it has no {DOCUMENT}: choose a NAME.cupre folder.'
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    if isinstance(values, dict) and values.get("format") not in (FORMAT, None):
        raise InputError(
            f'"{path}" has format {values["format"]}, this version reads {FORMAT}: update napari-cupre.'
        )
    try:
        return _document(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f'"{path}" is damaged ({type(error).__name__}: {error}): repair it or copy it again; '
        f"the cells beside it are intact."
    )


def _document(values: dict[str, Any]) -> Document:
    known = {"format", "id", "classes", "images", "rounds", "next_round", "best"}
    images = [_image(each) for each in values["images"]]
    stems = [each.stem.casefold() for each in images]
    if len(set(stems)) < len(stems):
        raise ValueError("two images have the same stem")
    rounds = [Round(**{**each, "number": int(each["number"])}) for each in values.get("rounds", [])]
    return Document(
        id=str(values["id"]),
        classes=tuple(map(str, values.get("classes", ["cell"]))),
        images=images,
        rounds=rounds,
        next_round=max([int(values.get("next_round", 1)), *(each.number + 1 for each in rounds)]),
        best=values.get("best"),
        others={key: value for key, value in values.items() if key not in known},
    )


def _image(values: dict[str, Any]) -> ProjectImage:
    entry = dict(values)
    stem = str(entry["stem"])
    if not stem or Path(stem).name != stem or "\\" in stem:  # must not write outside the project
        raise ValueError(f"{stem!r} is not a file name")
    entry["shape"] = tuple(int(size) for size in entry["shape"])
    for name in ("channels", "field"):
        entry[name] = None if entry.get(name) is None else tuple(int(each) for each in entry[name])
    entry["plane"] = {str(axis): int(at) for axis, at in entry.get("plane", {}).items()}
    entry["regions"] = tuple(
        tuple(tuple(float(value) for value in corner) for corner in region)
        for region in entry.get("regions", [])
    )
    entry["certainty"] = float(entry.get("certainty", 0.0))
    entry["answered"] = tuple(map(str, entry.get("answered", [])))
    return ProjectImage(**entry)
