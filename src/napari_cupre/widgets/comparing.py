"""Compare two models, or one model with checked cells, on the images of a project one by one."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError, InputError
from napari_cupre.events import Event, Finished, Notice, Progress, RunState, StateChanged
from napari_cupre.prediction.limits import is_big
from napari_cupre.project.cells import Cells
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.project import Project
from napari_cupre.project.shots import is_annotated, known_of, taught_labels
from napari_cupre.service.client import EngineBusy, EngineProcess
from napari_cupre.widgets.background import Job
from napari_cupre.widgets.free_engine import BorrowingJob
from napari_cupre.widgets.predicting import predicted
from napari_cupre.widgets.stored_images import found_in, stored_image
from napari_cupre.words import counted

if TYPE_CHECKING:
    from napari_cupre.evaluation.side_by_side import Compared, Difference

CHECKED = "your checked cells"


@dataclass(frozen=True)
class Rival:
    """One side of a comparison: a model, or the `labels` of a layer for the current image.

    `learned` is the time (UTC) until which it learned from this project; "" if it is not one of its rounds.
    """

    name: str
    model: str = ""
    labels: np.ndarray | None = None
    learned: str = ""


@dataclass(frozen=True)
class ComparisonPlan:
    """What to compare, and on which images.

    Attributes
    ----------
    rivals : tuple of Rival
        Two models or layers; or one, which is judged by checked cells.
    project : Path or None
        Folder of the project; everything in it is saved.
    stems : tuple of str
        Its images.
    image : CellImage or None
        An image outside any project, used instead of `stems`.
    file : Path or None
        The file of that image.
    device : str
        "auto", "cpu", "cuda" or "mps".
    """

    rivals: tuple[Rival, ...]
    project: Path | None = None
    stems: tuple[str, ...] = ()
    image: CellImage | None = None
    file: Path | None = None
    device: str = "auto"

    @property
    def layer_names(self) -> tuple[str, str, str]:
        """Return the names of the difference layers."""
        first = self.rivals[0].name
        if len(self.rivals) == 1:
            return f"found by {first}", f"invented by {first}", f"missed by {first}"
        return "found by both", f"only {first}", f"only {self.rivals[1].name}"


@dataclass(frozen=True)
class PackedDifference:
    """A compressed difference: label images shrink to a fiftieth."""

    shape: tuple[int, ...]
    parts: tuple[bytes, bytes, bytes]

    @classmethod
    def of(cls, found: Difference) -> PackedDifference:
        """Pack a difference."""
        parts = (found.both, found.only_first, found.only_second)
        first, second, third = (zlib.compress(np.ascontiguousarray(each).tobytes(), 1) for each in parts)
        return cls(tuple(found.both.shape), (first, second, third))

    def unpacked(self) -> Difference:
        """Return the difference itself; this takes some time for large images."""
        from napari_cupre.evaluation.side_by_side import Difference

        return Difference(
            *(np.frombuffer(zlib.decompress(each), np.int32).reshape(self.shape) for each in self.parts)
        )


@dataclass(frozen=True)
class ImageCompared(Event):
    """One image is done."""

    row: Compared
    parts: PackedDifference


@dataclass(frozen=True)
class _Read:
    """One image, read in the worker thread."""

    image: CellImage
    file: Path | None
    truth: np.ndarray | None = None
    known: np.ndarray | None = None
    is_new: bool = False


class ComparisonJob(BorrowingJob):
    """Find the cells of each image with each model and compare them; yields `ImageCompared` events."""

    def __init__(self, engine: EngineProcess, training: Job | None = None) -> None:
        super().__init__("Comparing", engine, training)
        self.plan: ComparisonPlan | None = None
        self.rows: list[Compared] = []
        self.parts: dict[str, PackedDifference] = {}
        self.received.connect(self._keep)

    def compare(self, plan: ComparisonPlan) -> None:
        """Start like `Job.start`."""
        self.start(self._stream, plan)
        self.plan, self.rows, self.parts = plan, [], {}

    def _keep(self, event: Event) -> None:
        if isinstance(event, ImageCompared):
            self.rows.append(event.row)
            self.parts[event.row.name] = event.parts

    def _stream(self, plan: ComparisonPlan) -> Iterator[Event | None]:
        """Compare the images one by one in the worker thread; a failed image does not end the run."""
        project = None if plan.project is None else Project.open(plan.project, look_only=True)
        names = plan.stems or (("" if plan.image is None else plan.image.name),)
        faults: list[str] = []
        done = 0
        for place, name in enumerate(names):
            if self.status.state is RunState.STOPPING:
                return
            yield Progress(place, len(names), name)
            try:
                yield (yield from self._one(plan, project, name))
                done += 1
            except CupreError as error:
                faults.append(str(error))
        if self.status.state is RunState.STOPPING:
            return
        if faults and not done:
            raise InputError(faults[0])
        if faults:
            yield Notice(" ".join(faults))
        yield Finished(f"{counted(done, 'image')} compared.")
        yield StateChanged(RunState.DONE)

    def _one(
        self, plan: ComparisonPlan, project: Project | None, name: str
    ) -> Generator[Event | None, None, ImageCompared]:
        from napari_cupre.evaluation.side_by_side import compare_image, tell_apart

        task = _stored_task(project, name, plan) if project is not None else _loose_task(plan)
        found = []
        for rival in plan.rivals:
            labels = rival.labels
            if labels is None:
                labels = yield from self._predicted(rival, task, plan.device)
            found.append(labels)
        row = compare_image(name, found, task.truth, task.known, is_new=task.is_new)
        other = found[1] if len(found) == 2 else task.truth
        assert other is not None
        parts = tell_apart(found[0], other, task.known if len(found) == 1 else None)
        return ImageCompared(row, PackedDifference.of(parts))

    def _predicted(self, rival: Rival, task: _Read, device: str) -> Generator[Event | None, None, np.ndarray]:
        from napari_cupre.service.protocol import Failed

        events: list[Event] = []
        while (engine := (yield from self.free.wait())) is not None:
            try:
                for event in predicted(engine, rival.model, task.image, task.file, device, turn=self._turn):
                    match event:
                        case Failed(message=message):
                            raise InputError(message)
                        case None:
                            yield None
                        case StateChanged(message=message) if message:
                            told = f"{task.image.name}, {rival.name}: {message}"
                            yield StateChanged(RunState.RUNNING, told)
                        case _:
                            events.append(event)
                break
            except EngineBusy:  # another job took the process first
                yield None
        if self.status.state is RunState.STOPPING:
            raise InputError("Stopped.")  # an incomplete set of cells cannot be judged
        return found_in(task.image.result_shape, events)[0]


def _loose_task(plan: ComparisonPlan) -> _Read:
    """Return the image outside any project; none of its cells is checked."""
    if plan.image is None:
        raise InputError("There is no image to compare on: open one first.")
    if len(plan.rivals) == 1:
        raise InputError("No cell of this image is checked yet: choose a second model to compare with.")
    return _Read(_small(plan.image), plan.file)


def _stored_task(project: Project, stem: str, plan: ComparisonPlan) -> _Read:
    entry, cells, stored = project.image(stem), project.cells(stem), stored_image(project, stem)
    image = _small(stored.read())
    if not is_annotated(cells):
        if len(plan.rivals) == 1:
            raise InputError(f'"{stem}" has no checked cell to judge by: check some, or choose other images.')
        return _Read(image, stored.file)
    is_new = all(is_unseen(entry, cells, rival.learned) for rival in plan.rivals)
    known = known_of(cells, entry.certainty, project.background(stem))
    return _Read(image, stored.file, taught_labels(cells), known, is_new)


def _small(image: CellImage) -> CellImage:
    if is_big(image):
        raise InputError(f'"{image.name}" is larger than memory: compare on fields of it.')
    return image


def is_unseen(entry: ProjectImage, cells: Cells, learned: str) -> bool:
    """Whether a round that ended at a time did not learn from an image.

    Parameters
    ----------
    learned : str
        UTC as projects write it; "" for a model that learned from nothing here.
    """
    if not learned or entry.held == "all":
        return True
    taught = [cell for _, cell in cells if cell.state.teaches]
    return bool(taught) and all(cell.time > learned for cell in taught)
