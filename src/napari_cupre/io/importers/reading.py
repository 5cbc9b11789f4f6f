"""One way in for annotations of every kind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.io.coco import labels_from_coco
from napari_cupre.io.files import PICTURE_SUFFIXES, TIFF_SUFFIXES, image_stem, is_zarr
from napari_cupre.io.images import read_image, read_labels
from napari_cupre.io.importers.cellpose import read_cellpose
from napari_cupre.io.importers.folders import (
    annotation_files,
    label_folder,
    label_stem,
    mask_folders,
    read_mask_folder,
)
from napari_cupre.io.importers.geojson import is_geojson, read_features
from napari_cupre.io.importers.imagej import read_rois
from napari_cupre.io.importers.shapes import LARGEST_LABELS, Shapes, paint_shapes, shape_for
from napari_cupre.io.tiff import write_labels

_OUTLINES = (".zip", ".roi")
_JSON = (".json", ".geojson")
SUFFIXES = (*PICTURE_SUFFIXES, *TIFF_SUFFIXES, *_OUTLINES, *_JSON, ".npy")

Labelled = tuple[str, np.ndarray]


def import_annotations(path: str | os.PathLike[str], shape: Shapes = None) -> dict[str, np.ndarray]:
    """Read annotations of any known kind as label images.

    Parameters
    ----------
    path : one of

        - a label image (TIFF, PNG, OME-Zarr), or a folder of such, with or without images beside
          them ("a.tif" and "a_masks.tif", or StarDist's `images/` and `masks/`);
        - ImageJ's `.roi` or a zip of them; GeoJSON polygons; COCO JSON;
        - Cellpose's `_seg.npy`, of which nothing is unpickled;
        - BBBC038's folders `<image>/masks/*.png` with a file per cell.
    shape : of the label image, (Y, X) or with T and Z in front, or shapes by stem (`ImageShapes`). Needed
        for ROIs and GeoJSON alone, which do not say the size of their image.

    Returns
    -------
    int32 label images by the stem of their image; where cells overlap, the smaller one is on top

    Raises
    ------
    InputError
        If nothing is there, or a file is damaged, of another kind or hostile; the file is named. Also if
        there are two annotations of one image.
    """
    return dict(iterate_annotations(path, shape))


def iterate_annotations(
    path: str | os.PathLike[str],
    shape: Shapes = None,
    *,
    keep_empty: bool = False,
    on_skip: Callable[[str], None] | None = None,
) -> Iterator[Labelled]:
    """As `import_annotations`, one after the other, for sets that do not fit memory.

    Parameters
    ----------
    keep_empty : images that a COCO JSON lists without annotation are known to hold no cell and get an empty
        label image; by default they are left out
    on_skip : called with one sentence about each file of a folder that cannot be used; without it the
        first such file is an error
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f'There is no file or folder "{path}": check the path.')
    is_folder = path.is_dir() and not is_zarr(path)
    seen: set[str] = set()
    read = partial(_read_file, shape=shape, keep_empty=keep_empty)
    for stem, labels in _read_folder(path, read, on_skip) if is_folder else read(path):
        if stem in seen:
            raise InputError(f'"{path}" holds two annotations of the image "{stem}": remove one.')
        seen.add(stem)
        yield stem, labels


def import_to_folder(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    shape: Shapes = None,
    *,
    keep_empty: bool = False,
    on_skip: Callable[[str], None] | None = None,
) -> Iterator[Path]:
    """Write annotations of any known kind as `<stem>.tif` label images; each path is yielded once written.

    Parameters
    ----------
    path, shape, keep_empty, on_skip : see `iterate_annotations`
    out : folder, made if need be

    Raises
    ------
    InputError
        As `import_annotations`.
    EnvironmentFault
        Full or read-only disk.
    """
    for stem, labels in iterate_annotations(path, shape, keep_empty=keep_empty, on_skip=on_skip):
        # A stem may come from inside a file; only its last part is a name.
        target = Path(out) / f"{Path(stem).name}.tif"
        place = shape.place_of(stem, labels.shape) if isinstance(shape, ImageShapes) else {}
        write_labels(target, labels, **place)
        yield target


class ImageShapes(Mapping[str, tuple[int, ...]]):
    """Shape of the label image of each image file by its stem, read when it is asked for."""

    def __init__(self, paths: Iterable[str | os.PathLike[str]], axes: str | None = None) -> None:
        self._paths = {image_stem(path): Path(path) for path in paths}
        self._axes = axes

    def place_of(self, stem: str, shape: tuple[int, ...]) -> dict[str, Any]:
        """Axes, scale, units and origin for labels of a shape, as `write_labels` takes them.

        Parameters
        ----------
        stem : of the image; labels of one that is not known get no place.
        shape : of the labels; axes of length 1 may be left out.
        """
        if stem not in self._paths:
            return {}
        image = read_image(self._paths[stem], self._axes)
        sizes = image.sizes
        leading = [axis for axis in image.result_axes[:-2] if sizes[axis] > 1]
        axes = image.result_axes if len(shape) == len(image.result_axes) else "".join([*leading, "YX"])
        axes = "YX" if len(shape) == 2 else axes
        if tuple(sizes[axis] for axis in axes) != tuple(shape):
            return {}
        return {"axes": axes, "scale": image.scale, "units": image.units, "translate": image.translate}

    def __getitem__(self, stem: str) -> tuple[int, ...]:
        image = read_image(self._paths[stem], self._axes)
        leading = [length for length in image.result_shape[:-2] if length > 1]
        return (*leading, *image.plane_shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _read_folder(
    folder: Path, read_file: Callable[[Path], Iterator[Labelled]], on_skip: Callable[[str], None] | None
) -> Iterator[Labelled]:
    jobs: list[Callable[[], Iterator[Labelled]]] = [
        partial(_read_masks, stem, masks) for stem, masks in mask_folders(folder)
    ]
    if not jobs:
        files = annotation_files(label_folder(folder), SUFFIXES)
        jobs = [partial(read_file, file) for file in files]
    found = False
    for read in jobs:
        try:
            for labelled in read():
                found = True
                yield labelled
        except InputError as error:
            if on_skip is None:
                raise
            on_skip(str(error))
    if not found:
        raise InputError(
            f'The folder "{folder}" holds no annotation that can be read: choose one with label images, '
            f"ROI zips, COCO JSON, GeoJSON or _seg.npy files."
        )


def _read_masks(stem: str, folder: Path) -> Iterator[Labelled]:
    yield stem, read_mask_folder(folder)


def _read_file(path: Path, *, shape: Shapes, keep_empty: bool) -> Iterator[Labelled]:
    suffix = path.suffix.lower()
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f'"{path}" is empty (0 bytes): copy it anew.')
    if suffix in _JSON:
        yield from _read_json(path, shape, keep_empty)
        return
    stem = label_stem(path)
    if suffix in _OUTLINES:
        shapes = read_rois(path)
        yield stem, paint_shapes(shapes, shape_for(shape, stem, path), path)
    elif suffix == ".npy":
        yield stem, read_cellpose(path)
    elif suffix in (*PICTURE_SUFFIXES, *TIFF_SUFFIXES) or is_zarr(path):
        yield stem, _read_label_image(path)
    else:
        raise InputError(
            f'"{path}" is no annotation that can be read: give a label image, ROI zip, COCO JSON, GeoJSON '
            f"or _seg.npy."
        )


def _read_label_image(path: Path) -> np.ndarray:
    pixels = np.prod(read_image(path).result_shape, dtype=float)
    if pixels > LARGEST_LABELS:
        raise InputError(f'"{path}" has {pixels:.0f} pixels, too many for an annotation: cut it into parts.')
    return read_labels(path)


def _read_json(path: Path, shape: Shapes, keep_empty: bool) -> Iterator[Labelled]:
    try:
        document: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f'"{path}" cannot be read as JSON ({error}): it is truncated or damaged.') from error
    if is_geojson(document):
        stem = label_stem(path)
        yield stem, paint_shapes(read_features(document, path), shape_for(shape, stem, path), path)
        return
    if not isinstance(document, dict) or "annotations" not in document:
        raise InputError(f'"{path}" is neither COCO JSON nor GeoJSON: choose another file.')
    del document
    labels = labels_from_coco(path, keep_empty=keep_empty)
    for name in labels:
        yield image_stem(name), labels[name]
