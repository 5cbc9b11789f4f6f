"""The training of one viewer: make a training set from layers, run it in the engine, keep the curve."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.errors import CupreError, InputError
from napari_cupre.events import Event, Finished, Notice, Preview, RunState, StateChanged, StepDone, Validated
from napari_cupre.io.channel_names import as_it_is
from napari_cupre.model.cards import seen_by
from napari_cupre.model.runs import REQUEST, SHOTS, discard_unstarted, nothing_learned, run_path, start_of
from napari_cupre.model.zoo import SUFFIX, user_folder
from napari_cupre.service.client import HEARTBEAT_S, EngineBusy, EngineProcess, Turn
from napari_cupre.widgets.background import Job
from napari_cupre.widgets.snapshot import Snapshot

if TYPE_CHECKING:
    from napari_cupre.data.shot import Shot
    from napari_cupre.io.channel_names import ChooseChannels
    from napari_cupre.io.unannotated import Source
    from napari_cupre.project.project import Project
    from napari_cupre.service.protocol import FinetuneRequest

SMOOTHING = 0.9

WAITING = "Waiting for the image being searched"


@dataclass(frozen=True)
class TrainingPlan:
    """What to train.

    Attributes
    ----------
    start : str
        Name or path of the model to start from.
    out : Path
        The model file to write.
    snapshots : tuple[Snapshot, ...]
        Annotated images. A resumed run uses its stored training set; these are compared with it to report
        annotation made since.
    minutes : float
        Time budget.
    device : str
        "auto", "cpu", "cuda" or "mps".
    project : Path or None
        Folder of the project whose images in `stems` are used too, as saved on disk.
    stems : tuple[str, ...]
        Images of the project without a layer.
    others : tuple of (CellImage or str)
        Images without annotation to use: images of layers, and stems of the project.
    """

    start: str
    out: Path
    snapshots: tuple[Snapshot, ...]
    minutes: float
    device: str = "auto"
    resume: bool = False
    project: Path | None = None
    stems: tuple[str, ...] = ()
    others: tuple[CellImage | str, ...] = ()
    settled: dict[str, str] = field(default_factory=dict)
    """The parts of newly used images that are held out from now on; filled by `shots`."""

    def shots(self) -> Iterator[Shot]:
        """Yield all annotated images; for a worker thread.

        Raises
        ------
        InputError
            An annotation does not fit its image, or an image cannot be read.
        """
        from napari_cupre.project.project import Project
        from napari_cupre.project.shots import image_shots

        project, choose = None, self.choice()
        with ExitStack() as stack:
            if self.project is not None:
                # without a project, e.g. if somebody deleted it, the images of the window are still used
                with suppress(*(() if self.stems else (CupreError,))):
                    project = stack.enter_context(Project.open(self.project, look_only=True))
            if project is not None:
                self.settled.update(self._settle(project))
            for snapshot in self.snapshots:
                for shot in snapshot.shots(choose):
                    yield replace(shot, held=self.settled.get(snapshot.entry.stem, shot.held))
            if project is not None:
                for stem in self.stems:
                    for shot in image_shots(project, stem, choose=choose):
                        yield replace(shot, held=self.settled.get(stem, shot.held))

    def choice(self) -> ChooseChannels:
        """Return what chooses the channels of images if nobody has: those that the start learned from."""
        try:
            return seen_by(start_of(self.out) if self.resume else self.start).on
        except InputError:  # whoever resumes the training reports it
            return as_it_is

    def _settle(self, project: Project) -> dict[str, str]:
        """Decide what to hold out from images that no round of the project has used yet."""
        from napari_cupre.project.heldout import Annotated, settled

        used = [Annotated.of(snapshot.entry, snapshot.cells) for snapshot in self.snapshots]
        used += [Annotated.of(project.image(stem), project.cells(stem)) for stem in self.stems]
        return settled(used, project.document.id)

    def unlabelled(self, refused: Callable[[str], None]) -> Iterator[Shot]:
        """Return a place in each image without annotation; for a worker thread.

        Parameters
        ----------
        refused : callable
            Called with a sentence about every image that cannot be read.
        """
        if not self.others:
            return
        from napari_cupre.io.unannotated import places
        from napari_cupre.project.project import Project

        with ExitStack() as stack:
            project = None
            if self.project is not None:
                project = stack.enter_context(Project.open(self.project, look_only=True))
            yield from places([_source(each, project, self.choice()) for each in self.others], 0, refused)


@dataclass(frozen=True)
class View:
    """The visible part of a plane: top, left, bottom, right in px."""

    image: CellImage
    index: PlaneIndex
    box: tuple[int, int, int, int]


@dataclass
class Curve:
    """The losses so far: smoothed over the training steps, and of every validation."""

    steps: list[int] = field(default_factory=list)
    training: list[float] = field(default_factory=list)
    smooth: list[float] = field(default_factory=list)
    validation_steps: list[int] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)

    def add_step(self, step: int, loss: float) -> None:
        """Add the loss of one step to the smoothed line; a run that goes back takes its later steps back."""
        self._go_back_to(step)
        last = self.smooth[-1] if self.smooth else loss
        # the first steps weigh more, so that the line does not start with a long slope
        weight = min(SMOOTHING, len(self.smooth) / (len(self.smooth) + 1))
        self.steps.append(step)
        self.training.append(loss)
        self.smooth.append(weight * last + (1 - weight) * loss)

    def _go_back_to(self, step: int) -> None:
        """Forget this step and all later ones, which a resumed run does again if it was not saved in time."""
        kept, judged = bisect_left(self.steps, step), bisect_left(self.validation_steps, step)
        del self.steps[kept:], self.training[kept:], self.smooth[kept:]
        del self.validation_steps[judged:], self.validation[judged:]

    def add_validation(self, step: int, loss: float) -> None:
        """Add a loss on held-out cells."""
        self.validation_steps.append(step)
        self.validation.append(loss)


class TrainingJob(Job):
    """Trains in the engine's process and keeps the curve, even while no widget shows it."""

    previewed = Signal(object, object)
    """Emits a `View` and the int32 labels (Y, X) that the model in training finds there."""

    def __init__(self, engine: EngineProcess) -> None:
        self._turn = Turn()
        super().__init__("Training", self._turn.stop)
        self._engine = engine
        self._lock = threading.Lock()
        self._wanted: View | None = None
        self._asked: View | None = None
        self.curve = Curve()
        self.plan: TrainingPlan | None = None
        self.outcome = ""
        """ "better", "worse" or "undecided" about the last training; empty where nothing was compared."""
        self._began: tuple[float, int] | None = None
        self.pace: dict[str, float] = {}
        """Steps per minute of the last training, by requested device."""
        self.received.connect(self._record)

    def train(self, plan: TrainingPlan) -> None:
        """Start, or with `plan.resume` continue, a training.

        Raises
        ------
        InputError
            If one is running.
        """
        if not self.status.is_active:
            self._turn.begin()
        self.start(self._stream, plan)
        self.plan, self.outcome = plan, ""
        self._wanted = self._asked = self._began = None
        if not plan.resume:
            self.curve = Curve()

    @property
    def is_in_engine(self) -> bool:
        """Whether the annotation is written, and the engine has begun."""
        return self._turn.is_on

    def look_at(self, view: View) -> None:
        """Request a preview of a view; this replaces a view that was not sent yet."""
        with self._lock:
            self._wanted = view

    def _stream(self, plan: TrainingPlan) -> Iterator[Event | None]:
        """Write the training set in the worker thread, then pass on the engine's events."""
        from napari_cupre.service.protocol import Failed

        is_over = False
        try:
            for event in self._asking(plan):
                is_over |= isinstance(event, Failed) or (
                    isinstance(event, StateChanged) and event.state.is_over
                )
                yield event
        except CupreError:
            discard_unstarted(plan.out)
            raise
        discard_unstarted(plan.out)
        if self.status.is_asked_to_stop and not is_over:
            yield StateChanged(RunState.STOPPED, nothing_learned(plan.resume))

    def _asking(self, plan: TrainingPlan) -> Iterator[Event | None]:
        """Start the training in the engine once its present job has ended."""
        request = yield from self._request(plan)
        while not self.status.is_asked_to_stop:
            try:
                for event in self._turn.events(self._engine, request):
                    if (fault := self._send_view()) is not None:
                        yield fault
                    yield event
                return
            except EngineBusy:
                if self.status.message != WAITING:
                    yield StateChanged(RunState.PREPARING, WAITING)
                time.sleep(HEARTBEAT_S)
                yield None

    def _request(self, plan: TrainingPlan) -> Generator[Event | None, None, FinetuneRequest]:
        """Read the annotation, and write it into the folder of a new training."""
        from napari_cupre.service.protocol import FinetuneRequest

        staged, annotation = "", None
        if plan.snapshots or plan.stems or not plan.resume:
            yield StateChanged(RunState.PREPARING, "Reading the annotation")
            if plan.resume:
                annotation = yield from self._digests(plan)
            else:
                staged = yield from self._write_shots(plan)
        return FinetuneRequest(
            start=plan.start,
            shots=staged,
            out=str(plan.out),
            settings={"minutes": plan.minutes, "device": plan.device},
            resume=plan.resume,
            annotation=annotation,
        )

    def _write_shots(self, plan: TrainingPlan) -> Generator[Event | None, None, str]:
        """Write the annotated images into the training's folder, one at a time."""
        from napari_cupre.data.annotation import check_annotated
        from napari_cupre.io.shot_store import ShotWriter

        writer = ShotWriter(run_path(plan.out) / SHOTS)
        images, has_cells = 0, False
        for shot in plan.shots():
            if self.status.is_asked_to_stop:
                return ""
            writer.add(shot)
            images, has_cells = images + 1, has_cells or bool(shot.labels.any())
            yield None
        check_annotated(images, has_cells)
        refused: list[str] = []
        for shot in plan.unlabelled(refused.append):
            if self.status.is_asked_to_stop:
                return ""
            writer.add(shot)
            yield None
        yield from map(Notice, refused)
        return str(writer.stage())

    def _digests(self, plan: TrainingPlan) -> Generator[None, None, dict[str, str]]:
        """Return hashes of the present annotation, to compare with the start of the run."""
        from napari_cupre.io.shot_store import digests

        found: dict[str, str] = {}
        for shot in plan.shots():
            if self.status.is_asked_to_stop:
                break
            found |= digests([shot])
            yield None
        return found

    def _send_view(self) -> Notice | None:
        """Request a preview of the visible part; in the worker thread, because reading a plane can take long.

        An image that cannot be read does not end the training.
        """
        from napari_cupre.service.protocol import PreviewRequest

        with self._lock:
            if self._wanted is None or self._asked is not None or self.status.state is not RunState.RUNNING:
                return None
            view, self._wanted = self._wanted, None
            self._asked = view
        try:
            image = _normalised_view(view, self.plan)
        except Exception as error:  # decoders raise anything on a damaged file
            with self._lock:
                self._asked = None
            return Notice(f"{view.image.name} cannot be previewed; the training continues ({error}).")
        self._engine.send(PreviewRequest(image))
        return None

    def _time(self, step: int) -> None:
        """Measure the steps per minute; skip a run's first step, which includes the preparation."""
        now = time.monotonic()
        if self._began is None:
            self._began = now, step
        elif self.plan is not None and now > self._began[0]:
            self.pace[self.plan.device] = 60 * (step - self._began[1]) / (now - self._began[0])

    def _record(self, event: Event) -> None:
        match event:
            case StepDone(step=step, losses=losses):
                self.curve.add_step(step, losses["total"])
                self._time(step)
            case Validated(step=step, loss=loss):
                self.curve.add_validation(step, loss)
            case Finished(result=result):
                self.outcome = (result.get("decision") or {}).get("outcome", "")
            case Preview(labels=labels):
                with self._lock:
                    view, self._asked = self._asked, None
                if view is not None:
                    self.previewed.emit(view, labels)


def _source(other: CellImage | str, project: Project | None, choose: ChooseChannels) -> Source:
    """Return how to read an image without annotation."""
    if not isinstance(other, str):
        return other.name, lambda: choose(other)
    if project is None:
        raise ValueError("a stem belongs to a project")
    entry = project.image(other)
    return other, lambda: choose(project.pixels(entry))


def _normalised_view(view: View, plan: TrainingPlan | None) -> np.ndarray:
    """Return the visible part, float32 (h, w, 3), normalised like its whole plane."""
    from napari_cupre.data.normalise import fit_stretch

    plane = (view.image if plan is None else plan.choice()(view.image)).plane(view.index)
    top, left, bottom, right = view.box
    return fit_stretch(plane, rgb=view.image.is_rgb and plane.ndim == 3)(plane[top:bottom, left:right])


def resumable(plan: TrainingPlan | None, models: Path | None = None) -> Path | None:
    """Return the model file of the training to resume.

    Parameters
    ----------
    plan : TrainingPlan or None
        The last training of this window, the first candidate.
    models : Path or None, optional
        Folder of the project's models. The next candidate is the latest training there, or else the latest
        on this computer.
    """
    if plan is not None and _can_resume(plan.out):
        return plan.out
    for folder in (models, user_folder()):
        runs = [run for run in folder.glob("*.run") if _can_resume(run)] if folder and folder.is_dir() else []
        if runs:
            return max(runs, key=lambda run: (run / REQUEST).stat().st_mtime).with_suffix(SUFFIX)
    return None


def _can_resume(out: Path) -> bool:
    return (out.with_suffix(".run") / REQUEST).is_file()
