"""Writing results: one image in several formats, or a folder of many."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.export.cells import Result, collect
from napari_cupre.export.coco import CocoWriter
from napari_cupre.export.formats import Format, choose_formats

PREDICTIONS = "predictions.json"


def write(
    result: Result,
    stem: str | os.PathLike[str],
    formats: str | Sequence[str] = "tif",
    *,
    image: CellImage | None = None,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] = ("cell",),
) -> list[Path]:
    """Write the cells of one image.

    Parameters
    ----------
    result : a label image over the image's axes without channels, a prediction of one plane, or
        (index, prediction) of several planes
    stem : path without ending; "out/a" gives "out/a.tif", "out/a_rois.zip", ...
    formats : out of "tif", "roi", "coco", "geojson", "csv"; a list or "tif,roi"
    image : the image, for scale, units, intensities and stack positions
    labels : label image of the whole that renames the cells of predictions, as linking of planes does
    class_names : name of class 1, 2, ...

    Returns
    -------
    the files written

    Raises
    ------
    InputError
        Unknown format, or shapes that do not fit.
    EnvironmentFault
        Full or read-only disk; no file is left half written.
    """
    chosen = choose_formats(formats)
    cells = collect(result, image=image, name=Path(stem).name, labels=labels, class_names=class_names)
    paths = []
    for each in chosen:
        path = _path(stem, each)
        each.write(cells, path)
        paths.append(path)
    return paths


class FolderWriter:
    """Results of many images in one folder; their COCO entries go into one `predictions.json`.

    To be used in a `with` statement, at whose end the document is written; see `CocoWriter` for
    what a stopped run leaves.

    Parameters
    ----------
    folder : made if need be
    formats, class_names : see `write`
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        formats: str | Sequence[str] = "tif",
        class_names: Sequence[str] = ("cell",),
    ) -> None:
        self.folder = Path(folder)
        self.class_names = class_names
        chosen = choose_formats(formats)
        self.formats = [each for each in chosen if each.name != "coco"]
        self._coco: CocoWriter | None = None
        if len(self.formats) < len(chosen):
            self._coco = CocoWriter(self.folder / PREDICTIONS, class_names)

    def add(
        self,
        stem: str,
        result: Result,
        *,
        image: CellImage | None = None,
        labels: np.ndarray | None = None,
    ) -> list[Path]:
        """Write one image; parameters, result and errors as in `write`."""
        cells = collect(result, image=image, name=stem, labels=labels, class_names=self.class_names)
        paths = self.paths(stem)
        for each, path in zip(self.formats, paths):
            each.write(cells, path)
        if self._coco is not None:
            self._coco.add(cells)
        return paths

    def paths(self, stem: str) -> list[Path]:
        """The files of one image, `predictions.json` left out."""
        return [_path(self.folder / stem, each) for each in self.formats]

    def __enter__(self) -> FolderWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._coco is not None:
            self._coco.close()


def _path(stem: str | os.PathLike[str], format_: Format) -> Path:
    return Path(f"{os.fspath(stem)}{format_.ending}")
