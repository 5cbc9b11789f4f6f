"""List the annotations in a file or folder, with one sheet per image."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.io.file_names import unique_stems
from napari_cupre.io.files import PICTURE_SUFFIXES, TIFF_SUFFIXES, is_zarr, natural_key, refuse_empty
from napari_cupre.io.images import read_image, read_labels
from napari_cupre.io.importers.accounts import Account
from napari_cupre.io.importers.cellpose import read_cellpose
from napari_cupre.io.importers.cellpose_outlines import read_cellpose_outlines
from napari_cupre.io.importers.coco_sheets import coco_sheets
from napari_cupre.io.importers.folders import (
    OUTLINE_SUFFIXES,
    annotation_files,
    label_folder,
    label_names,
    mask_folders,
    read_mask_folder,
)
from napari_cupre.io.importers.frames import LARGEST_LABELS, Frame
from napari_cupre.io.importers.geojson import is_geojson, read_features
from napari_cupre.io.importers.imagej import (
    LARGEST_ZIP,
    data_entries,
    is_part_of_set,
    overlay_of,
    read_overlay,
    read_rois,
    roi_entries,
    zip_of_rois,
)
from napari_cupre.io.importers.labelme import is_labelme, labelme_image, labelme_size, read_labelme
from napari_cupre.io.importers.shapes import Shape, paint_shapes
from napari_cupre.io.importers.sheet import Listeners, Result, Sheet
from napari_cupre.io.importers.suspects import check_label_image, scattered_note
from napari_cupre.io.importers.turning import UPRIGHT, as_stored, orientation_of, shown_size, turned_words
from napari_cupre.io.importers.via import is_via, read_via, via_images

_JSON = (".json", ".geojson", ".json.gz", ".geojson.gz")
SUFFIXES = (*PICTURE_SUFFIXES, *TIFF_SUFFIXES, ".zarr", *OUTLINE_SUFFIXES)
_DEAF = Listeners(lambda sentence: None, lambda sentence: None)

ReadShapes = Callable[[Account], list[Shape]]


def list_sheets(
    path: Path,
    *,
    keep_empty: bool = False,
    on_skip: Callable[[InputError], None] | None = None,
    listeners: Listeners = _DEAF,
    only_image: str = "",
) -> list[Sheet]:
    """List the annotations in a file or folder, in natural order.

    Parameters
    ----------
    path : Path
        The file or folder.
    keep_empty : bool, optional
        See `CocoIndex`.
    on_skip : Callable[[InputError], None] or None, optional
        Takes the error of each file of a folder that cannot be used; None raises the first.
    only_image : str, optional
        Stem of the image that all belong to, unless some have this name.

    Raises
    ------
    InputError
        If the file cannot be used.
    """
    if not path.is_dir() or is_zarr(path):
        return _sheets_of_file(path, keep_empty, listeners)
    sheets = [Sheet((stem,), masks, partial(_read_masks, masks)) for stem, masks in mask_folders(path)]
    if sheets:
        return sheets
    files = list(annotation_files(label_folder(path), SUFFIXES))
    loose = _loose_rois(files, only_image)
    if len(loose) > 1:
        sheets.append(_outlines(path, label_names(path), partial(read_rois, loose)))
        files = sorted(set(files) - set(loose), key=natural_key)
    for file in files:
        try:
            sheets += _sheets_of_file(file, keep_empty, listeners)
        except InputError as error:
            if on_skip is None:
                raise
            on_skip(error)
    return sheets


def _loose_rois(files: Sequence[Path], only_image: str) -> list[Path]:
    """Find `.roi` files that together are the ROIs of one image, as in an unpacked `RoiSet.zip`."""
    rois = [file for file in files if file.suffix.lower() == ".roi"]
    is_one_set = only_image and not any(only_image in label_names(file) for file in rois)
    return [file for file in rois if is_one_set or is_part_of_set(file)]


def _sheets_of_file(path: Path, keep_empty: bool, listeners: Listeners) -> list[Sheet]:
    name = path.name.lower()
    refuse_empty(path)
    if name.endswith(_JSON):
        return _json_sheets(path, keep_empty, listeners)
    if name.endswith(".zip"):
        return _zip_sheets(path)
    if name.endswith(".roi"):
        return [_outlines(path, label_names(path), partial(read_rois, [path]))]
    if name.endswith(".txt"):
        return [_outlines(path, label_names(path), partial(read_cellpose_outlines, path))]
    if name.endswith(".npy"):
        return [Sheet(label_names(path), path, partial(_read_npy, path))]
    if name.endswith((*PICTURE_SUFFIXES, *TIFF_SUFFIXES)) or is_zarr(path):
        return [Sheet(label_names(path), path, partial(_read_label_image, path))]
    raise InputError(
        f'"{path}" is not an annotation that can be read: give a label image, ROI zip, COCO JSON, GeoJSON, '
        f"LabelMe or VIA JSON, or _seg.npy."
    )


def _outlines(path: Path, names: tuple[str, ...], read: ReadShapes) -> Sheet:
    return Sheet(names, path, partial(_paint, path, read), needs_image=True)


def _paint(
    path: Path, read: ReadShapes, frame: Frame | None, listeners: Listeners, called: str = ""
) -> Result:
    """Paint outlines; `called` is what messages call them if the file has those of several images."""
    if frame is None:
        raise InputError(f'"{path}" does not say the size of its image: give the image as well.')
    account = Account(called or path.name)
    labels = paint_shapes(read(account), frame, account)
    account.tell(listeners.partial, listeners.note)
    return Result(labels, frame)


def _zip_sheets(path: Path) -> list[Sheet]:
    """Make the sheets of a zip: ImageJ's ROIs, or QuPath's GeoJSON of one or several images."""
    with zip_of_rois(path) as archive:
        if roi_entries(archive):
            return [_outlines(path, label_names(path), partial(read_rois, [path]))]
        entries = [e for e in data_entries(archive) if e.filename.lower().endswith(_JSON[:2])]
        if sum(entry.file_size for entry in entries) > LARGEST_ZIP:
            raise InputError(f'"{path}" contains over {LARGEST_ZIP >> 20} MB of outlines: split it.')
    if not entries:
        raise InputError(f'"{path}" contains no ROIs or outlines (.roi or .geojson): choose another zip.')
    names = [PurePosixPath(entry.filename).name for entry in entries]
    return [
        _outlines(
            path,
            label_names(path if len(entries) == 1 else name),
            partial(_features_in_zip, path, entry.filename),
        )
        for entry, name in zip(entries, names)
    ]


def _features_in_zip(path: Path, entry: str, account: Account) -> list[Shape]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(entry) as stream:
            content = stream.read(LARGEST_ZIP)
    except Exception as error:  # as above, and zlib.error
        raise InputError(f'"{path}": "{entry}" cannot be unpacked ({error}): save it again.') from error
    document = _parsed(content, path)
    if not is_geojson(document):
        raise InputError(f'"{path}": "{entry}" is not GeoJSON: unpack it and import it separately.')
    return read_features(document, account)


def _json_sheets(path: Path, keep_empty: bool, listeners: Listeners) -> list[Sheet]:
    packed = path.name.lower().endswith(".gz")
    document = _parsed(_unpacked(path) if packed else path.read_bytes(), path)
    if is_geojson(document):
        return [_outlines(path, label_names(path), partial(read_features, document))]
    results = isinstance(document, list) and any(isinstance(e, dict) and "image_id" in e for e in document)
    if results:
        raise InputError(
            f'"{path}" is a bare list of COCO annotations: give the JSON that also lists their "images".'
        )
    if is_labelme(document):
        return [_labelme_sheet(path, document, keep_empty)]
    if is_via(document):
        return _via_sheets(path, document, keep_empty)
    if not isinstance(document, dict) or not {"annotations", "images"} & set(document):
        raise InputError(f'"{path}" is not JSON of COCO, GeoJSON, LabelMe or VIA: choose another file.')
    if packed:
        raise InputError(f'"{path}" is a packed COCO JSON: unpack it first.')
    del document
    return coco_sheets(path, keep_empty=keep_empty, listeners=listeners)


def _labelme_sheet(path: Path, document: dict[str, Any], keep_empty: bool) -> Sheet:
    """Make the sheet of a LabelMe JSON, which names its image and says its size."""
    named, size = labelme_image(document), labelme_size(document)
    read = partial(read_labelme, {"shapes": document["shapes"]})  # without the pixels of the image
    names = tuple(dict.fromkeys([*(unique_stems([named]) if named else ()), *label_names(path)]))
    if keep_empty and not document["shapes"]:
        blank = partial(_background, size=size)
        return Sheet(names, path, blank, needs_image=size is None, says_whose=bool(named))
    if size is None:
        turned = partial(_paint_turned, path, read)
        return Sheet(names, path, turned, needs_image=True, says_whose=bool(named))
    return Sheet(names, path, partial(_paint_sized, path, read, size), says_whose=bool(named))


def _paint_sized(
    path: Path, read: ReadShapes, size: tuple[int, int], frame: Frame | None, listeners: Listeners
) -> Result:
    """Paint in the size that the file says; `Sheet.read` compares it with that of the image."""
    if frame is not None:
        orientation = orientation_of(frame.path)
        if size == shown_size(frame.plane_shape, orientation):
            return _paint_turned(path, read, frame, listeners)
    return _paint(path, read, Frame(size) if frame is None or frame.plane_shape != size else frame, listeners)


def _paint_turned(
    path: Path, read: ReadShapes, frame: Frame | None, listeners: Listeners, called: str = ""
) -> Result:
    """Paint outlines of a program that shows photographs turned as their EXIF says."""
    orientation = UPRIGHT if frame is None else orientation_of(frame.path)
    if frame is None or frame.path is None or orientation == UPRIGHT:
        return _paint(path, read, frame, listeners, called)

    def read_stored(account: Account) -> list[Shape]:
        return as_stored(read(account), frame.plane_shape, orientation)

    result = _paint(path, read_stored, frame, listeners, called)
    listeners.note(turned_words(frame.path, path))
    return result


def _via_sheets(path: Path, document: dict[str, Any], keep_empty: bool) -> list[Sheet]:
    """Make a sheet for each image of a VIA JSON; those without a region only if they are kept."""
    images = [image for image in via_images(document) if image.regions or keep_empty]
    if not images:
        raise InputError(f'"{path}" contains no outline: draw polygons in VIA, or choose another file.')
    stems = unique_stems([image.file_name for image in images])
    return [
        Sheet(
            (stem,),
            path,
            partial(_paint_turned, path, partial(read_via, image), called=f"{path.name} ({image.file_name})")
            if image.regions
            else _background,
            needs_image=True,
            says_whose=True,
        )
        for stem, image in zip(stems, images)
    ]


def _background(frame: Frame | None, listeners: Listeners, size: tuple[int, int] | None = None) -> Result:
    """Return labels without a cell, in the size of the image, or else in that which the file says."""
    frame = Frame(size) if frame is None and size is not None else frame
    assert frame is not None
    return Result(np.zeros(frame.shape, np.int32), frame)


def _unpacked(path: Path) -> bytes:
    try:
        with gzip.open(path) as stream:
            content = stream.read(LARGEST_ZIP + 1)
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f'"{path}" cannot be unpacked ({error}): save it again.') from error
    if len(content) > LARGEST_ZIP:
        raise InputError(f'"{path}" contains over {LARGEST_ZIP >> 20} MB once unpacked: split it.')
    return content


def _parsed(content: bytes, path: Path) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f'"{path}" cannot be read as JSON ({error}): it is truncated or damaged.') from error


def _read_masks(folder: Path, frame: Frame | None, listeners: Listeners) -> Result:
    labels = read_mask_folder(folder)
    return Result(labels, frame or Frame(labels.shape))


def _read_npy(path: Path, frame: Frame | None, listeners: Listeners) -> Result:
    labels = read_cellpose(path)
    _look_at(labels, path, listeners)
    return Result(labels, frame or Frame(labels.shape))


def _read_label_image(path: Path, frame: Frame | None, listeners: Listeners) -> Result:
    image = read_image(path)
    pixels = np.prod(image.result_shape, dtype=float)
    if pixels > LARGEST_LABELS:
        raise InputError(f'"{path}" has {pixels:.0f} pixels, too many for an annotation: cut it into parts.')
    try:
        labels = read_labels(path)
        _look_at(labels, path, listeners)
    except InputError:
        if not overlay_of(path):
            raise
        listeners.note(f'"{path.name}" is a picture: the ROIs in its overlay are read.')
        return _paint(path, partial(read_overlay, path), frame or Frame.of(image), listeners)
    own = Frame.of(image)
    if own.shape != labels.shape:  # planes that were taken for channels or colours
        own = Frame(labels.shape, scale=own.scale, units=own.units, translate=own.translate)
    return Result(labels, frame or own)


def _look_at(labels: np.ndarray, path: Path, listeners: Listeners) -> None:
    if not labels.any():
        listeners.note(f'"{path.name}" contains no cells: all of it is background.')
    check_label_image(labels, path.name)
    if labels.ndim == 2 and (note := scattered_note(labels)):
        listeners.note(f'"{path.name}": {note}')
