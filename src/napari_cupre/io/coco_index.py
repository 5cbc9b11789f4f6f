"""A lean index of a COCO-format JSON of any size.

The annotations of a big set take gigabytes as Python objects. Here the file is scanned once and a few arrays
keep what matters of each annotation. Its outline is read from the file again when it is painted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from napari_cupre.data.rle import LARGEST_IMAGE, RLE, paint, runs
from napari_cupre.errors import InputError
from napari_cupre.io.coco_file import listed, parse
from napari_cupre.io.coco_outlines import (
    Problem,
    area_of,
    is_within,
    mask_of,
    mask_size,
    problem_of,
    tidy_segmentation,
)
from napari_cupre.io.file_names import parts_of
from napari_cupre.words import counted, some_of

_DOCUMENT_KEYS = {"info", "licenses", "images", "annotations", "categories", "type"}
_ANNOTATION_KEYS = {
    "id",
    "image_id",
    "category_id",
    "segmentation",
    "area",
    "bbox",
    "iscrowd",
    "score",
    "label",
    "keypoints",
    "num_keypoints",
}

_NO_ANNOTATION = Problem(
    "annotation that is not a COCO annotation", "annotations that are not COCO annotations"
)
_NO_IMAGE = Problem("annotation of an image that is not listed", "annotations of images that are not listed")
_NO_CATEGORY = Problem(
    "annotation of a category that is not listed", "annotations of categories that are not listed"
)
_BAD_IMAGE = Problem(
    "image without id, file name or sensible size", "images without id, file name or sensible size"
)
_SHARED_ID = Problem("image with an id used before", "images with an id used before")
_OTHER_SIZE = Problem("image listed again with another size", "images listed again with another size")
_BAD_CATEGORY = Problem("category without id", "categories without id")
_NO_OUTLINE = Problem("image with boxes or crowds alone", "images with boxes or crowds alone")
_UNMARKED = Problem("image without annotation", "images without annotation")
_BOX = Problem("box without a mask", "boxes without masks")
_CROWD = Problem("crowd", "crowds")


class CocoImage(NamedTuple):
    """One entry of "images"; height and width are 0 where the file does not say them."""

    file_name: str
    height: int
    width: int

    @property
    def has_size(self) -> bool:
        """Whether its size is known without its file."""
        return self.height > 0


class Painted(NamedTuple):
    """The annotations of one image as a label image.

    Attributes
    ----------
    labels : numpy.ndarray
        int32 (Y, X), 0 = background; where instances overlap the smaller one is on top.
    known : numpy.ndarray
        bool (Y, X), False in crowd regions and in boxes without a mask.
    classes : dict[int, int]
        1-based class of each label, an index into the categories.
    hidden, outside : int
        How many instances are completely covered by others, and how many lie outside the image.
    boxes, crowds : int
        How many annotations only mark unknown area: boxes without a mask, and crowds.
    small : int
        How many instances lie in the image but cover no pixel.
    """

    labels: np.ndarray
    known: np.ndarray
    classes: dict[int, int]
    hidden: int = 0
    outside: int = 0
    boxes: int = 0
    crowds: int = 0
    small: int = 0


@dataclass
class _Columns:
    """What is kept of each annotation, one list per column."""

    image: list[int]
    start: list[int]
    end: list[int]
    category: list[int]
    unknown: list[bool]
    area: list[float]


class CocoIndex:
    """Images, categories and annotations of a COCO-format JSON.

    Parameters
    ----------
    path : str or Path
        The JSON file. "annotations" may be a list, or an object by id as in LIVECell's files.
    keep_empty : bool, optional
        Keep images without any annotation as images without cells. By default they are left out, since
        perhaps nobody has looked at them yet.

    Attributes
    ----------
    images : list[CocoImage]
        The images that have a usable annotation (all of them with `keep_empty`), in the order of the file.
    categories : tuple[str, ...]
        Names, by rising id; class 1 is the first.
    notices : list[str]
        What was left out and why, one sentence each.
    unmarked : int
        How many images were left out because nothing is annotated in them.

    Raises
    ------
    InputError
        No such file, no COCO JSON, or no usable annotation in it.
    """

    def __init__(self, path: str | Path, *, keep_empty: bool = False) -> None:
        self.path = Path(path)
        self.keep_empty = keep_empty
        self.problems: Counter[Problem] = Counter()
        self._unknown_areas: Counter[Problem] = Counter()
        self._repeated = 0
        self._unknown_keys: set[str] = set()
        self._spoilt: set[int] = set()
        document = parse(self.path)
        self._listed: list[CocoImage] = []
        images = self._index_images(document.get("images"))
        self._names = self._index_categories(document.get("categories"))
        rows = self._index_annotations(document["text"], document.get("annotations"), images)
        self._keep(set(images.values()), rows)
        self.notices = self._sentences(set(document) - {"text"} - _DOCUMENT_KEYS)
        if not self.images:
            raise InputError(f'"{self.path}" contains no usable annotation: {self._what_there_is()}.')

    @property
    def categories(self) -> tuple[str, ...]:
        """Return the names of the categories by rising id."""
        return tuple(self._names.values())

    def __len__(self) -> int:
        return len(self.images)

    # --- reading it again -----------------------------------------------------------------------------

    def paint(self, number: int, size: tuple[int, int] | None = None) -> Painted:
        """Paint the annotations of image `number`.

        Parameters
        ----------
        number : int
            Place in `images`.
        size : tuple[int, int] or None, optional
            Rows and columns of an image whose size the file does not say.

        Raises
        ------
        InputError
            A run-length mask that is corrupt or made for another size; no size at all.
        """
        image = self.images[number]
        shape = (image.height, image.width)
        if not image.has_size:
            if size is None:
                raise InputError(
                    f'"{self.path}" does not say the size of "{image.file_name}": give the image as well.'
                )
            shape = size
        first, last = self._bounds[number : number + 2]
        masks: list[RLE] = []
        blanks: list[RLE] = []
        classes: dict[int, int] = {}
        boxes, within = 0, list[int]()
        order = first + np.argsort(self._area[first:last], kind="stable")
        try:
            with self.path.open("rb") as stream:
                for row in order:
                    stream.seek(self._start[row])
                    annotation = json.loads(stream.read(self._end[row] - self._start[row]))
                    rle = mask_of(annotation, *shape, box=bool(self._unknown[row]))
                    if self._unknown[row]:
                        blanks.append(rle)
                        boxes += not tidy_segmentation(annotation.get("segmentation"))
                    else:
                        masks.append(rle)
                        within += [len(masks)] if is_within(annotation, *shape) else []
                        classes[len(masks)] = int(self._category[row])
            labels = paint(masks, shape)
            known = (paint(blanks, shape) == 0) | (labels > 0) if blanks else np.ones(shape, bool)
        except InputError as error:
            raise InputError(f'"{self.path}", image "{image.file_name}": {error}') from error
        visible = {
            int(label): classes[int(label)] for label in np.flatnonzero(np.bincount(labels.ravel())) if label
        }
        lost = [label for label in classes if label not in visible]
        empty = [label for label in lost if not len(runs(masks[label - 1])[0])]
        small = len(set(empty) & set(within))
        counts = (len(lost) - len(empty), len(empty) - small, boxes, len(blanks) - boxes, small)
        return Painted(labels, known, visible, *counts)

    # --- building it ----------------------------------------------------------------------------------

    def _index_images(self, entries: Any) -> dict[Any, int]:
        """Map each id to its image's number in `_listed`; several entries of one file are one image."""
        images: dict[Any, int] = {}
        by_file: dict[tuple[str, ...], int] = {}
        shared = set()
        for entry in _objects(entries, "images", self.path):
            try:
                image = CocoImage(str(entry["file_name"]), *_size_of(entry))
                file, identity = parts_of(image.file_name), _identity(entry["id"])
                if not isinstance(entry["file_name"], str) or not file:
                    raise ValueError
            except (KeyError, TypeError, ValueError, OverflowError):
                self.problems[_BAD_IMAGE] += 1
                continue
            number = by_file.setdefault(file, len(by_file))
            if number == len(self._listed):
                self._listed.append(image)
            elif not self._merge(number, image):
                self.problems[_OTHER_SIZE] += 1
                continue
            if images.setdefault(identity, number) != number:
                shared.add(identity)
        for identity in shared:  # nobody can tell whose annotations these are
            self.problems[_SHARED_ID] += 1
            del images[identity]
        return images

    def _merge(self, number: int, image: CocoImage) -> bool:
        """Merge another entry into an image; return False if it gives a different size."""
        known = self._listed[number]
        if known.has_size and image.has_size and known[1:] != image[1:]:
            return False
        self._repeated += 1
        if image.has_size:
            self._listed[number] = known._replace(height=image.height, width=image.width)
        return True

    def _index_categories(self, entries: Any) -> dict[Any, str]:
        """Return names by category id; empty if the file has none."""
        names = {}
        for entry in _objects(entries or [], "categories", self.path):
            try:
                names[_identity(entry["id"])] = str(entry.get("name", entry["id"]))
            except (KeyError, TypeError, ValueError):
                self.problems[_BAD_CATEGORY] += 1
        return dict(sorted(names.items(), key=lambda item: (isinstance(item[0], str), item[0])))

    def _index_annotations(self, text: str, spans: Any, images: dict[Any, int]) -> _Columns:
        rows = _Columns([], [], [], [], [], [])
        named = bool(self._names)
        numbers = {identity: number for number, identity in enumerate(self._names, start=1)}
        for annotation, start, end in spans if spans is not None else ():
            problem, unknown = self._judge(annotation, images, numbers if named else None)
            if problem:
                self.problems[problem] += 1
                if problem is not _NO_ANNOTATION and problem is not _NO_IMAGE:
                    self._spoilt.add(images[_identity(annotation["image_id"])])
                continue
            identity = _identity(annotation.get("category_id", 0))
            if not named and identity not in numbers:
                numbers[identity] = len(numbers) + 1
                self._names[identity] = "cell" if identity in (0, 1) else f"category {identity}"
            self._unknown_keys.update(annotation.keys() - _ANNOTATION_KEYS)
            rows.image.append(images[_identity(annotation["image_id"])])
            rows.start.append(start)
            rows.end.append(end)
            rows.category.append(numbers[identity])
            rows.unknown.append(unknown)
            if unknown:
                self._unknown_areas[
                    _CROWD if tidy_segmentation(annotation.get("segmentation")) else _BOX
                ] += 1
            rows.area.append(area_of(annotation))
        return rows

    def _judge(
        self, annotation: Any, images: dict[Any, int], numbers: dict[Any, int] | None
    ) -> tuple[Problem | None, bool]:
        """Say why an annotation cannot be used (None if it can), and whether it only marks unknown area."""
        if not isinstance(annotation, dict):
            return _NO_ANNOTATION, False
        try:
            image_id, category = _identity(annotation.get("image_id")), annotation.get("category_id", 0)
        except ValueError:
            return _NO_ANNOTATION, False
        if image_id not in images:
            return _NO_IMAGE, False
        try:
            if numbers is not None and _identity(category) not in numbers:
                return _NO_CATEGORY, False
            _identity(category)
        except ValueError:
            return _NO_CATEGORY, False
        image = self._sized(images[image_id], annotation)
        return problem_of(annotation, image.height, image.width)

    def _sized(self, number: int, annotation: dict[str, Any]) -> CocoImage:
        """Return an image, with the size of a run-length mask if its entry gives no size."""
        image = self._listed[number]
        if not image.has_size and (size := mask_size(annotation)) and size[0] * size[1] <= LARGEST_IMAGE:
            image = self._listed[number] = CocoImage(image.file_name, *size)
        return image

    def _keep(self, images: set[int], rows: _Columns) -> None:
        """Sort the annotations by image, and renumber the images that have any."""
        image = np.array(rows.image, np.int64)
        order = np.argsort(image, kind="stable")
        # Nothing can be learned from an image that is all unknown area.
        used = np.unique(image[~np.array(rows.unknown, bool)])
        if self.keep_empty:  # an image with annotations that cannot be used is not known to be empty
            spoilt = self._spoilt - set(used.tolist())
            used = np.array(sorted(images - spoilt), np.int64)
        order = order[np.isin(image[order], used)]
        self._start = np.array(rows.start, np.int64)[order]
        self._end = np.array(rows.end, np.int64)[order]
        self._category = np.array(rows.category, np.int32)[order]
        self._unknown = np.array(rows.unknown, bool)[order]
        self._area = np.array(rows.area, np.float32)[order]
        self._bounds = np.append(np.searchsorted(image[order], used), len(order))
        self.images = [self._listed[int(number)] for number in used]
        without = images - set(used.tolist())
        vague = without & set(rows.image)
        if vague and len(used):  # a file of boxes alone has its own sentence
            self.problems[_NO_OUTLINE] += len(vague)
        self.unmarked = len(without - vague)

    def _sentences(self, unknown_document_keys: set[str]) -> list[str]:
        """Say what is odd about the file; first what was left out, see `lost`."""
        unmarked = [f"Left out: {_count(_UNMARKED, self.unmarked)}."] if self.unmarked else []
        sentences = [*self.lost, *unmarked]
        if self._repeated:
            sentences.append(
                f"Entries with the same file are one image: {self._repeated} were merged into others."
            )
        keys = sorted(map(str, unknown_document_keys | self._unknown_keys))
        if keys:
            sentences.append(f"Unknown keys are ignored: {some_of(keys, 10)}.")
        return sentences

    @property
    def boxes(self) -> int:
        """Count the annotations that are boxes without a mask."""
        return self._unknown_areas[_BOX]

    @property
    def lost(self) -> list[str]:
        """Say which entries were left out and why, one sentence each."""
        return [f"Left out: {_count(problem, count)}." for problem, count in sorted(self.problems.items())]

    def _what_there_is(self) -> str:
        """Say what a file without usable annotations contains instead."""
        if not self.problems and set(self._unknown_areas) == {_BOX}:
            return f"{_BOX.many} alone ({self._unknown_areas[_BOX]}); export outlines or masks as well"
        counts = [*sorted(self.problems.items()), *self._unknown_areas.items()]
        if not counts:
            return "it lists none" + (f" for its {_count(_UNMARKED, self.unmarked)}" if self.unmarked else "")
        return ", ".join(_count(problem, count) for problem, count in counts) + "; export outlines or masks"


def _size_of(entry: dict[str, Any]) -> tuple[int, int]:
    """Return height and width of an entry of "images", both 0 where they are not given.

    Raises
    ------
    ValueError
        If they are not sizes.
    """
    said = [entry.get(side) for side in ("height", "width")]
    if any(side in (None, "", 0, "0") for side in said):
        return 0, 0
    height, width = (int(side) for side in said)  # type: ignore[arg-type]
    if min(height, width) < 1 or height * width > LARGEST_IMAGE:
        raise ValueError
    return height, width


def _count(problem: Problem, count: int) -> str:
    return counted(count, problem.one, problem.many)


def _objects(entries: Any, key: str, path: Path) -> Iterator[dict[str, Any]]:
    return (entry if isinstance(entry, dict) else {} for entry in listed(entries, key, path))


def _identity(value: Any) -> int | str:
    """Return an id as a whole number where possible: "7" and 7.0 are 7.

    Raises
    ------
    ValueError
        If it is not an id.
    """
    if isinstance(value, str):
        return int(value) if value.strip().isdecimal() else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int):
        raise ValueError("no id")
    return value
