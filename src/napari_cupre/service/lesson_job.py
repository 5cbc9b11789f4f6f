"""A job that measures one more point of a project's learning curve while the machine is idle."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cupre.events import Event, Finished, RunState, StateChanged, Steps
from napari_cupre.project.lessons import LessonResult, add_lesson, read_lessons
from napari_cupre.service.beside import LessonRequest
from napari_cupre.service.engine_job import EngineJob

if TYPE_CHECKING:
    from napari_cupre.finetuning.subsets import Lesson
    from napari_cupre.project.project import Project

GROWN = 1.3
"""The curve is measured again once the number of cells has grown by this factor."""


class LessonJob(EngineJob[LessonRequest]):
    """Trains on a part of a project's annotation that has not been measured yet."""

    def events(self) -> Generator[Event, None, None]:
        """Train one part; `Finished` says how many are left."""
        from napari_cupre.project.project import Project

        with Project.open(self._request.project, look_only=True) as project:
            seen, cells, left = self._left(project)
            if not left:
                yield Finished("", {"left": 0})
                return
            yield from self._train(project, left[0], seen, cells)
        yield Finished("", {"left": len(left) - 1})

    def _left(self, project: Project) -> tuple[str, int, list[Lesson]]:
        """Return the annotation, its number of cells, and the parts not measured yet."""
        from napari_cupre.finetuning.subsets import parts_to_train
        from napari_cupre.project.rounds import annotation_hash

        seen, counts = annotation_hash(project)
        start = self._request.start
        measured = [each for each in read_lessons(project.folder) if each.start == start]
        steps = self._request.steps
        if measured and measured[-1].annotated <= counts["cells"] < GROWN * measured[-1].annotated:
            seen = measured[-1].annotation  # with only a few more cells, continue what was begun
            steps = min(each.steps for each in measured if each.annotation == seen)
        done = {
            (each.fold, each.share, each.steps)
            for each in measured
            if each.annotation == seen and (each.before is not None or each.share < 1 or each.steps != steps)
        }  # earlier versions did not compare with the start
        left = [part for part in parts_to_train(steps) if (part.fold, part.share, part.steps) not in done]
        return seen, counts["cells"], left

    def _train(self, project: Project, part: Lesson, seen: str, cells: int) -> Iterator[Event]:
        from napari_cupre.finetuning.finetune_settings import FinetuneSettings
        from napari_cupre.finetuning.subsets import train_part
        from napari_cupre.model.device import check_torchvision
        from napari_cupre.model.seen_channels import SeenChannels
        from napari_cupre.model.zoo import open_model
        from napari_cupre.project.shots import project_shots

        check_torchvision()
        request = self._request
        settings = FinetuneSettings(minutes=None, steps=part.steps, device=request.device)
        start = open_model(request.start, request.device, settings.seed)
        shots = list(project_shots(project, SeenChannels.of_training(start.info.training).on))
        yield StateChanged(RunState.RUNNING)
        steps = Steps(train_part(start, shots, part, settings, self._stopped.is_set))
        yield from steps
        learned = steps.result
        if learned is None or self._stopped.is_set():
            yield StateChanged(RunState.STOPPED)
            return
        what = (seen, request.start, cells, part.fold, part.share, part.steps)
        new = LessonResult(*what, **learned.as_dict())
        add_lesson(Path(request.project), new)
