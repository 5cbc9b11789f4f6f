"""Predict images larger than memory: read and write by tile, and continue after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError, writing
from napari_cupre.events import Event, Notice, Steps
from napari_cupre.io.ownership import may_write
from napari_cupre.prediction import bigfiles
from napari_cupre.prediction.bigfiles import ledger_path
from napari_cupre.prediction.celltable import keep_table, restore_copy, write_cell_table
from napari_cupre.prediction.choice import check_score
from napari_cupre.prediction.detecting import CellFinder
from napari_cupre.prediction.filling import Filling
from napari_cupre.prediction.fingerprint import labels_depend_on, result_digest
from napari_cupre.prediction.labelstore import LabelStore, cells_table, read_notes
from napari_cupre.prediction.ledger import Ledger
from napari_cupre.prediction.link import Links
from napari_cupre.prediction.linker import count_linked, find_tables, write_linked
from napari_cupre.prediction.mirrored import finder_for
from napari_cupre.prediction.predict_options import PredictOptions
from napari_cupre.prediction.reader import ImageSource
from napari_cupre.prediction.stack import finished

if TYPE_CHECKING:
    from napari_cupre.model.checkpoint import Model

Tables = list[np.ndarray]


@dataclass(frozen=True)
class BigResult:
    """The labels of a big image on disk.

    Attributes
    ----------
    path : Path
        The OME-Zarr label image; complete or partial, it can be opened at any time.
    table : Path
        CSV with label, box and score of every cell; written at the end.
    count : int
        Number of cells.
    complete : bool
        False if it was stopped, or if parts of the image could not be read or are lost.
    diameter : float
        Cell diameter in image px that set the scale of the image.
    """

    path: Path
    table: Path
    count: int
    complete: bool
    diameter: float


def predict_big(
    model: Model | CellFinder,
    image: CellImage,
    out: Path,
    options: PredictOptions | None = None,
    should_stop: Callable[[], bool] | None = None,
    overwrite: bool = False,
) -> Generator[Event, None, BigResult]:
    """Find every cell of an image of any size, with memory for a few tiles.

    A second call with the same image, model and options continues where the first was stopped or killed, and
    retries parts that could not be read. A finished result is returned at once.

    Parameters
    ----------
    model : Model or CellFinder
        A `CellFinder` saves making the model ready again for every image.
    image : CellImage
        Lazy, as `read_image` returns large files; planes along T and Z are done one after the other.
    out : Path
        Folder of the OME-Zarr label image to write. Labels are unique in each plane; in each time point if
        planes are linked along Z; and in the whole image if planes are linked through time.
    options : PredictOptions, optional
        What to look for, and how. Planes are linked once all are predicted, even if parts could not be read;
        a later run that can read them fills them in and links again.
    should_stop : callable, optional
        Asked after every tile, and while planes are linked; returns bool.
    overwrite : bool
        Replace the result of another model, other options or another state of the image.

    Yields
    ------
    Event
        `Notice`, `Progress` in tiles, `TileDone`, and last `Finished` with "path", "cells", "complete",
        "diameter" and "trained" (see `predict_image`).

    Returns
    -------
    BigResult
        The generator's return value.

    Raises
    ------
    InputError
        If `out` contains something else, or a result with other settings or of a file that has changed since;
        or if nothing of the image can be read.
    EnvironmentFault
        If the disk is full; finished tiles are kept.
    """
    options = options or PredictOptions()
    check_score(options.score)
    detector = finder_for(model, options)
    for notice in (*image.notices, *filter(None, [image.lacks])):
        yield Notice(notice)
    job = _Job(detector, image, out, options, should_stop or (lambda: False))
    result = yield from job.events(overwrite)
    trained = detector.info.diameter if options.diameter is None else None
    hint = "" if image.lacks else ", run the same again to complete it"
    yield finished(result, trained, f" in {result.path.name}", hint, path=str(result.path))
    return result


class _Job:
    """One image, and the files of its prediction."""

    def __init__(
        self,
        detector: CellFinder,
        image: CellImage,
        out: Path,
        options: PredictOptions,
        stop: Callable[[], bool],
    ) -> None:
        self._detector, self._image, self._options, self._stop = detector, image, options, stop
        self._out, self._table = out, cells_table(out)
        self._settings = labels_depend_on(detector, image, options)
        self._origin = result_digest(self._settings, image, options)

    def events(self, overwrite: bool) -> Generator[Event, None, BigResult]:
        """Begin, continue, or return an existing result."""
        bigfiles.end_exchange(self._out)
        if overwrite and self._is_of_another_job():
            bigfiles.forget(self._out)
        with writing(self._out.parent):
            self._out.parent.mkdir(parents=True, exist_ok=True)
        store = LabelStore(self._out, self._image)
        if store.complete and not bigfiles.is_unfinished(self._out):
            return (yield from self._finished_before(store))
        if (reason := may_write(self._table, overwrite=overwrite)) is not None:
            raise InputError(f"{reason}: move it or choose another folder.")
        ledger = Ledger(ledger_path(self._out), self._settings)
        try:
            store, ledger = yield from self._fitting(store, ledger)
            result = yield from self._filled(store, ledger)
        finally:
            ledger.close()
        if read_notes(self._out).get("complete"):
            ledger_path(self._out).unlink(missing_ok=True)
            bigfiles.remove(bigfiles.unlinked_path(self._out))
        return result

    def _is_of_another_job(self) -> bool:
        """Whether there are labels of ours from another model or an earlier state of the image."""
        notes = read_notes(self._out)
        return bool(notes) and (notes.get("origin") != self._origin or not notes.get("complete"))

    def _finished_before(self, store: LabelStore) -> Generator[Event, None, BigResult]:
        """Return an earlier, complete result of the same prediction; restore its table if missing.

        Raises
        ------
        InputError
            If it is the result of another prediction, or parts of it are lost.
        """
        out, table, notes = store.path, self._table, read_notes(store.path)
        if notes.get("origin") != self._origin:
            raise InputError(
                f'"{out}" is the result of another model, other options or another state of the image: '
                "delete it to predict it again, or choose another folder."
            )
        if not {"cells", "diameter"} <= notes.keys() or store.parts() < notes.get("parts", 0):
            raise InputError(f'Parts of "{out}" are missing: delete it to predict it again.')
        if read_notes(bigfiles.unlinked_path(out)):  # the last run was killed before deleting them
            bigfiles.remove(bigfiles.unlinked_path(out))
        if not table.exists():
            if not restore_copy(table):
                raise InputError(f'"{table}" is missing: delete "{out}" as well, to predict it again.')
            yield Notice(f'"{table}" was missing and was written again.')
        return BigResult(out, table, notes["cells"], not self._image.lacks, notes["diameter"])

    def _fitting(
        self, store: LabelStore, ledger: Ledger
    ) -> Generator[Event, None, tuple[LabelStore, Ledger]]:
        """Return the unlinked labels and their ledger; start both again if one of them is missing."""
        gone = self._gone(store, ledger)
        if gone is None:
            if bigfiles.show_unlinked(self._out):
                store = LabelStore(self._out, self._image)
            return store, ledger
        yield Notice(f'"{gone}" is missing: {self._image.name} is predicted from the beginning.')
        ledger.close()
        bigfiles.forget(self._out)
        return LabelStore(self._out, self._image), Ledger(ledger.path, self._settings)

    def _gone(self, store: LabelStore, ledger: Ledger) -> Path | None:
        """Return which part of an unfinished job was deleted."""
        if store.is_new != ledger.is_new:
            return store.path if store.is_new else ledger.path
        unlinked = bigfiles.unlinked_path(self._out)
        return unlinked if read_notes(self._out).get("linked") and not unlinked.exists() else None

    def _filled(self, store: LabelStore, ledger: Ledger) -> Generator[Event, None, BigResult]:
        """Do the remaining tiles, link the planes, and write the table."""
        source = ImageSource(self._image, self._options.channels)
        filling = Filling(self._detector, source, self._options, store, ledger, self._stop)
        yield from self._checked(filling)
        complete = filling.complete
        links, indices = self._options.links(self._image.result_axes), source.plane_indices()
        tables: Tables | None = None
        if any(links) and not filling.stopped:
            tables = yield from self._linked(store, links)
            complete &= tables is not None
        count = write_cell_table(self._table, ledger, indices, self._detector.info.classes, tables)
        if tables is not None:
            count = count_linked(tables, indices, links)
            store = LabelStore(self._out, self._image)
        if complete:
            keep_table(self._table)
            notes = {"cells": count, "diameter": filling.diameter, "origin": self._origin}
            store.finish(notes | {"parts": store.parts(), "linked": tables is not None})
        return BigResult(self._out, self._table, count, complete and not self._image.lacks, filling.diameter)

    def _checked(self, filling: Filling) -> Iterator[Event]:
        """Yield the events of the tiles; refuse labels that do not fit the ledger."""
        try:
            yield from filling.events()
        except IndexError as error:
            if not filling.continues:
                raise
            raise InputError(
                f'"{ledger_path(self._out)}" does not fit the labels beside it: delete it to start the image '
                "again."
            ) from error

    def _linked(self, store: LabelStore, links: Links) -> Generator[Event, None, Tables | None]:
        """Replace the unlinked labels by linked ones; return None if stopped before."""
        yield Notice("Joining the planes.")
        try:
            steps = Steps(self._linking(store, links))
            for event in steps:
                yield event
                if self._stop():
                    return None
            bigfiles.show_linked(self._out)
        finally:
            bigfiles.remove(bigfiles.linking_path(self._out))
        return steps.result

    def _linking(self, store: LabelStore, links: Links) -> Generator[Event, None, Tables]:
        """Find the links, and write linked labels beside the unlinked ones."""
        indices = list(self._image.plane_indices())
        planes = [store.plane(index) for index in indices]
        tables = yield from find_tables(planes, indices, links, self._image.name)
        target = LabelStore(bigfiles.linking_path(self._out), self._image)
        target.mark_linked()
        yield from write_linked(planes, tables, [target.plane(index) for index in indices], self._image.name)
        return tables
