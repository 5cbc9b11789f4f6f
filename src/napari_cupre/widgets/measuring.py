"""Measure the cells of all images one by one in the background."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError, InputError
from napari_cupre.events import Event, Finished, Notice, Progress, RunState, StateChanged
from napari_cupre.project.measurements import by_image, distinct_cells, measure_cells, stored_cells
from napari_cupre.project.project import Project
from napari_cupre.widgets.background import Job
from napari_cupre.words import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class MeasuringPlan:
    """What to measure: images of a project, which is saved by now, and images outside it.

    `loose` holds the window's images outside any project, with the label image of their cells.
    """

    project: Path | None = None
    stems: tuple[str, ...] = ()
    loose: tuple[tuple[CellImage, np.ndarray], ...] = ()


@dataclass(frozen=True)
class AllMeasured(Event):
    """The result: a row for each cell, and a row for each image, with the row of all images last."""

    cells: pd.DataFrame
    images: pd.DataFrame


class MeasuringJob(Job):
    """Measures in a thread and keeps the tables, even while no dock shows them."""

    def __init__(self) -> None:
        super().__init__("Measuring cells")
        self.tables: AllMeasured | None = None
        self.received.connect(self._keep)

    def measure(self, plan: MeasuringPlan) -> None:
        """Start like `Job.start`."""
        self.start(self._stream, plan)

    def _keep(self, event: Event) -> None:
        if isinstance(event, AllMeasured):
            self.tables = event

    def _stream(self, plan: MeasuringPlan) -> Iterator[Event | None]:
        import pandas as pd

        project = None if plan.project is None else Project.open(plan.project, look_only=True)
        names = [*plan.stems, *(image.name for image, _ in plan.loose)]
        tables, measured, faults = [], [], []
        for place, name in enumerate(names):
            if self.status.state is RunState.STOPPING:
                return
            yield Progress(place, len(names), name)
            try:
                tables.append(_measured(plan, project, place))
                measured.append(name)
            except CupreError as error:
                faults.append(str(error))
        if not measured:
            raise InputError(faults[0] if faults else "There is no image to measure: open some first.")
        if faults:
            yield Notice(" ".join(faults))
        # without empty tables, whose columns have no type
        filled = [table for table in tables if len(table)]
        if not filled:
            raise InputError("None of these images has cells yet: find or draw some first.")
        cells = pd.concat(filled, ignore_index=True)
        yield AllMeasured(cells, by_image(cells, measured))
        total = distinct_cells(cells)
        outlines = "" if total == len(cells) else f", in {len(cells)} outlines plane by plane"
        yield Finished(f"{counted(total, 'cell')} in {counted(len(measured), 'image')} measured{outlines}.")
        yield StateChanged(RunState.DONE)


def _measured(plan: MeasuringPlan, project: Project | None, place: int) -> pd.DataFrame:
    """Return the measured cells of one image of the plan."""
    if project is None or place >= len(plan.stems):
        return measure_cells(*plan.loose[place - len(plan.stems)])
    stem = plan.stems[place]
    image, labels = stored_cells(project, stem)
    return measure_cells(image, labels, project.cells(stem))
