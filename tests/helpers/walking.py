"""A person's random walk over a real window: what they do, and what must hold after each step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from mouse import PLAIN, Mouse
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_cupre.project.boxes import measured
from napari_cupre.project.cells import Cells, State
from napari_cupre.project.project import Project
from napari_cupre.project.strokes import renew_guesses
from napari_cupre.widgets.cells_layer import CellsLayer, StoredCells
from napari_cupre.widgets.looking import camera_of

CTRL, ALT, SHIFT = (
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.AltModifier,
    Qt.KeyboardModifier.ShiftModifier,
)
SHAPE = (60, 80)
STEP = 16


def after_step(states: list[Cells], cells: CellsLayer) -> tuple[list[Cells], int]:
    """The states that undo goes through, and the place of the present one.

    A change may go on with the step before it: what is found in a region that was just drawn is taken back
    with the region.
    """
    at = len(cells.history._done)
    return [*states[:at], cells.cells.copy()], at


class Walker:
    """Does what a person does, one action after the other, and checks what must hold.

    Nothing of a person's is lost: a cell that was checked or edited only goes by an action that says so, and
    whatever was done can be undone down to the first state and done again.

    Parameters
    ----------
    workbench : Workbench
        The window.
    image : napari.layers.Image
        Of `SHAPE`, or a stack of such planes.
    """

    def __init__(self, workbench: Any, image: Any) -> None:
        self.viewer, self.annotate = workbench.viewer, workbench.annotate
        self.session, self.image = self.annotate.session, image
        self.mouse = Mouse(self.viewer)
        self.cells: CellsLayer = self.session.make_cells(image)
        self.begin()
        self.cells.certainty = 0.0
        self.viewer.layers.selection.active = self.cells.layer
        self.cells.layer.mode = "pan_zoom"
        self.states: list[Cells] = [self.cells.cells.copy()]
        self.at = 0
        self.cells.changed.connect(self._changed)
        self._is_walking_back = False

    def begin(self) -> None:
        """Start without cells: a window's layers are not removed without need."""
        self.cells.show(StoredCells(Cells.empty(self.cells.cells.shape)))

    def _changed(self, change: Any) -> None:
        if change and not self._is_walking_back:
            self.states, self.at = after_step(self.states, self.cells)

    def wait(self, milliseconds: int) -> None:
        """Let the window go on."""
        QTest.qWait(milliseconds)  # type: ignore[call-arg, arg-type, unused-ignore]

    # --- what a person does -----------------------------------------------------------------------

    def click(self, place: tuple[int, int], keys: Any = PLAIN) -> None:
        self.mouse.click(place, keys)

    def delete(self, place: tuple[int, int]) -> None:
        self.click(place, CTRL)

    def merge(self, place: tuple[int, int]) -> None:
        self.click(place, ALT)

    def paint(self, first: tuple[int, int], last: tuple[int, int], size: int) -> None:
        self._brush("paint", first, last, size)

    def erase(self, first: tuple[int, int], last: tuple[int, int], size: int) -> None:
        self._brush("erase", first, last, size)

    def fill(self, place: tuple[int, int], label: int) -> None:
        layer = self.cells.layer
        layer.mode, layer.selected_label = "fill", label
        self.mouse.click(place)
        layer.mode = "pan_zoom"

    def _brush(self, mode: str, first: tuple[int, int], last: tuple[int, int], size: int) -> None:
        layer = self.cells.layer
        self.viewer.layers.selection.active = layer
        layer.mode, layer.brush_size = mode, size
        if layer.selected_label == 0:
            layer.selected_label = 1
        self.mouse.drag(first, last)
        layer.mode = "pan_zoom"

    def find(self, seed: int) -> None:
        """Guesses as a prediction leaves them on the plane on show."""
        rng = np.random.default_rng(seed)
        found = np.zeros(SHAPE, np.int32)
        for number, (top, left) in enumerate(rng.integers(0, 50, (8, 2)), start=1):
            found[top : top + 9, left : left + 9] = number
        place = self._place()
        window = (*((at, at + 1) for at in place), (0, SHAPE[0]), (0, SHAPE[1]))
        self.cells.do(lambda now: renew_guesses(now, found, rng.uniform(0, 1, 8), window))

    def key(self, which: str) -> None:
        keys = {
            "tab": (Qt.Key.Key_Tab, PLAIN),
            "back": (Qt.Key.Key_Backtab, SHIFT),
            "accept": (Qt.Key.Key_A, PLAIN),
            "accept all": (Qt.Key.Key_A, SHIFT),
            "reject": (Qt.Key.Key_Delete, PLAIN),
            "brush": (Qt.Key.Key_N, PLAIN),
        }
        self.mouse.key(*keys[which])
        self.cells.layer.mode = "pan_zoom"

    def slide(self, percent: int) -> None:
        self.annotate.find_row.slider.setValue(percent)

    def region(self) -> None:
        self.annotate.all_marked.click()
        self.viewer.layers.selection.active = self.cells.layer

    def answer(self, which: int) -> None:
        """Press a button of the question that is asked, if there is one."""
        self.annotate.questioner._look()
        self.wait(30)
        buttons = self.annotate.question.buttons
        if buttons:
            buttons[which % len(buttons)].click()

    def exchange(self, seed: int) -> None:
        """Another tool puts other labels into the layer."""
        rng = np.random.default_rng(seed)
        labels = self.cells.layer.data.copy()
        top, left = rng.integers(0, 50, 2)
        labels[..., top : top + 8, left : left + 8] = rng.integers(0, 40)
        self.cells.layer.data = labels

    def plane(self, at: int) -> None:
        if self.viewer.dims.ndim > 2:
            self.viewer.dims.set_point(0, at % self.image.data.shape[0])

    def undo(self) -> None:
        self._walk_back(Qt.Key.Key_Z, CTRL, -1)

    def redo(self) -> None:
        self._walk_back(Qt.Key.Key_Z, CTRL | SHIFT, 1)

    def _walk_back(self, key: Any, keys: Any, by: int) -> None:
        self._is_walking_back = True
        seen: list[Any] = []
        self.cells.changed.connect(seen.append)
        self.mouse.key(key, keys)
        self.cells.changed.disconnect(seen.append)
        self._is_walking_back = False
        self.at += by * sum(map(bool, seen))
        assert self.cells.cells == self.states[self.at], "undo and redo bring back what was there"

    def _place(self) -> tuple[int, ...]:
        from napari_cupre.widgets.looking import plane_on_show

        return plane_on_show(self.viewer, self.cells)

    # --- what must hold ---------------------------------------------------------------------------

    def look_at_all(self) -> None:
        """Put the whole plane on the canvas again."""
        camera = camera_of(self.viewer)
        camera.center = (0, SHAPE[0] / 2, SHAPE[1] / 2)

    def check(self) -> None:
        cells = self.cells
        assert cells.is_bound, "the layer shows the memory of the cells"
        assert {n: (row.box, row.area) for n, row in cells.cells} == measured(cells.cells.labels)
        table = cells.layer.features
        table = table[table["state"].notna()]
        assert list(table["index"]) == cells.cells.numbers()
        assert list(table["state"]) == [str(row.state) for _, row in cells.cells]
        total = sum(bool(cells.visible(number)) for number in cells.cells.rows)
        if cells.cells.rows:
            assert f"<b>{total}</b>" in self.annotate.status.text()

    def act(self, action: Callable[[], None], *, says: bool) -> None:
        """Do something, and check that no cell of a person's is gone unless the action says so.

        Parameters
        ----------
        action : Callable[[], None]
            What is done.
        says : bool
            Whether it may take cells of a person away.
        """
        self.look_at_all()
        before = {n for n, row in self.cells.cells if row.state is not State.GUESS}
        pixels = {n: self.cells.cells.labels == n for n in before}
        action()
        self.check()
        if not says:
            for number in before:
                assert self.cells.cells.rows[number].state.teaches
                np.testing.assert_array_equal(self.cells.cells.labels == number, pixels[number])

    def end(self) -> None:
        """Undo everything, and do it again."""
        last, now = self.at, self.cells.cells.copy()
        for _ in range(600):
            if not self.cells.history.last:
                break
            self.undo()
        assert self.cells.cells == self.states[0]
        self.check()
        while self.at < last and self.cells.history.next_redo:
            self.redo()
        assert self.cells.cells == now
        self.check()

    def check_disk(self, seconds: float) -> None:
        """What is on disk is what is on the screen, so many seconds after the last gesture at most."""
        keeper = self.session.keeper
        end = time.monotonic() + seconds
        while keeper.is_dirty and time.monotonic() < end:
            self.wait(20)
        if not self.cells.history.last:
            return  # nobody did anything
        assert not keeper.is_dirty
        assert keeper.error == ""
        stem = keeper.stem_of(self.image)
        assert stem is not None
        stored = Project.open(keeper.project.folder, look_only=True).cells(stem)
        assert stored.rows == self.cells.cells.rows
        assert stored.regions == self.cells.cells.regions
        np.testing.assert_array_equal(stored.labels, self.cells.cells.labels)
