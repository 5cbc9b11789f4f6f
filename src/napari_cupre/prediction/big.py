"""Images larger than memory: read by tile, written by tile, continued after an interruption."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.errors import InputError, unwritable
from napari_cupre.events import Event, Finished, Notice, Progress
from napari_cupre.io.files import real_file
from napari_cupre.io.ownership import may_write, owned_write
from napari_cupre.model.checkpoint import Model
from napari_cupre.prediction.detector import Detector
from napari_cupre.prediction.labelstore import LabelStore, cells_table, keep_copy, read_notes, restore_copy
from napari_cupre.prediction.ledger import Ledger
from napari_cupre.prediction.link import Links
from napari_cupre.prediction.plane import Choice, Plan, check_score, choose, plan_plane, run_tiles
from napari_cupre.prediction.reader import PlaneReader
from napari_cupre.prediction.stack import PredictOptions, TilePainted, other_size
from napari_cupre.prediction.storedlinks import StoredLinker, count_linked, lasting_cells

LAYOUT = 3
"""Rises when tiles come to lie elsewhere: half of a job cannot be done by one layout and half by another."""

LARGEST_TILE = 2048
"""Side of a tile in image px, which bounds memory however large the cells are."""


@dataclass(frozen=True)
class BigResult:
    """Where the labels of a big image lie.

    Attributes
    ----------
    path : the OME-Zarr label image; complete or partial, it can be opened at any time.
    table : CSV with label, box and score of every cell; written at the end.
    count : number of cells.
    complete : False when stopped, or where parts of the image could not be read or are lost.
    diameter : in image px, by which the image was scaled.
    """

    path: Path
    table: Path
    count: int
    complete: bool
    diameter: float


def ledger_path(out: Path) -> Path:
    """The file beside a result that says how far its prediction is."""
    return out.with_name(out.name + ".progress")


def predict_big(
    model: Model | Detector,
    image: CellImage,
    out: Path,
    options: PredictOptions | None = None,
    should_stop: Callable[[], bool] | None = None,
    overwrite: bool = False,
) -> Generator[Event, None, BigResult]:
    """Find every cell of an image of any size, with memory for a few tiles.

    Called again with the same image, model and options it continues where it was stopped or killed,
    and tries again what could not be read; what is finished is returned at once.

    Parameters
    ----------
    model : or a `Detector`.
    image : lazy, as `read_image` gives large files; planes along T and Z are done one after the other.
    out : folder of the OME-Zarr label image to write; labels are unique in each plane; in each time
        point if planes are linked along Z, and in the whole if they are linked through time.
    options : see `PredictOptions`. Planes are linked once all are predicted, also where parts could not be
        read; a later run that can read them parts the planes, fills them in, and links anew.
    should_stop : asked after every tile.
    overwrite : replace what another model, other options or another state of the image gave.

    Yields
    ------
    Event : `Notice`, `Progress` in tiles, `TilePainted`, and last `Finished` with "path", "cells",
        "complete", "diameter" and "trained" (see `predict_image`).

    Raises
    ------
    InputError
        If `out` holds something else or belongs to other settings or to a file that has changed since, or
        nothing of the image can be read.
    EnvironmentFault
        If the disk is full; what is done is kept.
    """
    options = options or PredictOptions()
    check_score(options.score)
    detector = model if isinstance(model, Detector) else Detector(model)
    for notice in (*image.notices, *filter(None, [image.lacks])):
        yield Notice(notice)
    settings = _settings(detector.model, image, options)
    origin = _origin(settings, image, options.links(image.result_axes))
    trained = detector.model.info.diameter if options.diameter is None else None
    if overwrite and _is_of_another_job(out, origin):
        forget(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(out.parent, error) from error
    store = LabelStore(out, image)
    if store.complete and not _size(ledger_path(out)):
        done = yield from _finished_before(store, origin, image)
        yield _finished(done, trained, image.lacks)
        return done
    table = cells_table(out)
    if (reason := may_write(table, overwrite=overwrite)) is not None:
        raise InputError(f"{reason}: move it or choose another folder.")
    ledger = Ledger(ledger_path(out), settings)
    try:
        store, ledger = yield from _fitting(store, ledger, image, settings)
        job = _Job(detector, image, options, store, ledger, should_stop or (lambda: False))
        yield from job.events()
        complete = job.complete and not image.lacks
        count = _write_table(table, ledger, list(image.plane_indices()), detector.model.info.classes)
        result = BigResult(out, table, count, complete, job.diameter)
        if job.complete:
            keep_copy(table)
            notes = {"cells": result.count, "diameter": result.diameter, "origin": origin}
            store.finish(notes | {"parts": store.parts()})
    finally:
        ledger.close()
    if job.complete:
        ledger_path(out).unlink(missing_ok=True)
    yield _finished(result, trained, image.lacks)
    return result


def _is_of_another_job(out: Path, origin: str) -> bool:
    """Whether labels of ours are there that another model, or an earlier state of the image, gave."""
    notes = read_notes(out)
    return bool(notes) and (notes.get("origin") != origin or not notes.get("complete"))


def _finished_before(store: LabelStore, origin: str, image: CellImage) -> Generator[Event, None, BigResult]:
    """A result that is there already; its table is restored where it is gone.

    Raises
    ------
    InputError
        If it is the result of something else, or parts of it are lost.
    """
    out, table, notes = store.path, cells_table(store.path), read_notes(store.path)
    if notes.get("origin") != origin:
        raise InputError(
            f'"{out}" is the result of another model, other options or another state of the image: '
            "delete it to predict it anew, or choose another folder."
        )
    if not {"cells", "diameter"} <= notes.keys() or store.parts() < notes.get("parts", 0):
        raise InputError(f'Parts of "{out}" are gone: delete it to predict it anew.')
    if not table.exists():
        if not restore_copy(table):
            raise InputError(f'"{table}" is gone: delete "{out}", too, to predict it anew.')
        yield Notice(f'"{table}" was gone and is written again.')
    return BigResult(out, table, notes["cells"], not image.lacks, notes["diameter"])


def _fitting(
    store: LabelStore, ledger: Ledger, image: CellImage, settings: dict[str, Any]
) -> Generator[Event, None, tuple[LabelStore, Ledger]]:
    """Store and ledger of an unfinished job; both begin anew where one of them is gone."""
    if store.is_new == ledger.is_new:
        return store, ledger
    gone = store.path if store.is_new else ledger.path
    yield Notice(f'"{gone}" is gone: {image.name} is predicted from the beginning.')
    ledger.close()
    forget(store.path)
    return LabelStore(store.path, image), Ledger(ledger.path, settings)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def forget(out: Path) -> None:
    """Delete labels of ours and what says how far they are.

    Raises
    ------
    EnvironmentFault
        If they cannot be deleted.
    """
    try:
        ledger_path(out).unlink(missing_ok=True)
        shutil.rmtree(out)
    except OSError as error:
        raise unwritable(out, error) from error


class _Job:
    """The tiles of all planes, one after the other."""

    def __init__(
        self,
        detector: Detector,
        image: CellImage,
        options: PredictOptions,
        store: LabelStore,
        ledger: Ledger,
        stop: Callable[[], bool],
    ) -> None:
        self._detector, self._image, self._options = detector, image, options
        self._store, self._ledger, self._stop = store, ledger, stop
        self.complete = True
        choice = ledger.choice(self._choose)
        self.diameter, self._score = choice.diameter, choice.score

    def events(self) -> Generator[Event, None, None]:
        """Do what is not done."""
        self._put_back()
        indices = list(self._image.plane_indices())
        plan = plan_plane(
            self._image.plane_shape,
            self._detector.diameter,
            self.diameter,
            self._options.tile,
            LARGEST_TILE,
        )
        total = len(indices) * len(plan.tiles)
        done = sum(len(self._ledger.done(number)) for number in range(len(indices)))
        planes = [self._store.plane(index) for index in indices]
        linker = StoredLinker(planes, indices, self._ledger, self._image.name, self._stop)
        asked = self._options.links(self._image.result_axes)
        if self._ledger.linking() not in (None, asked) or (self._ledger.linking() and done < total):
            self.complete = yield from linker.unlink()
            if not self.complete:
                return
        if done:
            yield Notice(f"{done} of {total} tiles are done already; going on from there.")
        for number, index in enumerate(indices):
            for event in self._checked(self._plane(number, index, plan), done > 0):
                done += isinstance(event, TilePainted)
                yield event
                yield Progress(done, total, self._image.name)
                if done < total and self._stop():
                    self.complete = False
                    return
        if any(asked):
            self.complete = yield from linker.link(asked)
        self.complete = self.complete and not self._ledger.faults()

    def _checked(self, events: Iterator[Event], continues: bool) -> Iterator[Event]:
        """Events of a plane; labels that the ledger does not know are the work of somebody else."""
        try:
            yield from events
        except IndexError as error:
            if not continues:
                raise
            raise InputError(
                f'"{self._ledger.path}" does not fit the labels beside it: delete it to start the image anew.'
            ) from error

    def _plane(self, number: int, index: PlaneIndex, plan: Plan) -> Generator[Event, None, None]:
        canvas = self._store.plane(index)
        stitcher = plan.stitcher(canvas, keep_masks=False)
        stitcher.restore(self._ledger.records(number))
        finished = self._ledger.done(number)
        todo = [tile for tile in plan.tiles if tile.index not in finished]
        if not todo:
            return
        try:
            read = PlaneReader(self._image, index, self._options.channels)
        except InputError as error:
            fault = f"{error} Then run the same again to fill that part."
            for tile in todo:
                self._ledger.fail(number, tile.index, fault)
            yield Notice(fault)
            return
        for tile, patch in run_tiles(self._detector, plan, stitcher, read, self._score, todo):
            if isinstance(patch, InputError):
                fault = f"{patch} Then run the same again to fill that part."
                self._ledger.fail(number, tile.index, fault)
                yield Notice(fault)
                continue
            self._ledger.keep(number, patch)
            stitcher.commit(patch)
            self._ledger.enter(number, tile.index, patch.rows, stitcher.records)
            yield TilePainted(index, patch.region.y0, patch.region.x0, patch.after)

    def _put_back(self) -> None:
        """Undo a tile that was being written when the last run ended."""
        undone = self._ledger.undone()
        if undone is None:
            return
        number, region, labels = undone
        index = list(self._image.plane_indices())[number]
        self._store.plane(index)[region.slices] = labels
        self._ledger.forget_undo()

    def _choose(self) -> Choice:
        options = self._options
        if options.diameter is not None:
            return choose(self._detector, [], options.diameter, options.score)
        indices = list(self._image.plane_indices())
        middle = len(indices) // 2
        for index in (*indices[middle:], *indices[:middle]):
            try:
                views = PlaneReader(self._image, index, options.channels).views()
            except InputError as error:
                fault = error  # the plane is reported when its turn comes
                continue
            return choose(self._detector, views, None, options.score)
        raise fault


def _settings(model: Model, image: CellImage, options: PredictOptions) -> dict[str, Any]:
    """What the labels depend on."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.network.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    for name, content in sorted(model.valid_graphs.items()):
        digest.update(name.encode() + content)
    chosen = asdict(options)
    del chosen["link_z"], chosen["link_t"]
    shape = [int(side) for side in image.data.shape]
    return chosen | {
        "model": digest.hexdigest(),
        "image size": shape,
        "axes": image.axes,
        "layout of tiles": LAYOUT,
    }


def _origin(settings: dict[str, Any], image: CellImage, links: Links) -> str:
    """What a finished result is the result of, as a short text: the settings and the state of the file."""
    state: list[Any] = [settings, image.lacks, *([links] if any(links) else [])]
    if image.path is not None and (file := real_file(image.path)).exists():
        stat = file.stat()
        state += [stat.st_size, stat.st_mtime_ns]
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:24]


def _write_table(path: Path, ledger: Ledger, indices: list[PlaneIndex], names: Sequence[str]) -> int:
    """Label, box in px, score and class of every cell; T and Z first, where the image has them.

    `names` are those of class 1, 2, ... Returns the number of cells; of linked planes each counts once.
    """
    axes = list(indices[0])
    count = 0
    with owned_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*axes, "label", "x1", "y1", "x2", "y2", "score", "class"])
        for plane, label, *numbers, kind in lasting_cells(ledger, len(indices)):
            rounded = [f"{number:.2f}" for number in numbers[:4]] + [f"{numbers[4]:.4f}"]
            writer.writerow([*indices[plane].values(), label, *rounded, names[int(kind) - 1]])
            count += 1
    return count if ledger.linking() is None else count_linked(ledger, indices)


def _finished(result: BigResult, trained: float | None, lacks: str) -> Finished:
    rest = "" if result.complete else "; the result is partial"
    rest += ", run the same again to complete it" if not (result.complete or lacks) else ""
    return Finished(
        f"{result.count} cells{other_size(result.diameter, trained)} in {result.path.name}{rest}.",
        {
            "path": str(result.path),
            "cells": result.count,
            "complete": result.complete,
            "diameter": result.diameter,
            "trained": trained,
        },
    )
