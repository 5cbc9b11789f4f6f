"""The jobs of the child: training, prediction, outlines. Each imports what it needs when it runs."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.events import Event, Finished, RunState, StateChanged, Steps, TileDone
from napari_cupre.service.beside import LessonRequest, RateRequest, TryRequest
from napari_cupre.service.engine_job import EngineJob
from napari_cupre.service.lesson_job import LessonJob
from napari_cupre.service.outlining import LatestDetector, Outlining, requested_image
from napari_cupre.service.protocol import (
    FinetuneRequest,
    OutlineRequest,
    PlaneDone,
    PlaneRelabelled,
    PredictRequest,
    PreviewRequest,
    Request,
    SlideGrown,
)
from napari_cupre.service.rating import Rating
from napari_cupre.service.trying_job import TryingJob

if TYPE_CHECKING:
    from napari_cupre.data.image import CellImage
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.prediction.detecting import CellFinder
    from napari_cupre.prediction.filling import PlaneFound
    from napari_cupre.prediction.instances import Masks


def job_for(request: Request, detectors: LatestDetector | None = None) -> EngineJob[Any]:
    """Return the job for a request.

    Parameters
    ----------
    request : Request
        Of the window.
    detectors : LatestDetector or None, optional
        The detector that outlining keeps from one plane to the next.

    Raises
    ------
    InputError
        For a request that is not a job.
    """
    if isinstance(request, OutlineRequest):
        return Outlining(request, detectors)
    jobs: dict[type[Request], type[EngineJob[Any]]] = {
        FinetuneRequest: Training,
        PredictRequest: Prediction,
        RateRequest: Rating,
        LessonRequest: LessonJob,
        TryRequest: TryingJob,
    }
    if type(request) not in jobs:
        raise InputError(f"The engine process cannot handle the request {type(request).__name__}.")
    return jobs[type(request)](request)


class Training(EngineJob[FinetuneRequest]):
    """A `FinetuneRun`, new or resumed."""

    def __init__(self, request: FinetuneRequest) -> None:
        super().__init__(request)
        self._run: FinetuneRun | None = None

    def events(self) -> Generator[Event, None, None]:
        """Train and report what happens."""
        from napari_cupre.model.device import check_torchvision

        check_torchvision()
        if self._stopped.is_set():
            return
        run = self._resumed() if self._request.resume else self._new()
        self._run = run
        if self._stopped.is_set():
            run.stop()
        yield from run.events()

    def stop(self) -> None:
        """End after the current step, and keep what was learned."""
        super().stop()
        if self._run is not None:
            self._run.stop()

    def preview(self, request: PreviewRequest) -> None:
        """Request a preview with the present weights."""
        if self._run is not None:
            self._run.preview(request.image)

    def _new(self) -> FinetuneRun:
        from napari_cupre.finetuning.finetune_run import FinetuneRun
        from napari_cupre.finetuning.finetune_settings import FinetuneSettings
        from napari_cupre.io.shot_store import load_shots
        from napari_cupre.model.zoo import find_model, open_model

        request = self._request
        settings = FinetuneSettings(**request.settings)
        start = open_model(request.start, settings.device, settings.seed)
        path = find_model(request.start).path
        shots = load_shots(request.shots)
        return FinetuneRun(start, shots, settings, Path(request.out), path, start_name=request.start)

    def _resumed(self) -> FinetuneRun:
        """Return the existing run, with the time and device requested now."""
        from napari_cupre.finetuning.finetune_folder import RunFolder
        from napari_cupre.finetuning.finetune_run import FinetuneRun
        from napari_cupre.model.runs import start_of
        from napari_cupre.model.zoo import open_model

        request = self._request
        folder = RunFolder(Path(request.out))
        settings = replace(folder.read_settings(), **request.settings)
        start = open_model(start_of(request.out), settings.device, settings.seed)
        return FinetuneRun.resume(folder.out, start, settings, request.annotation)


class Prediction(EngineJob[PredictRequest]):
    """Run `predict_image` on an array in a file, or `predict_big` on one larger than memory."""

    def events(self) -> Generator[Event, None, None]:
        """Predict and report what happens."""
        from napari_cupre.model.zoo import describe
        from napari_cupre.prediction.engine_choice import job_size, make_finder
        from napari_cupre.prediction.predict_options import PredictOptions

        request = self._request
        try:
            image = requested_image(request)
            size = job_size(image, describe(request.model), PredictOptions(**request.options))
            finder = make_finder(request.model, request.device, megapixels=size)
            yield StateChanged(RunState.RUNNING)
            yield from self._slide(finder, image) if request.to_disk else self._planes(finder, image)
        finally:
            self.forgo()

    def forgo(self) -> None:
        """Delete the copy of the pixels that was made for this job."""
        if self._request.is_copy:
            Path(self._request.image).unlink(missing_ok=True)

    def _slide(self, finder: CellFinder, image: CellImage) -> Iterator[Event]:
        """Translate the events of `predict_big` for the window."""
        from napari_cupre.prediction.big import predict_big
        from napari_cupre.prediction.predict_options import PredictOptions
        from napari_cupre.service.slides import clear_slides, hold_slide, slide_path

        request = self._request
        out = slide_path(image, Path(request.image), request.is_copy, request.model, request.options)
        options, held = PredictOptions(**request.options), hold_slide(out)
        try:
            if request.keep_bytes is not None:
                clear_slides(request.keep_bytes)
            for event in predict_big(finder, image, out, options, self._stopped.is_set):
                if isinstance(event, TileDone):
                    yield SlideGrown(str(out), event.index)
                    continue
                if isinstance(event, Finished):
                    yield SlideGrown(str(out), {})  # a slide that was already finished does not grow
                yield event
        finally:
            held.release()

    def _planes(self, finder: CellFinder, image: CellImage) -> Iterator[Event]:
        """Translate the events of `predict_image` for the window, which does not load torch."""
        from napari_cupre.prediction.filling import PlaneFound
        from napari_cupre.prediction.predict_options import PredictOptions
        from napari_cupre.prediction.stack import predict_image

        options = PredictOptions(**self._request.options)
        steps = Steps(predict_image(finder, image, options, self._stopped.is_set))
        first = 0
        last: Event | None = None
        for event in steps:
            if isinstance(event, PlaneFound):
                yield _plane_done(event, first, finder.info.classes)
                first += len(event.instances)
            elif isinstance(event, TileDone):
                if event.labels.shape != image.plane_shape:  # otherwise `PlaneFound` says the same
                    yield replace(event, labels=_shifted(event.labels, first))
            elif isinstance(event, Finished):
                last = event
            else:
                yield event
        if options.link_z or options.link_t:
            result = steps.result
            for (index, _), ids in zip(result.planes, result.ids):
                yield PlaneRelabelled(index, result.labels[tuple(index.values())], ids)
        if last is not None:
            yield last


def _plane_done(event: PlaneFound, first: int, class_names: Sequence[str]) -> PlaneDone:
    cells = event.instances
    return PlaneDone(
        index=event.index,
        labels=_shifted(cells.labels, first),
        ids=np.arange(first + 1, first + len(cells) + 1, dtype=np.int32),
        boxes=cells.boxes,
        scores=cells.scores,
        classes=cells.classes,
        masks=cast("Masks", cells.masks).probabilities.astype(np.float16),
        diameter=float(cells.diameter),
        class_names=class_names,
    )


def _shifted(labels: np.ndarray, first: int) -> np.ndarray:
    """Shift the labels of a plane so that they differ from those of earlier planes."""
    return np.where(labels > 0, labels + np.int32(first), 0).astype(np.int32)
