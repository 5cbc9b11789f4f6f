"""Convert truth and predictions of any accepted form to the COCO documents that an evaluator reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from napari_cupre.data.rle import RLE, area, bounding_box, compressed, encode_labels, runs
from napari_cupre.errors import InputError
from napari_cupre.io.coco_file import listed, read_whole
from napari_cupre.io.coco_outlines import joined, tidy_segmentation
from napari_cupre.io.files import image_stem
from napari_cupre.io.writers.coco_writer import coco_records
from napari_cupre.io.writers.output_cells import collect


class EncodedMasks(Protocol):
    """Masks of N instances that may overlap."""

    def rle(self) -> list[RLE]:
        """Return the masks as COCO run lengths, one per detection."""


class ScoredInstances(Protocol):
    """The part of a prediction that is judged here."""

    scores: np.ndarray
    classes: np.ndarray
    masks: EncodedMasks


CocoInput: TypeAlias = "str | os.PathLike[str] | dict[str, Any] | Sequence[np.ndarray]"
PredictionInput: TypeAlias = (
    "str | os.PathLike[str] | dict[str, Any]"
    " | Sequence[dict[str, Any]] | Sequence[ScoredInstances] | Sequence[np.ndarray]"
)


def truth_document(truth: CocoInput) -> dict[str, Any]:
    """Return a COCO document with ids, areas, boxes and crowd flags filled in; the input is not changed."""
    given = read_coco_json(truth)
    document = given if isinstance(given, dict) else _document_of_labels(given)
    images = {image["id"]: dict(image) for image in _entries(document, "images", ("id", "height", "width"))}
    annotations = []
    for number, entry in enumerate(_entries(document, "annotations", ("image_id", "segmentation")), 1):
        if entry["image_id"] not in images:
            raise InputError(
                f"annotation {number} belongs to image {entry['image_id']}, which is not listed."
            )
        annotations.append(_completed(entry, images[entry["image_id"]]) | {"id": number})
    categories = document.get("categories") or [{"id": 1, "name": "cell"}]
    return {"images": list(images.values()), "annotations": annotations, "categories": categories}


def results_for(truth: dict[str, Any], predictions: PredictionInput, kind: str) -> list[dict[str, Any]]:
    """Return COCO's list of results, with the image ids of `truth`.

    For kind "segm", boxes are left out, because an evaluator would take areas from them. For kind "bbox",
    missing boxes are computed from the masks.
    """
    from_file = isinstance(predictions, str | os.PathLike)
    given = read_coco_json(predictions)
    if isinstance(given, dict):
        entries = _renumbered(given, truth)
    elif from_file or (len(given) and isinstance(given[0], dict)):
        entries = list(given)
    else:
        return _results_of_instances(given, truth, kind)
    images = {image["id"]: image for image in truth["images"]}
    return [_checked_result(number, entry, images, kind) for number, entry in enumerate(entries, 1)]


def read_coco_json(given: Any) -> Any:
    """Read a JSON file; return content that was already read unchanged.

    A caller that needs a large file twice can read it once here and pass the content on.

    Raises
    ------
    InputError
        If the file cannot be read or is not JSON.
    """
    return read_whole(Path(given)) if isinstance(given, str | os.PathLike) else given


def _entries(document: dict[str, Any], key: str, needed: Sequence[str]) -> list[dict[str, Any]]:
    entries = listed(document.get(key), key)
    for number, entry in enumerate(entries, 1):
        missing = [name for name in needed if not isinstance(entry, dict) or entry.get(name) is None]
        if missing:
            raise InputError(
                f'entry {number} of "{key}" lacks {", ".join(missing)}; write the COCO JSON again.'
            )
    return entries


def _completed(entry: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    whole = {"iscrowd": 0, "category_id": 1, **entry}
    if "area" in whole and "bbox" in whole:
        if isinstance(entry["segmentation"], dict):
            return whole
        parts = tidy_segmentation(entry["segmentation"])
        if not any(isinstance(part, dict) for part in parts):
            return whole | {"segmentation": parts}
    rle = _as_rle(entry["segmentation"], image)
    return {"area": area(rle), "bbox": bounding_box(rle)} | whole | {"segmentation": rle}


def _as_rle(segmentation: Any, image: dict[str, Any]) -> RLE:
    """Convert a segmentation of any form to compressed RLE of the image's size."""
    parts = tidy_segmentation(segmentation)
    try:
        rle = joined(parts, (image["height"], image["width"]))
        if any(isinstance(part, dict) for part in parts):
            runs(rle)  # refuses masks that pycocotools would misread
    except InputError as error:
        raise InputError(f"image {image['id']}: {error}") from error
    _check_size(rle, image)
    return compressed(rle)


def _document_of_labels(truth: Sequence[np.ndarray]) -> dict[str, Any]:
    images, annotations = [], []
    for number, labels in enumerate(truth, 1):
        labels = np.asarray(labels)
        if labels.ndim != 2 or labels.dtype.kind not in "iub":
            raise InputError(
                f"truth {number} has shape {labels.shape} of {labels.dtype}; COCO AP needs whole-number "
                "label images (Y, X), so give stacks plane by plane."
            )
        (record,) = coco_records(collect(labels))
        images.append({"id": number, **record["image"]})
        annotations += [{"image_id": number, **annotation} for annotation in record["annotations"]]
    return {"images": images, "annotations": annotations}


def unmatched_images(truth: Any, predictions: Any) -> tuple[list[str], list[str]]:
    """Return the images that only one of two documents lists, by the stem of their file names.

    Parameters
    ----------
    truth, predictions : object
        Contents of COCO documents; anything else gives two empty lists.

    Returns
    -------
    tuple of list of str
        Predicted images that the truth does not list, and true images that were not predicted.
    """
    if not (isinstance(truth, dict) and isinstance(predictions, dict)):
        return [], []
    true, predicted = (
        [image_stem(str(image["file_name"])) for image in _entries(document, "images", ("id", "file_name"))]
        for document in (truth, predictions)
    )
    return sorted(set(predicted) - set(true)), sorted(set(true) - set(predicted))


def _renumbered(document: dict[str, Any], truth: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the annotations of images that the truth also lists, with the truth's image ids."""
    ids = {image_stem(str(image.get("file_name", ""))): image["id"] for image in truth["images"]}
    images = _entries(document, "images", ("id", "file_name"))
    stems = {image["id"]: image_stem(str(image["file_name"])) for image in images}
    if images and not set(stems.values()) & set(ids):
        raise InputError(
            f'the predictions are of images such as "{next(iter(stems.values()))}", none of which the truth '
            "lists: give the truth of these images."
        )
    annotations = _entries(document, "annotations", ("image_id",))
    if lost := next((entry for entry in annotations if entry["image_id"] not in stems), None):
        raise InputError(f"a prediction belongs to image {lost['image_id']}, which is not listed.")
    found = ((entry, ids.get(stems[entry["image_id"]])) for entry in annotations)
    return [{"score": 1.0, **entry, "image_id": number} for entry, number in found if number is not None]


def _results_of_instances(
    predictions: Sequence[Any], truth: dict[str, Any], kind: str
) -> list[dict[str, Any]]:
    images = truth["images"]
    if len(predictions) != len(images):
        raise InputError(f"{len(images)} true images but {len(predictions)} predictions; give one for each.")
    results = []
    for image, prediction in zip(images, predictions):
        if isinstance(prediction, np.ndarray):
            rles = encode_labels(prediction)[1]
            scores, classes = np.ones(len(rles)), np.ones(len(rles), int)
        else:
            rles, scores, classes = prediction.masks.rle(), prediction.scores, prediction.classes
        for rle, score, category in zip(rles, scores, classes):
            _check_size(rle, image)
            entry = {"image_id": image["id"], "category_id": int(category), "score": float(score)}
            results.append(entry | _shape(rle, kind))
    return results


def _checked_result(number: int, entry: Any, images: dict[Any, dict[str, Any]], kind: str) -> dict[str, Any]:
    """Check one entry of an external list of results, and its mask or box."""
    if not isinstance(entry, dict) or entry.get("image_id") not in images or "score" not in entry:
        raise InputError(f"prediction {number} has no score, or an image_id that the truth does not have.")
    result = {
        "image_id": entry["image_id"],
        "category_id": entry.get("category_id", 1),
        "score": float(entry["score"]),
    }
    if kind == "bbox" and "bbox" in entry:
        return result | {"bbox": entry["bbox"]}
    if "segmentation" not in entry:
        raise InputError(f'prediction {number} has no "segmentation"; write the predictions again.')
    return result | _shape(_as_rle(entry["segmentation"], images[entry["image_id"]]), kind)


def _shape(rle: RLE, kind: str) -> dict[str, Any]:
    return {"segmentation": rle} if kind == "segm" else {"bbox": bounding_box(rle)}


def _check_size(rle: RLE, image: dict[str, Any]) -> None:
    size = [image["height"], image["width"]]
    if list(rle["size"]) != size:
        raise InputError(
            f"image {image['id']} has {size[0]} x {size[1]} pixels and a mask of it "
            f"{rle['size'][0]} x {rle['size'][1]}; check that they belong together."
        )
