"""Write cells as COCO JSON: run-length masks that may overlap, boxes and scores, of one or many images."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from napari_cupre.data.rle import area
from napari_cupre.errors import InputError, writing
from napari_cupre.io.coco_file import read_whole
from napari_cupre.io.files import atomic_write, split_scene
from napari_cupre.io.ownership import owned_write
from napari_cupre.io.writers.formats import register_format
from napari_cupre.io.writers.output_cells import PARTIAL, MaskedCell, OutputCells, PlaneCells

Record = dict[str, Any]
"""One plane's image entry and its annotations, without ids."""


@register_format("coco", ".json", "COCO JSON with overlapping masks and scores")
def write_coco(cells: OutputCells, path: Path) -> None:
    """Write one image as a COCO document; see `CocoWriter` for many."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        _write_document(stream, coco_records(cells), cells.class_names)


def journal_of(path: Path) -> Path:
    """Return the file in which a `CocoWriter` keeps records that are not in its document yet."""
    return path.with_name(f".{path.name}.journal")


class CocoWriter:
    """One COCO document for many images, for runs that may be stopped at any time.

    Each image is added to a journal beside the document as soon as it is done. `close` writes the complete
    document and removes the journal. The next run takes over the journal of a killed run, and the images of
    an existing document. An image that is added again replaces its older entry.

    Parameters
    ----------
    path : str or os.PathLike[str]
        The document, e.g. "predictions.json".
    class_names : Sequence[str], optional
        Name of class 1, 2, ...

    Raises
    ------
    InputError
        A file with that name exists and is not a COCO document.
    """

    def __init__(self, path: str | os.PathLike[str], class_names: Sequence[str] = ("cell",)) -> None:
        self.path = Path(path)
        self.class_names = tuple(class_names)
        self.journal = journal_of(self.path)
        self._older = list(_read_document(self.path))
        with writing(self.journal):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._stream: TextIO = self.journal.open("a", encoding="utf-8")

    def add(self, cells: OutputCells) -> None:
        """Add the planes of one image; they are written when this returns.

        Raises
        ------
        EnvironmentFault
            Full disk.
        """
        self.add_records(coco_records(cells))

    def add_records(self, records: Iterable[Record]) -> None:
        """Add records that `coco_records` made in another process, like `add`."""
        # The leading line break ends a line that a killed run left unfinished.
        lines = "".join("\n" + json.dumps(record) for record in records)
        with writing(self.journal):
            self._stream.write(lines + "\n")
            self._stream.flush()

    def close(self) -> None:
        """Write the document.

        Raises
        ------
        EnvironmentFault
            Full or read-only disk; the journal is kept.
        """
        self._stream.close()
        latest: dict[str, Record | int] = {record["image"]["file_name"]: record for record in self._older}
        latest.update((name, place) for place, name in self._journalled())
        with owned_write(self.path) as temporary, temporary.open("w", encoding="utf-8") as stream:
            _write_document(stream, self._in_order(latest), self.class_names)
        self.journal.unlink()

    def __enter__(self) -> CocoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _journalled(self) -> Iterator[tuple[int, str]]:
        """Yield the place in the journal and the name of every plane in it."""
        with self.journal.open("rb") as stream:
            place = 0
            for line in stream:
                record = _parsed(line)
                if record is not None:
                    yield place, record["image"]["file_name"]
                place += len(line)

    def _in_order(self, latest: dict[str, Record | int]) -> Iterator[Record]:
        """Yield the records; the journal is read one by one, since a screen does not fit into memory."""
        with self.journal.open("rb") as stream:
            for entry in latest.values():
                if isinstance(entry, int):
                    stream.seek(entry)
                    entry = json.loads(stream.readline())
                yield entry


def coco_records(cells: OutputCells) -> Iterator[Record]:
    """Yield one record of plain values per plane of an image."""
    for plane in cells.planes:
        image = {"file_name": _file_name(cells, plane), **_size(plane)}
        image |= {axis.lower(): position for axis, position in plane.index.items()}
        image |= {"note": PARTIAL} if cells.is_partial else {}
        yield {"image": image, "annotations": [_annotation(cell) for cell in plane.masked()]}


def _file_name(cells: OutputCells, plane: PlaneCells) -> str:
    """Return the name of the image; with several planes, the plane's place comes before the suffix."""
    source = cells.image.path if cells.image is not None else None
    suffix = split_scene(source)[0].suffix if source is not None else ""
    place = "".join(f"_{axis.lower()}{position:04d}" for axis, position in plane.index.items())
    return f"{cells.name}{place}{suffix}"


def _size(plane: PlaneCells) -> dict[str, int]:
    return {"height": plane.labels.shape[0], "width": plane.labels.shape[1]}


def _annotation(cell: MaskedCell) -> dict[str, Any]:
    x1, y1, x2, y2 = cell.box
    annotation = {
        "category_id": cell.category,
        "segmentation": cell.rle,
        "bbox": [round(side, 2) for side in (x1, y1, x2 - x1, y2 - y1)],
        "area": area(cell.rle),
        "iscrowd": 0,
    }
    if cell.score is not None:
        annotation["score"] = round(cell.score, 5)
    if cell.label:
        annotation["label"] = cell.label
    return annotation


def _write_document(stream: TextIO, records: Iterator[Record], class_names: Sequence[str]) -> None:
    """Write annotations as they come; only the image entries are kept in memory."""
    images, number = [], 0
    stream.write('{"info": {"description": "Cells written by napari-cupre"}, "annotations": [')
    for image_id, record in enumerate(records, 1):
        images.append({"id": image_id, **record["image"]})
        for annotation in record["annotations"]:
            stream.write(",\n" if number else "\n")
            number += 1
            stream.write(json.dumps({"id": number, "image_id": image_id, **annotation}))
    categories = [{"id": i, "name": name} for i, name in enumerate(class_names, 1)]
    stream.write(f'\n], "images": {json.dumps(images)}, "categories": {json.dumps(categories)}}}\n')


def _read_document(path: Path) -> Iterator[Record]:
    """Read the records of a document that this writer wrote earlier; none if there is no file."""
    if not path.exists():
        return
    try:
        document = read_whole(path)
        records = {image.pop("id"): {"image": image, "annotations": []} for image in document["images"]}
        for annotation in document["annotations"]:
            annotation.pop("id")
            records[annotation.pop("image_id")]["annotations"].append(annotation)
        names = [record["image"]["file_name"] for record in records.values()]
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f'"{path}" already exists and is not a COCO file: move it or choose another folder.'
        ) from error
    yield from (record for record, name in zip(records.values(), names) if isinstance(name, str))


def _parsed(line: bytes) -> Record | None:
    """Parse a line of the journal; None if it is empty or broken."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if _is_record(record) else None


def _is_record(record: Any) -> bool:
    """Whether a line is one that `CocoWriter` wrote."""
    if not isinstance(record, dict) or not isinstance(record.get("image"), dict):
        return False
    annotations = record.get("annotations")
    is_listed = isinstance(annotations, list) and all(isinstance(each, dict) for each in annotations)
    return is_listed and isinstance(record["image"].get("file_name"), str)
