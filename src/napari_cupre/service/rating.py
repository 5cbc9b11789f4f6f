"""A job of the child that rates which images to annotate next."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.events import Event, Finished, RunState, StateChanged, Steps
from napari_cupre.service.beside import Rated, RateRequest
from napari_cupre.service.engine_job import EngineJob

if TYPE_CHECKING:
    from napari_cupre.evaluation.places import Candidate
    from napari_cupre.evaluation.suggestions import Suggestions


class Rating(EngineJob[RateRequest]):
    """Rates the images of a project, and other image files, by how much they would teach the model."""

    def events(self) -> Generator[Event, None, None]:
        """Rate, report the progress, and end with `Rated`."""
        from napari_cupre.evaluation.suggestions import LEAST_SCORE, suggest
        from napari_cupre.model.device import check_torchvision
        from napari_cupre.model.zoo import open_model
        from napari_cupre.prediction.detector import Detector
        from napari_cupre.prediction.plane import predict_plane

        check_torchvision()
        request = self._request
        candidates = list(self._candidates())
        model = open_model(request.model, request.device)
        find = partial(predict_plane, Detector(model), score=LEAST_SCORE, should_stop=self._stopped.is_set)
        yield StateChanged(RunState.RUNNING)
        run = suggest(candidates, model, find, count=request.most, most=request.most)
        steps = Steps(run)
        for event in steps:
            if self._stopped.is_set():
                run.close()
                yield StateChanged(RunState.STOPPED)
                return
            yield event
        yield _rated(steps.result)
        yield Finished("")

    def _candidates(self) -> Iterator[Candidate]:
        from napari_cupre.evaluation.places import of_files, of_project
        from napari_cupre.project.project import Project

        request = self._request
        if request.project:
            with Project.open(request.project, look_only=True) as project:
                yield from of_project(project)
        channels = None if request.channels is None else tuple(request.channels)
        for name, path in request.files.items():
            (candidate,) = of_files([Path(path)], channels=channels)
            yield candidate.called(name)


def _rated(found: Suggestions) -> Rated:
    pictures = [each.thumbnail for each in found.chosen]
    return Rated(
        names=[each.place.candidate.name for each in found.chosen],
        fields=[each.place.field for each in found.chosen],
        reasons=[each.reason for each in found.chosen],
        pictures=np.stack(pictures) if pictures else np.zeros((0, 64, 64, 3), np.uint8),
        notice=" ".join([*(reason for _, reason in found.skipped), *found.notices]),
    )
