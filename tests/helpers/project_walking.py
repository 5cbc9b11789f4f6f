"""A person's random walk through the images of a project, with all tools; the project is opened again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from mouse import PLAIN
from qtpy.QtCore import Qt
from walking import SHAPE, SHIFT, Walker, after_step

from napari_cupre.project.cells import Cells
from napari_cupre.project.project import Project
from napari_cupre.project.queue import add_files
from napari_cupre.widgets.cells_layer import CellsLayer

IMAGES = 5
"""More than keep layers of their own, so that layers are used again."""

PATIENCE = 60_000  # ms


def project_of_discs(folder: Path) -> Path:
    """A project of images of `SHAPE` with bright discs, without cells."""
    plate = folder / "plate"
    plate.mkdir(parents=True)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for number in range(1, IMAGES + 1):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 30, SHAPE, np.uint8)
        for y, x in rng.integers(8, 52, (9, 2)):
            pixels[(rows - y) ** 2 + (columns - x * 4 // 3) ** 2 < 30] = 200
        tifffile.imwrite(plate / f"well_{number}.tif", pixels)
    with Project.create(folder / "work") as project:
        add_files(project, plate)
        project.save()
        return project.folder


def open_project(session: Any, folder: Path, until: Callable[[Callable[[], bool]], None]) -> None:
    """Open a project in a window, and wait for the image that it shows."""
    keeper, opened = session.keeper, []
    keeper.opened.connect(opened.append)
    keeper.open(folder)
    until(lambda: bool(opened) and not session.queue.is_busy)
    keeper.opened.disconnect(opened.append)
    assert keeper.error == ""


@dataclass
class Walked:
    """What the walk knows about an image: its cells after each step, and which step is on show."""

    held: Cells
    states: list[Cells]
    at: int


class ProjectWalker(Walker):
    """Walks through all images; what was left is there when somebody comes back.

    Parameters
    ----------
    workbench : Workbench
        The window, with a project open and an image on show.
    """

    def __init__(self, workbench: Any) -> None:
        self._walked: dict[str, Walked] = {}
        self.session = workbench.annotate.session
        super().__init__(workbench, self.session.image)
        self.stem = self.session.keeper.stem_of(self.image)
        self.cells.changed.disconnect(self._changed)
        self.session.cells_changed.connect(self._changed_anywhere)

    def begin(self) -> None:
        """The project is new, and has no cells."""

    def _changed_anywhere(self, cells: CellsLayer, change: Any) -> None:
        """An outline may come when another image is on show by then."""
        if cells is self.cells:
            self._changed(change)
            return
        walked = self._walked.get(self.session.keeper.stem_of(cells.image) or "")
        if change and walked is not None and walked.held is cells.cells:
            walked.states, walked.at = after_step(walked.states, cells)

    # --- the tools ----------------------------------------------------------------------------------

    def take(self, key: Any) -> None:
        """Take a tool by its key, and put it down by another press if it was in hand."""
        self.viewer.layers.selection.active = self.cells.layer
        self.session.tools.put_down()
        self.mouse.key(key)

    def draw(self, first: tuple[int, int], last: tuple[int, int]) -> None:
        self.take(Qt.Key.Key_D)
        (y0, x0), (y1, x1) = first, last
        self.mouse.drag(first, (y0, x1), last, (y1, x0))
        self.session.tools.put_down()

    def split(self, first: tuple[int, int], last: tuple[int, int]) -> None:
        self.take(Qt.Key.Key_S)
        self.mouse.drag(first, last)
        self.session.tools.put_down()

    def box(self, first: tuple[int, int], last: tuple[int, int], waits: bool) -> None:
        self.take(Qt.Key.Key_R)
        self.mouse.drag(first, last)
        self._patiently(waits)

    def point(self, place: tuple[int, int], waits: bool) -> None:
        """Ask for an outline by a click, perhaps without waiting for it."""
        self.take(Qt.Key.Key_K)
        self.mouse.click(place)
        self._patiently(waits)

    def turn(self, by: int) -> None:
        """Another reading, by the wheel."""
        self.take(Qt.Key.Key_K)
        self.mouse.wheel((30, 40), 1 if by % 2 else -1, SHIFT)
        self.session.tools.put_down()

    def _patiently(self, waits: bool) -> None:
        if waits:
            prompter = self.session.tools.prompter
            self._until(lambda: not prompter.is_waiting)
            self.session.tools.put_down()

    def escape(self, first: tuple[int, int], last: tuple[int, int]) -> None:
        """Begin to draw, and leave it."""
        self.take(Qt.Key.Key_D)
        self.mouse.move(first)
        self.mouse.press(first)
        self.mouse.pull(last)
        self.mouse.key(Qt.Key.Key_Escape)
        self.mouse.release(last)
        self.session.tools.put_down()

    def frame(self, first: tuple[int, int], last: tuple[int, int]) -> None:
        """Draw a region with the mouse."""
        self.annotate.region.click()
        self.mouse.drag(first, last)
        self.wait(30)
        self.viewer.layers.selection.active = self.cells.layer
        self.cells.settle()

    # --- the images ---------------------------------------------------------------------------------

    def go(self, by: int) -> None:
        """The next image or the one before, by key."""
        queue = self.session.queue
        self.mouse.key(Qt.Key.Key_Period if by % 3 else Qt.Key.Key_Comma, PLAIN)
        self._until(lambda: not queue.is_busy)
        self._follow()

    def reopen(self) -> None:
        """Open another project, and this one again, as on the next day."""
        self._until(lambda: not self.session.tools.prompter.is_waiting)
        self._leave()
        folder = self.session.keeper.project.folder
        other = folder.parent / "other.cupre"
        if not other.exists():
            Project.create(other).close()
        self.open(other)
        assert not self.session.images(), "what another project showed has left with it"
        self.open(folder)
        self._follow()

    def open(self, folder: Path) -> None:
        """Open a project in place of the present one."""
        open_project(self.session, folder, self._until)

    def _leave(self) -> None:
        if self.stem is not None:
            self._walked[self.stem] = Walked(self.cells.cells, self.states, self.at)
            self.stem = None

    def _follow(self) -> None:
        """Walk on where another image is on show; it has the cells that it was left with."""
        self._leave()
        session = self.session
        self.image = session.image
        self.stem = session.keeper.stem_of(self.image)
        assert self.stem is not None
        self.cells = session.make_cells(self.image)
        self.viewer.layers.selection.active = self.cells.layer
        before = self._walked.get(self.stem)
        if before is not None:
            assert self.cells.cells == before.states[before.at], "an image is as it was left"
        if before is not None and before.held is self.cells.cells and self.cells.history.last:
            self.states, self.at = before.states, before.at
        else:
            self.states, self.at = [self.cells.cells.copy()], 0
            self.cells.history.clear()

    def _until(self, holds: Any) -> None:
        for _ in range(PATIENCE // 10):
            if holds():
                return
            self.wait(10)
        raise AssertionError("the window did not get there")

    # --- what must hold -----------------------------------------------------------------------------

    def end(self) -> None:
        """Undo everything in the image on show, once all is answered, and do it again."""
        self._until(lambda: not self.session.tools.prompter.is_waiting)
        super().end()

    def check_disk(self, seconds: float) -> None:
        """All images are on disk as they were left."""
        super().check_disk(seconds)
        self._leave()
        self.session.cells_changed.disconnect(self._changed_anywhere)
        if self.session.keeper.is_dirty or self.session.keeper.project is None:
            return
        stored = Project.open(self.session.keeper.project.folder, look_only=True)
        for stem, walked in self._walked.items():
            assert stored.cells(stem) == walked.states[walked.at], stem
