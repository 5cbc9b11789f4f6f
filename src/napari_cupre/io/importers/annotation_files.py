"""Read annotations of every kind."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.io.file_names import NameTable
from napari_cupre.io.files import image_stem, is_zarr
from napari_cupre.io.importers.accounts import Say
from napari_cupre.io.importers.frames import Frame, ImageShapes, Shapes
from napari_cupre.io.importers.replacing import refuse_to_replace
from napari_cupre.io.importers.sheet import Listeners, Sheet
from napari_cupre.io.importers.sheets import list_sheets
from napari_cupre.io.pairing import stems_by_what_differs
from napari_cupre.io.tiff import write_labels
from napari_cupre.words import counted, some_of

_log = logging.getLogger(__name__)


def import_annotations(
    path: str | os.PathLike[str],
    shape: Shapes = None,
    *,
    on_skip: Say | None = None,
    on_partial: Say = _log.warning,
    on_note: Say = _log.info,
) -> dict[str, np.ndarray]:
    """Read annotations of any known kind as label images.

    Parameters
    ----------
    path : str or os.PathLike[str]
        One of:

        - a label image (TIFF, PNG, OME-Zarr), or a folder of them, with or without images beside
          them ("a.tif" and "a_masks.tif", or StarDist's `images/` and `masks/`);
        - ImageJ's `.roi` or a zip of them; GeoJSON polygons, also zipped; JSON of COCO, LabelMe or VIA;
        - Cellpose's `_seg.npy`, of which nothing is unpickled, and its `_cp_outlines.txt`;
        - BBBC038's folders `<image>/masks/*.png` with a file per cell.
    shape : Shapes, optional
        Shape of the label image, (Y, X) or with T and Z in front, or shapes by stem (`ImageShapes`). Needed
        for outlines, which do not contain the size of their image. A single annotation and a single image
        belong together whatever their names.
    on_skip : Say or None, optional
        Called with one sentence about each file of a folder that cannot be used; without it the first such
        file is an error.
    on_partial : Say, optional
        Called with one sentence about each file in which something was left out that may have been meant as a
        cell.
    on_note : Say, optional
        Called with one sentence about anything else that the user should know.

    Returns
    -------
    dict of str to numpy.ndarray
        int32 label images by the stem of their image; where cells overlap, the smaller one is on top. If a
        COCO JSON has images with the same name in several folders, the folders are in front ("plate1/a").

    Raises
    ------
    InputError
        If there is nothing, or a file is damaged, of an unknown kind or hostile, or none of its shapes is a
        cell; the message names the file. Also if there are two annotations of one image.
    """
    read = _read_all(path, shape, False, on_skip, Listeners(on_partial, on_note))
    return {key: labels for key, labels, _ in read}


def import_to_folder(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    shape: Shapes = None,
    *,
    keep_empty: bool = False,
    on_skip: Say | None = None,
    on_partial: Say = _log.warning,
    on_note: Say = _log.info,
) -> Iterator[Path]:
    """Write annotations of any known kind as label images `<stem>.tif`; yield each path once it is written.

    They have the axes and the pixel size of their image, if it is given.

    Parameters
    ----------
    path, shape, on_skip, on_partial, on_note
        As in `import_annotations`.
    out : str or os.PathLike[str]
        Folder, made if need be.
    keep_empty : bool, optional
        Take images that a COCO JSON lists without annotation as images without cells, and write an empty
        label image; by default they are left out.

    Raises
    ------
    InputError
        As `import_annotations`; also if a file with other content already exists.
    EnvironmentFault
        Full or read-only disk.
    """
    listeners = Listeners(on_partial, on_note)
    images = shape.paths if isinstance(shape, ImageShapes) else []
    written = 0
    refusal: InputError | None = None
    for key, labels, frame in _read_all(path, shape, keep_empty, on_skip, listeners):
        target = Path(out).joinpath(*key.split("/"))
        target = target.with_name(f"{target.name}.tif")
        try:
            refuse_to_replace(target, labels, [*images, Path(path)])
        except InputError as error:
            if on_skip is None:
                raise
            refusal = error
            on_skip(str(error))
            continue
        write_labels(
            target, labels, axes=frame.axes, scale=frame.scale, units=frame.units, translate=frame.translate
        )
        written += 1
        yield target
    if refusal is not None and not written:
        raise InputError(f'nothing was written to "{out}": choose another folder.') from refusal


def read_for_image(
    path: str | os.PathLike[str],
    frame: Frame,
    name: str,
    on_partial: Say = _log.warning,
    on_note: Say = _log.info,
) -> np.ndarray:
    """Read the annotation of one image; other images in the file are not painted.

    Parameters
    ----------
    path : str or os.PathLike[str]
        See `import_annotations`.
    frame : Frame
        Frame of the image.
    name : str
        Name of the image. A single annotation belongs to it whatever its name; if it names another image, a
        note says so.

    Returns
    -------
    numpy.ndarray
        int32, of the frame's shape.

    Raises
    ------
    InputError
        As `import_annotations`; also if nothing there belongs to the image.
    """
    sheets = list_sheets(_existing(path))
    chosen = sheets if len(sheets) == 1 else _called(sheets, (name, image_stem(name)))
    if not chosen:
        listed = some_of([sheet.names[0] for sheet in sheets])
        raise InputError(
            f'"{Path(path).name}" contains annotations of {len(sheets)} images ({listed}), none called '
            f'"{name}": rename the image layer.'
        )
    if len(chosen) > 1:
        raise InputError(f'"{path}" contains two annotations of the image "{name}": remove one.')
    if chosen[0].says_whose and not _called(chosen, (name, image_stem(name))):
        whose = chosen[0].names[0]
        on_partial(f'They are of an image called "{whose}", not "{name}": undo if these are not the same.')
    return chosen[0].read(frame, Listeners(on_partial, on_note)).labels


def read_for_images(
    sheets: Sequence[Sheet],
    images: Sequence[Sequence[str]],
    frame_of: Callable[[int], Frame],
    on_skip: Say = _log.warning,
    listeners: Listeners | None = None,
) -> Iterator[tuple[int, str, np.ndarray]]:
    """Read the annotations of several images, matched by name.

    Parameters
    ----------
    sheets : Sequence[Sheet]
        Annotations, see `sheets_of`.
    images : Sequence[Sequence[str]]
        The names of each image.
    frame_of : callable
        Returns the frame of an image by its number in `images`.
    on_skip : Say, optional
        Called with one sentence about each annotation that belongs to none of the images, or cannot be used.
    listeners : Listeners or None, optional
        As `on_partial` and `on_note` of `import_annotations`.

    Yields
    ------
    tuple of (int, str, numpy.ndarray)
        Number of the image, name of the file, and labels, int32, of the shape of its frame.
    """
    found = _numbers_of(sheets, images)
    counts = Counter(numbers[0] for numbers in found if len(numbers) == 1)
    _tell_unmatched(sheets, found, on_skip)
    for sheet, numbers in zip(sheets, found):
        if len(numbers) != 1:
            continue
        number = numbers[0]
        if counts[number] > 1:
            on_skip(
                f'"{sheet.file.name}" is not the only annotation of "{images[number][0]}" here: choose one.'
            )
            continue
        try:
            result = sheet.read(frame_of(number), listeners or Listeners(_log.warning, _log.info))
        except InputError as error:
            on_skip(str(error))
            continue
        yield number, sheet.file.name, result.labels


def sheets_of(
    paths: Sequence[Path], on_skip: Say = _log.warning, listeners: Listeners | None = None
) -> list[Sheet]:
    """List the annotations of several files.

    Parameters
    ----------
    paths : Sequence[Path]
        Files or folders, see `import_annotations`.
    on_skip : Say, optional
        Called with one sentence about each file that cannot be used.
    listeners : Listeners or None, optional
        As `on_partial` and `on_note` of `import_annotations`.
    """
    told = listeners or Listeners(_log.warning, _log.info)
    sheets: list[Sheet] = []
    for path in paths:
        try:
            sheets += list_sheets(_existing(path), on_skip=lambda error: on_skip(str(error)), listeners=told)
        except InputError as error:
            on_skip(str(error))
    return sheets


def _numbers_of(sheets: Sequence[Sheet], images: Sequence[Sequence[str]]) -> list[list[int]]:
    """Return for each sheet the numbers of the images with the likeliest of its names that any image has."""
    called: dict[str, list[int]] = {}
    for number, names in enumerate(images):
        for name in dict.fromkeys(names):
            called.setdefault(name, []).append(number)
    table = NameTable(called)
    return [next(filter(None, map(table.get, sheet.names)), []) for sheet in sheets]


def _tell_unmatched(sheets: Sequence[Sheet], found: Sequence[Sequence[int]], on_skip: Say) -> None:
    """Say of each file which of its annotations belong to no image, or may belong to several."""
    unknown: dict[Path, list[str]] = {}
    doubtful: dict[Path, list[str]] = {}
    for sheet, numbers in zip(sheets, found):
        if len(numbers) != 1:
            (doubtful if numbers else unknown).setdefault(sheet.file, []).append(sheet.names[0])
    for file, names in unknown.items():
        on_skip(f'"{file.name}": no image here is called {some_of(names)}.')
    for file, names in doubtful.items():
        on_skip(
            f'"{file.name}": more than one image here is called {some_of(names)}; show the right one and '
            "import its file alone."
        )


def _called(sheets: Sequence[Sheet], names: Sequence[str]) -> list[Sheet]:
    """Return the sheets that have the best name found on any sheet."""
    for depth in range(max((len(sheet.names) for sheet in sheets), default=0)):
        for name in names:
            found = [sheet for sheet in sheets if name in sheet.names[depth : depth + 1]]
            if found:
                return found
    return []


def _existing(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if not path.exists():
        raise InputError(f'There is no file or folder "{path}": check the path.')
    return path


def _read_all(
    path: str | os.PathLike[str],
    shape: Shapes,
    keep_empty: bool,
    on_skip: Say | None,
    listeners: Listeners,
) -> Iterator[tuple[str, np.ndarray, Frame]]:
    """Yield name, labels and frame of every annotation."""
    path = _existing(path)
    skipped: list[str] = []

    def skip(error: InputError) -> None:
        if on_skip is None:
            raise error
        skipped.append(str(error))
        on_skip(str(error))

    only = image_stem(shape.paths[0]) if isinstance(shape, ImageShapes) and len(shape.paths) == 1 else ""
    sheets = list_sheets(path, keep_empty=keep_empty, on_skip=skip, listeners=listeners, only_image=only)
    is_folder = path.is_dir() and not is_zarr(path)
    seen: set[str] = set()
    for sheet, key, find_frame in _pair(sheets, shape, listeners):
        try:
            if key in seen:
                raise InputError(_twice(path, sheet, key))
            result = sheet.read(find_frame(), listeners)
        except InputError as error:
            if len(sheets) == 1 and not is_folder:
                raise
            skip(error)
            continue
        if len(sheets) == 1 and not (result.labels.any() or keep_empty):
            raise InputError(f'"{path}" contains no cells, only background: choose another file.')
        seen.add(key)
        yield key, result.labels, result.frame
    if not seen:
        raise InputError(
            f'The folder "{path}" contains no annotation that can be read: choose one with label images, '
            f"ROI zips, JSON of COCO, GeoJSON, LabelMe or VIA, or _seg.npy files."
            if is_folder
            else f'Nothing of "{path}" could be read: {skipped[-1] if skipped else "it is empty"}'
        )


def _twice(path: Path, sheet: Sheet, key: str) -> str:
    if sheet.file == path:
        return (
            f'"{path}" contains two images called "{key}", whose labels would have the same name: '
            f"rename one of them in it."
        )
    return f'"{path}" contains two annotations of the image "{key}": remove "{sheet.file}".'


FindFrame = Callable[[], "Frame | None"]


def _pair(
    sheets: Sequence[Sheet], shape: Shapes, listeners: Listeners
) -> Iterator[tuple[Sheet, str, FindFrame]]:
    """Pair each annotation with the name of its image and a function that returns the image's frame."""
    if shape is None or isinstance(shape, Frame | tuple | list):
        frame = shape if shape is None or isinstance(shape, Frame) else Frame(tuple(shape))
        for sheet in sheets:
            yield sheet, sheet.names[0], lambda: frame
        return
    images = shape if isinstance(shape, ImageShapes) else _Shapes(shape)
    if len(images.paths) == len(sheets) == 1:
        found: list[Path | None] = [images.paths[0]]
    else:
        found = [images.find(sheet.names) for sheet in sheets]
        found = found if any(found) else _by_what_differs(sheets, images, listeners)
        _say_unpaired(sheets, found, images, listeners)
    for sheet, path in zip(sheets, found):
        if path is not None:
            name = sheet.names[0] if "/" in sheet.names[0] else image_stem(path)
            yield sheet, name, partial(images.frame, path)
        else:
            yield sheet, sheet.names[0], partial(sheet.without_image, images.paths)


def _by_what_differs(sheets: Sequence[Sheet], images: ImageShapes, listeners: Listeners) -> list[Path | None]:
    """Find the image of each annotation if no names agree; None if nothing shows which it is."""
    by_stem = {image_stem(path): path for path in images.paths}
    pairs = stems_by_what_differs(list(by_stem), [sheet.names[-1] for sheet in sheets])
    if not pairs:
        return [None] * len(sheets)
    of = {label: by_stem[stem] for stem, label in pairs.items()}
    first = sheets[0].names[-1]
    listeners.note(
        f'"{first}" is paired with "{of[first].name}", and the others likewise, by what differs in the names.'
    )
    return [of[sheet.names[-1]] for sheet in sheets]


def _say_unpaired(
    sheets: Sequence[Sheet], found: Sequence[Path | None], images: ImageShapes, listeners: Listeners
) -> None:
    """Report images without annotation, and annotations that are read without their image."""
    lonely = [each.names[0] for each, path in zip(sheets, found) if path is None and not each.needs_image]
    if lonely and images.paths and not isinstance(images, _Shapes):
        also = f" or {counted(len(lonely) - 1, 'other annotation')}" if len(lonely) > 1 else ""
        listeners.note(f'No image belongs to "{lonely[0]}"{also}: such labels have no pixel size.')
    alone = [path.name for path in images.paths if path not in found]
    if alone and any(path is not None for path in found):
        which = "the image" if len(alone) == 1 else "the images"
        listeners.note(f"No annotation belongs to {which} {some_of(alone)}.")


class _Shapes(ImageShapes):
    """Plain shapes by stem, as images."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__([])
        self.paths = [Path(stem) for stem in shapes]
        self._shapes = shapes

    def find(self, names: Sequence[str]) -> Path | None:
        return next((Path(name) for name in names if name in self._shapes), None)

    def frame(self, path: Path) -> Frame:
        return Frame(tuple(self._shapes[str(path)]))
