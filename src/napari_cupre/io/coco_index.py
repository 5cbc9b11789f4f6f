"""A lean index of a COCO-format JSON of any size.

The annotations of a big set take gigabytes as Python objects. Here the file is scanned once, what each
annotation is goes into a few arrays, and its outline is read again from its place in the file when it
is painted.
"""

from __future__ import annotations

import json
import math
import mmap
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from napari_cupre.data.rle import LARGEST_IMAGE, RLE, paint
from napari_cupre.errors import InputError, reason_of

_BLANKS = re.compile(r"[ \t\n\r]*")
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


class CocoImage(NamedTuple):
    """One entry of "images"."""

    file_name: str
    height: int
    width: int


class Painted(NamedTuple):
    """The annotations of one image as a label image.

    Attributes
    ----------
    labels : int32 (Y, X), 0 = background; where instances overlap the smaller one is on top.
    known : bool (Y, X), False in crowd regions and in boxes without a mask.
    classes : 1-based class of each label, an index into the categories.
    """

    labels: np.ndarray
    known: np.ndarray
    classes: dict[int, int]


@dataclass
class _Rows:
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
    path : the JSON file. "annotations" may be a list, or an object by id as in LIVECell's files.
    keep_empty : keep the images without any annotation, too: nothing is on them. By default they are left
        out, since nobody may have looked at them yet.

    Attributes
    ----------
    images : the images that have a usable annotation (all of them with `keep_empty`), in the order of the
        file.
    categories : names, by rising id; class 1 is the first.
    notices : what was left out and why, one sentence each.

    Raises
    ------
    InputError : no such file, no COCO JSON, or no usable annotation in it.
    """

    def __init__(self, path: str | Path, *, keep_empty: bool = False) -> None:
        self.path = Path(path)
        self.keep_empty = keep_empty
        self.problems: Counter[str] = Counter()
        self._unknown_keys: set[str] = set()
        document = _parse(self.path)
        images = self._index_images(document.get("images"))
        self._names = self._index_categories(document.get("categories"))
        rows = self._index_annotations(document["text"], document.get("annotations"), images)
        self._keep(list(images.values()), rows)
        self.notices = self._sentences(set(document) - {"text"} - _DOCUMENT_KEYS)
        if not self.images:
            found = " ".join(self.notices) or "It lists no annotation."
            raise InputError(f'"{self.path}" holds no usable annotation: {found.rstrip(".")}.')

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories by rising id."""
        return tuple(self._names.values())

    def __len__(self) -> int:
        return len(self.images)

    # --- reading it again -----------------------------------------------------------------------------

    def paint(self, number: int) -> Painted:
        """Paint the annotations of image `number`.

        Raises
        ------
        InputError : a run-length mask that is corrupt or made for another size.
        """
        image = self.images[number]
        shape = (image.height, image.width)
        first, last = self._bounds[number : number + 2]
        masks: list[RLE] = []
        blanks: list[RLE] = []
        classes: dict[int, int] = {}
        order = first + np.argsort(self._area[first:last], kind="stable")
        with self.path.open("rb") as stream:
            for row in order:
                stream.seek(self._start[row])
                annotation = json.loads(stream.read(self._end[row] - self._start[row]))
                rle = _outline(annotation, *shape, box=bool(self._unknown[row]))
                if self._unknown[row]:
                    blanks.append(rle)
                else:
                    masks.append(rle)
                    classes[len(masks)] = int(self._category[row])
        try:
            labels = paint(masks, shape)
            known = (paint(blanks, shape) == 0) | (labels > 0) if blanks else np.ones(shape, bool)
        except InputError as error:
            raise InputError(f'"{self.path}", image "{image.file_name}": {error}') from error
        visible = np.flatnonzero(np.bincount(labels.ravel()))
        return Painted(labels, known, {int(label): classes[int(label)] for label in visible if label})

    # --- building it ----------------------------------------------------------------------------------

    def _index_images(self, entries: Any) -> dict[Any, tuple[int, CocoImage]]:
        """Images by id, with their number."""
        images: dict[Any, tuple[int, CocoImage]] = {}
        for entry in _objects(entries, "images", self.path):
            try:
                image = CocoImage(_text(entry["file_name"]), int(entry["height"]), int(entry["width"]))
                if image.height < 1 or image.width < 1 or image.height * image.width > LARGEST_IMAGE:
                    raise ValueError
                images[entry["id"]] = (len(images), image)
            except (KeyError, TypeError, ValueError, OverflowError):
                self.problems["images without id, file name or sensible size"] += 1
        return images

    def _index_categories(self, entries: Any) -> dict[Any, str]:
        """Names by category id; empty if the file names none."""
        names = {}
        for entry in _objects(entries or [], "categories", self.path):
            try:
                names[int(entry["id"])] = _text(entry.get("name", entry["id"]))
            except (KeyError, TypeError, ValueError):
                self.problems["categories without id"] += 1
        return dict(sorted(names.items()))

    def _index_annotations(self, text: str, spans: Any, images: dict[Any, tuple[int, CocoImage]]) -> _Rows:
        rows = _Rows([], [], [], [], [], [])
        named = bool(self._names)
        numbers = {identity: number for number, identity in enumerate(self._names, start=1)}
        for annotation, start, end in spans if spans is not None else ():
            problem, unknown = self._judge(annotation, images, numbers if named else None)
            if problem:
                self.problems[problem] += 1
                continue
            identity = annotation.get("category_id", 0)
            if not named and identity not in numbers:
                numbers[identity] = len(numbers) + 1
                self._names[identity] = "cell" if identity in (0, 1) else f"category {identity}"
            self._unknown_keys.update(annotation.keys() - _ANNOTATION_KEYS)
            rows.image.append(images[annotation["image_id"]][0])
            rows.start.append(start)
            rows.end.append(end)
            rows.category.append(numbers[identity])
            rows.unknown.append(unknown)
            rows.area.append(_area(annotation))
        return rows

    def _judge(
        self, annotation: Any, images: dict[Any, tuple[int, CocoImage]], numbers: dict[Any, int] | None
    ) -> tuple[str, bool]:
        """Why an annotation cannot be used ("" if it can), and whether it only marks an unknown area."""
        if not isinstance(annotation, dict) or not _hashable(annotation.get("image_id")):
            return "annotations that are no COCO annotation", False
        if annotation.get("image_id") not in images:
            return "annotations of images that are not listed", False
        category = annotation.get("category_id", 0)
        if not _hashable(category) or (numbers is not None and category not in numbers):
            return "annotations of categories that are not listed", False
        segmentation = annotation.get("segmentation")
        if not segmentation:
            if _polygon_of_box(annotation.get("bbox")) is None:
                return "annotations without mask", False
            return "", True
        if isinstance(segmentation, dict):
            _, image = images[annotation["image_id"]]
            fits = segmentation.get("size") == [image.height, image.width] and segmentation.get("counts")
            return ("" if fits else "run-length masks that do not fit their image"), _is_crowd(annotation)
        if not isinstance(segmentation, list) or not any(_is_polygon(part) for part in segmentation):
            return "polygons of under three points or without area", False
        return "", _is_crowd(annotation)

    def _keep(self, images: list[tuple[int, CocoImage]], rows: _Rows) -> None:
        """Sort the annotations by image and number the images that have one anew."""
        image = np.array(rows.image, np.int64)
        order = np.argsort(image, kind="stable")
        # An image with nothing but unknown area has nothing to teach.
        used = np.unique(image[~np.array(rows.unknown, bool)])
        if self.keep_empty:
            used = np.arange(len(images))
        order = order[np.isin(image[order], used)]
        self._start = np.array(rows.start, np.int64)[order]
        self._end = np.array(rows.end, np.int64)[order]
        self._category = np.array(rows.category, np.int32)[order]
        self._unknown = np.array(rows.unknown, bool)[order]
        self._area = np.array(rows.area, np.float32)[order]
        self._bounds = np.append(np.searchsorted(image[order], used), len(order))
        self.images = [images[number][1] for number in used]
        if len(images) > len(used):
            self.problems["images without annotation"] += len(images) - len(used)

    def _sentences(self, unknown_document_keys: set[str]) -> list[str]:
        sentences = [f"Left out: {count} {problem}." for problem, count in sorted(self.problems.items())]
        keys = sorted(map(str, unknown_document_keys | self._unknown_keys))
        if keys:
            sentences.append(f"Unknown keys are ignored: {', '.join(keys[:10])}.")
        return sentences


# --- the file -----------------------------------------------------------------------------------------


def _parse(path: Path) -> dict[str, Any]:
    """The document, but "annotations" as an iterator of (annotation, start, end) and its "text" beside it."""
    try:
        # One byte is one character, so that places in the text are places in the file; `_text` mends names.
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            text = str(content, "latin-1")
    except ValueError as error:  # what mmap says of an empty file
        raise InputError(f'"{path}" is empty (0 bytes): copy it anew.') from error
    except OSError as error:
        raise InputError(f'"{path}" cannot be read ({reason_of(error)}).') from error
    document: dict[str, Any] = {"text": text}
    decoder = json.JSONDecoder()
    try:
        place = _expect(text, 0, "{")
        while text[place] != "}":
            key, place = decoder.raw_decode(text, place)
            place = _expect(text, place, ":")
            if key == "annotations":
                document[key], place = _spans(text, place, decoder)
            else:
                document[key], place = decoder.raw_decode(text, place)
            place = _skip(text, place)
            if text[place] == ",":
                place = _skip(text, place + 1)
    except (ValueError, IndexError, TypeError, RecursionError) as error:
        raise InputError(f'"{path}" is no COCO JSON, or a truncated one: give another file.') from error
    if "images" not in document or "annotations" not in document:
        raise InputError(f'"{path}" is no COCO JSON: it has no "images" or no "annotations".')
    return document


def _spans(text: str, place: int, decoder: json.JSONDecoder) -> tuple[Iterator[tuple[Any, int, int]], int]:
    """Where the elements of the list or object at `place` lie, as an iterator that parses them; its end."""
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
    return ((json.loads(text[a:b]), a, b) for a, b in zip(starts, ends)), place + 1


def _expect(text: str, place: int, character: str) -> int:
    """The place behind `character` and the blanks around it."""
    place = _skip(text, place)
    if text[place] != character:
        raise ValueError(f"{character} expected")
    return _skip(text, place + 1)


def _skip(text: str, place: int) -> int:
    match = _BLANKS.match(text, place)
    return match.end() if match else place


def _objects(entries: Any, key: str, path: Path) -> Iterator[dict[str, Any]]:
    if isinstance(entries, dict):
        entries = list(entries.values())
    if not isinstance(entries, list):
        raise InputError(f'"{path}" is no COCO JSON: its "{key}" is no list.')
    return (entry if isinstance(entry, dict) else {} for entry in entries)


def _text(value: Any) -> str:
    """A name that was read as Latin-1 as the UTF-8 that it is."""
    return str(value).encode("latin-1", "replace").decode("utf-8", "replace")


def _hashable(value: Any) -> bool:
    return isinstance(value, int | str)


# --- outlines -----------------------------------------------------------------------------------------


def _is_crowd(annotation: dict[str, Any]) -> bool:
    return bool(annotation.get("iscrowd"))


def _is_polygon(points: Any) -> bool:
    """Whether a flat list of x, y has three points and spans an area."""
    if not isinstance(points, list) or len(points) < 6 or len(points) % 2:
        return False
    try:
        spans = [max(points[axis::2]) - min(points[axis::2]) for axis in (0, 1)]
        return all(math.isfinite(span) and span > 0 for span in spans) and math.isfinite(sum(points))
    except (TypeError, OverflowError):
        return False


def _polygon_of_box(box: Any) -> list[float] | None:
    """Corners of a COCO box [x, y, width, height], None if it is none."""
    try:
        x, y, width, height = (float(side) for side in box)
    except (TypeError, ValueError):
        return None
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return corners if _is_polygon(corners) else None


def _area(annotation: dict[str, Any]) -> float:
    """Size by which instances are stacked; exact areas matter little for that."""
    for size in (annotation.get("area"), _box_area(annotation)):
        if isinstance(size, int | float) and math.isfinite(size) and size > 0:
            return float(size)
    parts = annotation.get("segmentation")
    return sum(_span(part) for part in _polygons(parts)) if isinstance(parts, list) else 0.0


def _span(polygon: list[float]) -> float:
    """Area of a polygon's bounding box."""
    height, width = (max(polygon[axis::2]) - min(polygon[axis::2]) for axis in (1, 0))
    return float(height * width)


def _box_area(annotation: dict[str, Any]) -> float | None:
    corners = _polygon_of_box(annotation.get("bbox"))
    return None if corners is None else (corners[2] - corners[0]) * (corners[5] - corners[1])


def _polygons(segmentation: list[Any]) -> list[list[float]]:
    return [part for part in segmentation if _is_polygon(part)]


def _outline(annotation: dict[str, Any], height: int, width: int, *, box: bool) -> RLE:
    """The mask of an annotation, or of its box if that is all it has and `box` allows it."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        return segmentation
    polygons = _polygons(segmentation) if segmentation else []
    if not polygons and box:
        polygons = [_polygon_of_box(annotation.get("bbox")) or []]
    # Far-off corners would make pycocotools trace, and hold, the whole way there.
    reach = 2 * max(height, width)
    clipped = [np.clip(polygon, -reach, reach).tolist() for polygon in polygons]
    return coco_mask.merge(coco_mask.frPyObjects(clipped, height, width))
